import assert from "node:assert/strict";
import { test } from "node:test";

import { DrawingDisplay, RUN, description, hearing, load, onStage } from "./examples.mjs";

const { Asking } = await load("asking.js");
const { Commands, NotSentError } = await load("commands.js");
const { whyNotSaid } = await load("identifiers.js");

// A connection that hands over what it is given, or fails as `failure` says.
class Link {
  sent = [];
  failure = null;

  async publish(command, body) {
    if (this.failure !== null) throw this.failure;
    this.sent.push({ command, body });
  }
}

function commanding() {
  const display = hearing(new DrawingDisplay());
  const link = new Link();
  const commands = new Commands(display.store, link);
  const reply = (id, changes) =>
    commands.takeReply(new TextEncoder().encode(JSON.stringify({ session: RUN, id, outcome: "done", reason: "", ...changes })));
  return { display, link, commands, reply, shown: () => display.store.replies[0] };
}

// A dialog that stays open until `answer` is called, or it is cancelled from outside.
function dialog() {
  const opened = {};
  const ask = ({ signal }) =>
    new Promise((resolve) => {
      opened.answer = resolve;
      signal.addEventListener("abort", () => resolve(null));
    });
  return { opened, ask };
}

test("a command that was never handed over was not sent", async () => {
  const { commands, link } = commanding();
  link.failure = new NotSentError("the broker is not reached");
  assert.equal((await commands.give("close")).outcome, "unsent");
});

test("of one that was on its way when the connection was lost nothing is known, and it is asked again under its id", async () => {
  const { commands, link, reply, shown } = commanding();
  const given = commands.give("close");
  commands.connectionLost();
  assert.equal(shown().outcome, "unknown");
  assert.match(shown().reason, /not known whether it was carried out/);
  commands.connectionBack();
  assert.equal(link.sent.length, 2);
  assert.deepEqual(link.sent[1], link.sent[0]);
  reply(link.sent[0].body.id, { repeated: true });
  assert.equal((await given).outcome, "done");
});

test("an error of the connection does not say that a command was not sent", async () => {
  const { commands, link, reply } = commanding();
  link.publish = async (command, body) => {
    link.sent.push({ command, body });
    throw new Error("Connection closed");
  };
  const given = commands.give("close");
  await new Promise(setImmediate);
  reply(link.sent[0].body.id);
  assert.equal((await given).outcome, "done");
});

test("where the daemon was started anew meanwhile, its refusal says nothing of what the earlier run did", async () => {
  const { commands, link, reply } = commanding();
  const given = commands.give("close");
  commands.connectionLost();
  commands.connectionBack();
  reply(link.sent[0].body.id, { session: "run-2", outcome: "refused", reason: "of another session" });
  const { outcome, reason } = await given;
  assert.equal(outcome, "unanswered");
  assert.match(reason, /not known whether it was carried out/);
});

test("a confirmed question is about what was on the stage when it was asked", async () => {
  const { commands, display } = commanding();
  const { opened, ask } = dialog();
  const answered = new Asking(commands, ask).before("rescan", { title: "Scan superior again?" });
  // The specimen stays; only that it is not known for a moment.
  display.takes({ type: "connected" });
  display.hears("case", onStage());
  opened.answer({});
  assert.deepEqual((await answered).stage, { session: RUN, case_id: "C-7", specimen_id: "S-1" });
});

for (const [what, change] of [
  ["specimen", (display) => display.hears("case", onStage({ specimen_id: "S-2" }))],
  ["case", (display) => display.hears("case", onStage({ case_id: "C-8" }))],
  ["run", (display) => display.hears("$description", description({ session: "run-2" }))],
]) {
  test(`a question ends when another ${what} is on the stage, and its command is not given`, async () => {
    const { commands, display, link, shown } = commanding();
    const asking = new Asking(commands, dialog().ask);
    const answered = asking.before("close", { title: "Close the specimen?" });
    change(display);
    asking.update();
    assert.equal(await answered, null);
    assert.deepEqual([shown().command, shown().outcome, link.sent.length], ["close", "unsent", 0]);
  });

  test(`nor where it was confirmed before the page could end it for another ${what}`, async () => {
    const { commands, display } = commanding();
    const { opened, ask } = dialog();
    const answered = new Asking(commands, ask).before("close", { title: "Close the specimen?" });
    change(display);
    opened.answer({});
    assert.equal(await answered, null);
  });
}

test("a command is sent about the stage that it is given", () => {
  const { commands, display, link } = commanding();
  const { stage } = commands;
  display.hears("case", onStage({ specimen_id: "S-2" }));
  void commands.give("rescan", { face: "superior" }, stage);
  assert.equal(link.sent[0].body.specimen_id, "S-1");
  commands.takeReply(new TextEncoder().encode(JSON.stringify({ session: RUN, id: link.sent[0].body.id, outcome: "refused" })));
});

test("what may name a person is not sent, and not repeated in what is said of it", async () => {
  const { commands, link } = commanding();
  for (const [name, text] of [["note", "seen on 3.4.1961"], ["label", "1234567"], ["orientation", "short 1961-04-03"]]) {
    const { outcome, reason } = await commands.give("mark", { [name]: text });
    assert.equal(outcome, "unsent");
    assert.ok(!/\d/.test(reason) && reason.includes(name), reason);
  }
  assert.equal(link.sent.length, 0);
  assert.equal(whyNotSaid({ note: "margin 0.5 mm at block 12", label: "main 2" }), "");
});
