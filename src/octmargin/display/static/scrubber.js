// Scrolling through all B-scans of the face that is shown, with what stands out in each.

import { el, fitCanvas, setAttribute, setText, watchSize } from "./dom.js";
import { begun } from "./faces.js";
import { BLOCK } from "./messages.js";
import { patternOf } from "./patterns.js";
import { PART } from "./store.js";

const PAGE = 10;
const KEYS = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1, PageUp: -PAGE, PageDown: PAGE };

export class ScrubberView {
  parts = [PART.MAP, PART.LOOK, PART.FRAME, PART.BSCANS, PART.FACES, PART.TRUST];
  #store;
  #root;
  #strip = el("canvas", { class: "strip", "aria-hidden": "true" });
  #range = el("input", { type: "range", class: "scrubber", min: "0", step: "1", "aria-label": "B-scan" });
  #kept = el("p", { class: "kept" });
  #drawn = "";

  constructor(root, store) {
    this.#store = store;
    this.#root = root;
    watchSize(this.#strip, () => store.touch(PART.MAP));
    root.append(this.#strip, this.#range, this.#kept);
    this.#range.addEventListener("input", () => store.lookAtFrame(Number(this.#range.value)));
    this.#range.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("keydown", (event) => {
      // Where a person types, or scrolls, the keys are for that.
      if (event.target.closest?.("input, textarea, select, dialog, [data-scrolls]")) return;
      this.#key(event);
    });
  }

  update() {
    const { face, grid, frame, trust } = this.#store;
    const last = Math.max(0, grid.frames - 1);
    setAttribute(this.#range, "max", last);
    if (this.#range.value !== String(frame)) this.#range.value = String(frame);
    setAttribute(this.#range, "aria-valuetext", `B-scan ${frame + 1} of ${grid.frames}`);
    this.#range.disabled = grid.frames === 0;
    const reason = face === null ? null : trust.whyNotMap(face, this.#store.now());
    setAttribute(this.#root, "data-stale", reason !== null && !begun(reason, this.#store, face));
    this.#sayKept();
    this.#draw(grid);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    const { grid, frame } = this.#store;
    if (grid.frames === 0) return;
    if (event.key in KEYS) this.#store.lookAtFrame(frame + KEYS[event.key]);
    else if (event.key === "Home") this.#store.lookAtFrame(0);
    else if (event.key === "End") this.#store.lookAtFrame(grid.frames - 1);
    else return;
    event.preventDefault();
  }

  #sayKept() {
    const thrownOut = this.#store.kept?.thrown_out ?? 0;
    const said = this.#store.sweepsReason || (thrownOut ? `${thrownOut} B-scans are not kept any more` : "");
    setText(this.#kept, said);
  }

  #draw(grid) {
    const isResized = fitCanvas(this.#strip);
    const what = `${this.#store.face}/${grid.version}`;
    if (!isResized && what === this.#drawn) return;
    this.#drawn = what;
    const context = this.#strip.getContext("2d");
    const { width, height } = context.canvas;
    context.clearRect(0, 0, width, height);
    const edge = (frame) => Math.round((width * frame) / grid.frames);
    const scale = window.devicePixelRatio || 1;
    let from = 0;
    for (let frame = 1; frame <= grid.frames; frame += 1) {
      const state = grid.worstOf(from);
      if (frame < grid.frames && grid.worstOf(frame) === state) continue;
      const inset = state === BLOCK.SUSPICIOUS ? 0 : Math.round(height * 0.25);
      context.fillStyle = patternOf(context, state, scale);
      context.fillRect(edge(from), inset, edge(frame) - edge(from), height - 2 * inset);
      from = frame;
    }
  }
}
