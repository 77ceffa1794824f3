// Commands and their replies: who may give which, what one looks like, what became of it.

import { whyNotSaid } from "./identifiers.js";
import { SCHEMA } from "./messages.js";

const REPLY_TIMEOUT_MS = 10_000;
// How long the broker may be away before nothing is to be learnt any more of a command that was on its way.
const BACK_WITHIN_MS = 120_000;
const NOT_KNOWN = "not known whether it was carried out";
const OPERATOR = new Set([
  "register", "select", "start", "pause", "resume", "stop", "rescan", "acknowledge", "close",
]);
const READER = new Set([...OPERATOR, "decide", "mark"]);

// A command that the broker never had.
export class NotSentError extends Error {}

export function mayCommand(role, command) {
  return (role === "reader" && READER.has(command)) || (role === "operator" && OPERATOR.has(command));
}

// What a person has in front of them: a command is about that, whatever is there when it is sent.
export function stageOf(tally) {
  return Object.freeze({
    session: tally.description?.session ?? tally.session,
    case_id: tally.case?.case_id ?? "",
    specimen_id: tally.case?.specimen_id ?? "",
  });
}

// Whether something else is on the stage by now; not so while it is only not known, as between two connections.
export function isAnotherStage(stage, tally) {
  const now = stageOf(tally);
  if (now.session !== stage.session) return true;
  return tally.case !== null && (now.case_id !== stage.case_id || now.specimen_id !== stage.specimen_id);
}

// The command as it is sent: it names what the person saw, so that it does nothing to anything else.
export function commandBody(stage, nowMs, id, commandArguments) {
  return {
    schema: SCHEMA,
    id,
    issued_at: new Date(nowMs).toISOString(),
    expected_session: stage.session,
    case_id: stage.case_id,
    specimen_id: stage.specimen_id,
    arguments: commandArguments,
  };
}

export class Commands {
  #store;
  #link;
  #waiting = new Map();

  constructor(store, link) {
    this.#store = store;
    this.#link = link;
  }

  may(command) {
    return mayCommand(this.#store.site.role, command);
  }

  get stage() {
    return stageOf(this.#store.tally);
  }

  isAnotherStage(stage) {
    return isAnotherStage(stage, this.#store.tally);
  }

  // Gives a command about `stage`; its reply is in the store, and given back.
  give(command, commandArguments = {}, stage = this.stage) {
    const id = crypto.randomUUID();
    const why = whyNotSaid(commandArguments);
    if (why) return Promise.resolve(this.#show({ id, command, outcome: "unsent", reason: why }));
    const body = commandBody(stage, Date.now(), id, commandArguments);
    this.#show({ id, command, outcome: "sent", reason: "" });
    return new Promise((resolve) => {
      this.#waiting.set(id, { command, body, resolve, isRepeated: false, timer: null });
      this.#send(id);
    });
  }

  // Says of a command that it was given up before it was sent.
  giveUp(command, reason) {
    this.#show({ id: crypto.randomUUID(), command, outcome: "unsent", reason });
  }

  // The connection is gone: what was on its way may have come to the daemon or not.
  connectionLost() {
    for (const [id, waiting] of this.#waiting) {
      waiting.isRepeated = true;
      this.#show({ id, command: waiting.command, outcome: "unknown", reason: `the connection was lost, ${NOT_KNOWN}; asking again` });
      this.#endAfter(id, BACK_WITHIN_MS, `the broker is away, ${NOT_KNOWN}`);
    }
  }

  // It is back: the daemon carries nothing out twice, and says of an id that it knows what became of it.
  connectionBack() {
    for (const id of this.#waiting.keys()) this.#send(id);
  }

  // Takes a reply from the bus; those to other displays of the same user are not ours.
  takeReply(payload) {
    let reply;
    try {
      reply = JSON.parse(new TextDecoder().decode(payload));
    } catch {
      return;
    }
    const waiting = this.#waiting.get(reply?.id);
    if (waiting === undefined) return;
    if (reply.outcome !== "done" && reply.outcome !== "refused") return;
    if (waiting.isRepeated && reply.session !== waiting.body.expected_session) {
      // What an earlier run did it does not remember.
      this.#end(reply.id, "unanswered", `the scanner's program was started anew, ${NOT_KNOWN}`);
      return;
    }
    this.#end(reply.id, reply.outcome, String(reply.reason ?? ""));
  }

  #send(id) {
    const { command, body, isRepeated } = this.#waiting.get(id);
    this.#endAfter(id, REPLY_TIMEOUT_MS, `no reply within 10 s, ${NOT_KNOWN}`);
    this.#link.publish(command, body).catch((error) => {
      // Where it was handed over before, that it was not this time says nothing.
      if (error instanceof NotSentError && !isRepeated) this.#end(id, "unsent", error.message);
    });
  }

  #endAfter(id, ms, reason) {
    const waiting = this.#waiting.get(id);
    clearTimeout(waiting.timer);
    waiting.timer = setTimeout(() => this.#end(id, "unanswered", reason), ms);
  }

  #end(id, outcome, reason) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.resolve(this.#show({ id, command: waiting.command, outcome, reason }));
  }

  #show(reply) {
    this.#store.addReply({ ...reply, at: Date.now() });
    return reply;
  }
}
