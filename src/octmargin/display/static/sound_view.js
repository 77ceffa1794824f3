// Whether technical alarms are heard here, always in view; and the hands that change it.

import { AlarmSound } from "./alarm_sound.js";
import { el, icon, setAttribute, setIcon, setText, show } from "./dom.js";
import { PART } from "./store.js";

const WORDS = { off: "Alarm sound off", on: "Alarm sound on", blocked: "Alarm sound blocked by the browser" };

export class SoundView {
  parts = [PART.ALARMS, PART.TRUST];
  #store;
  #sound;
  #sign = icon("muted");
  #text = el("span");
  #toggle;
  #pause;

  constructor(root, store) {
    this.#store = store;
    this.#sound = new AlarmSound(() => store.now().monoMs);
    this.#toggle = el("button", { type: "button", class: "sound-toggle", onclick: () => void this.#press() }, this.#sign, this.#text);
    this.#pause = el("button", { type: "button", class: "sound-pause", hidden: true, text: "Pause 2 min", "aria-label": "Pause the alarm sound for 2 minutes" });
    this.#pause.addEventListener("click", () => {
      this.#sound.pause();
      store.touch(PART.ALARMS);
    });
    root.append(this.#toggle, this.#pause);
  }

  // To be called as alarms come: a page that nobody sees is not drawn, and is heard all the same.
  hear() {
    const { tally, trust } = this.#store;
    // What the broker remembers comes before the first sign of life: until then alarms may be missing.
    this.#sound.hear([...tally.alarms.values()], { isWhole: trust.isHeard });
  }

  update() {
    this.hear();
    const { state } = this.#sound;
    setAttribute(this.#toggle, "data-state", state);
    setAttribute(this.#toggle, "aria-pressed", String(state === "on"));
    setIcon(this.#sign, state === "on" ? "bell" : "muted");
    setText(this.#text, state === "paused" ? `Alarm sound paused, ${minutes(this.#sound.pausedForMs)}` : WORDS[state]);
    show(this.#pause, this.#sound.sounding !== null);
  }

  async #press() {
    const { state } = this.#sound;
    if (state === "on") this.#sound.switchOff();
    else if (state === "paused") this.#sound.endPause();
    else await this.#sound.switchOn();
    this.#store.touch(PART.ALARMS);
  }
}

function minutes(ms) {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
