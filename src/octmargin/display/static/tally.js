// What a subscriber makes of the stream: what it may believe, and what it counted. Pure: no page, no clock of its own.
//
// `octmargin.bus.tally`, rule by rule; a test compares the two on random courses. A reason is an object with a
// `code`, which words.js says to people. Times are ms of the Unix epoch.

import { KIND } from "./topics.js";

export const SILENCE_LIMIT_S = 5;
// Nothing can be believed while one of these cannot be read: whose results they are is not known.
const STANDS_UNREAD = [KIND.STATE, KIND.DESCRIPTION, KIND.CASE];
// One of these that is broken is made good by the next; where they are newer, none will.
const STANDS_UNREAD_IF_NEWER = [KIND.FLAG, KIND.HEALTH];
const LATENCY_SAMPLES = 10_000;
const RATE_WINDOW_MS = 2000;
const GAP_MEMORY = 10_000;
const SESSIONS_REMEMBERED = 64;

// The flags of one session of the daemon, as they arrived.
export class FlagStream {
  #highest = -1;
  #missing = new Set();
  #forgotten = 0;
  #latenciesMs = [];
  #nextLatency = 0;
  #recent = [];

  constructor() {
    this.messages = 0;
    this.blocks = 0;
    this.duplicates = 0;
  }

  // Sequence numbers that were passed over and never came.
  get gaps() {
    return this.#missing.size + this.#forgotten;
  }

  // Counts a flag message; true where it is no repetition.
  add(flag, receivedMs) {
    if (!this.#isNew(flag.sequence)) {
      this.duplicates += 1;
      return false;
    }
    this.messages += 1;
    this.blocks += flag.state.length;
    this.#latenciesMs[this.#nextLatency] = receivedMs - flag.received_at_ns / 1e6;
    this.#nextLatency = (this.#nextLatency + 1) % LATENCY_SAMPLES;
    this.#recent.push([receivedMs, flag.state.length]);
    while (this.#recent[0][0] < receivedMs - RATE_WINDOW_MS) this.#recent.shift();
    return true;
  }

  // Last byte at the daemon to arrival here, by two clocks taken as one; exact, by nearest rank. Null without any.
  latencyMs() {
    if (this.#latenciesMs.length === 0) return null;
    const ordered = Float64Array.from(this.#latenciesMs).sort();
    const [p50, p99] = [0.5, 0.99].map((share) => ordered[Math.ceil(share * ordered.length) - 1]);
    return { p50, p99 };
  }

  framesPerS(nowMs) {
    const recent = this.#recent.filter(([atMs]) => atMs > nowMs - RATE_WINDOW_MS);
    return recent.length / (RATE_WINDOW_MS / 1000);
  }

  #isNew(sequence) {
    if (this.#highest < 0) {
      this.#highest = sequence;
      return true;
    }
    if (sequence > this.#highest) {
      this.#noteGap(this.#highest + 1, sequence);
      this.#highest = sequence;
      return true;
    }
    return this.#missing.delete(sequence);
  }

  #noteGap(first, end) {
    const rememberedFrom = Math.max(first, end - GAP_MEMORY);
    this.#forgotten += rememberedFrom - first;
    for (let sequence = rememberedFrom; sequence < end; sequence += 1) this.#missing.add(sequence);
    while (this.#missing.size > GAP_MEMORY) {
      this.#missing.delete(this.#missing.values().next().value);
      this.#forgotten += 1;
    }
  }
}

// Whether a result is of the specimen on the stage.
export function isAbout(onStage, result) {
  return onStage.case_id === result.case_id && onStage.specimen_id === result.specimen_id;
}

function emptyFace() {
  // `unreadable`: by kind, why the last verdict or map could not be read.
  return { verdict: null, map: null, decision: null, unreadable: new Map() };
}

// Feed it events in their order (`toEvent` of messages.js, `connected`, `lost`); read the attributes at any time.
export class Tally {
  #session = "";
  #unreadable = new Map();
  #past = [];
  #aliveAtMs = null;
  #silenceLimitMs;

  constructor({ silenceLimitS = SILENCE_LIMIT_S } = {}) {
    this.#silenceLimitMs = silenceLimitS * 1000;
    this.disconnectedBecause = "not connected yet";
    this.state = null;
    this.description = null;
    this.case = null;
    this.health = null;
    this.lastFlag = null;
    this.faces = new Map();
    this.alarms = new Map();
    this.flags = new FlagStream();
    this.malformed = 0;
    this.late = 0;
  }

  get session() {
    return this.#session;
  }

  // True where anything that is shown comes from computed spectra.
  get synthetic() {
    const shown = [this.description, this.case, this.health, this.lastFlag, ...this.alarms.values()];
    for (const face of this.faces.values()) shown.push(face.verdict, face.map, face.decision);
    return shown.some((each) => each !== null && each.synthetic);
  }

  // Takes note of an event; true where it was of the present and no repetition.
  add(event) {
    if (event.address) this.#noteReadability(event);
    switch (event.type) {
      case "connected":
        this.disconnectedBecause = "";
        this.#forgetWhatTheBrokerRepeats();
        return true;
      case "lost":
        this.disconnectedBecause = event.reason;
        return true;
      case "state":
        this.state = event.state;
        return true;
      case KIND.DESCRIPTION:
        this.#beginSession(event.message.session);
        this.description = event.message;
        return true;
      case KIND.CASE:
        this.case = event.message;
        return true;
      case KIND.FLAG:
      case KIND.HEALTH:
        return this.#takeLive(event);
      case KIND.VERDICT:
      case KIND.MAP:
        return this.#takeResult(event);
      case KIND.ALARM:
        if (event.message.active) this.alarms.set(event.message.id, event.message);
        else this.alarms.delete(event.message.id);
        return true;
      case KIND.DECISION:
        this.#face(event.message.face).decision = event.message;
        return true;
      case "cleared":
        this.#forget(event.address);
        return true;
      case "malformed":
        this.malformed += 1;
        this.#distrust(event);
        return true;
      default:
        throw new Error(`no such event: ${event.type}`);
    }
  }

  // Why nothing may be shown as good; with `face`, also why its results may not. Null where all is well.
  staleReason(nowMs, face = null) {
    return this.whyNotLive(nowMs) ?? (face === null ? null : this.whyNotValid(face, nowMs));
  }

  // What readers said of a face of the specimen on the stage, in this run; null where they said nothing.
  decisionOf(name) {
    const decision = this.faces.get(name)?.decision ?? null;
    if (decision === null || this.case === null || decision.session !== this.#session) return null;
    return isAbout(this.case, decision) ? decision : null;
  }

  // Whether a newer sweep over the face has begun than the one that is told of.
  isSuperseded(face, { session, sweep }) {
    return this.case !== null && this.case.session === session && this.case.sweeps[face] > sweep;
  }

  whyNotLive(nowMs) {
    if (this.disconnectedBecause) return { code: "broker", text: this.disconnectedBecause };
    for (const reason of this.#unreadable.values()) return reason;
    if (this.state === null) return { code: "nobody" };
    if (this.state !== "ready") return { code: "state", state: this.state };
    if (this.#aliveAtMs === null) return { code: "no-sign" };
    const silentMs = nowMs - this.#aliveAtMs;
    return silentMs > this.#silenceLimitMs ? { code: "silent", seconds: silentMs / 1000 } : null;
  }

  whyNotValid(name, nowMs) {
    const face = this.faces.get(name);
    const results = [face?.verdict, face?.map].filter((result) => result);
    for (const reason of face?.unreadable.values() ?? []) return reason;
    if (results.length === 0) return { code: "no-result" };
    if (results.some((result) => result.session !== this.#session)) return { code: "earlier-run" };
    if (this.case === null) return { code: "no-case" };
    if (results.some((result) => !isAbout(this.case, result))) return { code: "other-specimen" };
    if (results.some((result) => this.isSuperseded(name, result))) return { code: "superseded" };
    const overMs = Math.max(...results.map((result) => nowMs - result.valid_until));
    return overMs > 0 ? { code: "expired", seconds: overMs / 1000 } : null;
  }

  #noteReadability({ type, address: { kind }, reason, schema }) {
    if (type !== "malformed") this.#unreadable.delete(kind);
    else if (STANDS_UNREAD.includes(kind) || (schema > 0 && STANDS_UNREAD_IF_NEWER.includes(kind))) {
      this.#unreadable.set(kind, { code: "unreadable", text: reason, schema });
    }
  }

  // The broker's memory is the start anew: what was taken back while we were away is not in it.
  #forgetWhatTheBrokerRepeats() {
    this.#unreadable.clear();
    this.state = null;
    this.description = null;
    this.case = null;
    this.faces.clear();
    this.alarms.clear();
    this.#aliveAtMs = null;
  }

  // An earlier run said it: it waited on that run's disk, or at the broker.
  #isHistory(event) {
    return !event.retained && (event.message.late || this.#past.includes(event.message.session));
  }

  #takeLive(event) {
    if (event.type === KIND.FLAG && this.#isHistory(event)) {
      this.late += 1;
      return false;
    }
    this.#beginSession(event.message.session);
    if (!event.retained) this.#aliveAtMs = event.receivedMs;
    if (event.type === KIND.HEALTH) {
      this.health = event.message;
      return true;
    }
    this.lastFlag = event.message;
    return this.flags.add(event.message, event.receivedMs);
  }

  #takeResult(event) {
    if (event.type === KIND.VERDICT && this.#isHistory(event)) {
      this.late += 1;
      return false;
    }
    const face = this.#face(event.message.face);
    face.unreadable.delete(event.type);
    if (event.type === KIND.MAP) face.map = event.message;
    else face.verdict = event.message;
    return true;
  }

  #beginSession(session) {
    if (session === this.#session) return;
    // Where it is a past one: the broker had forgotten, and remembered an earlier one meanwhile.
    this.#past = this.#past.filter((each) => each !== session);
    if (this.#session) this.#past.push(this.#session);
    if (this.#past.length > SESSIONS_REMEMBERED) this.#past.shift();
    this.#session = session;
    this.flags = new FlagStream();
    this.health = null;
    this.lastFlag = null;
  }

  #face(name) {
    if (!this.faces.has(name)) this.faces.set(name, emptyFace());
    return this.faces.get(name);
  }

  #forget({ kind, name }) {
    if (kind === KIND.STATE) this.state = null;
    else if (kind === KIND.DESCRIPTION) this.description = null;
    else if (kind === KIND.CASE) this.case = null;
    else if (kind === KIND.MAP) this.#face(name).map = null;
    else if (kind === KIND.VERDICT) this.#face(name).verdict = null;
    else if (kind === KIND.ALARM) this.alarms.delete(name);
    else if (kind === KIND.DECISION) this.#face(name).decision = null;
  }

  // Something newer was said and cannot be read: what was known before may be wrong by now.
  #distrust({ address, reason, schema }) {
    this.#forget(address);
    if (address.kind === KIND.MAP || address.kind === KIND.VERDICT) {
      this.#face(address.name).unreadable.set(address.kind, { code: "unreadable", text: reason, schema });
    }
  }
}
