// The verdict on the face that is shown, large.

import { el, icon, setAttribute, setIcon, setText, show } from "./dom.js";
import { begun, saidOnFace, shownVerdict, verdictWord, whyNotCurrent } from "./faces.js";
import { readersInFull } from "./readers.js";
import { PART } from "./store.js";
import { capitalised, millimetres, percent } from "./words.js";

export class VerdictView {
  parts = [PART.FACES, PART.TRUST, PART.LOOK, PART.CASE, PART.DECISIONS];
  #store;
  #root;
  #face = el("h2", { class: "face-name" });
  #tag = el("span", { class: "tag" });
  #sign = icon("none", "verdict-sign");
  #word = el("p", { class: "verdict-word" });
  #seen = el("dd");
  #deep = el("dd");
  #near = el("dd");
  #figures;
  #nearLabel = el("dt", { text: "nearest" });
  #reasons = el("p", { class: "verdict-reasons", tabindex: "0", data: { scrolls: "" } });
  #reader = el("p", { class: "verdict-reader" });

  constructor(root, store) {
    this.#store = store;
    this.#root = root;
    this.#figures = el(
      "dl",
      { class: "figures" },
      el("div", {}, el("dt", { text: "coverage" }), this.#seen),
      el("div", {}, el("dt", { text: "depth" }), this.#deep),
      el("div", {}, this.#nearLabel, this.#near),
    );
    root.append(
      el("div", { class: "verdict-head" }, this.#face, this.#tag),
      el("div", { class: "verdict-line" }, this.#sign, this.#word),
      this.#figures,
      this.#reasons,
      this.#reader,
    );
  }

  update() {
    const store = this.#store;
    const { face } = store;
    const verdict = face === null ? null : store.verdictOf(face);
    const reason = face === null ? { code: "no-result" } : store.whyNotFace(face);
    const isCurrent = verdict !== null && reason === null;
    const shown = isCurrent ? shownVerdict(store, face) : "";
    const hasBegun = begun(reason, store, face);
    const isEmpty = hasBegun || reason?.code === "no-result" || (verdict === null && reason === null);
    setText(this.#face, face === null ? "" : capitalised(face));
    setAttribute(this.#root, "data-verdict", shown);
    setAttribute(this.#root, "data-stale", !isCurrent && !isEmpty);
    setIcon(this.#sign, shown || (isEmpty ? "none" : "stale"));
    setText(this.#word, shown ? verdictWord(store, shown) : hasBegun ? "Scan has begun" : face === null ? "No specimen" : isEmpty ? "Not scanned" : "Not current");
    setText(this.#tag, isCurrent ? (verdict.provisional ? "so far, not the last word" : "sweep complete") : "");
    show(this.#tag, isCurrent);
    show(this.#figures, isCurrent);
    if (isCurrent) this.#say(verdict);
    setText(this.#reasons, isCurrent ? whyThis(verdict, shown) : isEmpty ? "" : capitalised(whyNotCurrent(store, verdict, reason)));
    const said = face === null ? "" : readersInFull(saidOnFace(store, face));
    show(this.#reader, said !== "");
    setText(this.#reader, said);
  }

  #say(verdict) {
    setText(this.#seen, percent(verdict.coverage));
    setText(this.#deep, millimetres(verdict.visualised_depth_mm));
    const hasNear = verdict.distance_mm !== null;
    show(this.#near.parentElement, hasNear);
    if (hasNear) setText(this.#near, millimetres(verdict.distance_mm, 2));
  }
}

// Of a sweep that goes on, that it does and how far it is has been said.
function whyThis(verdict, shown) {
  return shown === "scanning" ? "" : verdict.reasons.join("; ");
}
