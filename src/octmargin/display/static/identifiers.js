// What may not go on the bus, as `octmargin.identifiers` has it: nothing by which a person could be found. Looked at
// before anything is sent; the daemon looks again. Pure.

const NUMBER = /\p{Nd}{6,}|\p{Nd}(?:[-./ ]?\p{Nd}){7,}/u;
const MONTH =
  "(?:jan(?:uary?|vier)?|feb(?:ruary?)?|février|mar(?:ch|s)?|märz|mrz|apr(?:il)?|avril|may|mai|june?|juni|juin" +
  "|july?|juli|juillet|aug(?:ust)?|août|sept?(?:emb(?:er|re))?|o[ck]t(?:ob(?:er|re))?|nov(?:emb(?:er|re))?" +
  "|de[cz](?:ember)?|décembre)";
const DATES = [
  String.raw`\d{1,2}([-./])\d{1,2}\1(?:\d{4}|\d{2})`,
  String.raw`\d{4}([-./])\d{1,2}\2\d{1,2}`,
  // With spaces a year must look like one: three numbers in a row may be frames.
  String.raw`\d{1,2} ?[-./ ] ?\d{1,2} ?[-./ ] ?(?:19|20)\d{2}`,
  String.raw`(?:19|20)\d{2} ?[-./ ] ?\d{1,2} ?[-./ ] ?\d{1,2}`,
  String.raw`\d{1,2}(?:st|nd|rd|th)?[-., /]{0,2}${MONTH}[-., /]{0,2}(?:\d{4}|\d{2})`,
  String.raw`${MONTH}[-., /]{0,2}\d{1,2}(?:st|nd|rd|th)?[-., /]{1,2}\d{4}`,
  String.raw`\d{4}[-., /]{0,2}${MONTH}[-., /]{0,2}\d{1,2}`,
];
const DATE = new RegExp(String.raw`(?<!\d)(?:${DATES.join("|")})(?!\d)`.replaceAll(String.raw`\d`, String.raw`\p{Nd}`), "iu");
// What people type.
const LABELS = { orientation: "the orientation", label: "the label", note: "the note" };

// Why what a person typed may not be said, and what to do; empty where it may. Quotes nothing of it. `isOpaque`: an
// identifier of a specimen is looked at too, as the site has no scheme of its own.
export function whyNotSaid(commandArguments, isOpaque = false) {
  for (const [name, label] of Object.entries(LABELS)) {
    const found = numberOfAPerson(commandArguments[name] ?? "");
    if (found) return `${label} ${found}; leave out what names a person`;
  }
  const found = isOpaque ? whyNotOpaque(commandArguments.specimen_id ?? "") : "";
  return found ? `the identifier ${found}; give an opaque one such as case-17` : "";
}

function whyNotOpaque(identifier) {
  if (identifier === "") return "";
  return numberOfAPerson(identifier) || (/\p{Nd}/u.test(identifier) ? "" : "has no digit, as a name has none");
}

function numberOfAPerson(text) {
  if (DATE.test(text)) return "reads as holding a date";
  return NUMBER.test(text) ? "reads as holding a number of a patient, or a date" : "";
}
