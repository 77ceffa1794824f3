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
  #shown = null;
  // What the note is about, and what was written about other subjects of this stage.
  #subjectOfNote = "";
  #stage = "";
  #drafts = new Map();
  // Subjects on which a decision is on its way.
  #awaited = new Set();
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
    // Who begins to say something means what is shown now, wherever the scan goes on to.
    for (const begins of ["pointerdown", "focusin"]) this.#form.addEventListener(begins, () => this.#stay());
    root.append(this.#subject, this.#form, this.#hint, this.#said);
  }

  update() {
    const store = this.#store;
    const { face, keyView } = store;
    const verdict = face === null ? null : store.verdictOf(face);
    this.#shown = verdict === null ? null : { face, keyView, sweep: verdict.sweep };
    this.#keepNoteTo({ face, keyView, sweep: verdict?.sweep ?? null });
    const reason = face === null ? { code: "no-result" } : store.whyNotFace(face);
    setText(this.#subject, face === null ? "" : keyView === null ? `On ${face} as a whole` : `On key view ${keyView} of ${face}`);
    show(this.#form, this.#commands.may("decide"));
    const canDecide = verdict !== null && reason === null && !verdict.provisional;
    for (const button of this.#buttons) {
      button.disabled = !canDecide;
      // It keeps the focus meanwhile.
      setAttribute(button, "aria-disabled", this.#awaited.has(this.#subjectOfNote) ? "true" : null);
    }
    const isWhole = canDecide && store.grid.frames > 0;
    this.#mark.disabled = !isWhole;
    const whyNot = canDecide ? "" : whyNotNow(verdict, reason);
    for (const button of [...this.#buttons, this.#mark]) setAttribute(button, "title", whyNot);
    setAttribute(this.#mark, "aria-pressed", String(this.marking.isOn));
    setText(this.#hint, this.#hintWords(whyNot));
    this.#list(face);
  }

  #hintWords(whyNot) {
    if (!this.#commands.may("decide")) return "Decisions are given by readers.";
    return this.marking.isOn ? "Draw on the map; or arrows, Enter at two corners. Escape gives up." : whyNot;
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

  // Words that were written about one face, key view, sweep or specimen go with no decision on another. They are there
  // again when that is, unless it left the stage.
  #keepNoteTo(shown) {
    // Between two connections it is only not known.
    if (this.#store.tally.case === null) return;
    const stage = JSON.stringify(this.#commands.stage);
    const subject = JSON.stringify([stage, shown]);
    if (subject === this.#subjectOfNote) return;
    this.#drafts.set(this.#subjectOfNote, this.#note.value);
    if (stage !== this.#stage) this.#drafts.clear();
    this.#stage = stage;
    this.#subjectOfNote = subject;
    this.#note.value = this.#drafts.get(subject) ?? "";
  }

  #stay() {
    const { look, face } = this.#store;
    if (look.face === null && face !== null) this.#store.lookAt(face, look);
  }

  // On what was on the screen when it was pressed, and nothing else.
  async #decide(word) {
    const about = this.#subjectOfNote;
    if (this.#shown === null || this.#awaited.has(about)) return;
    const { face, keyView, sweep } = this.#shown;
    const subject = keyView === null ? { subject: "face" } : { subject: "cluster", cluster: keyView };
    this.#await(about, true);
    const reply = await this.#commands.give("decide", { face, sweep, ...subject, word, note: this.#note.value.trim() });
    this.#await(about, false);
    if (reply.outcome !== "done") return;
    this.#drafts.delete(about);
    if (about === this.#subjectOfNote) this.#note.value = "";
  }

  #await(subject, isAwaited) {
    if (isAwaited) this.#awaited.add(subject);
    else this.#awaited.delete(subject);
    this.#store.touch(PART.DECISIONS);
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

// Why nothing can be decided or marked: a sweep that goes on may yet show something else there.
function whyNotNow(verdict, reason) {
  if (reason !== null && reason.code !== "no-result" && reason.code !== "superseded") return "Not current.";
  return verdict === null ? "Possible when the face was scanned." : "Possible when the sweep is complete.";
}

function decisionWords({ word, subject, cluster, face }) {
  return `${DECISION_WORDS[word]}${subject === "cluster" ? ` on key view ${cluster}` : ` on the ${face ?? "face"}`}`;
}
