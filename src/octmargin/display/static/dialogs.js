// Questions to the person. The browser's own dialog keeps the focus inside and ends on Escape.

import { el } from "./dom.js";

let made = 0;

// Asks, and resolves to true once `give(answers)` resolved to "", or to false where it was cancelled before. What it
// resolves to else is why nothing came of it: said in the dialog, which stays with all that was typed.
// `signal` cancels it too; `refuse(answers)` tells at once why these answers will not do, or "".
// `fields`: { name, label, kind: "text" | "long" | "choice" | "note", value, options, maxlength, required }.
export function ask({ title, text = "", fields = [], action, give, isGrave = false, signal = null, refuse = () => "" }) {
  made += 1;
  const heading = el("h2", { text: title, id: `dialog-${made}` });
  const inputs = fields.map((field) => makeField(field, made));
  const cancel = el("button", { type: "button", text: "Cancel" });
  const submit = el("button", { type: "submit", class: isGrave ? "grave" : "primary", text: action });
  const refused = el("p", { class: "dialog-refused", role: "alert" });
  const waiting = el("p", { class: "dialog-waiting", role: "status" });
  const form = el(
    "form",
    { method: "dialog" },
    heading,
    text ? el("p", { text }) : null,
    ...inputs.map(({ row }) => row),
    refused,
    waiting,
    el("div", { class: "dialog-actions" }, cancel, submit),
  );
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": heading.id }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    let isDone = false;
    cancel.addEventListener("click", () => dialog.close());
    signal?.addEventListener("abort", () => dialog.close());
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const given = Object.fromEntries(inputs.map(({ name, read }) => [name, read()]));
      refused.textContent = refuse(given);
      if (refused.textContent) return;
      submit.disabled = true;
      waiting.textContent = "Sent, waiting for the answer …";
      const why = await give(given);
      waiting.textContent = "";
      submit.disabled = false;
      refused.textContent = why;
      if (why) return;
      isDone = true;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(isDone);
    });
    dialog.showModal();
    // What cannot be undone is not what Enter does by itself.
    (isGrave ? cancel : (inputs[0]?.input ?? submit)).focus();
  });
}

function makeField({ name, label, kind = "text", value = "", options = [], maxlength = 500, required = false }, number) {
  const id = `field-${number}-${name}`;
  if (kind === "choice") return makeChoice({ name, label, value, options, id });
  const input = el(kind === "long" ? "textarea" : "input", { id, name, maxlength, required, autocomplete: "off" });
  input.value = value;
  return { name, input, read: () => input.value.trim(), row: el("div", { class: "field" }, el("label", { for: id, text: label }), input) };
}

// Large buttons rather than a list: one tap, and all choices are in view.
function makeChoice({ name, label, value, options, id }) {
  const inputs = options.map(([word, text]) => {
    const input = el("input", { type: "radio", name: id, value: word, required: true });
    input.checked = word === value;
    return { input, row: el("label", { class: "choice" }, input, el("span", { text })) };
  });
  const row = el("fieldset", { class: "field" }, el("legend", { text: label }), el("div", { class: "choices" }, ...inputs.map((each) => each.row)));
  return { name, input: inputs[0].input, row, read: () => inputs.find(({ input }) => input.checked)?.input.value ?? "" };
}
