// What codes, numbers and states are called on the page. Pure.

export const NOTICE = "Research use only. Not a medical device.";

const STATE_WORDS = {
  init: "the scanner's computer is starting",
  alert: "the console is gone",
  disconnected: "the scanner's program was ended",
  lost: "the scanner's program is gone",
};

function seconds(value) {
  const whole = Math.floor(value);
  if (whole < 120) return `${whole} s`;
  return whole < 7200 ? `${Math.floor(whole / 60)} min` : `${Math.floor(whole / 3600)} h`;
}

const REASONS = {
  broker: ({ text }) => `no connection: ${text}`,
  nobody: () => "no scanner speaks on this line",
  state: ({ state }) => STATE_WORDS[state],
  "no-sign": () => "waiting for a sign of life",
  silent: (reason) => `the scanner is silent for ${seconds(reason.seconds)}`,
  clock: ({ aheadS }) =>
    `clocks differ: this display is ${Math.abs(aheadS).toFixed(1)} s ${aheadS > 0 ? "ahead" : "behind"}`,
  "no-case": () => "not known which specimen is on the stage",
  "no-result": () => "not scanned yet",
  "not-held": () => "scanned; its result is no longer held: rescan",
  unreadable: ({ text, schema }) => (schema ? `cannot be shown: ${text}` : `unreadable: ${text}`),
  "earlier-run": () => "from an earlier run of the scanner",
  "other-specimen": () => "of another specimen",
  expired: (reason) => `expired ${seconds(reason.seconds)} ago`,
  superseded: () => "being scanned anew",
  gap: ({ missing }) => `${missing} message${missing === 1 ? "" : "s"} lost: waiting for the whole map`,
};

export function sayReason(reason) {
  return REASONS[reason.code](reason);
}

export const VERDICTS = {
  suspicious: "Suspicious",
  nothing_suspicious: "Nothing suspicious",
  indeterminate: "Indeterminate",
  scanning: "Being scanned",
};

export const BLOCK_WORDS = ["not scanned", "lost", "poor", "nothing suspicious", "suspicious"];

export const DECISION_WORDS = { agree: "agrees", disagree: "disagrees", unsure: "is unsure" };

// A share as a percentage, rounded down: 0.9971 is 99.7%, never 100%. As `octmargin.words.percent` has it.
export function percent(share) {
  return `${Math.floor(share * 1000 + 1e-9) / 10}%`;
}

export function millimetres(value, digits = 1) {
  return value === null || value === undefined ? "–" : `${value.toFixed(digits)} mm`;
}

export function capitalised(name) {
  return name.charAt(0).toUpperCase() + name.slice(1);
}

const CLOCK = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export function clockTime(ms) {
  return CLOCK.format(ms);
}
