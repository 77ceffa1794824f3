// Where things are on the bus, as `octmargin.bus.topics` has it. Pure.

export const KIND = Object.freeze({
  STATE: "$state",
  DESCRIPTION: "$description",
  CASE: "case",
  FLAG: "flag",
  MAP: "map",
  VERDICT: "verdict",
  HEALTH: "health",
  ALARM: "alarm",
  DECISION: "decision",
});

const KINDS = new Set(Object.values(KIND));
const NAMED = new Set([KIND.MAP, KIND.VERDICT, KIND.ALARM, KIND.DECISION]);
const MAX_NAME_CHARS = 64;
const FORBIDDEN = /[/+#$]/u;
const UNPRINTABLE = /(?! )[\p{C}\p{Z}]/u;

export function isName(name) {
  return name !== "" && [...name].length <= MAX_NAME_CHARS && !FORBIDDEN.test(name) && !UNPRINTABLE.test(name);
}

// Meaning of a topic; null where it is another console's, or one that this version does not know.
export function parseTopic(base, topic) {
  if (!topic.startsWith(`${base}/`)) return null;
  const below = topic.slice(base.length + 1);
  const slash = below.indexOf("/");
  const kind = slash < 0 ? below : below.slice(0, slash);
  const name = slash < 0 ? "" : below.slice(slash + 1);
  if (!KINDS.has(kind) || NAMED.has(kind) !== slash >= 0) return null;
  if (NAMED.has(kind) && !isName(name)) return null;
  return { kind, name };
}

// Filters of a display. Not `#`: brokers that check a subscription by its filter refuse that to a display.
export function displayFilters(base) {
  return [`${base}/+`, `${base}/+/+`];
}

// Role and name of whoever commands. Users of a broker are called SITE.ROLE.NAME, and command as NAME.
function sender({ site, role, user }) {
  const prefix = `${site}.${role}.`;
  return `${role}/${user.startsWith(prefix) ? user.slice(prefix.length) : user}`;
}

export function commandTopic(site, command) {
  return `${site.base}/cmd/${sender(site)}/${command}`;
}

export function replyTopic(site) {
  return `${site.base}/reply/${sender(site)}`;
}
