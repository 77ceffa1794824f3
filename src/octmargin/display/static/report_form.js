// What somebody who may sign says of each face, and the signature. What the record refuses is said in its own words.

import { el, setText, show } from "./dom.js";

const FINDINGS = {
  "": "– finding –",
  suspicious: "suspicious",
  nothing_suspicious: "nothing suspicious",
  indeterminate: "indeterminate",
  not_assessed: "not assessed",
};
const CLOSED = ["signed", "amended", "withdrawn"];

export class ReportForm {
  #told = null;
  #fields = new Map();
  #isBusy = false;
  // Of the record as the report that is on the page has it; null while one is being made.
  #readSeq = null;

  constructor(node, add) {
    this.add = add;
    this.who = el("p", { class: "form-who" });
    this.table = el("table", { class: "faces-form" });
    this.text = el("textarea", { rows: 4, maxlength: 4000, "aria-label": "Interpretation in words", placeholder: "Interpretation in words" });
    this.preliminary = el("button", { type: "button", text: "Keep as preliminary", onclick: () => this.#interpret("preliminary") });
    this.final = el("button", { type: "button", text: "Make final", onclick: () => this.#interpret("final") });
    this.sign = el("button", { type: "button", text: "Sign", onclick: () => this.#sign() });
    this.body = el("div", {}, this.table, this.text, el("div", { class: "form-buttons" }, this.preliminary, this.final, this.sign));
    node.append(el("h2", { text: "Interpretation and signature" }), this.who, this.body);
  }

  show(told) {
    const isFirst = this.#told === null;
    this.#told = told;
    const isOpen = told.signer !== null && !CLOSED.includes(told.phase);
    show(this.body, isOpen);
    setText(this.who, this.#about(told));
    if (isOpen && isFirst) this.#makeFields(told);
    this.#enable();
  }

  // The report of the record at this place is on the page, or none (null): what was not shown is not signed.
  read(logSeq) {
    this.#readSeq = logSeq;
    this.#enable();
  }

  #about(told) {
    if (told.signature !== null) return `Signed by ${told.signature.by.name}, ${told.signature.by.role}. Nothing changes it; add an addendum with "octmargin case addend".`;
    if (told.signer === null) return 'You may read it. Who interprets and signs here stands in record.signers of the configuration; "octmargin case" does it too.';
    const mode = told.mode === "referred" ? "later, on the recording (referred)" : "during the operation (real-time)";
    return `You interpret as ${told.signer.name}, ${told.signer.role}, ${mode}.`;
  }

  #makeFields(told) {
    const before = new Map((told.interpretation?.faces ?? []).map((face) => [face.face, face]));
    this.text.value = told.interpretation?.text ?? "";
    const rows = told.faces.map(({ face, verdict, outdated }) => {
      // Of an older sweep: whoever makes it final is to say what the new one shows.
      if (outdated) before.delete(face);
      const options = Object.entries(FINDINGS).map(([value, text]) => el("option", { value, text }));
      const finding = el("select", { "aria-label": `Finding, ${face}` }, ...options);
      const action = el("input", { type: "text", maxlength: 200, "aria-label": `Action, ${face}`, placeholder: "action taken" });
      finding.value = before.get(face)?.finding ?? "";
      action.value = before.get(face)?.action ?? "";
      this.#fields.set(face, { finding, action });
      const algorithm = verdict === undefined ? "not scanned" : verdict.replaceAll("_", " ");
      const anew = outdated ? "; scanned anew since it was interpreted" : "";
      return el("tr", {}, el("th", { scope: "row", text: face }), el("td", { text: `algorithm: ${algorithm}${anew}` }), el("td", {}, finding), el("td", {}, action));
    });
    this.table.replaceChildren(el("tbody", {}, ...rows));
  }

  #enable() {
    const isFinal = this.#told?.phase === "final";
    this.preliminary.disabled = this.final.disabled = this.#isBusy;
    const isRead = this.#told !== null && this.#readSeq === this.#told.log_seq;
    this.sign.disabled = this.#isBusy || !isFinal || !isRead;
    const signing = isRead ? "Sign: it is never changed afterwards" : "Sign (when the report is shown)";
    setText(this.sign, isFinal ? signing : "Sign (make it final first)");
  }

  async #interpret(state) {
    const faces = [];
    for (const [face, { finding, action }] of this.#fields) {
      if (finding.value) faces.push({ face, finding: finding.value, action: action.value });
    }
    await this.#give("interpretation", { log_seq: this.#told.log_seq, state, faces, text: this.text.value });
  }

  async #sign() {
    const { signer, patient, laterality, specimen_id: specimen } = this.#told;
    const whose = `${patient}, side ${laterality.toUpperCase()}, specimen ${specimen}`;
    if (!confirm(`Sign the report of ${whose}, as ${signer.name}? It is never changed afterwards.`)) return;
    await this.#give("signature", { log_seq: this.#told.log_seq });
  }

  async #give(what, body) {
    this.#isBusy = true;
    this.#enable();
    try {
      await this.add(what, body);
    } finally {
      this.#isBusy = false;
      this.#enable();
    }
  }
}
