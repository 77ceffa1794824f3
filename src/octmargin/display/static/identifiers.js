// What may not go on the bus, as `octmargin.identifiers` has it: nothing by which a person could be found. Looked at
// before anything is sent; the daemon looks again. Pure.

const NUMBER = /\p{Nd}{6,}/u;
const DATE = /(?<!\p{Nd})(\p{Nd}{1,2}([-./])\p{Nd}{1,2}\2(\p{Nd}{4}|\p{Nd}{2})|\p{Nd}{4}([-./])\p{Nd}{1,2}\4\p{Nd}{1,2})(?!\p{Nd})/u;
// What people type.
const LABELS = { orientation: "the orientation", label: "the label", note: "the note" };

// Why what a person typed may not be said, and what to do; empty where it may. Quotes nothing of it.
export function whyNotSaid(commandArguments) {
  for (const [name, label] of Object.entries(LABELS)) {
    const found = numberOfAPerson(commandArguments[name] ?? "");
    if (found) return `${label} ${found}; leave out what names a person`;
  }
  return "";
}

function numberOfAPerson(text) {
  if (DATE.test(text)) return "reads as holding a date";
  return NUMBER.test(text) ? "reads as holding a number of a patient, or a date" : "";
}
