// Between bytes on the bus and messages, as `octmargin.bus.codec` does it: strict on what is needed, deaf to
// what is unknown. Pure. Instants become ms of the Unix epoch.

import {
  ShapeError,
  anyObject,
  bool,
  count,
  dictionary,
  fraction,
  instant,
  list,
  mm,
  number,
  oneOf,
  orNull,
  refuse,
  struct,
  text,
} from "./shapes.js";
import { KIND } from "./topics.js";

export const SCHEMA = 1;

// Letter of each state in a map's grid; its place is the state's number.
export const STATE_LETTERS = ".LPNS";
export const BLOCK = Object.freeze({ NOT_SCANNED: 0, LOST: 1, POOR: 2, NOTHING: 3, SUSPICIOUS: 4 });

const BUS_STATES = ["init", "ready", "alert", "disconnected", "lost"];
const UNSTAMPED_MS = 0;
const MOST_KEY_VIEWS = 16;
const MOST_ENTRIES = 200;

// `schema` is that of a message which is newer than this display, else 0.
export class MessageError extends Error {
  constructor(reason, schema = 0) {
    super(reason);
    this.schema = schema;
  }
}

const name = text();
const identifier = text(64);
const above0 = (value, path) => (number(0)(value, path) > 0 ? value : refuse(path, "a number above 0"));

const HEADER = {
  acquired_at: instant,
  synthetic: bool,
};
const HEADER_OPTIONAL = {
  schema: [number(1), SCHEMA],
  session: [identifier, ""],
  sequence: [count, 0],
  published_at: [instant, UNSTAMPED_MS],
  valid_until: [instant, UNSTAMPED_MS],
};

function message(required, optional = {}) {
  return struct({ ...HEADER, ...required }, { ...HEADER_OPTIONAL, ...optional });
}

const WHERE = { case_id: identifier, specimen_id: identifier, face: name, sweep: count };

const stateCounts = struct(
  {},
  {
    not_scanned: [count, 0],
    lost: [count, 0],
    poor: [count, 0],
    nothing_suspicious: [count, 0],
    suspicious: [count, 0],
  },
);

const note = text(500);
const at1 = (value, path) => (count(value, path) >= 1 ? value : refuse(path, "a count from 1"));

const specimen = struct(
  { kind: oneOf("lumpectomy", "shave", "node"), laterality: oneOf("left", "right", "unknown") },
  { orientation: [text(200), ""], label: [text(64), ""] },
);

const PLACE = { first_frame: count, last_frame: count, first_block: count, last_block: count };

const keyView = struct({
  number: at1,
  ...PLACE,
  frame: count,
  block: count,
  evidence: fraction,
  distance_mm: orNull(mm),
  blocks: at1,
});

const SAID = { id: identifier, by: text(64), role: name, at: instant, sweep: count };

const decision = struct(
  { ...SAID, subject: oneOf("face", "cluster"), word: oneOf("agree", "disagree", "unsure") },
  { cluster: [orNull(at1), null], note: [note, ""] },
);

const mark = struct({ ...SAID, ...PLACE }, { note: [note, ""] });

const SHAPES = {
  [KIND.DESCRIPTION]: message(
    {
      instance_id: text(Infinity, 1),
      software_version: name,
      model: struct({ name, version: name }, { hash: [name, ""] }),
      calibration: struct({ id: name, hash: name }),
      configuration_hash: name,
      console: struct(
        { driver: name, address: name, simulated: bool },
        { maker: [name, ""], model: [name, ""], serial: [name, ""], firmware: [name, ""], source: [name, ""] },
      ),
      scan: struct({
        samples: count,
        alines: count,
        frames: count,
        width_mm: mm,
        height_mm: mm,
        line_rate_hz: number(0),
        alines_per_block: count,
      }),
      policy: anyObject,
    },
    { notice: [name, ""], axial_um: [orNull(above0), null], depth: [orNull(at1), null], display_url: [name, ""] },
  ),
  [KIND.CASE]: message({
    case_id: identifier,
    specimen_id: identifier,
    specimen: orNull(specimen),
    faces: list(name),
    phase: oneOf("idle", "scanning", "paused", "closed"),
    face: orNull(name),
    sweeps: dictionary(count),
    ink: dictionary(text(32, 1)),
    sutures: text(200),
  }),
  [KIND.FLAG]: message(
    {
      ...WHERE,
      frame_index: count,
      frame_sequence: count,
      received_at_ns: count,
      state: list(oneOf(0, 1, 2, 3, 4)),
      suspicion: list(orNull(fraction)),
      distance_mm: list(orNull(mm)),
      visualised_depth_mm: list(orNull(mm)),
      quality: list(count),
    },
    { late: [bool, false] },
  ),
  [KIND.MAP]: message({ ...WHERE, frames: count, blocks: count, grid: list(name), counts: stateCounts }),
  [KIND.VERDICT]: message(
    {
      ...WHERE,
      verdict: oneOf("suspicious", "nothing_suspicious", "indeterminate"),
      provisional: bool,
      coverage: fraction,
      visualised_depth_mm: orNull(mm),
      distance_mm: orNull(mm),
      clusters: count,
      counts: stateCounts,
      reasons: list(name),
    },
    { late: [bool, false], key_views: [list(keyView, MOST_KEY_VIEWS), Object.freeze([])] },
  ),
  [KIND.HEALTH]: message({
    state: oneOf(...BUS_STATES),
    frames: struct(
      {},
      {
        sent: [count, 0],
        received: [count, 0],
        processed: [count, 0],
        lost: [count, 0],
        lost_by_reason: [dictionary(count), Object.freeze({})],
      },
    ),
    flags: struct({}, { published: [count, 0], messages: [count, 0] }),
    queue: struct(
      {},
      {
        waiting: [count, 0],
        dropped: [count, 0],
        coalesced: [count, 0],
        late: [count, 0],
        refused: [count, 0],
      },
    ),
    rate_alines_per_s: number(0),
    latency_ms: orNull(struct({ p50: number(), p99: number() })),
    over_budget: orNull(fraction),
    recording: orNull(struct({}, { frames: [count, 0], missed: [count, 0] })),
    reconnects: count,
    uptime_s: number(0),
    lifecycle: oneOf("starting", "ready", "acquiring", "degraded", "faulted", "stopping"),
    reasons: list(name),
  }),
  [KIND.ALARM]: message(
    { id: name, priority: oneOf("high", "medium", "low"), text: name, remedy: name, active: bool },
    { acknowledged_by: [text(64), ""] },
  ),
  [KIND.DECISION]: message({
    case_id: identifier,
    specimen_id: identifier,
    face: name,
    decisions: list(decision, MOST_ENTRIES),
    marks: list(mark, MOST_ENTRIES),
  }),
};

function checkFlag(flag) {
  const blocks = flag.state.length;
  for (const column of ["suspicion", "distance_mm", "visualised_depth_mm", "quality"]) {
    if (flag[column].length !== blocks) throw new ShapeError(`${column} is not a list of ${blocks} blocks`);
  }
}

function checkMap(map) {
  if (map.grid.length !== map.frames || map.grid.some((row) => row.length !== map.blocks)) {
    throw new ShapeError(`the grid is not ${map.frames} rows of ${map.blocks} letters`);
  }
  const counted = [0, 0, 0, 0, 0];
  for (const row of map.grid) {
    for (const letter of row) {
      const state = STATE_LETTERS.indexOf(letter);
      if (state < 0) throw new ShapeError(`the grid holds ${letter}, which is no state`);
      counted[state] += 1;
    }
  }
  const { not_scanned, lost, poor, nothing_suspicious, suspicious } = map.counts;
  const said = [not_scanned, lost, poor, nothing_suspicious, suspicious];
  if (said.some((each, state) => each !== counted[state])) {
    throw new ShapeError("the counts are not those of the grid");
  }
}

function checkVerdict(verdict) {
  if (verdict.verdict === "nothing_suspicious" && !(verdict.coverage && verdict.visualised_depth_mm)) {
    throw new ShapeError("nothing_suspicious needs a coverage and a visualised depth above 0");
  }
}

function checkDecisions({ decisions, marks }) {
  for (const each of decisions) {
    if ((each.subject === "cluster") !== (each.cluster !== null)) {
      throw new ShapeError("a decision on a cluster names it, one on the face names none");
    }
  }
  for (const each of marks) {
    if (each.last_frame < each.first_frame || each.last_block < each.first_block) {
      throw new ShapeError("a mark ends before it begins");
    }
  }
}

const FURTHER = { [KIND.FLAG]: checkFlag, [KIND.MAP]: checkMap, [KIND.VERDICT]: checkVerdict, [KIND.DECISION]: checkDecisions };
const NAME_FIELD = {
  [KIND.MAP]: "face",
  [KIND.VERDICT]: "face",
  [KIND.DECISION]: "face",
  [KIND.ALARM]: "id",
};
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function parsed(payload) {
  try {
    return JSON.parse(utf8.decode(payload));
  } catch {
    throw new MessageError("it is no JSON");
  }
}

// Message of an address other than `$state`; MessageError names what is wrong with the payload.
export function decode(address, payload) {
  const raw = parsed(payload);
  // First of all: what is newer may have other fields, and is to be called newer, not broken.
  const schema = raw !== null && typeof raw === "object" ? raw.schema : undefined;
  if (Number.isInteger(schema) && schema > SCHEMA) {
    throw new MessageError(
      `it is of version ${schema}, and this display knows version ${SCHEMA}: update the display`,
      schema,
    );
  }
  let decoded;
  try {
    decoded = SHAPES[address.kind](raw, "");
    FURTHER[address.kind]?.(decoded);
  } catch (error) {
    if (error instanceof ShapeError) throw new MessageError(error.message);
    throw error;
  }
  if (decoded.schema !== SCHEMA) throw new MessageError(`its version is ${decoded.schema}`);
  if (!decoded.session || decoded.published_at === UNSTAMPED_MS || decoded.valid_until === UNSTAMPED_MS) {
    throw new MessageError("session, published_at or valid_until is missing");
  }
  const said = decoded[NAME_FIELD[address.kind]];
  if (said !== undefined && said !== address.name) {
    throw new MessageError(`it is about ${said}, its topic about ${address.name}`);
  }
  return decoded;
}

export function decodeState(payload) {
  let word;
  try {
    word = utf8.decode(payload);
  } catch {
    throw new MessageError("it is no text");
  }
  if (!BUS_STATES.includes(word)) throw new MessageError("it is no state that this display knows");
  return word;
}

// What one MQTT message means: an event for `Tally.add`.
export function toEvent(address, payload, retained, receivedMs) {
  const common = { retained, receivedMs, address };
  if (payload.length === 0) return { type: "cleared", ...common };
  try {
    if (address.kind === KIND.STATE) return { type: "state", state: decodeState(payload), ...common };
    return { type: address.kind, message: decode(address, payload), ...common };
  } catch (error) {
    if (!(error instanceof MessageError)) throw error;
    return { type: "malformed", reason: error.message, schema: error.schema, ...common };
  }
}
