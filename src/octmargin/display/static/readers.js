// What readers say, of which nobody's doubt hides behind another's agreement. Pure.

import { DECISION_WORDS } from "./words.js";

// The most sceptical first.
const ORDER = ["disagree", "unsure", "agree"];
const SEVERAL = { agree: "agree", disagree: "disagree", unsure: "are unsure" };
const MOST_NAMED = 4;

// Of one person on one subject of one sweep the newest counts.
export function newestOf(decisions) {
  const newest = new Map();
  for (const each of decisions) newest.set(JSON.stringify([each.by, each.sweep, each.subject, each.cluster]), each);
  return [...newest.values()];
}

// What counts on a face of one sweep, or with `cluster` on one of its key views: one word of each person, the most
// sceptical first.
export function saidOf(message, sweep, cluster = null) {
  const subject = cluster === null ? "face" : "cluster";
  const isOfThis = (each) => each.subject === subject && each.sweep === sweep && (each.cluster ?? null) === cluster;
  const newest = newestOf((message?.decisions ?? []).filter(isOfThis));
  return newest.sort((a, b) => ORDER.indexOf(a.word) - ORDER.indexOf(b.word));
}

// In one short line, which holds the most sceptical word; empty where nobody said anything.
export function readersInShort(said) {
  if (said.length === 0) return "";
  const { word, by } = said[0];
  if (said.length === 1) return `${by} ${DECISION_WORDS[word]}`;
  const many = said.filter((each) => each.word === word).length;
  const words = many === 1 ? DECISION_WORDS[word] : SEVERAL[word];
  return many === said.length ? `${many} readers ${words}` : `${many} of ${said.length} readers ${words}`;
}

// With names, and each one's note.
export function readersInFull(said) {
  if (said.length === 0) return "";
  const named = said.slice(0, MOST_NAMED).map(({ by, word, note }) => `${by} ${DECISION_WORDS[word]}${note ? ` (${note})` : ""}`);
  const more = said.length - named.length;
  return `Reader${said.length > 1 ? "s" : ""} ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
