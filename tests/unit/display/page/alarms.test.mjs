import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./examples.mjs";

const { FREQUENCY_HZ, HARMONICS, burstOf } = await load("alarm_bursts.js");
const { AlarmSound } = await load("alarm_sound.js");

// IEC 60601-1-8, tables 3 and 4, in ms: what is measured is between nine tenths of the height.
const X = [50, 125];
const Y = [125, 250];
const STANDARD = {
  high: { count: [10, 10], pulseMs: [75, 200], intervalMs: [2500, 15_000] },
  medium: { count: [3, 3], pulseMs: [125, 250], intervalMs: [2500, 30_000] },
  low: { count: [1, 2], pulseMs: [125, 250], intervalMs: [15_000, Infinity] },
};
const isIn = (value, [least, most], what) => assert.ok(least <= value && value <= most, `${what}: ${value} of ${least} to ${most}`);

function measured(priority) {
  const { pulses, periodMs } = burstOf(priority);
  const at = pulses.map(({ beginMs, riseMs, holdMs, fallMs }) => ({
    fromMs: beginMs + 0.9 * riseMs,
    toMs: beginMs + riseMs + holdMs + 0.1 * fallMs,
    riseShare: (0.8 * riseMs) / holdMs,
    fallMs,
    riseMs,
  }));
  const gapsMs = at.slice(1).map(({ fromMs }, place) => fromMs - at[place].toMs);
  return { at, gapsMs, intervalMs: periodMs + at[0].fromMs - at.at(-1).toMs };
}

for (const [priority, { count, pulseMs, intervalMs }] of Object.entries(STANDARD)) {
  test(`a burst of ${priority} priority is one of the standard`, () => {
    const burst = measured(priority);
    isIn(burst.at.length, count, "pulses");
    isIn(burst.intervalMs, intervalMs, "interval");
    for (const { fromMs, toMs, riseShare, riseMs, fallMs } of burst.at) {
      isIn(toMs - fromMs, pulseMs, "pulse");
      isIn(riseShare, [0.1, 0.2], "rise");
      assert.ok(fallMs <= Math.min(...burst.gapsMs) - riseMs, "it has fallen before the next one rises");
    }
  });
}

test("ten pulses of high priority are three and two, twice", () => {
  const { at, gapsMs } = measured("high");
  const pulse = at[0].toMs - at[0].fromMs;
  const [x] = gapsMs;
  isIn(x, X, "x");
  for (const half of [0, 5]) {
    const five = gapsMs.slice(half, half + 4);
    for (const place of [0, 1, 3]) isIn(five[place], [0.95 * x, 1.05 * x], "spacing");
    isIn(five[2], [0.95 * (2 * x + pulse), 1.05 * (2 * x + pulse)], "spacing of the groups");
  }
  isIn(gapsMs[4], [350, 1300], "spacing of the halves");
});

test("pulses of medium and low priority are evenly spaced", () => {
  for (const priority of ["medium", "low"]) for (const gap of measured(priority).gapsMs) isIn(gap, Y, "y");
});

test("a pulse is a tone with harmonics that small loudspeakers give too", () => {
  isIn(FREQUENCY_HZ, [150, 1000], "frequency");
  const heard = HARMONICS.filter((share, place) => {
    const hz = FREQUENCY_HZ * (place + 1);
    return hz >= 300 && hz <= 4000 && Math.abs(20 * Math.log10(share / HARMONICS[0])) <= 15;
  });
  assert.ok(heard.length >= 5, "the pulse and four harmonics");
});

const alarm = (changes = {}) => ({ id: "console", priority: "medium", acknowledged_by: "", ...changes });

function paused(...alarms) {
  const sound = new AlarmSound(() => 0);
  sound.hear(alarms);
  sound.pause();
  return sound;
}

const endings = {
  "another alarm": [[alarm(), alarm({ id: "outbox" })]],
  "a graver state of the same": [[alarm({ priority: "high" })]],
  "the same one, once it was over": [[], [alarm()]],
};
for (const [what, courses] of Object.entries(endings)) {
  test(`a pause ends with ${what}`, () => {
    const sound = paused(alarm());
    for (const alarms of courses) sound.hear(alarms);
    assert.equal(sound.pausedForMs, 0);
  });
}

test("a pause is ended by no alarm that was known, nor by a lesser state of it", () => {
  const sound = paused(alarm(), alarm({ id: "outbox" }));
  sound.hear([alarm()]);
  sound.hear([alarm({ priority: "low" })]);
  assert.ok(sound.pausedForMs > 0);
});

test("an alarm that is missing behind a new connection is not over", () => {
  const sound = paused(alarm());
  sound.hear([], { isWhole: false });
  sound.hear([alarm()], { isWhole: false });
  sound.hear([alarm()]);
  assert.ok(sound.pausedForMs > 0);
});
