// The map of one face as it is drawn: the daemon's maps, and between them the flags of single frames. Pure.
//
// Maps know more than flags, as they weigh neighbouring frames; so what a map says of a row stays, and flags fill
// only rows that it has as not scanned.

import { BLOCK, STATE_LETTERS } from "./messages.js";

const CODE = new Map([...STATE_LETTERS].map((letter, state) => [letter, state]));

export class FaceGrid {
  constructor(frames = 0, blocks = 0) {
    this.sweep = null;
    this.specimenId = "";
    this.dirty = new Set();
    this.version = 0;
    this.#resize(frames, blocks);
  }

  state(frame, block) {
    return this.cells[frame * this.blocks + block];
  }

  // Takes a map of the daemon.
  takeMap(map) {
    const isSame = this.#isOf(map) && map.frames === this.frames && map.blocks === this.blocks;
    if (!isSame) {
      this.#resize(map.frames, map.blocks);
      this.#name(map);
    }
    for (let frame = 0; frame < map.frames; frame += 1) this.#takeRow(frame, map.grid[frame]);
    this.version += 1;
  }

  // Takes the flags of one frame; `frames` is how many a sweep has, as far as is known.
  takeFlag(flag, frames) {
    const rows = Math.max(frames, this.#isOf(flag) ? this.frames : 0);
    if (flag.frame_index >= rows) return;
    if (!this.#isOf(flag) || flag.state.length !== this.blocks || rows !== this.frames) {
      // Nothing of a sweep before may stand for what was not scanned in this one.
      this.#resize(rows, flag.state.length);
      this.#name(flag);
    }
    if (this.#mapped[flag.frame_index]) return;
    this.cells.set(flag.state, flag.frame_index * this.blocks);
    this.dirty.add(flag.frame_index);
    this.version += 1;
  }

  // Share of the frames that were scanned, be it lost.
  get scannedShare() {
    let scanned = 0;
    for (let frame = 0; frame < this.frames; frame += 1) scanned += this.worstOf(frame) !== BLOCK.NOT_SCANNED;
    return this.frames ? scanned / this.frames : 0;
  }

  counts() {
    const counts = [0, 0, 0, 0, 0];
    for (const state of this.cells) counts[state] += 1;
    return counts;
  }

  // What stands out most in a frame.
  worstOf(frame) {
    const row = this.cells.subarray(frame * this.blocks, (frame + 1) * this.blocks);
    return WORST_FIRST.find((state) => row.includes(state)) ?? BLOCK.NOT_SCANNED;
  }

  #mapped = new Uint8Array(0);

  #isOf(message) {
    return message.sweep === this.sweep && message.specimen_id === this.specimenId;
  }

  #name(message) {
    this.sweep = message.sweep;
    this.specimenId = message.specimen_id;
  }

  #resize(frames, blocks) {
    this.frames = frames;
    this.blocks = blocks;
    this.cells = new Uint8Array(frames * blocks);
    this.#mapped = new Uint8Array(frames);
    for (let frame = 0; frame < frames; frame += 1) this.dirty.add(frame);
    for (const frame of this.dirty) if (frame >= frames) this.dirty.delete(frame);
  }

  #takeRow(frame, letters) {
    if (letters === ".".repeat(this.blocks)) {
      // Flags that came after this map was made may have filled it.
      return;
    }
    this.#mapped[frame] = 1;
    const start = frame * this.blocks;
    let changed = false;
    for (let block = 0; block < this.blocks; block += 1) {
      const state = CODE.get(letters[block]);
      if (this.cells[start + block] !== state) {
        this.cells[start + block] = state;
        changed = true;
      }
    }
    if (changed) this.dirty.add(frame);
  }
}

const WORST_FIRST = [BLOCK.SUSPICIOUS, BLOCK.LOST, BLOCK.POOR, BLOCK.NOT_SCANNED, BLOCK.NOTHING];
