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
    this.heard();
  }

  heard() {}
}

function commanding(options) {
  const display = hearing(new DrawingDisplay());
  const link = new Link();
  const commands = new Commands(display.store, link, options);
  const reply = (id, changes) =>
    commands.takeReply(new TextEncoder().encode(JSON.stringify({ session: RUN, id, outcome: "done", reason: "", ...changes })));
  return { display, link, commands, reply, shown: () => display.store.replies[0] };
}

// A dialog that stays open until what `confirm` gives is done, or it is cancelled from outside.
function dialog() {
  const opened = { isOpen: true, why: "" };
  const ask = ({ signal, give }) =>
    new Promise((resolve) => {
      const close = (isDone) => {
        opened.isOpen = false;
        resolve(isDone);
      };
      opened.confirm = async (answers = {}) => {
        opened.why = await give(answers);
        if (opened.why === "") close(true);
      };
      signal.addEventListener("abort", () => close(false));
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

test("a daemon that comes to the broker later than the page is asked when it speaks again", async () => {
  const { commands, link, reply } = commanding();
  const given = commands.give("close");
  commands.connectionLost();
  commands.connectionBack();
  assert.equal(link.sent.length, 2, "nobody may have heard it");
  commands.daemonSays("lost");
  assert.equal(link.sent.length, 2, "who is gone hears nothing");
  commands.daemonSays("init");
  assert.deepEqual(link.sent[2], link.sent[0]);
  reply(link.sent[0].body.id, { repeated: true });
  assert.equal((await given).outcome, "done");
  commands.daemonSays("ready");
  assert.equal(link.sent.length, 3, "what was answered is not asked any more");
});

test("it is asked again and again until it answers", async () => {
  const { commands, link, reply } = commanding({ askAgainMs: 1 });
  const given = commands.give("close");
  commands.connectionLost();
  commands.connectionBack();
  await new Promise((resolve) => {
    link.heard = () => link.sent.length === 5 && resolve();
  });
  reply(link.sent[0].body.id, { repeated: true });
  assert.equal((await given).outcome, "done");
});

test("of a command on its way to a daemon that is lost nothing is known, until it answers", async () => {
  const { commands, link, reply, shown } = commanding();
  const given = commands.give("close");
  commands.daemonSays("lost");
  assert.equal(shown().outcome, "unknown");
  commands.daemonSays("ready");
  assert.deepEqual(link.sent[1], link.sent[0]);
  reply(link.sent[0].body.id, { session: "run-2", outcome: "refused", reason: "of another session" });
  assert.equal((await given).outcome, "unanswered");
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
  const { commands, display, link, reply } = commanding();
  const { opened, ask } = dialog();
  const given = new Asking(commands, ask).give("rescan", { title: "Scan superior again?" }, () => ({ face: "superior" }));
  // The specimen stays; only that it is not known for a moment.
  display.takes({ type: "connected" });
  display.hears("case", onStage());
  void opened.confirm();
  const [{ body }] = link.sent;
  assert.deepEqual([body.expected_session, body.case_id, body.specimen_id], [RUN, "C-7", "S-1"]);
  reply(body.id);
  await given;
  assert.equal(opened.isOpen, false);
});

test("a question whose command is refused stays, with the reason, and can be confirmed again", async () => {
  const { commands, link, reply } = commanding();
  const { opened, ask } = dialog();
  const given = new Asking(commands, ask).give("register", { title: "New specimen" }, (answers) => answers);
  const first = opened.confirm({ specimen_id: "S-1" });
  reply(link.sent[0].body.id, { outcome: "refused", reason: "S-1 was there already" });
  await first;
  assert.deepEqual([opened.isOpen, opened.why], [true, "S-1 was there already"]);
  void opened.confirm({ specimen_id: "S-2" });
  assert.notEqual(link.sent[1].body.id, link.sent[0].body.id);
  reply(link.sent[1].body.id);
  await given;
  assert.equal(opened.isOpen, false);
});

test("a question whose command cannot be sent stays too", async () => {
  const { commands, link } = commanding();
  const { opened, ask } = dialog();
  link.failure = new NotSentError("the broker is not reached");
  void new Asking(commands, ask).give("close", { title: "Close the specimen?" });
  await opened.confirm();
  assert.deepEqual([opened.isOpen, opened.why], [true, "the broker is not reached"]);
});

test("a question does not end by the specimen that its own command brings", async () => {
  const { commands, display, link, reply, shown } = commanding();
  const { opened, ask } = dialog();
  const asking = new Asking(commands, ask);
  const given = asking.give("register", { title: "New specimen" });
  void opened.confirm();
  display.hears("case", onStage({ specimen_id: "S-2" }));
  asking.update();
  assert.equal(opened.isOpen, true);
  reply(link.sent[0].body.id);
  await given;
  assert.deepEqual([shown().command, shown().outcome, opened.isOpen], ["register", "done", false]);
});

for (const [what, change] of [
  ["specimen", (display) => display.hears("case", onStage({ specimen_id: "S-2" }))],
  ["case", (display) => display.hears("case", onStage({ case_id: "C-8" }))],
  ["run", (display) => display.hears("$description", description({ session: "run-2" }))],
]) {
  test(`a question ends when another ${what} is on the stage, and its command is not given`, async () => {
    const { commands, display, link, shown } = commanding();
    const asking = new Asking(commands, dialog().ask);
    const given = asking.give("close", { title: "Close the specimen?" });
    change(display);
    asking.update();
    await given;
    assert.deepEqual([shown().command, shown().outcome, link.sent.length], ["close", "unsent", 0]);
  });

  test(`nor where it was confirmed before the page could end it for another ${what}`, async () => {
    const { commands, display, link, shown } = commanding();
    const { opened, ask } = dialog();
    const given = new Asking(commands, ask).give("close", { title: "Close the specimen?" });
    change(display);
    void opened.confirm();
    await given;
    assert.deepEqual([shown().command, shown().outcome, link.sent.length], ["close", "unsent", 0]);
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

test("an identifier is looked at before it is sent, where the site has no scheme of its own", () => {
  for (const id of ["patient-1234567", "3-4-1961", "smith"]) {
    assert.match(whyNotSaid({ specimen_id: id }, true), /^the identifier /);
    assert.equal(whyNotSaid({ specimen_id: id }, false), "");
  }
  for (const id of ["", "case-17"]) assert.equal(whyNotSaid({ specimen_id: id }, true), "");
});
