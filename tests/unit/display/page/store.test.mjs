import assert from "node:assert/strict";
import { test } from "node:test";

import { DrawingDisplay, NOON, description, flag, health, hearing, load, map, onStage, verdict } from "./examples.mjs";

const { begun } = await load("faces.js");

const drawing = () => hearing(new DrawingDisplay());
const hasBegun = (display) => begun(display.trust.whyNotFace("superior", display.now), display.store, "superior");
const DRAWN = ["SNNN", "NPLN", "...."];

test("a map that the broker remembers is drawn, though it comes before the run is known", () => {
  assert.deepEqual(drawing().drawn(), DRAWN);
});

test("nothing of an earlier run is drawn under the verdict of this one", () => {
  const display = drawing().hears("flag", flag({ frame_index: 2 }));
  const run2 = { session: "run-2" };
  display.hears("$description", description(run2)).hears("case", onStage(run2)).hears("health", health(run2));
  assert.equal(display.drawn(), null);
  // Sweeps are numbered anew, and the specimen may have the same name.
  display.hears("flag", flag({ ...run2, frame_index: 1 })).hears("verdict", verdict(run2));
  assert.deepEqual(display.drawn(), ["....", "NNSN", "...."]);
});

test("nothing of an earlier case is drawn, though its specimen has the same name", () => {
  assert.equal(drawing().hears("case", onStage({ case_id: "C-8" })).drawn(), null);
});

test("flags and maps of the specimen before, which come late, draw nothing", () => {
  const other = { specimen_id: "S-2" };
  const display = drawing().hears("case", onStage(other)).hears("flag", flag({ frame_index: 1 })).hears("map", map());
  assert.equal(display.drawn(), null);
  assert.deepEqual(display.hears("flag", flag({ ...other, sweep: 4, sequence: 1 })).drawn(), ["NNSN", "....", "...."]);
});

test("flags that hold no more draw nothing", () => {
  const display = drawing().hears("flag", flag({ frame_index: 2, valid_until: NOON - 1 }));
  assert.deepEqual(display.drawn(), DRAWN);
});

test("a scan has begun when its own flags are drawn, not when another's are", () => {
  const display = drawing().hears("case", onStage({ sweeps: { superior: 4 } }));
  assert.equal(display.code(), "superseded");
  assert.equal(hasBegun(display), false, "what is drawn is the sweep before");
  display.hears("flag", flag({ sweep: 4, frame_index: 1 }));
  assert.equal(display.code(), "superseded");
  assert.equal(hasBegun(display), true);
});

test("a scan that has no result yet has begun with its first flag", () => {
  const display = drawing();
  for (const kind of ["verdict", "map"]) display.takes({ type: "cleared", address: { kind, name: "superior" }, retained: false });
  assert.equal(hasBegun(display), false);
  assert.equal(hasBegun(display.hears("flag", flag({ frame_index: 1 }))), true);
});
