import assert from "node:assert/strict";
import { test } from "node:test";

import { flag, letters, load, map, onStage } from "./examples.mjs";

const { FaceGrid } = await load("grid.js");
const { Clock } = await load("clock.js");
const { Marking } = await load("marking.js");
const { commandBody, mayCommand, stageOf } = await load("commands.js");
const { newestOf, readersInFull, readersInShort, saidOf } = await load("readers.js");
const { keptOf } = await load("sweeps.js");
const { millimetres, percent, sayReason } = await load("words.js");
const { commandTopic, displayFilters, parseTopic, replyTopic } = await load("topics.js");

test("flags fill the map as they come", () => {
  const grid = new FaceGrid();
  grid.takeFlag(flag({ frame_index: 1 }), 3);
  assert.deepEqual(letters(grid), ["....", "NNSN", "...."]);
  assert.deepEqual([...grid.dirty].sort(), [0, 1, 2]);
});

test("what a map says of a frame stays, and flags fill what it left out", () => {
  const grid = new FaceGrid();
  grid.takeMap(map());
  grid.takeFlag(flag({ frame_index: 0 }), 3);
  grid.takeFlag(flag({ frame_index: 2 }), 3);
  assert.deepEqual(letters(grid), ["SNNN", "NPLN", "NNSN"]);
  grid.takeMap(map());
  assert.deepEqual(letters(grid), ["SNNN", "NPLN", "NNSN"], "a map that was on its way does not take flags away");
});

test("a new sweep starts from nothing: no tissue of the one before stands for what was not scanned", () => {
  const grid = new FaceGrid();
  grid.takeMap(map());
  grid.takeFlag(flag({ sweep: 4, frame_index: 1 }), 3);
  assert.deepEqual(letters(grid), ["....", "NNSN", "...."]);
});

test("so does another specimen", () => {
  const grid = new FaceGrid();
  grid.takeMap(map());
  grid.takeFlag(flag({ specimen_id: "S-2", frame_index: 2 }), 3);
  assert.deepEqual(letters(grid), ["....", "....", "NNSN"]);
});

test("so does another case or another run, though its sweeps and specimens have the same names", () => {
  for (const other of [{ case_id: "C-8" }, { session: "run-2" }]) {
    const grid = new FaceGrid();
    grid.takeMap(map());
    grid.takeMap(map({ ...other, grid: ["....", "NNNN", "...."] }));
    assert.deepEqual(letters(grid), ["....", "NNNN", "...."]);
  }
});

test("what comes late of an earlier sweep takes nothing of the new one away", () => {
  const grid = new FaceGrid();
  grid.takeFlag(flag({ sweep: 4, frame_index: 1 }), 3);
  grid.takeFlag(flag({ sweep: 3, frame_index: 0 }), 3);
  grid.takeMap(map({ sweep: 3 }));
  assert.deepEqual(letters(grid), ["....", "NNSN", "...."]);
});

test("a grid made anew never passes for one that was drawn before", () => {
  const versions = [new FaceGrid(), new FaceGrid()].flatMap((grid) => {
    grid.takeMap(map());
    const first = grid.version;
    grid.takeMap(map());
    return [first, grid.version];
  });
  assert.equal(new Set(versions).size, 4);
});

test("a frame that was not planned has no place", () => {
  const grid = new FaceGrid();
  grid.takeFlag(flag({ frame_index: 7 }), 3);
  assert.equal(grid.frames, 0);
});

test("only rows that changed are drawn anew", () => {
  const grid = new FaceGrid();
  grid.takeMap(map());
  grid.dirty.clear();
  grid.takeMap(map({ grid: ["SNNN", "NPNN", "...."] }));
  assert.deepEqual([...grid.dirty], [1]);
});

test("of a frame the worst is told", () => {
  const grid = new FaceGrid();
  grid.takeMap(map());
  assert.deepEqual([0, 1, 2].map((frame) => grid.worstOf(frame)), [4, 1, 0]);
});

test("a clock that was set is noticed, one that goes on is not", () => {
  const at = { wall: 1000, mono: 0 };
  const clock = new Clock(() => at.wall, () => at.mono);
  Object.assign(at, { wall: 61_000, mono: 60_000 });
  assert.equal(clock.jumped(), false);
  Object.assign(at, { wall: 65_000, mono: 60_250 });
  assert.equal(clock.jumped(), true);
  assert.equal(clock.jumped(), false);
});

test("a region is drawn by hand from any corner", () => {
  const done = [];
  const marking = new Marking(() => ({ frames: 10, blocks: 8 }), () => {}, (region) => done.push(region));
  marking.start({ frame: 0, block: 0 });
  marking.begin({ frame: 6, block: 5 });
  marking.extend({ frame: 2, block: 7 });
  marking.end();
  assert.deepEqual(done, [{ first_frame: 2, last_frame: 6, first_block: 5, last_block: 7 }]);
  assert.equal(marking.isOn, false);
});

test("a region is drawn with the keys, and stays on the map", () => {
  const done = [];
  const marking = new Marking(() => ({ frames: 3, blocks: 3 }), () => {}, (region) => done.push(region));
  marking.start({ frame: 1, block: 1 });
  for (const key of ["ArrowLeft", "ArrowLeft", "Enter", "ArrowDown", "ArrowDown", "ArrowRight", "Enter"]) assert.ok(marking.key({ key }));
  assert.deepEqual(done, [{ first_frame: 1, last_frame: 2, first_block: 0, last_block: 1 }]);
});

test("Escape gives a region up", () => {
  const marking = new Marking(() => ({ frames: 3, blocks: 3 }), () => {}, () => assert.fail("nothing was marked"));
  marking.start({ frame: 1, block: 1 });
  marking.key({ key: "Enter" });
  marking.key({ key: "Escape" });
  assert.equal(marking.region, null);
});

test("a region that was begun on the map of another sweep is none of this one", () => {
  const grid = new FaceGrid();
  const marking = new Marking(() => grid, () => {}, () => assert.fail("it was marked on the new sweep"));
  grid.takeMap(map());
  marking.start({ frame: 0, block: 0 });
  marking.begin({ frame: 0, block: 0 });
  grid.takeMap(map({ sweep: 4 }));
  marking.end();
  assert.equal(marking.isOn, false);
});

test("operators run the console, readers decide too, viewers give no command", () => {
  const given = ["register", "select", "start", "pause", "resume", "stop", "rescan", "acknowledge", "close"];
  for (const command of given) assert.ok(mayCommand("operator", command) && mayCommand("reader", command), command);
  for (const command of ["decide", "mark"]) assert.deepEqual(["operator", "reader"].map((role) => mayCommand(role, command)), [false, true]);
  for (const role of ["viewer", "archive", ""]) assert.ok(![...given, "decide"].some((command) => mayCommand(role, command)));
});

test("a command names what the person saw", () => {
  const tally = { description: { session: "run-1" }, session: "run-1", case: onStage() };
  assert.deepEqual(commandBody(stageOf(tally), Date.UTC(2031, 4, 6, 12), "id-1", { face: "superior" }), {
    schema: 1, id: "id-1", issued_at: "2031-05-06T12:00:00.000Z", expected_session: "run-1", case_id: "C-7", specimen_id: "S-1",
    arguments: { face: "superior" },
  });
});

test("of one person on one subject of one sweep the newest decision counts", () => {
  const said = (id, changes) => ({ id, by: "rita", sweep: 3, subject: "face", cluster: null, word: "agree", ...changes });
  const decisions = [said("a"), said("b", { word: "disagree" }), said("c", { by: "tom" }), said("d", { sweep: 4 }), said("e", { subject: "cluster", cluster: 1 })];
  assert.deepEqual(newestOf(decisions).map(({ id }) => id).sort(), ["b", "c", "d", "e"]);
});

test("a disagreement does not hide behind a later agreement", () => {
  const said = (by, word, changes) => ({ id: `${by}-${word}`, by, word, sweep: 3, subject: "face", cluster: null, note: "", ...changes });
  const told = (...decisions) => {
    const counts = saidOf({ decisions }, 3);
    return [readersInShort(counts), readersInFull(counts)];
  };
  assert.deepEqual(told(), ["", ""]);
  assert.deepEqual(told(said("rita", "disagree", { note: "cautery" })), ["rita disagrees", "Reader rita disagrees (cautery)"]);
  assert.deepEqual(told(said("rita", "disagree", { note: "cautery" }), said("rob", "agree")), [
    "1 of 2 readers disagrees", "Readers rita disagrees (cautery), rob agrees",
  ]);
  assert.deepEqual(told(said("rita", "unsure"), said("rob", "agree"), said("ann", "unsure")), [
    "2 of 3 readers are unsure", "Readers rita is unsure, ann is unsure, rob agrees",
  ]);
  assert.deepEqual(told(said("rita", "disagree"), said("rob", "agree"), said("rita", "agree"))[0], "2 readers agree");
  assert.deepEqual(told(said("rita", "disagree", { sweep: 2 }), said("rob", "disagree", { subject: "cluster", cluster: 1 })), ["", ""]);
});

test("nor on a key view, each of which has words of its own", () => {
  const said = (by, word, cluster) => ({ id: by, by, word, sweep: 3, subject: "cluster", cluster, note: "" });
  const message = { decisions: [said("rita", "disagree", 1), said("rob", "agree", 1), said("ann", "agree", 2)] };
  assert.equal(readersInShort(saidOf(message, 3, 1)), "1 of 2 readers disagrees");
  assert.equal(readersInShort(saidOf(message, 3, 2)), "ann agrees");
});

test("what is kept is looked up by run and sweep", () => {
  const sweeps = [{ session: "run-1", sweep: 3, frames: [[0, 4], [7, 9]] }, { session: "run-0", sweep: 4, frames: [[0, 9]] }];
  assert.equal(keptOf(sweeps, "run-1", 3), sweeps[0]);
  assert.equal(keptOf(sweeps, "run-1", 4), null);
});

test("a share is never rounded up", () => {
  assert.equal(percent(0.9971), "99.7%");
  assert.equal(percent(1), "100%");
  assert.equal(percent(0.29), "29%");
  assert.equal(millimetres(null), "–");
});

test("every reason is said in words", () => {
  assert.equal(sayReason({ code: "silent", seconds: 4.9 }), "the scanner is silent for 4 s");
  assert.equal(sayReason({ code: "gap", missing: 1 }), "1 message lost: waiting for the whole map");
  assert.equal(sayReason({ code: "clock", aheadS: -3 }), "clocks differ: this display is 3.0 s behind");
});

test("topics of other consoles, of commands and replies mean nothing to a display", () => {
  const base = "octmargin/1/north/or-1";
  assert.deepEqual(parseTopic(base, `${base}/map/superior`), { kind: "map", name: "superior" });
  for (const topic of ["octmargin/1/north/or-12/health", `${base}/map`, `${base}/cmd/reader/rita/start`, `${base}/reply/reader/rita`]) {
    assert.equal(parseTopic(base, topic), null, topic);
  }
  assert.ok(!displayFilters(base).some((filter) => filter.includes("#")));
});

test("a user of the broker commands under the role and name that the broker vouches for", () => {
  const base = "octmargin/1/north/or-1";
  const rita = { base, site: "north", role: "reader", user: "north.reader.rita" };
  assert.equal(commandTopic(rita, "start"), `${base}/cmd/reader/rita/start`);
  assert.equal(replyTopic(rita), `${base}/reply/reader/rita`);
  assert.equal(commandTopic({ ...rita, user: "local" }, "start"), `${base}/cmd/reader/local/start`);
});
