// What readers say of the face and of each cluster, apart from what the algorithm says.

import { el, icon, setAttribute, setText, show, syncChildren } from "./dom.js";
import { newestOf } from "./readers.js";
import { PART } from "./store.js";
import { DECISION_WORDS, clockTime } from "./words.js";

const WORDS = [
  ["agree", "Agree", "good"],
  ["disagree", "Disagree", "bad"],
  ["unsure", "Unsure", "unsure"],
];

export class DecisionsView {
  parts = [PART.DECISIONS, PART.LOOK, PART.FACES, PART.TRUST, PART.CASE];
  #store;
  #commands;
  #subject = el("p", { class: "subject" });
  #form = el("form", { class: "decide" });
  #buttons;
  #note = el("input", { type: "text", maxlength: "500", placeholder: "Note", "aria-label": "Note to the decision", autocomplete: "off" });
  #mark;
  #hint = el("p", { class: "none" });
  #said = el("ul", { class: "said", "aria-label": "What readers said", tabindex: "0", data: { scrolls: "" } });

  constructor(root, store, commands, marking) {
    this.#store = store;
    this.#commands = commands;
    this.#buttons = WORDS.map(([word, text, sign]) =>
      el("button", { type: "button", data: { word }, onclick: () => void this.#decide(word) }, icon(sign), el("span", { text })),
    );
    this.#mark = el("button", {
      type: "button",
      class: "mark-button",
      onclick: () => this.#toggleMarking(marking),
    }, icon("target"), el("span", { text: "Mark a region" }));
    this.marking = marking;
    this.#form.append(el("div", { class: "decide-words" }, ...this.#buttons), this.#note, this.#mark);
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    root.append(this.#subject, this.#form, this.#hint, this.#said);
  }

  update() {
    const store = this.#store;
    const { face, keyView } = store;
    const verdict = face === null ? null : store.verdictOf(face);
    const reason = face === null ? { code: "no-result" } : store.trust.whyNotFace(face, store.now());
    setText(this.#subject, face === null ? "" : keyView === null ? `On ${face} as a whole` : `On key view ${keyView} of ${face}`);
    show(this.#form, this.#commands.may("decide"));
    const canDecide = verdict !== null && reason === null && !verdict.provisional;
    for (const button of this.#buttons) button.disabled = !canDecide;
    this.#mark.disabled = reason !== null || store.grid.frames === 0;
    setAttribute(this.#mark, "aria-pressed", String(this.marking.isOn));
    setText(this.#hint, this.marking.isOn ? "Draw on the map; or arrows, Enter at two corners. Escape gives up." : "");
    this.#list(face);
  }

  #list(face) {
    const message = face === null ? null : this.#store.tally.decisionOf(face);
    const sweep = this.#store.verdictOf(face)?.sweep ?? this.#store.grid.sweep;
    const entries = message === null ? [] : [
      ...newestOf(message.decisions).map((each) => ({ ...each, words: decisionWords(each) })),
      ...message.marks.map((each, place) => ({ ...each, words: `marked R${place + 1}` })),
    ].sort((a, b) => b.at - a.at).slice(0, 40);
    const byId = new Map(entries.map((each) => [each.id, each]));
    syncChildren(
      this.#said,
      [...byId.keys()],
      () => el("li", {}, el("span", { class: "said-who" }), el("span", { class: "said-note" })),
      (item, id) => {
        const entry = byId.get(id);
        setAttribute(item, "data-earlier", entry.sweep !== sweep);
        setText(item.firstChild, `${clockTime(entry.at)} ${entry.by} ${entry.words}${entry.sweep === sweep ? "" : " (of an earlier sweep)"}`);
        setText(item.lastChild, entry.note);
      },
    );
  }

  async #decide(word) {
    const { face, keyView } = this.#store;
    const verdict = this.#store.verdictOf(face);
    const subject = keyView === null ? { subject: "face" } : { subject: "cluster", cluster: keyView };
    const reply = await this.#commands.give("decide", { face, sweep: verdict.sweep, ...subject, word, note: this.#note.value.trim() });
    if (reply.outcome === "done") this.#note.value = "";
  }

  #toggleMarking(marking) {
    if (marking.isOn) {
      marking.cancel();
      return;
    }
    const { grid, frame } = this.#store;
    marking.start({ frame, block: grid.blocks >> 1 });
    document.querySelector(".map-over").focus();
  }
}

function decisionWords({ word, subject, cluster, face }) {
  return `${DECISION_WORDS[word]}${subject === "cluster" ? ` on key view ${cluster}` : ` on the ${face ?? "face"}`}`;
}
