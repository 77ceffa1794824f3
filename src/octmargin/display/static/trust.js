// What this page may show as current: the rules of tally.js, and what a page in an operating room needs besides.
// Pure: no page, no clock of its own. `now` is { wallMs, monoMs }: the wall clock, and one that nobody can set.

import { Tally, isAbout } from "./tally.js";
import { KIND } from "./topics.js";

// Health comes twice a second, and everything must be grey within 2 s, looked at every 250 ms.
export const SILENCE_LIMIT_S = 1.5;
export const LOOK_EVERY_MS = 250;
export const CLOCK_LIMIT_S = 2;
const OFFSETS_FROM_MS = 1300;

export class Trust {
  #silenceLimitMs;
  #clockLimitMs;
  #heardMonoMs = null;
  #offsets = [];
  #gaps = new Map();
  #newestFlags = new Map();
  #flagsGoOnIn = "";

  constructor({ silenceLimitS = SILENCE_LIMIT_S, clockLimitS = CLOCK_LIMIT_S } = {}) {
    this.#silenceLimitMs = silenceLimitS * 1000;
    this.#clockLimitMs = clockLimitS * 1000;
    this.tally = new Tally({ silenceLimitS });
  }

  // Takes note of an event that came at `monoMs`; true where it was of the present and no repetition.
  add(event, monoMs) {
    if (event.type === "connected") this.#startAnew();
    const gapsBefore = event.type === KIND.FLAG ? this.#gapsOf(event.message.session) : 0;
    const counts = this.tally.add(event);
    if (!event.address) return counts;
    if (event.type === KIND.FLAG || event.type === KIND.HEALTH) this.#takeLive(event, monoMs, counts);
    if (event.type === KIND.FLAG && counts) this.#takeFlag(event.message, gapsBefore);
    if (event.type === KIND.MAP) this.#takeMap(event.message);
    return counts;
  }

  // Whether there was a sign of life since the connection, or since the clock was set.
  get isHeard() {
    return this.#heardMonoMs !== null;
  }

  // Why nothing on the page may be shown as current; null where all is well.
  whyNotLive(now) {
    const { tally } = this;
    return (
      tally.whyNotLive(now.wallMs) ??
      this.#whySilent(now) ??
      this.#whyClockIsOff(now) ??
      (tally.case === null ? { code: "no-case" } : null)
    );
  }

  // Why the verdict of a face, and what hangs on it, may not be shown as current.
  whyNotFace(face, now) {
    return this.whyNotLive(now) ?? this.tally.whyNotValid(face, now.wallMs) ?? this.#whyNotThis(face);
  }

  // The same of its map, which is drawn from the flags between two maps.
  whyNotMap(face, now) {
    return this.whyNotFace(face, now) ?? this.#gaps.get(face) ?? null;
  }

  // The same of the frame that is being scanned.
  whyNotFrame(now) {
    const flag = this.tally.lastFlag;
    return this.whyNotLive(now) ?? (flag === null ? { code: "no-result" } : this.#whyNotFlag(flag));
  }

  // How far this clock is ahead of the daemon's, in s, by the messages of the last seconds; null where none came.
  clockAheadS(now) {
    const recent = this.#offsets.filter(({ monoMs }) => monoMs > now.monoMs - OFFSETS_FROM_MS);
    if (recent.length === 0) return null;
    // A message that was held up looks like a clock that is ahead: the smallest difference is the clocks'.
    return recent.map(({ aheadMs }) => aheadMs).reduce((a, b) => (Math.abs(b) < Math.abs(a) ? b : a)) / 1000;
  }

  // This clock was set, or the machine slept: nothing that was measured with it holds.
  clockWasSet() {
    this.#offsets = [];
    this.#heardMonoMs = null;
  }

  #startAnew() {
    this.#heardMonoMs = null;
    this.#offsets = [];
    this.#gaps.clear();
    this.#newestFlags.clear();
  }

  #gapsOf(session) {
    return session === this.tally.session ? this.tally.flags.gaps : 0;
  }

  #takeLive(event, monoMs, counts) {
    if (event.retained || (event.type === KIND.FLAG && !counts)) return;
    this.#heardMonoMs = monoMs;
    this.#offsets = this.#offsets.filter((each) => each.monoMs > monoMs - OFFSETS_FROM_MS);
    this.#offsets.push({ monoMs, aheadMs: event.receivedMs - event.message.published_at });
  }

  #takeFlag(flag, gapsBefore) {
    const missing = this.tally.flags.gaps - gapsBefore;
    if (missing > 0) {
      const gap = { code: "gap", missing, publishedAt: flag.published_at };
      this.#gaps.set(flag.face, gap);
      // What was missed may have been the end of the face before, unless its books are closed.
      const before = this.#flagsGoOnIn;
      if (before && this.tally.faces.get(before)?.verdict?.provisional !== false) this.#gaps.set(before, gap);
    }
    this.#flagsGoOnIn = flag.face;
    this.#newestFlags.set(flag.face, flag);
  }

  #takeMap(map) {
    const gap = this.#gaps.get(map.face);
    if (gap !== undefined && map.published_at >= gap.publishedAt) this.#gaps.delete(map.face);
  }

  #whySilent(now) {
    if (this.#heardMonoMs === null) return { code: "no-sign" };
    const silentMs = now.monoMs - this.#heardMonoMs;
    return silentMs > this.#silenceLimitMs ? { code: "silent", seconds: silentMs / 1000 } : null;
  }

  #whyClockIsOff(now) {
    const aheadS = this.clockAheadS(now);
    return aheadS !== null && Math.abs(aheadS) * 1000 > this.#clockLimitMs ? { code: "clock", aheadS } : null;
  }

  #whyNotThis(name) {
    const face = this.tally.faces.get(name);
    const results = [face.verdict, face.map].filter((result) => result !== null);
    const flag = this.#newestFlags.get(name);
    const isSuperseded = (result) =>
      flag !== undefined && flag.session === result.session && flag.sweep > result.sweep;
    return this.#whyOfAnother(results) ?? (results.some(isSuperseded) ? { code: "superseded" } : null);
  }

  #whyNotFlag(flag) {
    return this.#whyOfAnother([flag]) ?? (this.tally.isSuperseded(flag) ? { code: "superseded" } : null);
  }

  #whyOfAnother(messages) {
    const isOther = messages.some((message) => !isAbout(this.tally.case, message));
    return isOther ? { code: "other-specimen" } : null;
  }
}
