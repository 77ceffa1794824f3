// The page's clocks. Pure but for the two functions that it is given.

const JUMP_MS = 500;

export class Clock {
  #wall;
  #mono;
  #driftMs;

  constructor(wall = () => Date.now(), mono = () => performance.now()) {
    this.#wall = wall;
    this.#mono = mono;
    this.#driftMs = wall() - mono();
  }

  now() {
    return { wallMs: this.#wall(), monoMs: this.#mono() };
  }

  // Whether the wall clock was set, or the machine slept, since this was asked last.
  jumped() {
    const driftMs = this.#wall() - this.#mono();
    const isJump = Math.abs(driftMs - this.#driftMs) > JUMP_MS;
    this.#driftMs = driftMs;
    return isJump;
  }
}
