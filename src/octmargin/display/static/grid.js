// The map of one face as it is drawn: the daemon's maps, and between them the flags of single frames. Pure.
//
// Maps know more than flags, as they weigh neighbouring frames; so what a map says of a row stays, and flags fill
// only rows that it has as not scanned.

import { BLOCK, STATE_LETTERS } from "./messages.js";

const CODE = new Map([...STATE_LETTERS].map((letter, state) => [letter, state]));

// What was drawn of any grid counts on, so that a grid made anew never passes for one that is drawn already.
let drawings = 0;

export class FaceGrid {
  constructor(frames = 0, blocks = 0) {
    // What it is a map of; of nothing yet.
    this.session = "";
    this.case_id = "";
    this.specimen_id = "";
    this.sweep = null;
    this.dirty = new Set();
    this.#change();
    this.#resize(frames, blocks);
  }

  state(frame, block) {
    return this.cells[frame * this.blocks + block];
  }

  // Takes a map of the daemon.
  takeMap(map) {
    if (this.#isPast(map)) return;
    const isSame = this.#isOf(map) && map.frames === this.frames && map.blocks === this.blocks;
    if (!isSame) {
      this.#resize(map.frames, map.blocks);
      this.#name(map);
    }
    for (let frame = 0; frame < map.frames; frame += 1) this.#takeRow(frame, map.grid[frame]);
    this.#change();
  }

  // Takes the flags of one frame; `frames` is how many a sweep has, as far as is known.
  takeFlag(flag, frames) {
    if (this.#isPast(flag)) return;
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
    this.#change();
  }

  // What it is a map of, as one word.
  get of() {
    return JSON.stringify([this.session, this.case_id, this.specimen_id, this.sweep]);
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

  // Sweeps are numbered anew in each run of the daemon: only all four together name one.
  #isOf(message) {
    return message.sweep === this.sweep && this.#isOfSpecimen(message);
  }

  // Whether a newer sweep has taken the place of what is said.
  #isPast(message) {
    return this.#isOfSpecimen(message) && message.sweep < this.sweep;
  }

  #isOfSpecimen({ session, case_id: caseId, specimen_id: specimenId }) {
    return session === this.session && caseId === this.case_id && specimenId === this.specimen_id;
  }

  #name(message) {
    this.session = message.session;
    this.case_id = message.case_id;
    this.specimen_id = message.specimen_id;
    this.sweep = message.sweep;
  }

  #change() {
    drawings += 1;
    this.version = drawings;
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
