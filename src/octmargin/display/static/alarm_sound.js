// Sounds the gravest technical alarm that nobody has acknowledged. Off until a person switches it on, as browsers want
// it; what it is is always to be asked for. A suspicious margin makes no sound.

import { FREQUENCY_HZ, HARMONICS, PRIORITIES, burstOf } from "./alarm_bursts.js";

export const PAUSE_MS = 120_000;
const LOUDNESS = 0.8;
// Time to set a burst up before it begins.
const LEAD_S = 0.05;

export class AlarmSound {
  #nowMs;
  #context = null;
  #pausedUntilMs = 0;
  // Place in PRIORITIES of each alarm that was heard of.
  #known = new Map();
  #wanted = null;
  #sounding = null;
  #gains = [];
  #timer = null;

  // `nowMs()` is a clock that nobody sets.
  constructor(nowMs) {
    this.#nowMs = nowMs;
  }

  // "off", "blocked" (switched on, and the browser plays nothing), "paused" or "on".
  get state() {
    if (this.#context === null) return "off";
    if (this.#context.state !== "running") return "blocked";
    return this.pausedForMs > 0 ? "paused" : "on";
  }

  get pausedForMs() {
    return Math.max(0, this.#pausedUntilMs - this.#nowMs());
  }

  // Priority that is sounded now; null where none is.
  get sounding() {
    return this.#sounding;
  }

  // To be called by a hand: browsers let nobody else make noise.
  async switchOn() {
    this.#context ??= new AudioContext();
    this.#pausedUntilMs = 0;
    await this.#context.resume();
    this.#follow();
  }

  switchOff() {
    const context = this.#context;
    this.#context = null;
    this.#follow();
    void context?.close();
  }

  // Silent for two minutes, or until there is another alarm.
  pause() {
    this.#pausedUntilMs = this.#nowMs() + PAUSE_MS;
    this.#follow();
  }

  endPause() {
    this.#pausedUntilMs = 0;
    this.#follow();
  }

  // Takes the alarms as they are; to be called as often as one likes. One that is missing while they are not all known,
  // as behind a connection that was made anew, is none that is over.
  hear(alarms, { isWhole = true } = {}) {
    const open = alarms.filter((alarm) => alarm.acknowledged_by === "");
    const heard = new Map(open.map(({ id, priority }) => [id, PRIORITIES.indexOf(priority)]));
    const isNews = ([id, place]) => !(this.#known.get(id) <= place);
    if ([...heard].some(isNews)) this.#pausedUntilMs = 0;
    this.#known = isWhole ? heard : new Map([...this.#known, ...heard]);
    this.#wanted = PRIORITIES.find((priority) => open.some((alarm) => alarm.priority === priority)) ?? null;
    this.#follow();
  }

  #follow() {
    const wanted = this.state === "on" ? this.#wanted : null;
    if (wanted === this.#sounding) return;
    clearTimeout(this.#timer);
    for (const gain of this.#gains) gain.disconnect();
    this.#gains = [];
    this.#sounding = wanted;
    if (wanted !== null) this.#burst();
  }

  #burst() {
    const context = this.#context;
    const { pulses, periodMs } = burstOf(this.#sounding);
    const wave = context.createPeriodicWave(new Float32Array(HARMONICS.length + 1), new Float32Array([0, ...HARMONICS]));
    const beginS = context.currentTime + LEAD_S;
    this.#gains = pulses.map((pulse) => sound(context, wave, beginS, pulse));
    this.#timer = setTimeout(() => this.#burst(), periodMs);
  }
}

function sound(context, wave, beginS, { beginMs, riseMs, holdMs, fallMs }) {
  const oscillator = context.createOscillator();
  oscillator.setPeriodicWave(wave);
  oscillator.frequency.value = FREQUENCY_HZ;
  const gain = context.createGain();
  const at = (ms) => beginS + (beginMs + ms) / 1000;
  const end = at(riseMs + holdMs + fallMs);
  gain.gain.setValueAtTime(0, at(0));
  gain.gain.linearRampToValueAtTime(LOUDNESS, at(riseMs));
  gain.gain.setValueAtTime(LOUDNESS, at(riseMs + holdMs));
  gain.gain.linearRampToValueAtTime(0, end);
  oscillator.connect(gain).connect(context.destination);
  oscillator.start(at(0));
  oscillator.stop(end);
  return gain;
}
