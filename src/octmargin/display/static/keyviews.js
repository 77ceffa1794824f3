// Key views: where it looks suspicious, most suspicious first. A click shows that B-scan.

import { el, setAttribute, setText, show, syncChildren } from "./dom.js";
import { begun } from "./faces.js";
import { readersInShort, saidOf } from "./readers.js";
import { PART } from "./store.js";
import { Thumbnails } from "./thumbnails.js";
import { millimetres } from "./words.js";

const THUMB = { width: 320, height: 200 };
// A-lines shown around the place to look at.
const AROUND = 96;
const SETTLED_MS = 700;

export class KeyViewsView {
  parts = [PART.FACES, PART.LOOK, PART.TRUST, PART.BSCANS, PART.DECISIONS, PART.CASE];
  #store;
  #api;
  #list = el("ul", { class: "keyviews" });
  #none = el("p", { class: "none" });
  #more = el("p", { class: "none" });
  #thumbnails;

  constructor(root, store, api) {
    this.#store = store;
    this.#api = api;
    this.#thumbnails = new Thumbnails((item, what) => this.#loadThumb(item, what), () => store.now().monoMs);
    root.append(this.#list, this.#none, this.#more);
  }

  update() {
    const store = this.#store;
    const { face } = store;
    const verdict = face === null ? null : store.verdictOf(face);
    const isCurrent = verdict !== null && store.trust.whyNotFace(face, store.now()) === null;
    const views = isCurrent ? verdict.key_views : [];
    const key = (view) => `${store.tally.session}/${face}/${verdict.sweep}/${view.number}/${view.frame}/${view.block}`;
    const byKey = new Map(views.map((view) => [key(view), view]));
    syncChildren(
      this.#list,
      [...byKey.keys()],
      (each) => this.#make(each, byKey.get(each), face),
      (item, each) => this.#updateItem(item, byKey.get(each), verdict),
    );
    show(this.#none, views.length === 0);
    setText(this.#none, this.#whyNone(face, verdict, isCurrent));
    const left = isCurrent ? verdict.clusters - views.length : 0;
    show(this.#more, views.length > 0 && left > 0);
    setText(this.#more, `and ${left} more cluster${left === 1 ? "" : "s"}, smaller`);
  }

  #whyNone(face, verdict, isCurrent) {
    const reason = face === null ? null : this.#store.trust.whyNotFace(face, this.#store.now());
    if (face === null || verdict === null || begun(reason, this.#store, face)) return "No verdict yet.";
    if (!isCurrent) return "Not current.";
    return verdict.provisional ? "None so far." : "None: no cluster of suspicious blocks.";
  }

  #make(key, view, face) {
    const canvas = el("canvas", { class: "thumb", width: THUMB.width, height: THUMB.height, "aria-hidden": "true", data: { missing: "" } });
    const number = el("span", { class: "keyview-number" });
    const text = el("span", { class: "keyview-text" });
    const reader = el("span", { class: "keyview-reader" });
    const hidden = el("span", { class: "visually-hidden", text: "Key view" });
    const caption = el("span", { class: "keyview-caption" }, hidden, number, text);
    const button = el("button", { type: "button", class: "keyview" }, canvas, caption, reader);
    const item = el("li", {}, button);
    Object.assign(item, { canvas, number, text, reader, button, face });
    item.madeAtMs = this.#store.now().monoMs;
    return item;
  }

  #updateItem(item, view, verdict) {
    const store = this.#store;
    item.button.onclick = () => store.lookAt(item.face, { frame: view.frame, keyView: view.number });
    setText(item.number, String(view.number));
    const size = `${view.blocks} block${view.blocks === 1 ? "" : "s"}`;
    setText(item.text, `${view.distance_mm === null ? "depth not known" : millimetres(view.distance_mm, 2)}, ${size}`);
    const said = readersInShort(saidOf(store.tally.decisionOf(item.face), verdict.sweep, view.number));
    setText(item.reader, said);
    show(item.reader, said !== "");
    setAttribute(item.button, "aria-pressed", String(store.keyView === view.number));
    // While a sweep goes on, clusters grow: what is another one the next moment is not worth a picture.
    const isSettled = !verdict.provisional || store.now().monoMs - item.madeAtMs > SETTLED_MS;
    if (isSettled) this.#thumbnails.want(item, { view, session: verdict.session, sweep: verdict.sweep });
  }

  async #loadThumb(item, { view, session, sweep }) {
    if (!item.isConnected) return;
    try {
      const bitmap = await createImageBitmap(await this.#api.bscan(session, sweep, view.frame));
      drawThumb(item.canvas, bitmap, view, this.#store.tally.description?.scan.alines_per_block ?? 16);
      bitmap.close();
      delete item.canvas.dataset.missing;
    } catch (error) {
      // Not kept, or not yet: the number and its place on the map are still there.
      item.canvas.dataset.missing = "";
      throw error;
    }
  }
}

function drawThumb(canvas, bitmap, view, perBlock) {
  const middle = (view.block + 0.5) * perBlock;
  const width = Math.min(bitmap.width, Math.max(AROUND, (view.last_block - view.first_block + 3) * perBlock));
  const left = Math.min(bitmap.width - width, Math.max(0, middle - width / 2));
  const height = bitmap.height * 0.72;
  canvas.getContext("2d").drawImage(bitmap, left, 0, width, height, 0, 0, canvas.width, canvas.height);
}
