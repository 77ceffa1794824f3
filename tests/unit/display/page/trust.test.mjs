import assert from "node:assert/strict";
import { test } from "node:test";

import { Display, description, flag, health, listening, map, onStage, verdict } from "./examples.mjs";

test("a result is current while everything speaks for it", () => {
  assert.equal(listening().code(), null);
  assert.equal(listening().mapCode(), null);
});

test("nothing is current before anything was heard", () => {
  assert.equal(new Display().code(), "broker");
});

test("a display is grey within two seconds of silence, looked at every 250 ms", () => {
  assert.equal(listening().after(1.5).code(), null);
  assert.equal(listening().after(1.51).code(), "silent");
});

test("it comes back by itself with the next sign of life", () => {
  assert.equal(listening().after(60).hears("health", health()).hears("verdict", verdict()).hears("map", map()).code(), null);
});

test("a wall clock that is set back does not hide a silence", () => {
  const display = listening();
  display.wrongS = -3600;
  assert.equal(display.after(2).code(), "silent");
});

test("messages of a remembered past are no sign of life", () => {
  const display = listening().takes({ type: "connected" }).isSaid("ready").hears("case", onStage()).hears("health", health(), { retained: true });
  assert.equal(display.code(), "no-sign");
});

test("a clock that is more than two seconds off is told, either way", () => {
  for (const wrongS of [-3, 3]) {
    const display = listening();
    display.wrongS = wrongS;
    display.after(1.4).hears("health", health());
    assert.equal(display.code(), "clock");
    assert.ok(Math.abs(display.trust.clockAheadS(display.now) - wrongS) < 0.01);
  }
});

test("a clock that is a second off is not", () => {
  const display = listening();
  display.wrongS = 1;
  assert.equal(display.after(1.4).hears("health", health()).code(), null);
});

test("one message that was held up is no wrong clock", () => {
  const display = listening().after(1).hears("health", health(), { agoS: 4 });
  assert.equal(display.code(), null);
});

test("a clock that is right again is taken as such within two seconds", () => {
  const display = listening();
  display.wrongS = 3;
  display.after(1.4).hears("health", health());
  display.wrongS = 0;
  display.after(0.5).hears("health", health());
  assert.equal(display.code(), null);
});

test("after this clock was set, or the machine slept, a new sign of life is waited for", () => {
  const display = listening();
  display.trust.clockWasSet();
  assert.equal(display.code(), "no-sign");
  assert.equal(display.hears("health", health()).code(), null);
});

test("a gap in the flags greys the map until the daemon says the whole map", () => {
  const display = listening().hears("flag", flag({ sequence: 1 })).hears("flag", flag({ sequence: 4, frame_index: 2 }));
  assert.equal(display.mapCode(), "gap");
  assert.equal(display.trust.whyNotMap("superior", display.now).missing, 2);
  assert.equal(display.code(), null, "the verdict is the daemon's, and does not hang on it");
  display.after(0.1).hears("map", map());
  assert.equal(display.mapCode(), null);
  assert.equal(display.trust.tally.flags.gaps, 2, "and it stays counted");
});

test("a map that was made before the gap does not close it", () => {
  const display = listening().hears("flag", flag({ sequence: 1 })).after(1).hears("flag", flag({ sequence: 4 }));
  assert.equal(display.hears("map", map(), { agoS: 0.5 }).mapCode(), "gap");
});

test("a gap between two faces greys the one before, unless its books are closed", () => {
  const inferior = flag({ face: "inferior", sequence: 3, sweep: 4 });
  const open = listening().hears("flag", flag({ sequence: 1 })).hears("flag", inferior);
  assert.equal(open.mapCode(), "gap");
  const closed = listening().hears("flag", flag({ sequence: 1 })).hears("verdict", verdict({ provisional: false })).hears("flag", inferior);
  assert.equal(closed.mapCode(), null);
});

test("flags of another run begin anew: no gap", () => {
  const display = listening().hears("flag", flag({ sequence: 7 })).hears("flag", flag({ session: "run-2", sequence: 0 }));
  assert.notEqual(display.mapCode(), "gap");
});

test("results of another specimen are not current", () => {
  assert.equal(listening().hears("case", onStage({ specimen_id: "S-2" })).code(), "other-specimen");
  assert.equal(listening().hears("case", onStage({ case_id: "C-8" })).code(), "other-specimen");
});

test("the frame of another specimen is not current", () => {
  const display = listening().hears("flag", flag());
  assert.equal(display.trust.whyNotFrame(display.now), null);
  display.hears("case", onStage({ specimen_id: "S-2" }));
  assert.equal(display.trust.whyNotFrame(display.now).code, "other-specimen");
});

test("where it is not known which specimen is on the stage, nothing is current", () => {
  const display = listening().takes({ type: "cleared", address: { kind: "case", name: "" }, retained: false });
  assert.equal(display.code(), "no-case");
});

test("what is newer than this display greys everything, and says so", () => {
  for (const kind of ["$description", "case", "flag", "health"]) {
    const display = listening().cannotRead(kind, { schema: 2 });
    assert.equal(display.code(), "unreadable", kind);
    assert.equal(display.trust.whyNotLive(display.now).schema, 2);
  }
});

test("a newer verdict greys its own face alone", () => {
  const display = listening().hears("verdict", verdict({ face: "inferior" })).cannotRead("verdict", { name: "superior", schema: 2 });
  assert.equal(display.code("superior"), "unreadable");
  assert.equal(display.code("inferior"), null);
});

test("a broken flag is made good by the next ones, a broken case is not", () => {
  assert.equal(listening().cannotRead("flag").code(), null);
  assert.equal(listening().cannotRead("case").code(), "unreadable");
  assert.equal(listening().cannotRead("case").hears("case", onStage()).code(), null);
});

test("a face that is being scanned again has no verdict until the new one comes", () => {
  const display = listening().hears("flag", flag({ sweep: 4 }));
  assert.equal(display.code(), "superseded");
  assert.equal(display.hears("verdict", verdict({ sweep: 4 })).hears("map", map({ sweep: 4 })).code(), null);
});

test("it is known to be scanned anew before the first flag of the new sweep comes", () => {
  const display = listening().hears("flag", flag()).hears("case", onStage({ sweeps: { superior: 3 } }));
  assert.equal(display.code(), null);
  display.hears("case", onStage({ sweeps: { superior: 4 } }));
  assert.equal(display.code(), "superseded");
  assert.equal(display.mapCode(), "superseded");
  assert.equal(display.trust.whyNotFrame(display.now).code, "superseded");
  assert.equal(display.code("inferior"), "no-result");
});

test("sweeps of another run of the daemon say nothing about results of this one", () => {
  assert.equal(listening().hears("case", onStage({ session: "run-0", sweeps: { superior: 9 } })).code(), null);
});

test("a daemon that is not ready greys everything", () => {
  for (const state of ["init", "alert", "disconnected", "lost"]) assert.equal(listening().isSaid(state).code(), "state");
});

test("results of an earlier run are not current", () => {
  assert.equal(listening().hears("$description", description({ session: "run-2" })).code(), "earlier-run");
});

test("results end with their validity", () => {
  const display = listening();
  display.after(61).hears("health", health());
  assert.equal(display.code(), "expired");
});
