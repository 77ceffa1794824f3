// All B-scans of a face, one after the other, where this server has them.

import { api } from "./api.js";
import { describeFrame, drawBscan } from "./bscan_drawing.js";
import { BscanLoader } from "./bscan_loader.js";
import { el, fitCanvas, setAttribute, setText, show, sizeOf, watchSize } from "./dom.js";

const AGAIN_MS = 3000;
const MM = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(2)} mm`);

export class ScanViewer {
  #faces = [];
  #face = null;
  #synthetic = true;

  constructor(node) {
    this.select = el("select", { "aria-label": "Face", onchange: () => this.#turnTo(this.select.value) });
    this.slider = el("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "B-scan", oninput: () => this.#ask() });
    this.place = el("span", { role: "status" });
    this.picture = el("canvas", { class: "scan-picture", role: "img" });
    this.loader = new BscanLoader(api, () => this.#draw());
    this.missing = el("p", { class: "scan-said" });
    this.synthetic = el("p", { class: "scan-synthetic", text: "SYNTHETIC spectra: computed, not measured" });
    this.views = el("div", { class: "form-buttons" });
    this.said = el("p", { class: "scan-said" });
    const row = el("div", { class: "scan-row" }, this.slider, this.place);
    node.append(el("h2", { text: "B-scans" }), this.select, this.synthetic, this.picture, this.missing, row, this.views, this.said);
    watchSize(this.picture, () => this.#draw());
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
    this.#ask();
  }

  #keyView(view) {
    const text = `Key view ${view.number}: B-scan ${view.frame + 1}`;
    return el("button", { type: "button", text, onclick: () => this.#look(view.frame) });
  }

  #look(frame) {
    this.slider.value = String(frame);
    this.#ask();
  }

  get #place() {
    return { session: this.#face.session, sweep: this.#face.bscans, frame: Number(this.slider.value) };
  }

  // What is still being read comes by itself.
  #ask() {
    clearTimeout(this.again);
    if (this.loader.get(this.#place) === null) {
      this.loader.want(this.#place);
      this.again = setTimeout(() => this.#ask(), AGAIN_MS);
    }
    this.#draw();
  }

  #draw() {
    if (this.#face === null) return;
    const picture = this.loader.get(this.#place);
    const frame = Number(this.slider.value);
    const kind = this.#synthetic ? "SYNTHETIC " : "";
    setText(this.place, `${frame + 1} of ${this.#face.frames}`);
    setAttribute(this.picture, "aria-label", `${kind}${this.#face.face}: ${describeFrame(picture)}`);
    fitCanvas(this.picture);
    const ratio = window.devicePixelRatio || 1;
    const context = this.picture.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { width_mm = 0, axial_um = null, alines_per_block: perBlock = 1 } = picture?.lines ?? {};
    drawBscan(context, sizeOf(this.picture), picture, { width_mm, axial_um, perBlock });
    const missing = "This B-scan is not here: it was lost, it is still being read, or it made room for newer ones.";
    setText(this.missing, picture === null ? missing : "");
  }
}
