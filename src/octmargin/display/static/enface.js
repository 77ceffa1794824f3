// The en-face map of the face that is shown, filling up live; marks of readers apart from what the algorithm says.

import { el, fitCanvas, setAttribute, setText, show, sizeOf, watchSize } from "./dom.js";
import { begun, whyNotCurrent, withheld } from "./faces.js";
import { drawMap } from "./mapdraw.js";
import { PART } from "./store.js";
import { BLOCK_WORDS } from "./words.js";

export class EnfaceView {
  parts = [PART.MAP, PART.FACES, PART.TRUST, PART.LOOK, PART.CASE, PART.FRAME, PART.DECISIONS];
  #store;
  #root;
  #marking;
  #field = el("div", { class: "map-field" });
  #map = el("canvas", { class: "map-cells", "aria-hidden": "true" });
  #over = el("canvas", {
    class: "map-over",
    tabindex: "0",
    role: "application",
    "aria-label": "En-face map. Up and down choose the B-scan.",
  });
  // Moved by the compositor: nothing is drawn anew for each frame that comes.
  #line = el("div", { class: "map-line", "aria-hidden": "true", hidden: true });
  #reason = el("p", { class: "veil", role: "status" });
  #drawn = "";
  #drawnOver = "";
  #drag = null;

  // `marking`: isOn, begin(cell), extend(cell), end(), cancel(); the regions that a reader draws.
  constructor(root, store, marking) {
    this.#store = store;
    this.#root = root;
    this.#marking = marking;
    this.#field.append(this.#map, this.#line, this.#over, this.#reason);
    root.append(this.#field);
    this.#over.addEventListener("pointerdown", (event) => this.#pressed(event));
    this.#over.addEventListener("pointermove", (event) => this.#moved(event));
    this.#over.addEventListener("pointerup", () => this.#released());
    this.#over.addEventListener("pointercancel", () => this.#marking.cancel());
    this.#over.addEventListener("keydown", (event) => this.#key(event));
    for (const each of [root, this.#map, this.#over]) watchSize(each, () => store.touch(PART.MAP));
  }

  update() {
    const store = this.#store;
    const { face, grid } = store;
    const reason = face === null ? { code: "no-result" } : store.trust.whyNotMap(face, store.now());
    // Between the first flags of a scan and its first map there is nothing that could be stale.
    const isStale = reason !== null && !begun(reason, store, face) && grid.frames > 0;
    this.#shape();
    setAttribute(this.#root, "data-stale", isStale);
    show(this.#reason, isStale);
    if (reason !== null) setText(this.#reason, notCurrent(whyNotCurrent(store, null, reason)));
    setAttribute(this.#over, "aria-label", this.#describe());
    this.#drawCells(withheld(reason) ? NOTHING : grid);
    this.#drawOver(reason);
  }

  // The field has the shape of the face, as large as there is room for.
  #shape() {
    const { widthMm, heightMm } = this.#scan();
    const ratio = widthMm && heightMm ? widthMm / heightMm : 1;
    const room = sizeOf(this.#root);
    const width = Math.floor(Math.min(room.width, room.height * ratio));
    this.#field.style.width = `${width}px`;
    this.#field.style.height = `${Math.floor(width / ratio)}px`;
  }

  #describe() {
    const counts = this.#store.grid.counts();
    const said = counts.map((count, state) => (count ? `${count} ${BLOCK_WORDS[state]}` : "")).filter(Boolean);
    return `En-face map of ${this.#store.face ?? "no face"}: ${said.join(", ") || "nothing scanned"}. Up and down choose the B-scan.`;
  }

  #drawCells(grid) {
    const isResized = fitCanvas(this.#map);
    const what = `${this.#store.face}/${grid.sweep}/${grid.frames}/${grid.blocks}`;
    const isWhole = isResized || what !== this.#drawn;
    this.#drawn = what;
    if (!isWhole && grid.dirty?.size === 0) return;
    const context = this.#map.getContext("2d");
    drawMap(context, grid, { rows: isWhole ? null : grid.dirty, scale: window.devicePixelRatio || 1 });
    grid.dirty?.clear();
  }

  #drawOver(reason) {
    const { grid, frame } = this.#store;
    const isShown = grid.frames > 0 && !withheld(reason);
    const size = sizeOf(this.#over);
    show(this.#line, isShown);
    if (isShown) this.#line.style.transform = `translateY(${(((frame + 0.5) * size.height) / grid.frames).toFixed(1)}px)`;
    const marks = isShown ? this.#marks() : [];
    const views = isShown && reason === null ? this.#keyViews() : [];
    const what = JSON.stringify([size.width, size.height, grid.frames, grid.blocks, marks, views, this.#scan()]);
    if (!fitCanvas(this.#over) && what === this.#drawnOver) return;
    this.#drawnOver = what;
    const context = this.#over.getContext("2d");
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, size.width, size.height);
    for (const view of views) keyView(context, size, view);
    for (const { mark, label } of marks) region(context, size, grid, mark, label);
    this.#drawScale(context, size);
  }

  // The most suspicious last, so that nothing lies over it; places as shares of the map.
  #keyViews() {
    const { face, grid, keyView } = this.#store;
    const verdict = this.#store.verdictOf(face);
    if (verdict === null || verdict.sweep !== grid.sweep) return [];
    const at = ({ number, frame, block }) => ({
      text: String(number),
      x: (block + 0.5) / grid.blocks,
      y: (frame + 0.5) / grid.frames,
      isChosen: number === keyView,
    });
    return verdict.key_views.map(at).reverse();
  }

  #marks() {
    const { face, grid, tally } = this.#store;
    const ofSweep = (tally.decisionOf(face)?.marks ?? []).filter((mark) => mark.sweep === grid.sweep);
    const marks = ofSweep.map((mark, place) => ({ mark, label: `R${place + 1}` }));
    return this.#marking.region === null ? marks : [...marks, { mark: this.#marking.region, label: "new" }];
  }

  #scan() {
    const { width_mm: widthMm = 0, height_mm: heightMm = 0 } = this.#store.tally.description?.scan ?? {};
    return { widthMm, heightMm };
  }

  #drawScale(context, { width, height }) {
    const { widthMm, heightMm } = this.#scan();
    if (!widthMm || !heightMm) return;
    const [perMmX, perMmY] = [width / widthMm, height / heightMm];
    context.fillStyle = "#ffffff";
    for (let mm = 1; mm < widthMm; mm += 1) context.fillRect(mm * perMmX - 0.5, height - 6, 1, 6);
    for (let mm = 1; mm < heightMm; mm += 1) context.fillRect(0, mm * perMmY - 0.5, 6, 1);
    const bar = widthMm >= 4 ? 1 : 0.5;
    scaleBar(context, width - 12 - bar * perMmX, height - 16, bar * perMmX, `${bar} mm`);
  }

  // -- hands ------------------------------------------------------------------------------------------

  #cell(event) {
    const { grid } = this.#store;
    const box = this.#over.getBoundingClientRect();
    const place = (at, from, size, parts) => Math.min(parts - 1, Math.max(0, Math.floor(((at - from) / size) * parts)));
    return {
      frame: place(event.clientY, box.top, box.height, grid.frames),
      block: place(event.clientX, box.left, box.width, grid.blocks),
    };
  }

  #pressed(event) {
    if (this.#store.grid.frames === 0) return;
    event.preventDefault();
    this.#over.focus();
    this.#over.setPointerCapture(event.pointerId);
    this.#drag = this.#marking.isOn ? "mark" : "frame";
    if (this.#drag === "mark") this.#marking.begin(this.#cell(event));
    else this.#store.lookAtFrame(this.#cell(event).frame);
  }

  #moved(event) {
    if (this.#drag === null) return;
    if (this.#drag === "mark") this.#marking.extend(this.#cell(event));
    else this.#store.lookAtFrame(this.#cell(event).frame);
  }

  #released() {
    if (this.#drag === "mark") this.#marking.end();
    this.#drag = null;
  }

  #key(event) {
    if (this.#marking.isOn && this.#marking.key(event)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }
}

const NOTHING = { frames: 0, blocks: 0, sweep: "withheld", dirty: null };

// What lies over a picture that is not current.
export function notCurrent(why) {
  return why ? `Not current: ${why}` : "Not current";
}

export function scaleBar(context, x, y, length, label) {
  context.font = "600 15px system-ui, sans-serif";
  const width = Math.max(length, context.measureText(label).width) + 12;
  context.fillStyle = "rgba(6, 8, 11, 0.82)";
  context.fillRect(x + length - width + 6, y - 22, width, 32);
  context.fillStyle = "#ffffff";
  context.fillRect(x, y, length, 3);
  context.textAlign = "right";
  context.fillText(label, x + length, y - 6);
  context.textAlign = "left";
}

// A ring around the place, which stays to be seen in it, and the number beside.
function keyView(context, size, { x, y, text, isChosen }) {
  const [atX, atY] = [x * size.width, y * size.height];
  const [besideX, besideY] = [atX < size.width - 60 ? atX + 34 : atX - 34, atY > 40 ? atY - 26 : atY + 26];
  for (const [colour, thick] of [["#000000", 6], ["#ffffff", 3]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.beginPath();
    context.arc(atX, atY, 11, 0, 2 * Math.PI);
    const towards = Math.atan2(besideY - atY, besideX - atX);
    context.moveTo(atX + 11 * Math.cos(towards), atY + 11 * Math.sin(towards));
    context.lineTo(besideX, besideY);
    context.stroke();
  }
  badge(context, text, besideX, besideY, ...(isChosen ? ["#ffffff", "#101418"] : ["#101418", "#ffffff"]));
}

function badge(context, text, x, y, background, ink) {
  context.font = "700 16px system-ui, sans-serif";
  const half = Math.max(12, context.measureText(text).width / 2 + 6);
  context.fillStyle = background;
  context.fillRect(x - half, y - 12, 2 * half, 24);
  context.strokeStyle = ink;
  context.lineWidth = 2;
  context.strokeRect(x - half, y - 12, 2 * half, 24);
  context.fillStyle = ink;
  context.textAlign = "center";
  context.fillText(text, x, y + 6);
  context.textAlign = "left";
}

// A reader's region: dashed, black and white, so that it is no state of the algorithm's.
function region(context, size, grid, mark, label) {
  const [perBlock, perFrame] = [size.width / grid.blocks, size.height / grid.frames];
  // Inwards by as much as the line is thick, so that none of it lies outside the map.
  const [x, y] = [mark.first_block * perBlock + 2, mark.first_frame * perFrame + 2];
  const width = (mark.last_block - mark.first_block + 1) * perBlock - 4;
  const height = (mark.last_frame - mark.first_frame + 1) * perFrame - 4;
  context.lineWidth = 4;
  context.strokeStyle = "#000000";
  context.strokeRect(x, y, width, height);
  context.lineWidth = 2;
  context.strokeStyle = "#ffffff";
  context.setLineDash([7, 5]);
  context.strokeRect(x, y, width, height);
  context.setLineDash([]);
  badge(context, label, Math.min(size.width - 16, x + width), Math.max(14, y), "#ffffff", "#101418");
}
