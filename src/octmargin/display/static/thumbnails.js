// Loads pictures one after the other, so that they never stand in the way of the B-scan that is looked at; one that
// could not be had is tried again after a pause. Pure.

export const RETRY_MS = 3000;

export class Thumbnails {
  #load;
  #nowMs;
  #queue = [];
  #isLoading = false;
  // What is loaded or on its way, and when others failed.
  #had = new WeakSet();
  #failedAtMs = new WeakMap();

  // `load(item, what)` resolves when the item has its picture; `nowMs()` is a clock that nobody sets.
  constructor(load, nowMs) {
    this.#load = load;
    this.#nowMs = nowMs;
  }

  // To be called as often as one likes.
  want(item, what) {
    if (this.#had.has(item) || this.#nowMs() - this.#failedAtMs.get(item) < RETRY_MS) return;
    this.#had.add(item);
    this.#queue.push([item, what]);
    if (!this.#isLoading) void this.#loadAll();
  }

  async #loadAll() {
    this.#isLoading = true;
    while (this.#queue.length > 0) {
      const [item, what] = this.#queue.shift();
      try {
        await this.#load(item, what);
      } catch {
        this.#had.delete(item);
        this.#failedAtMs.set(item, this.#nowMs());
      }
    }
    this.#isLoading = false;
  }
}
