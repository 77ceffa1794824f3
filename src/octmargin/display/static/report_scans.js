// All B-scans of a face, one after the other, where this server has them.

import { el, setText, show } from "./dom.js";

const AGAIN_MS = 3000;
const MM = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(2)} mm`);

export class ScanViewer {
  #faces = [];
  #face = null;
  #synthetic = true;

  constructor(node) {
    this.select = el("select", { "aria-label": "Face", onchange: () => this.#turnTo(this.select.value) });
    this.slider = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "B-scan", oninput: () => this.#draw() });
    this.place = el("span", { role: "status" });
    this.picture = el("img", { class: "scan-picture", alt: "" });
    this.picture.addEventListener("error", () => this.#missing());
    this.picture.addEventListener("load", () => this.#there());
    this.missing = el("p", { class: "scan-said" });
    this.synthetic = el("p", { class: "scan-synthetic", text: "SYNTHETIC spectra: computed, not measured" });
    this.views = el("div", { class: "form-buttons" });
    this.said = el("p", { class: "scan-said" });
    const row = el("div", { class: "scan-row" }, this.slider, this.place);
    node.append(el("h2", { text: "B-scans" }), this.select, this.synthetic, this.picture, this.missing, row, this.views, this.said);
  }

  show(told) {
    this.#faces = told.faces.filter((face) => face.sweep !== null);
    this.#synthetic = told.synthetic;
    show(this.synthetic, told.synthetic);
    this.select.replaceChildren(...this.#faces.map((face) => el("option", { value: face.face, text: face.face })));
    const wanted = this.#face?.face ?? this.#faces.find((face) => face.verdict !== "nothing_suspicious")?.face;
    if (this.#faces.length) this.#turnTo(wanted ?? this.#faces[0].face);
  }

  #turnTo(name) {
    const isAnother = this.#face?.face !== name;
    this.#face = this.#faces.find((face) => face.face === name) ?? this.#faces[0];
    const face = this.#face;
    this.select.value = face.face;
    this.slider.max = String(Math.max(face.frames - 1, 0));
    if (isAnother) this.slider.value = String(face.key_views[0]?.frame ?? Math.floor(face.frames / 2));
    this.views.replaceChildren(...face.key_views.map((view) => this.#keyView(view)));
    const word = face.verdict.replaceAll("_", " ");
    const readers = face.decisions.map((one) => `${one.by}: ${one.word}${one.note ? ` (${one.note})` : ""}`);
    setText(
      this.said,
      `Algorithm: ${word}; seen ${(Math.floor(face.coverage * 1000) / 10).toFixed(1)} %, to a depth of ${MM(face.visualised_depth_mm)}; ` +
        `nearest ${MM(face.distance_mm)}. ${face.reasons.join("; ")}. Readers: ${readers.join("; ") || "nobody yet"}.`,
    );
    this.#draw();
  }

  #keyView(view) {
    const text = `Key view ${view.number}: B-scan ${view.frame + 1}`;
    return el("button", { type: "button", text, onclick: () => this.#look(view.frame) });
  }

  #look(frame) {
    this.slider.value = String(frame);
    this.#draw();
  }

  #draw() {
    const face = this.#face;
    const frame = Number(this.slider.value);
    const kind = this.#synthetic ? "SYNTHETIC " : "";
    clearTimeout(this.again);
    setText(this.place, `${frame + 1} of ${face.frames}`);
    this.picture.alt = `${kind}B-scan ${frame + 1} of ${face.face}`;
    this.picture.src = `/api/bscans/${face.bscans}/${frame}?session=${encodeURIComponent(face.session)}`;
  }

  #there() {
    setText(this.missing, "");
    show(this.picture, true);
  }

  // What is still being read comes by itself.
  #missing() {
    clearTimeout(this.again);
    this.again = setTimeout(() => this.#draw(), AGAIN_MS);
    show(this.picture, false);
    setText(this.missing, "This B-scan is not here: it was lost, it is still being read, or it made room for newer ones.");
  }
}
