// Commands and their replies: who may give which, what one looks like, what became of it.

import { SCHEMA } from "./messages.js";

const REPLY_TIMEOUT_MS = 10_000;
const OPERATOR = new Set([
  "register", "select", "start", "pause", "resume", "stop", "rescan", "acknowledge", "close",
]);
const READER = new Set([...OPERATOR, "decide", "mark"]);

export function mayCommand(role, command) {
  return (role === "reader" && READER.has(command)) || (role === "operator" && OPERATOR.has(command));
}

// The command as it is sent: it names what the person saw, so that it does nothing to anything else.
export function commandBody(tally, nowMs, id, commandArguments) {
  return {
    schema: SCHEMA,
    id,
    issued_at: new Date(nowMs).toISOString(),
    expected_session: tally.description?.session ?? tally.session,
    case_id: tally.case?.case_id ?? "",
    specimen_id: tally.case?.specimen_id ?? "",
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

  // Gives a command; its reply is in the store, and given back.
  async give(command, commandArguments = {}) {
    const id = crypto.randomUUID();
    const body = commandBody(this.#store.tally, Date.now(), id, commandArguments);
    this.#show({ id, command, outcome: "sent", reason: "" });
    const replied = new Promise((resolve) => {
      const timer = setTimeout(() => this.#end(id, "unanswered", "no reply within 10 s"), REPLY_TIMEOUT_MS);
      this.#waiting.set(id, { command, timer, resolve });
    });
    try {
      await this.#link.publish(command, body);
    } catch (error) {
      this.#end(id, "unsent", error.message);
    }
    return replied;
  }

  // Takes a reply from the bus; those to other displays of the same user are not ours.
  takeReply(payload) {
    let reply;
    try {
      reply = JSON.parse(new TextDecoder().decode(payload));
    } catch {
      return;
    }
    if (!this.#waiting.has(reply?.id)) return;
    if (reply.outcome !== "done" && reply.outcome !== "refused") return;
    this.#end(reply.id, reply.outcome, String(reply.reason ?? ""));
  }

  #end(id, outcome, reason) {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    const result = { id, command: waiting.command, outcome, reason };
    this.#show(result);
    waiting.resolve(result);
  }

  #show(reply) {
    this.#store.addReply({ ...reply, at: Date.now() });
  }
}
