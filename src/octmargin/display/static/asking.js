// Questions about what is on the stage. One ends, with a word, when something else is there before it was answered.

import { PART } from "./store.js";

export class Asking {
  parts = [PART.CASE, PART.TRUST];
  #commands;
  #ask;
  #open = new Set();

  // `ask(question)` as in dialogs.js.
  constructor(commands, ask) {
    this.#commands = commands;
    this.#ask = ask;
  }

  // Asks before `command` is given; resolves to { answers, stage }, the stage being that of the question, or to null.
  async before(command, question) {
    const open = { stage: this.#commands.stage, ending: new AbortController() };
    this.#open.add(open);
    const answers = await this.#ask({ ...question, signal: open.ending.signal });
    this.#open.delete(open);
    if (!this.#commands.isAnotherStage(open.stage)) return answers === null ? null : { answers, stage: open.stage };
    this.#commands.giveUp(command, "another specimen or run is on the stage by now; look, and give it anew");
    return null;
  }

  update() {
    for (const { stage, ending } of this.#open) if (this.#commands.isAnotherStage(stage)) ending.abort();
  }
}
