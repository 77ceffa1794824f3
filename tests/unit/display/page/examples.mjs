// Messages as `decode` gives them, to be varied; and a display that has heard all it needs.

const folder = new URL(`file://${process.env.OCTMARGIN_PAGE}/`);
export const load = (name) => import(new URL(name, folder));

const { Trust } = await load("trust.js");
const { Store } = await load("store.js");

export const NOON = Date.UTC(2031, 4, 6, 12);
export const RUN = "run-1";

const HEADER = { schema: 1, session: RUN, sequence: 0, synthetic: true };
const WHERE = { case_id: "C-7", specimen_id: "S-1", face: "superior", sweep: 3 };

export const description = (changes = {}) => ({
  ...HEADER,
  instance_id: RUN,
  scan: { frames: 3, alines: 64, width_mm: 4, height_mm: 4, alines_per_block: 16 },
  ...changes,
});
export const onStage = (changes = {}) => ({
  ...HEADER, case_id: "C-7", specimen_id: "S-1", specimen: null, faces: ["superior", "inferior"],
  phase: "scanning", face: "superior", sweeps: {}, ink: {}, sutures: "", ...changes,
});
export const flag = (changes = {}) => ({
  ...HEADER, ...WHERE, frame_index: 0, state: [3, 3, 4, 3], late: false, received_at_ns: NOON * 1e6, ...changes,
});
export const map = (changes = {}) => ({
  ...HEADER, ...WHERE, frames: 3, blocks: 4, grid: ["SNNN", "NPLN", "...."], ...changes,
});
export const verdict = (changes = {}) => ({
  ...HEADER, ...WHERE, verdict: "nothing_suspicious", provisional: true, late: false, key_views: [], ...changes,
});
export const health = (changes = {}) => ({ ...HEADER, state: "ready", lifecycle: "acquiring", ...changes });

// A display whose clocks stand at `now`, in s after noon.
export class Display {
  constructor(options) {
    this.trust = new Trust(options);
    this.atS = 0;
    // By how much the wall clock is wrong.
    this.wrongS = 0;
  }

  get now() {
    return { wallMs: NOON + 1000 * (this.atS + this.wrongS), monoMs: 1000 * this.atS };
  }

  after(seconds) {
    this.atS += seconds;
    return this;
  }

  // A message that was published just now, and holds for a minute.
  hears(type, message, { retained = false, agoS = 0 } = {}) {
    const name = ["map", "verdict", "decision"].includes(type) ? message.face : "";
    const published = NOON + 1000 * (this.atS - agoS);
    const stamps = { published_at: published, acquired_at: published, valid_until: published + 60_000 };
    const said = message && { ...stamps, ...message };
    const address = { kind: type, name };
    return this.takes({ type, message: said, address, retained, receivedMs: this.now.wallMs });
  }

  takes(event) {
    this.trust.add(event, this.now.monoMs);
    return this;
  }

  isSaid(state) {
    return this.takes({ type: "state", state, address: { kind: "$state", name: "" }, retained: false });
  }

  cannotRead(kind, { name = "", schema = 0 } = {}) {
    return this.takes({ type: "malformed", address: { kind, name }, reason: "broken", schema, retained: false });
  }

  code(face = "superior") {
    return this.trust.whyNotFace(face, this.now)?.code ?? null;
  }

  mapCode(face = "superior") {
    return this.trust.whyNotMap(face, this.now)?.code ?? null;
  }
}

// A display that draws too: what it heard is in `store`.
export class DrawingDisplay extends Display {
  constructor() {
    super();
    this.store = new Store({ ink: {}, sutures: "" }, this.trust, { now: () => this.now }, () => {});
  }

  takes(event) {
    this.store.add(event);
    return this;
  }

  // The map of a face as it would be drawn; null where there is none.
  drawn(face = "superior") {
    const grid = this.store.grids.get(face);
    return grid ? letters(grid) : null;
  }
}

export function letters(grid) {
  const row = (frame) => Array.from({ length: grid.blocks }, (_, block) => ".LPNS"[grid.state(frame, block)]).join("");
  return Array.from({ length: grid.frames }, (_, frame) => row(frame));
}

export function listening(options) {
  return hearing(new Display(options));
}

export function hearing(display) {
  return display
    .takes({ type: "connected" })
    .isSaid("ready")
    .hears("$description", description(), { retained: true })
    .hears("case", onStage(), { retained: true })
    .hears("verdict", verdict(), { retained: true })
    .hears("map", map(), { retained: true })
    .hears("health", health());
}
