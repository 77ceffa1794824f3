// Commands and their replies: who may give which, what one looks like, what became of it.

import { whyNotSaid } from "./identifiers.js";
import { SCHEMA } from "./messages.js";

const REPLY_TIMEOUT_MS = 10_000;
// How long broker and daemon may be away before nothing is to be learnt any more of a command that was on its way.
const BACK_WITHIN_MS = 120_000;
// A question that came before the daemon listened again is lost at the broker; one more is carried out no second time.
const ASK_AGAIN_MS = 2000;
const SPEAKS = new Set(["init", "ready", "alert"]);
const GONE = new Set(["lost", "disconnected"]);
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
  #askAgainMs;

  constructor(store, link, { askAgainMs = ASK_AGAIN_MS } = {}) {
    this.#store = store;
    this.#link = link;
    this.#askAgainMs = askAgainMs;
  }

  may(command) {
    return mayCommand(this.#store.site.role, command);
  }

  // Why arguments may not go on the bus; empty where they may.
  whyNotSaid(commandArguments) {
    return whyNotSaid(commandArguments, this.#store.site.opaque_identifiers);
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
    const why = this.whyNotSaid(commandArguments);
    if (why) return Promise.resolve(this.#show({ id, command, outcome: "unsent", reason: why }));
    const body = commandBody(stage, Date.now(), id, commandArguments);
    this.#show({ id, command, outcome: "sent", reason: "" });
    return new Promise((resolve) => {
      this.#waiting.set(id, { command, body, resolve, isRepeated: false, ending: null, asking: null });
      this.#endAfter(id, REPLY_TIMEOUT_MS, `no reply within 10 s, ${NOT_KNOWN}`);
      this.#send(id);
    });
  }

  // Says of a command that it was given up before it was sent.
  giveUp(command, reason) {
    this.#show({ id: crypto.randomUUID(), command, outcome: "unsent", reason });
  }

  // The connection is gone: what was on its way may have come to the daemon or not.
  connectionLost() {
    this.#askAgain("the connection was lost", "broker or scanner are away");
  }

  // It is back: the daemon carries nothing out twice, and says of an id that it knows what became of it.
  connectionBack() {
    for (const id of this.#waiting.keys()) this.#send(id);
  }

  // The daemon says how it does. It may come to the broker later than this page; only then it hears what it is asked.
  daemonSays(state) {
    if (GONE.has(state)) this.#askAgain("the scanner's program is gone", "the scanner's program is away");
    if (!SPEAKS.has(state)) return;
    for (const [id, { isRepeated }] of this.#waiting) {
      if (!isRepeated) continue;
      this.#endAfter(id, REPLY_TIMEOUT_MS, `no reply within 10 s, ${NOT_KNOWN}`);
      this.#send(id);
    }
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

  #askAgain(why, stillAway) {
    for (const [id, waiting] of this.#waiting) {
      waiting.isRepeated = true;
      this.#show({ id, command: waiting.command, outcome: "unknown", reason: `${why}, ${NOT_KNOWN}; asking again` });
      this.#endAfter(id, BACK_WITHIN_MS, `${stillAway}, ${NOT_KNOWN}`);
    }
  }

  #send(id) {
    const waiting = this.#waiting.get(id);
    const { command, body, isRepeated } = waiting;
    clearTimeout(waiting.asking);
    if (isRepeated) waiting.asking = setTimeout(() => this.#send(id), this.#askAgainMs);
    this.#link.publish(command, body).catch((error) => {
      // Where it was handed over before, that it was not this time says nothing.
      if (error instanceof NotSentError && !isRepeated) this.#end(id, "unsent", error.message);
    });
  }

  #endAfter(id, ms, reason) {
    const waiting = this.#waiting.get(id);
    clearTimeout(waiting.ending);
    waiting.ending = setTimeout(() => this.#end(id, "unanswered", reason), ms);
  }

  #end(id, outcome, reason) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.ending);
    clearTimeout(waiting.asking);
    waiting.resolve(this.#show({ id, command: waiting.command, outcome, reason }));
  }

  #show(reply) {
    this.#store.addReply({ ...reply, at: Date.now() });
    return reply;
  }
}
