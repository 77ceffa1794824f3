// Fetches B-scans one at a time: what is wanted last is fetched next, and what was wanted meanwhile is left out.

const KEPT = 12;

export class BscanLoader {
  #api;
  #onLoaded;
  #kept = new Map();
  #wanted = null;
  #isLoading = false;

  // `onLoaded(picture)`: { session, sweep, frame, bitmap, lines, error }.
  constructor(api, onLoaded) {
    this.#api = api;
    this.#onLoaded = onLoaded;
  }

  // The B-scan at a place, { session, sweep, frame }; null where it has still to come.
  get(place) {
    const key = keyOf(place);
    const picture = this.#kept.get(key) ?? null;
    if (picture === null) return null;
    // What is looked at goes last.
    this.#kept.delete(key);
    this.#kept.set(key, picture);
    return picture;
  }

  want(place) {
    if (this.#kept.has(keyOf(place))) {
      this.#wanted = null;
      return;
    }
    this.#wanted = place;
    if (!this.#isLoading) void this.#loadWanted();
  }

  async #loadWanted() {
    this.#isLoading = true;
    while (this.#wanted !== null) {
      const place = this.#wanted;
      this.#wanted = null;
      const picture = await this.#load(place);
      if (picture.error === "") this.#keep(picture);
      this.#onLoaded(picture);
    }
    this.#isLoading = false;
  }

  async #load(place) {
    const { session, sweep, frame } = place;
    try {
      const [blob, lines] = await Promise.all([
        this.#api.bscan(session, sweep, frame),
        this.#api.lines(session, sweep, frame),
      ]);
      return { ...place, bitmap: await createImageBitmap(blob), lines, error: "" };
    } catch (error) {
      return { ...place, bitmap: null, lines: null, error: error.message };
    }
  }

  #keep(picture) {
    this.#kept.set(keyOf(picture), picture);
    if (this.#kept.size <= KEPT) return;
    const [oldest, { bitmap }] = this.#kept.entries().next().value;
    bitmap.close();
    this.#kept.delete(oldest);
  }
}

function keyOf({ session, sweep, frame }) {
  return `${session}/${sweep}/${frame}`;
}
