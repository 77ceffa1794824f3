import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./examples.mjs";

const { RETRY_MS, Thumbnails } = await load("thumbnails.js");

const turns = () => new Promise(setImmediate);

test("a thumbnail that could not be had is tried again after a pause, and once it is there no more", async () => {
  let nowMs = 0;
  let isKept = false;
  const asked = [];
  const thumbnails = new Thumbnails(
    async (item) => {
      asked.push(item.name);
      if (!isKept) throw new Error("not kept yet");
    },
    () => nowMs,
  );
  const item = { name: "first" };
  const want = async () => {
    thumbnails.want(item, {});
    await turns();
  };
  await want();
  await want();
  assert.equal(asked.length, 1, "not again at once");
  nowMs = RETRY_MS;
  isKept = true;
  await want();
  nowMs = 3 * RETRY_MS;
  await want();
  assert.equal(asked.length, 2);
});

test("they are loaded one after the other, also past one that fails", async () => {
  const finish = [];
  const asked = [];
  const thumbnails = new Thumbnails(
    (item) => {
      asked.push(item.name);
      return new Promise((resolve, reject) => finish.push({ resolve, reject }));
    },
    () => 0,
  );
  for (const name of ["first", "second"]) thumbnails.want({ name }, {});
  await turns();
  assert.deepEqual(asked, ["first"]);
  finish[0].reject(new Error("not kept"));
  await turns();
  assert.deepEqual(asked, ["first", "second"]);
});
