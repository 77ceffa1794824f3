// Saves what a hand changes once it rests, each thing by itself. Pure.

export class Saving {
  #save;
  #afterMs;
  #waiting = new Map();

  // `save(name, what)` saves one thing and resolves when it is saved, or has failed and said so.
  constructor(save, afterMs) {
    this.#save = save;
    this.#afterMs = afterMs;
  }

  // Names of what is not saved yet.
  get names() {
    return [...this.#waiting.keys()];
  }

  soon(name, what) {
    clearTimeout(this.#waiting.get(name));
    const timer = setTimeout(() => void this.#now(name, what, timer), this.#afterMs);
    this.#waiting.set(name, timer);
  }

  async #now(name, what, timer) {
    await this.#save(name, what);
    // A hand may have changed it again meanwhile.
    if (this.#waiting.get(name) === timer) this.#waiting.delete(name);
  }
}
