// Questions about what is on the stage, each of which gives a command. One ends, with a word, when something else is
// there before it was answered; it stays, with what was typed, where the command came to nothing.

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

  // Asks, and gives `command` about the stage of the question with `argumentsOf(answers)`.
  async give(command, question, argumentsOf = () => ({})) {
    const open = { stage: this.#commands.stage, ending: new AbortController(), isGiving: false };
    this.#open.add(open);
    const give = (answers) => this.#give(open, command, argumentsOf(answers));
    const refuse = (answers) => this.#commands.whyNotSaid(argumentsOf(answers));
    const isDone = await this.#ask({ ...question, refuse, give, signal: open.ending.signal });
    this.#open.delete(open);
    // What was given already is told by its reply.
    if (isDone || open.isGiving || !this.#commands.isAnotherStage(open.stage)) return;
    this.#commands.giveUp(command, "another specimen or run is on the stage by now; look, and give it anew");
  }

  update() {
    for (const open of this.#open) this.#endIfOver(open);
  }

  // Why nothing came of it; empty where it was done.
  async #give(open, command, commandArguments) {
    if (this.#endIfOver(open)) return "another specimen is on the stage by now";
    open.isGiving = true;
    const { outcome, reason } = await this.#commands.give(command, commandArguments, open.stage);
    if (outcome === "done") return "";
    open.isGiving = false;
    this.#endIfOver(open);
    return reason || "it was refused";
  }

  // A command that is on its way may itself bring another specimen.
  #endIfOver({ stage, ending, isGiving }) {
    const isOver = !isGiving && this.#commands.isAnotherStage(stage);
    if (isOver) ending.abort();
    return isOver;
  }
}
