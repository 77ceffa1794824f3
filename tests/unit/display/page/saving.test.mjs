import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { load } from "./examples.mjs";

const { Saving } = await load("saving.js");

function saving() {
  mock.timers.enable({ apis: ["setTimeout"] });
  const saved = [];
  const finish = [];
  const made = new Saving((name, what) => {
    saved.push([name, what]);
    return new Promise((resolve) => finish.push(resolve));
  }, 500);
  return { saved, finish, made };
}

test("two things that are moved at once are both saved", (context) => {
  context.after(() => mock.timers.reset());
  const { saved, made } = saving();
  made.soon("medial", 1);
  mock.timers.tick(300);
  made.soon("lateral", 2);
  mock.timers.tick(500);
  assert.deepEqual(saved, [["medial", 1], ["lateral", 2]]);
});

test("of one thing that goes on moving the last place is saved", (context) => {
  context.after(() => mock.timers.reset());
  const { saved, made } = saving();
  made.soon("medial", 1);
  mock.timers.tick(499);
  made.soon("medial", 2);
  mock.timers.tick(500);
  assert.deepEqual(saved, [["medial", 2]]);
});

test("a thing counts as not saved until it is, also where it moves on meanwhile", async (context) => {
  context.after(() => mock.timers.reset());
  const { finish, made } = saving();
  made.soon("medial", 1);
  mock.timers.tick(500);
  assert.deepEqual(made.names, ["medial"]);
  made.soon("medial", 2);
  finish[0]();
  await Promise.resolve();
  await Promise.resolve();
  assert.deepEqual(made.names, ["medial"]);
  mock.timers.tick(500);
  finish[1]();
  await Promise.resolve();
  await Promise.resolve();
  assert.deepEqual(made.names, []);
});
