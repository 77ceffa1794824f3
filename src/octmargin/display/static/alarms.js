// Technical alarms after IEC 60601-1-8: colour, sign and text by priority. A suspicious margin is never among them.

import { el, icon, setAttribute, setText, show, syncChildren } from "./dom.js";
import { PART } from "./store.js";

const ORDER = ["high", "medium", "low"];
// What the operating team calls it; what the driver calls it stands behind.
const HEADLINES = { console: "The console is gone" };
const SIGNS = { high: "!!!", medium: "!!", low: "!" };

export class AlarmsView {
  parts = [PART.ALARMS, PART.TRUST];
  #store;
  #commands;
  #root;
  #list = el("div", { class: "alarm-list" });

  constructor(root, store, commands) {
    this.#store = store;
    this.#commands = commands;
    this.#root = root;
    root.append(this.#list);
  }

  update() {
    const { tally } = this.#store;
    const alarms = [...tally.alarms.values()].sort((a, b) => ORDER.indexOf(a.priority) - ORDER.indexOf(b.priority));
    show(this.#root, alarms.length > 0);
    syncChildren(
      this.#list,
      alarms.map(({ id }) => id),
      (id) => this.#make(id),
      (item, id) => this.#updateItem(item, tally.alarms.get(id)),
    );
  }

  #make(id) {
    const sign = el("span", { class: "alarm-sign" });
    const said = el("span");
    const cause = el("span", { class: "alarm-cause" });
    const text = el("span", { class: "alarm-text" }, said, " ", cause);
    const known = el("span", { class: "alarm-known" });
    const button = el("button", {
      type: "button",
      text: "Acknowledge",
      onclick: () => void this.#commands.give("acknowledge", { alarm_id: id }),
    });
    const item = el("div", { class: "alarm", role: "alert" }, icon("alarm"), sign, text, known, button);
    return Object.assign(item, { sign, said, cause, known, button });
  }

  #updateItem(item, alarm) {
    setAttribute(item, "data-priority", alarm.priority);
    setAttribute(item, "data-acknowledged", alarm.acknowledged_by !== "");
    setText(item.sign, SIGNS[alarm.priority]);
    const headline = HEADLINES[alarm.id] ?? alarm.text;
    setText(item.said, alarm.remedy ? `${headline}: ${alarm.remedy}` : headline);
    setText(item.cause, headline === alarm.text ? "" : `(${alarm.text})`);
    setText(item.known, alarm.acknowledged_by ? `acknowledged by ${alarm.acknowledged_by}` : "");
    show(item.button, alarm.acknowledged_by === "" && this.#commands.may("acknowledge"));
    setAttribute(item.button, "aria-label", `Acknowledge: ${alarm.text}`);
  }
}
