// A reader draws a region of interest on the map: with a hand, or with the keys. Pure.
//
// A region is { first_frame, last_frame, first_block, last_block }, inclusive.

export class Marking {
  #anchor = null;
  #cell = null;
  #onChange;
  #onDone;
  #size;
  #of = null;

  // `size()`: { frames, blocks, of } of the map, `of` being what it is a map of; `onDone(region)`.
  constructor(size, onChange, onDone) {
    this.#size = size;
    this.#onChange = onChange;
    this.#onDone = onDone;
    this.isOn = false;
  }

  get region() {
    if (!this.isOn || this.#cell === null) return null;
    const other = this.#anchor ?? this.#cell;
    return {
      first_frame: Math.min(this.#cell.frame, other.frame),
      last_frame: Math.max(this.#cell.frame, other.frame),
      first_block: Math.min(this.#cell.block, other.block),
      last_block: Math.max(this.#cell.block, other.block),
    };
  }

  start(cell) {
    this.isOn = true;
    this.#of = this.#size().of;
    this.#anchor = null;
    this.#cell = cell;
    this.#onChange();
  }

  cancel() {
    this.isOn = false;
    this.#anchor = this.#cell = null;
    this.#onChange();
  }

  begin(cell) {
    this.#anchor = this.#cell = cell;
    this.#onChange();
  }

  extend(cell) {
    if (this.#anchor === null) return;
    this.#cell = cell;
    this.#onChange();
  }

  end() {
    const { region } = this;
    if (region === null || this.#anchor === null) return;
    const isOfThis = this.#size().of === this.#of;
    this.cancel();
    // A region that was begun on another map means nothing on this one.
    if (isOfThis) this.#onDone(region);
  }

  // Arrows move, Enter sets the first and then the other corner, Escape gives up. True where the key was taken.
  key({ key }) {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    if (key in steps) this.#move(...steps[key]);
    else if (key === "Enter" && this.#anchor === null) this.begin(this.#cell);
    else if (key === "Enter") this.end();
    else if (key === "Escape") this.cancel();
    else return false;
    return true;
  }

  #move(frames, blocks) {
    const { frames: rows, blocks: columns } = this.#size();
    const inside = (value, end) => Math.min(end - 1, Math.max(0, value));
    this.#cell = { frame: inside(this.#cell.frame + frames, rows), block: inside(this.#cell.block + blocks, columns) };
    this.#onChange();
  }
}
