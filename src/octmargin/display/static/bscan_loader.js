// Fetches B-scans one at a time: what is wanted last is fetched next, and what was wanted meanwhile is left out.

const KEPT = 12;

export class BscanLoader {
  #api;
  #onLoaded;
  #kept = new Map();
  #wanted = null;
  #isLoading = false;

  // `onLoaded(picture)`: { sweep, frame, bitmap, lines, error }.
  constructor(api, onLoaded) {
    this.#api = api;
    this.#onLoaded = onLoaded;
  }

  // The B-scan of a frame; null where it has still to come.
  get(sweep, frame) {
    return this.#kept.get(`${sweep}/${frame}`) ?? null;
  }

  want(sweep, frame) {
    if (this.#kept.has(`${sweep}/${frame}`)) {
      this.#wanted = null;
      return;
    }
    this.#wanted = { sweep, frame };
    if (!this.#isLoading) void this.#loadWanted();
  }

  // Sweeps are numbered anew in each run of the daemon.
  forget() {
    for (const picture of this.#kept.values()) picture.bitmap?.close();
    this.#kept.clear();
  }

  async #loadWanted() {
    this.#isLoading = true;
    while (this.#wanted !== null) {
      const { sweep, frame } = this.#wanted;
      this.#wanted = null;
      const picture = await this.#load(sweep, frame);
      if (picture.error === "") this.#keep(picture);
      this.#onLoaded(picture);
    }
    this.#isLoading = false;
  }

  async #load(sweep, frame) {
    try {
      const [blob, lines] = await Promise.all([this.#api.bscan(sweep, frame), this.#api.lines(sweep, frame)]);
      return { sweep, frame, bitmap: await createImageBitmap(blob), lines, error: "" };
    } catch (error) {
      return { sweep, frame, bitmap: null, lines: null, error: error.message };
    }
  }

  #keep(picture) {
    this.#kept.set(`${picture.sweep}/${picture.frame}`, picture);
    if (this.#kept.size <= KEPT) return;
    const [oldest, { bitmap }] = this.#kept.entries().next().value;
    bitmap.close();
    this.#kept.delete(oldest);
  }
}
