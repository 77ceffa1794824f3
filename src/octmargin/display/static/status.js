// How console, broker and daemon do, and whether what is on the screen is of now.

import { el, icon, setAttribute, setIcon, setText, show, syncChildren } from "./dom.js";
import { PART } from "./store.js";
import { clockTime, sayReason } from "./words.js";

// Across the whole width, where nothing that is shown is current.
export class TrustStrip {
  parts = [PART.TRUST];
  #store;
  #root;
  #text = el("span", { class: "strip-text" });

  constructor(root, store) {
    this.#store = store;
    this.#root = root;
    root.append(icon("stale"), el("strong", { text: "Not current" }), this.#text);
  }

  update() {
    const reason = this.#store.trust.whyNotLive(this.#store.now());
    show(this.#root, reason !== null);
    if (reason !== null) setText(this.#text, sayReason(reason));
    setAttribute(document.body, "data-live", String(reason === null));
  }
}

// Said on a narrow screen only where there is something to be said.
const MINOR = ["Frames lost", "Not received here", "Latency"];

export class StatusView {
  parts = [PART.HEALTH, PART.TRUST, PART.CASE];
  #store;
  #metrics;
  #chips = el("ul", { class: "chips" });
  #details = el("dl", { class: "details" });

  constructor(root, store, metrics) {
    this.#store = store;
    this.#metrics = metrics;
    const more = el("details", { class: "more" }, el("summary", { text: "Details" }), this.#details);
    const { user, role } = store.site;
    const who = el("p", { class: "who" }, el("span", { class: "visually-hidden", text: "You are " }), el("span", { text: user }), " · ", el("span", { class: "who-role", text: role }));
    root.append(this.#chips, more, who);
  }

  update() {
    const chips = this.#chipsNow();
    syncChildren(
      this.#chips,
      chips.map(({ name }) => name),
      (name) => el("li", { class: "chip", data: { minor: MINOR.includes(name) ? "" : undefined } }, icon("good"), el("span", { class: "chip-name", text: name }), el("span")),
      (item, name) => {
        const { word, isGood } = chips.find((chip) => chip.name === name);
        setAttribute(item, "data-good", isGood === null ? null : String(isGood));
        setIcon(item.firstChild, isGood === null ? "none" : isGood ? "good" : "bad");
        setText(item.lastChild, word);
      },
    );
    this.#detail();
  }

  #chipsNow() {
    const { tally, trust } = this.#store;
    const now = this.#store.now();
    const isConnected = tally.disconnectedBecause === "";
    const reason = trust.whyNotLive(now);
    const { health } = tally;
    const isHeard = isConnected && health !== null && health.valid_until > now.wallMs;
    const isAlive = isHeard && reason?.code !== "silent" && reason?.code !== "no-sign";
    const missing = tally.flags.gaps;
    return [
      { name: "Broker", word: isConnected ? "connected" : "gone", isGood: isConnected },
      { name: "Scanner", word: isAlive ? health.lifecycle : isConnected ? (tally.state ?? "unknown") : "not known", isGood: isAlive ? health.lifecycle !== "faulted" : false },
      this.#consoleChip(isAlive, health),
      { name: "Latency", word: isAlive && health.latency_ms ? `${health.latency_ms.p50.toFixed(0)} ms, 99% ≤ ${health.latency_ms.p99.toFixed(0)} ms` : "–", isGood: null },
      { name: "Frames lost", word: isAlive ? String(health.frames.lost) : "–", isGood: isAlive ? health.frames.lost === 0 : null },
      { name: "Not received here", word: String(missing), isGood: missing === 0 },
    ];
  }

  #consoleChip(isAlive, health) {
    const described = this.#store.tally.description?.console;
    const isGone = isAlive && health.lifecycle === "faulted";
    const name = [described?.model, described?.serial].filter(Boolean).join(" ") || "connected";
    return { name: "Console", word: isAlive ? (isGone ? "gone" : name) : "not known", isGood: isAlive ? !isGone : false };
  }

  #detail() {
    const { tally, site, trust } = this.#store;
    const { health, description } = tally;
    const now = this.#store.now();
    const reasons = Object.entries(health?.frames.lost_by_reason ?? {}).map(([why, count]) => `${count} ${why}`);
    const ahead = trust.clockAheadS(now);
    const here = tally.flags.latencyMs();
    const painted = this.#metrics.summary();
    const rows = [
      ["Scanner", health ? `${health.lifecycle}; ${health.reasons.join("; ") || "nothing is wrong"}` : "–"],
      ["Frames", health ? `${health.frames.sent} sent, ${health.frames.processed} judged, ${health.frames.lost} lost${reasons.length ? ` (${reasons.join(", ")})` : ""}` : "–"],
      ["Last byte to here", here ? `${here.p50.toFixed(0)} ms, 99% ≤ ${here.p99.toFixed(0)} ms` : "–"],
      ["Flag to pixel", painted ? `${painted.p50.toFixed(0)} ms, 95% ≤ ${painted.p95.toFixed(0)} ms` : "–"],
      ["Rate", `${tally.flags.framesPerS(now.wallMs).toFixed(0)} frames/s`],
      ["Clock", ahead === null ? "–" : `${Math.abs(ahead).toFixed(2)} s ${ahead >= 0 ? "ahead of" : "behind"} the scanner's`],
      ["Waiting for the broker", health ? `${health.queue.waiting}, ${health.queue.dropped} dropped` : "–"],
      ["Recording", health?.recording ? `${health.recording.frames} frames, ${health.recording.missed} missed` : "none"],
      ["Model", description ? `${description.model.name} ${description.model.version}, octmargin ${description.software_version}` : "–"],
      ["Calibration", description?.calibration.id ?? "–"],
      ["Place", `${site.site}, ${site.console}`],
      ["Unreadable messages", String(tally.malformed)],
    ];
    syncChildren(
      this.#details,
      rows.map(([name]) => name),
      (name) => el("div", {}, el("dt", { text: name }), el("dd")),
      (row, name) => setText(row.lastChild, rows.find(([each]) => each === name)[1]),
    );
  }
}

// What is on the stage, and what is said everywhere: synthetic, research use only.
export class HeaderView {
  parts = [PART.CASE, PART.HEALTH, PART.FACES, PART.TRUST, PART.FRAME];
  #store;
  #specimen = el("p", { class: "specimen" });
  #phase = el("p", { class: "phase" });
  #synthetic = el("p", { class: "synthetic", text: "SYNTHETIC" });
  #clock = el("time", { class: "clock" });

  constructor(root, store) {
    this.#store = store;
    root.append(this.#specimen, this.#phase, this.#synthetic, this.#clock);
  }

  update() {
    const { tally } = this.#store;
    const onStage = tally.case;
    show(this.#synthetic, tally.synthetic);
    setText(this.#clock, clockTime(this.#store.now().wallMs));
    setText(this.#specimen, onStage === null ? "No specimen known" : describeSpecimen(onStage));
    const isLive = this.#store.trust.whyNotLive(this.#store.now()) === null;
    setText(this.#phase, isLive ? this.#phaseWords(onStage) : "");
    setAttribute(this.#phase, "data-phase", isLive ? (onStage?.phase ?? "") : "");
  }

  #phaseWords(onStage) {
    const { face } = onStage;
    const words = {
      idle: "Ready",
      scanning: `Scanning ${face ?? ""}`,
      paused: `Paused ${face ?? ""}`,
      closed: "Specimen closed",
    };
    return onStage.specimen === null ? "" : (words[onStage.phase] ?? "");
  }
}

function describeSpecimen(onStage) {
  if (onStage.specimen === null) return "No specimen registered";
  const { kind, label } = onStage.specimen;
  const name = kind.charAt(0).toUpperCase() + kind.slice(1);
  return [label ? `${name} “${label}”` : name, onStage.specimen_id, `case ${onStage.case_id}`].join(" · ");
}
