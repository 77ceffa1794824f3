// What an operator does: register, select, start, pause, resume, stop, rescan, close; and what became of it.

import { el, icon, setAttribute, setText, show, syncChildren } from "./dom.js";
import { PART } from "./store.js";
import { capitalised, clockTime } from "./words.js";

const OUTCOMES = { done: "done", refused: "refused", sent: "sent …", unknown: "no answer yet", unanswered: "no answer", unsent: "not sent" };
// A second press of a hand or a foot that meant one: by then another button stands where the first one stood.
const SETTLES_MS = 600;

export class ControlsView {
  parts = [PART.CASE, PART.LOOK, PART.TRUST, PART.REPLIES, PART.FACES];
  #store;
  #commands;
  #asking;
  #bar = el("div", { class: "bar", role: "group", "aria-label": "Controls" });
  #replies = el("div", { class: "replies", role: "log", "aria-live": "polite", "aria-label": "What became of commands" });
  #onlyLooks = el("p", { class: "only-looks", hidden: true });
  #buttons = new Map();
  #phase = "";
  #settledAtMs = 0;

  constructor(root, store, commands, asking) {
    this.#store = store;
    this.#commands = commands;
    this.#asking = asking;
    this.#add("start", "play", () => this.#give("start", { face: this.#face }));
    this.#add("startAll", "play", () => this.#startAll());
    this.#add("pause", "pause", () => this.#give("pause"));
    this.#add("resume", "play", () => this.#give("resume"));
    this.#add("stop", "stop", () => this.#askAndGive("stop"));
    this.#add("rescan", "again", () => this.#askAndGive("rescan"));
    this.#add("select", "target", () => this.#give("select", { face: this.#face }));
    this.#add("register", "add", () => this.#register());
    this.#add("close", "close", () => this.#askAndGive("close"));
    root.append(this.#bar, this.#replies, this.#onlyLooks);
    this.root = root;
  }

  get #face() {
    return this.#store.face;
  }

  update() {
    const mayCommand = this.#commands.may("start");
    show(this.root, true);
    for (const part of [this.#bar, this.#replies]) show(part, mayCommand);
    show(this.#onlyLooks, !mayCommand);
    if (!mayCommand) {
      setText(this.#onlyLooks, whyNoControls(this.#store.site));
      return;
    }
    const phase = this.#store.tally.case?.phase ?? "";
    this.#notePhase(phase);
    const face = this.#face;
    const isReached = this.#store.tally.disconnectedBecause === "";
    const isScanned = face !== null && (this.#store.verdictOf(face) !== null || this.#store.wasScanned(face));
    const isSelected = face === this.#store.tally.case?.face;
    const named = face ?? "face";
    this.#set("start", phase === "idle" && face !== null && !isScanned, `Start ${named}`);
    const isLeft = this.#store.faces.some((each) => this.#isLeft(each));
    this.#set("startAll", phase === "idle" && isLeft, "Start all remaining");
    this.#set("pause", phase === "scanning", "Pause");
    this.#set("resume", phase === "paused", "Resume");
    this.#set("stop", phase === "scanning" || phase === "paused", "Stop");
    this.#set("rescan", phase === "idle" && isScanned, `Rescan ${named}`);
    this.#set("select", phase === "idle" && face !== null && !isSelected, `Select ${named}`);
    this.#set("register", phase === "idle" || phase === "closed", "New specimen");
    this.#set("close", phase === "idle", "Close specimen");
    for (const { button } of this.#buttons.values()) {
      button.disabled = !isReached;
      // The focus stays where it is.
      setAttribute(button, "aria-disabled", this.#isSettled ? null : "true");
    }
    this.#showReplies();
  }

  get #isSettled() {
    return this.#store.now().monoMs >= this.#settledAtMs;
  }

  #notePhase(phase) {
    if (phase === this.#phase) return;
    // Where none was known there was no button to be pressed twice.
    if (this.#phase !== "") this.#settle();
    this.#phase = phase;
  }

  // What is pressed before long is not obeyed.
  #settle() {
    this.#settledAtMs = this.#store.now().monoMs + SETTLES_MS;
    setTimeout(() => this.#store.touch(PART.CASE), SETTLES_MS);
  }

  #isLeft(face) {
    const verdict = this.#store.verdictOf(face);
    return verdict === null ? !this.#store.wasScanned(face) : verdict.provisional;
  }

  // What the pedal does: start what is selected, pause, go on.
  pedal() {
    if (!this.#commands.may("start") || !this.#isSettled) return;
    this.#settle();
    this.#store.touch(PART.CASE);
    const { phase, face } = this.#store.tally.case ?? {};
    if (phase === "scanning") void this.#give("pause");
    else if (phase === "paused") void this.#give("resume");
    else if (phase === "idle" && face) void this.#give("start", {});
  }

  #add(name, sign, act) {
    const text = el("span");
    const button = el("button", { type: "button", data: { command: name }, onclick: () => this.#isSettled && act() }, icon(sign), text);
    this.#buttons.set(name, { button, text });
    this.#bar.append(button);
  }

  #set(name, isShown, words) {
    const { button, text } = this.#buttons.get(name);
    show(button, isShown);
    setText(text, words);
  }

  #give(command, commandArguments = {}) {
    return this.#commands.give(command, commandArguments);
  }

  // Faces are scanned one after the other: only a person knows that the specimen is turned meanwhile.
  async #startAll() {
    const text = "One face after the other, without a stop. Only where the console or somebody turns the specimen in time; else start face by face.";
    await this.#asking.give("start", { title: "Scan all remaining faces?", text, action: "Start" }, () => ({ all: true }));
  }

  async #askAndGive(command) {
    const face = this.#face;
    const questions = {
      stop: ["Stop the sweep?", "The face stays incomplete, and nothing after it is scanned.", "Stop", {}],
      rescan: [`Scan ${face} again?`, "The new sweep takes the place of the one that is shown.", "Rescan", { face }],
      close: ["Close the specimen?", "Its results stay; after this only a new specimen can be registered.", "Close", {}],
    };
    const [title, text, action, commandArguments] = questions[command];
    await this.#asking.give(command, { title, text, action, isGrave: true }, () => commandArguments);
  }

  async #register() {
    const question = {
      title: "New specimen",
      text: this.#registerWords(),
      action: "Register",
      fields: [
        { name: "kind", label: "Kind", kind: "choice", value: "lumpectomy", options: [["lumpectomy", "Lumpectomy"], ["shave", "Shave"], ["node", "Node"]] },
        { name: "laterality", label: "Side of the patient", kind: "choice", options: [["left", "Left"], ["right", "Right"]] },
        { name: "orientation", label: "Orientation: what sutures or ink say", maxlength: 200 },
        { name: "label", label: "Label", maxlength: 64 },
        { name: "specimen_id", label: "Specimen identifier, drawn where empty", maxlength: 64 },
      ],
    };
    const isSaid = ([, value]) => value !== "";
    await this.#asking.give("register", question, (answers) => Object.fromEntries(Object.entries(answers).filter(isSaid)));
  }

  #registerWords() {
    const opaque = "No patient's name or number here: identifiers are opaque.";
    const onStage = this.#store.tally.case;
    if (!onStage?.specimen || onStage.phase === "closed") return opaque;
    return `${opaque} Specimen ${onStage.specimen_id} is over then, and its results leave the displays.`;
  }

  #showReplies() {
    const { replies } = this.#store;
    const byId = new Map(replies.map((reply) => [reply.id, reply]));
    syncChildren(
      this.#replies,
      replies.map(({ id }) => id),
      () => el("p", { class: "reply" }),
      (item, id) => {
        const { command, outcome, reason, at } = byId.get(id);
        setAttribute(item, "data-outcome", outcome);
        setText(item, `${clockTime(at)} ${capitalised(command)}: ${OUTCOMES[outcome]}${reason ? `, ${reason}` : ""}`);
      },
    );
  }
}

// Whoever misses the buttons is to know that none is broken, and what to do.
function whyNoControls({ user, role, login }) {
  const remedy = login === "required" ? "To give commands, log out, and log in as an operator or a reader." : "Commands are given on the page of an operator or a reader; display.role in the configuration says whose page this is.";
  return `This page has no controls: ${user} is a ${role}, and only looks. ${remedy}`;
}
