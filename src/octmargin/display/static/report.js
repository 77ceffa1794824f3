// The report's page: the report as it is now, B-scans beside it, and the form of whoever may interpret and sign.

import { el, setText, show } from "./dom.js";
import { ReportForm } from "./report_form.js";
import { ScanViewer } from "./report_scans.js";

const RECORD_MS = 15_000;
const PHASES = {
  registered: "not scanned yet",
  scanned: "PRELIMINARY: not interpreted",
  discontinued: "PRELIMINARY: acquisition was given up",
  preliminary: "PRELIMINARY: interpreted, not final",
  final: "FINAL, NOT SIGNED",
  signed: "SIGNED: it is never changed; what is said later is an addendum",
  amended: "SIGNED, with addenda",
  withdrawn: "WITHDRAWN",
};

const byId = (id) => document.getElementById(id);

async function ask(path, timeoutMs, options = {}) {
  const signal = AbortSignal.timeout(timeoutMs);
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", cache: "no-store", ...options, signal });
  } catch {
    throw new Error("the display's server does not answer; whether it was recorded is not known: load this page anew");
  }
  if (answer.ok) return answer;
  if (answer.status === 401) throw new Error("log in at the display first, or start the review anew; then load this page anew");
  let reason = `refused (${answer.status})`;
  try {
    reason = (await answer.json()).error ?? reason;
  } catch {
    // Its status says enough.
  }
  throw new Error(reason);
}

class ReportPage {
  constructor(caseId, specimenId) {
    this.path = `/api/report/${encodeURIComponent(caseId)}/${encodeURIComponent(specimenId)}`;
    this.scans = new ScanViewer(byId("scans"));
    this.form = new ReportForm(byId("form"), (what, body) => this.#add(what, body));
    setText(byId("title"), `Report: specimen ${specimenId} of case ${caseId}`);
    this.#makeLinks();
  }

  async load() {
    try {
      this.#show(await (await ask(this.path, RECORD_MS)).json());
    } catch (error) {
      this.#problem(error.message);
    }
  }

  #makeLinks() {
    const links = [
      ["PDF", `${this.path}/pdf`],
      ["PDF with B-scans and en-face pictures (takes a minute)", `${this.path}/pdf?pictures=yes`],
      ["Text for the operative note", `${this.path}/text`],
    ];
    byId("links").append(...links.map(([text, href]) => el("a", { class: "button", href, download: true, text })));
  }

  #show(told) {
    show(byId("main"), true);
    const state = byId("state");
    state.dataset.phase = told.phase;
    const synthetic = told.synthetic ? "SYNTHETIC. " : "";
    setText(state, synthetic + (PHASES[told.phase] ?? told.phase));
    const side = `side ${told.laterality.toUpperCase()}`;
    setText(byId("title"), `Report: ${told.patient} · ${side} · specimen ${told.specimen_id} of case ${told.case_id}`);
    this.scans.show(told);
    this.form.show(told);
    this.#showPaper(told.log_seq);
    this.#problem(told.conflicts.length ? `To be confirmed before anything is final: ${told.conflicts.join("; ")}` : "");
  }

  // Made anew: with pictures in it, it is a document of its own.
  #showPaper(logSeq) {
    const paper = byId("paper");
    const path = `${this.path}/html?of=${logSeq}`;
    this.form.read(null);
    setText(byId("making"), "The report is being made …");
    show(byId("making"), true);
    paper.onload = () => {
      const inside = paper.contentDocument;
      // One that was on its way already says nothing of what was added since.
      if (inside !== null && !inside.URL.endsWith(path)) return;
      const isReport = inside?.contentType === "text/html";
      show(byId("making"), !isReport);
      this.form.read(isReport ? logSeq : null);
      if (!isReport) setText(byId("making"), `No report: ${inside?.body?.textContent ?? "it could not be made"}`);
    };
    paper.src = path;
  }

  async #add(what, body) {
    const options = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    try {
      this.#show(await (await ask(`${this.path}/${what}`, RECORD_MS, options)).json());
    } catch (error) {
      this.#problem(error.message);
    }
  }

  #problem(text) {
    setText(byId("problem"), text);
    show(byId("problem"), text !== "");
  }
}

const asked = new URLSearchParams(location.search);
void new ReportPage(asked.get("case") ?? "", asked.get("specimen") ?? "").load();
