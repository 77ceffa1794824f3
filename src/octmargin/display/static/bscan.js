// The B-scan that is shown: live, or one that was chosen; with surface, suspicious blocks and scales in mm.

import { describeFrame, drawBscan } from "./bscan_drawing.js";
import { BscanLoader } from "./bscan_loader.js";
import { el, fitCanvas, setAttribute, setText, show, sizeOf, watchSize } from "./dom.js";
import { notCurrent } from "./enface.js";
import { begun, whyNotCurrent, withheld } from "./faces.js";
import { BLOCK } from "./messages.js";
import { PART } from "./store.js";
import { capitalised } from "./words.js";

const RETRY_MS = 1000;
// Misses in a row that are no frame on its way any more.
const MISSES = 4;

export class BscanView {
  parts = [PART.FRAME, PART.LOOK, PART.BSCANS, PART.TRUST, PART.CASE, PART.MAP];
  #store;
  #root;
  #loader;
  #newest = null;
  #misses = 0;
  #why = "";
  #failed = null;
  #label = el("p", { class: "frame-label" });
  #live = el("button", { type: "button", class: "live", text: "Live" });
  #canvas = el("canvas", { class: "bscan", role: "img" });
  #veil = el("p", { class: "veil" });
  #drawn = "";

  constructor(root, store, api) {
    this.#store = store;
    this.#root = root;
    this.#loader = new BscanLoader(api, (picture) => this.#loaded(picture));
    this.#live.addEventListener("click", () => store.followLive());
    this.#canvas.addEventListener("wheel", (event) => this.#turned(event), { passive: false });
    root.append(
      el("div", { class: "bscan-head" }, this.#label, this.#live),
      el("div", { class: "bscan-field" }, this.#canvas, this.#veil),
    );
    watchSize(this.#canvas, () => store.touch(PART.FRAME));
  }

  update() {
    const store = this.#store;
    const { face } = store;
    const now = store.now();
    const { isMoving } = store;
    const why = store.isLive ? store.trust.whyNotFrame(now) : store.trust.whyNotFace(face, now);
    const reason = why?.code === "no-result" || begun(why, store, face) ? null : why;
    const picture = withheld(reason) ? null : this.#choose(isMoving);
    const isRunning = isMoving && reason === null;
    show(this.#live, isRunning || (store.isScanning && !store.isLive));
    setAttribute(this.#live, "aria-pressed", String(store.isLive));
    setText(this.#live, store.isLive ? "Live" : "Back to live");
    setAttribute(this.#live, "data-moving", isRunning);
    setText(this.#label, this.#describe(picture));
    setAttribute(this.#root, "data-stale", reason !== null);
    const said = reason !== null ? notCurrent(whyNotCurrent(store, null, reason)) : picture === null ? this.#whyNone(isMoving) : "";
    show(this.#veil, said !== "" && store.grid.frames > 0);
    setText(this.#veil, said);
    this.#draw(picture);
  }

  // The wheel goes through B-scans as it does at other viewers of pictures.
  #turned(event) {
    const { grid, frame } = this.#store;
    if (grid.frames === 0 || event.deltaY === 0 || event.ctrlKey) return;
    event.preventDefault();
    this.#store.lookAtFrame(frame + Math.sign(event.deltaY));
  }

  #place() {
    const { grid, frame, tally } = this.#store;
    return { session: tally.session, sweep: grid.sweep, frame };
  }

  // The picture of the frame that is asked for; while frames run in, the newest that has come of this sweep.
  #choose(isMoving) {
    const place = this.#place();
    const { grid } = this.#store;
    if (place.sweep === null || grid.worstOf(place.frame) === BLOCK.NOT_SCANNED) return null;
    const picture = this.#loader.get(place);
    if (picture === null && !this.#hasJustFailed(place)) this.#loader.want(place);
    if (picture !== null || !isMoving) return picture;
    const isOfSweep = this.#newest?.session === place.session && this.#newest.sweep === place.sweep;
    return isOfSweep ? this.#loader.get(this.#newest) : null;
  }

  #hasJustFailed({ session, sweep, frame }) {
    const failed = this.#failed;
    const isThis = failed?.session === session && failed.sweep === sweep && failed.frame === frame;
    return isThis && this.#store.now().monoMs - failed.atMs < RETRY_MS;
  }

  #loaded(picture) {
    if (picture.error === "") {
      this.#newest = { session: picture.session, sweep: picture.sweep, frame: picture.frame };
      this.#misses = 0;
    } else {
      this.#misses += 1;
      this.#why = picture.error;
      this.#failed = { ...picture, atMs: this.#store.now().monoMs };
    }
    this.#store.touch(PART.FRAME);
  }

  #whyNone(isMoving) {
    const { grid, frame } = this.#store;
    if (grid.worstOf(frame) === BLOCK.NOT_SCANNED) return "Not scanned yet";
    // The newest frame may be on its way from the engine to where it is kept.
    if (this.#misses === 0 || (isMoving && this.#misses < MISSES)) return "";
    return `No B-scan: ${this.#why}`;
  }

  // Says which frame is seen, which is not always the one that was asked for last.
  #describe(picture) {
    const { face, grid, frame: asked } = this.#store;
    if (face === null || grid.frames === 0) return "No B-scan";
    const frame = picture?.frame ?? asked;
    const scan = this.#store.tally.description?.scan;
    const place = scan ? `, ${(((frame + 0.5) * scan.height_mm) / grid.frames).toFixed(1)} mm` : "";
    return `${capitalised(face)} · B-scan ${frame + 1} of ${grid.frames}${place}`;
  }

  #draw(picture) {
    const isResized = fitCanvas(this.#canvas);
    const what = picture === null ? "none" : `${picture.session}/${picture.sweep}/${picture.frame}`;
    if (!isResized && what === this.#drawn) return;
    this.#drawn = what;
    const context = this.#canvas.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    setAttribute(this.#canvas, "aria-label", describeFrame(picture));
    drawBscan(context, sizeOf(this.#canvas), picture, this.#scan());
  }

  #scan() {
    const described = this.#store.tally.description;
    const perBlock = described?.scan.alines_per_block ?? 16;
    return { width_mm: described?.scan.width_mm ?? 0, axial_um: described?.axial_um ?? null, perBlock };
  }
}
