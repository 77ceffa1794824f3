// What the page knows and what it is looking at. Views read it and redraw the parts that it names as changed.

import { FaceGrid } from "./grid.js";
import { keptOf } from "./sweeps.js";
import { isAbout } from "./tally.js";
import { KIND } from "./topics.js";

// Parts of the page that are drawn by themselves.
export const PART = Object.freeze({
  TRUST: "trust",
  CASE: "case",
  FACES: "faces",
  MAP: "map",
  FRAME: "frame",
  LOOK: "look",
  DECISIONS: "decisions",
  ALARMS: "alarms",
  HEALTH: "health",
  BSCANS: "bscans",
  REPLIES: "replies",
  PHOTO: "photo",
});

const PARTS_OF = {
  connected: Object.values(PART),
  lost: [PART.TRUST],
  state: [PART.TRUST, PART.HEALTH],
  malformed: [PART.TRUST, PART.FACES, PART.MAP, PART.HEALTH, PART.DECISIONS, PART.CASE, PART.ALARMS],
  cleared: [PART.TRUST, PART.FACES, PART.MAP, PART.DECISIONS, PART.CASE, PART.ALARMS],
  [KIND.DESCRIPTION]: [PART.TRUST, PART.CASE, PART.FACES, PART.MAP, PART.FRAME, PART.HEALTH, PART.BSCANS],
  [KIND.CASE]: [PART.TRUST, PART.CASE, PART.FACES, PART.MAP, PART.LOOK, PART.DECISIONS, PART.PHOTO],
  [KIND.FLAG]: [PART.MAP, PART.FRAME],
  [KIND.MAP]: [PART.FACES, PART.MAP],
  [KIND.VERDICT]: [PART.FACES, PART.MAP, PART.LOOK, PART.DECISIONS],
  [KIND.HEALTH]: [PART.HEALTH],
  [KIND.ALARM]: [PART.ALARMS],
  [KIND.DECISION]: [PART.DECISIONS, PART.FACES, PART.MAP],
};

const MOST_FACES = 64;
// A frame that came so long ago is not live any more.
const MOVING_MS = 2000;

export class Store {
  #dirty = new Set(Object.values(PART));
  #onDirty;

  constructor(site, trust, clock, onDirty) {
    this.site = site;
    this.trust = trust;
    this.clock = clock;
    this.#onDirty = onDirty;
    this.grids = new Map();
    this.sweeps = [];
    this.sweepsReason = "";
    // What the person looks at: null follows what is being scanned.
    this.look = { face: null, frame: null, keyView: null, sweep: null };
    this.replies = [];
    this.lastFrameAt = null;
  }

  get tally() {
    return this.trust.tally;
  }

  add(event) {
    const { wallMs, monoMs } = this.clock.now();
    const hadSession = this.tally.session;
    const hadSpecimen = this.#specimenKey();
    const looked = this.#lookKey();
    const counts = this.trust.add({ ...event, receivedMs: event.receivedMs ?? wallMs }, monoMs);
    if (event.type === "connected") this.grids.clear();
    if (this.tally.session !== hadSession) this.#dropGrids();
    if (counts && event.type === KIND.MAP) this.#takeMap(event.message);
    if (counts && event.type === KIND.FLAG) this.#takeFlag(event.message, { wallMs, monoMs });
    if (event.type === "cleared" && event.address.kind === KIND.MAP) this.grids.delete(event.address.name);
    if (this.tally.session !== hadSession) this.touch(...Object.values(PART));
    if (hadSpecimen !== this.#specimenKey() && event.type === KIND.CASE) this.#newSpecimen();
    // Whatever follows the scan goes over to another face or sweep together, never part by part.
    if (looked !== this.#lookKey()) this.touch(...Object.values(PART));
    this.touch(...PARTS_OF[event.type]);
  }

  touch(...parts) {
    for (const part of parts) this.#dirty.add(part);
    this.#onDirty();
  }

  // Parts that changed since this was asked last.
  takeDirty() {
    const dirty = this.#dirty;
    this.#dirty = new Set();
    return dirty;
  }

  // Faces in the order in which they are planned, then others that something was said of.
  get faces() {
    const planned = this.tally.case?.faces ?? [];
    const others = [...this.tally.faces.keys()].filter((face) => !planned.includes(face) && this.#isOnStage(face));
    return [...planned, ...others.sort()];
  }

  // The face that is selected or being scanned, or was scanned last.
  get faceOnStage() {
    const { tally } = this;
    if (tally.case?.face) return tally.case.face;
    if (tally.lastFlag !== null && this.#isOfStage(tally.lastFlag)) return tally.lastFlag.face;
    const maps = [...tally.faces.values()].map(({ map }) => map).filter((map) => map && this.#isOfStage(map));
    maps.sort((a, b) => b.published_at - a.published_at);
    return maps[0]?.face ?? tally.case?.faces[0] ?? null;
  }

  get isScanning() {
    const { tally } = this;
    return tally.case?.phase ? tally.case.phase === "scanning" : tally.health?.lifecycle === "acquiring";
  }

  // The face that is shown large.
  get face() {
    const { face } = this.look;
    return face !== null && this.faces.includes(face) ? face : this.faceOnStage;
  }

  get grid() {
    return this.grids.get(this.face) ?? EMPTY;
  }

  // Whether what is drawn of a face is of the sweep over it that began last.
  isDrawnAnew(face) {
    const { tally } = this;
    const grid = this.grids.get(face);
    if (!grid || tally.case === null || grid.session !== tally.session || !isAbout(tally.case, grid)) return false;
    const { verdict, map } = tally.faces.get(face) ?? {};
    const results = [verdict, map].filter(Boolean);
    const isNewest = results.length === 0 || results.some((result) => result.sweep < grid.sweep);
    return isNewest && !tally.isSuperseded(face, grid);
  }

  verdictOf(face) {
    return this.tally.faces.get(face)?.verdict ?? null;
  }

  // Whether the verdict of a face is open for no other reason than that its sweep goes on.
  isUnderWay(face) {
    const verdict = this.verdictOf(face);
    const isThis = verdict?.provisional && verdict.verdict === "indeterminate" && face === this.faceOnStage;
    return Boolean(isThis) && (this.isScanning || this.tally.case?.phase === "paused");
  }

  // Whether the newest frame is to be shown as it comes.
  get isLive() {
    return this.look.frame === null && this.face === this.faceOnStage;
  }

  // Whether frames of the face that is shown are running in, and the newest is shown.
  get isMoving() {
    const flag = this.tally.lastFlag;
    const isOfThis = this.isLive && flag?.face === this.face && flag.sweep === this.grid.sweep;
    return Boolean(isOfThis) && this.clock.now().monoMs - this.lastFrameAt < MOVING_MS;
  }

  // The frame that is shown: the one that was chosen; else the newest while the face is scanned, and then the most
  // suspicious.
  get frame() {
    if (this.look.frame !== null) return this.look.frame;
    const flag = this.tally.lastFlag;
    const verdict = this.verdictOf(this.face);
    const isComplete = verdict?.provisional === false && verdict.sweep === this.grid.sweep;
    if (!isComplete && flag?.face === this.face && this.#isOfStage(flag)) return flag.frame_index;
    return verdict?.key_views[0]?.frame ?? this.#lastScanned();
  }

  // Number of the key view that was chosen; it is one of its own sweep alone.
  get keyView() {
    const { face, keyView, sweep } = this.look;
    return face === this.face && sweep === this.verdictOf(face)?.sweep ? keyView : null;
  }

  lookAt(face, { frame = null, keyView = null } = {}) {
    this.look = { face, frame, keyView, sweep: this.grids.get(face)?.sweep ?? null };
    this.touch(PART.LOOK, PART.FACES, PART.MAP, PART.FRAME, PART.DECISIONS, PART.PHOTO);
  }

  lookAtFrame(frame, keyView = null) {
    const last = Math.max(0, this.grid.frames - 1);
    this.lookAt(this.face, { frame: Math.min(last, Math.max(0, frame)), keyView });
  }

  // Back to what is being scanned.
  followLive() {
    this.lookAt(null);
  }

  // What the daemon keeps of the sweep that is shown; null where it keeps nothing of it.
  get kept() {
    return keptOf(this.sweeps, this.tally.session, this.grid.sweep);
  }

  setSweeps(sweeps, reason = "") {
    this.sweeps = sweeps;
    this.sweepsReason = reason;
    this.touch(PART.BSCANS);
  }

  addReply(reply) {
    this.replies = [reply, ...this.replies.filter((each) => each.id !== reply.id)].slice(0, 4);
    this.touch(PART.REPLIES);
  }

  now() {
    return this.clock.now();
  }

  #takeMap(map) {
    if (this.#isOfStage(map)) this.#grid(map.face)?.takeMap(map);
  }

  // Flags that come after the specimen has changed, or when they hold no more, draw nothing.
  #takeFlag(flag, { wallMs, monoMs }) {
    const { tally } = this;
    if (tally.case === null || !isAbout(tally.case, flag) || flag.valid_until < wallMs) return;
    this.lastFrameAt = monoMs;
    this.#grid(flag.face)?.takeFlag(flag, this.tally.description?.scan.frames ?? 0);
  }

  #grid(face) {
    if (!this.grids.has(face)) {
      if (this.grids.size >= MOST_FACES) return null;
      this.grids.set(face, new FaceGrid());
    }
    return this.grids.get(face);
  }

  #lookKey() {
    return `${this.face}/${this.grid.sweep}`;
  }

  #specimenKey() {
    const onStage = this.tally.case;
    return onStage === null ? "" : `${onStage.case_id}/${onStage.specimen_id}`;
  }

  // Nothing of the specimen before is looked at any more.
  #newSpecimen() {
    this.look = { face: null, frame: null, keyView: null, sweep: null };
    this.#dropGrids();
    this.touch(...Object.values(PART));
  }

  // Maps of another run or specimen are no maps of this one.
  #dropGrids() {
    for (const [face, grid] of this.grids) {
      if (grid.session !== this.tally.session || !this.#isOfStage(grid)) this.grids.delete(face);
    }
  }

  #isOfStage(message) {
    const onStage = this.tally.case;
    return onStage === null || isAbout(onStage, message);
  }

  #isOnStage(face) {
    const { verdict, map, unreadable } = this.tally.faces.get(face);
    return unreadable.size > 0 || [verdict, map].some((result) => result && this.#isOfStage(result));
  }

  #lastScanned() {
    const { grid } = this;
    for (let frame = grid.frames - 1; frame >= 0; frame -= 1) if (grid.worstOf(frame) !== 0) return frame;
    return 0;
  }
}

const EMPTY = new FaceGrid();
