// Who is in front of the page, where the server wants to know. The password is the browser tab's, and gone with it.

import { HttpError, api } from "./api.js";
import { el, setText } from "./dom.js";
import { NOTICE } from "./words.js";

const KEY = "octmargin.login";

export function keptLogin() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return typeof kept?.user === "string" && typeof kept?.password === "string" ? kept : null;
  } catch {
    return null;
  }
}

export function forgetLogin() {
  sessionStorage.removeItem(KEY);
}

export async function logout() {
  forgetLogin();
  await api.logout().catch(() => null);
  location.reload();
}

const USER = /^([a-z0-9-]+)\.([a-z]+)\.([a-z0-9-]+)$/;

// Where a user's own password is: in the folder that was made for them and nobody else.
export function whereIsPassword(user, site) {
  const made = "`octmargin broker init` made it, and whoever keeps the broker hands it over.";
  const [, ofSite, role, name] = USER.exec(user.trim()) ?? [];
  if (name === undefined) return `A user is SITE.ROLE.NAME: ${site}.operator.NAME, ${site}.reader.NAME or ${site}.viewer.NAME. The password is in a file of your own; ${made}`;
  return `The password of ${user.trim()} is in clients/${ofSite}/${role}-${name}/password of the broker's folder; ${made}`;
}

// Asks until the server takes it; resolves to { user, password }.
export function askForLogin(root, why = "", site = "SITE") {
  const user = el("input", { id: "login-user", autocomplete: "username", required: true });
  const password = el("input", { id: "login-password", type: "password", autocomplete: "current-password", required: true });
  const refused = el("p", { class: "login-refused", role: "alert", text: why });
  const submit = el("button", { type: "submit", class: "primary", text: "Log in" });
  const hint = el("p", { class: "none", id: "login-hint", text: whereIsPassword("", site) });
  password.setAttribute("aria-describedby", hint.id);
  user.addEventListener("input", () => setText(hint, whereIsPassword(user.value, site)));
  const form = el(
    "form",
    { class: "login" },
    el("h1", { text: "octmargin" }),
    el("p", { text: "Log in with your own user at the broker. Your name and role stay in view, and in what you decide." }),
    el("div", { class: "field" }, el("label", { for: "login-user", text: "User" }), user),
    el("div", { class: "field" }, el("label", { for: "login-password", text: "Password" }), password),
    hint,
    refused,
    submit,
    el("p", { class: "notice", text: NOTICE }),
  );
  root.replaceChildren(form);
  root.hidden = false;
  user.focus();
  return new Promise((resolve) => {
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      submit.disabled = true;
      setText(refused, "");
      const login = { user: user.value, password: password.value };
      try {
        await api.login(login.user, login.password);
        sessionStorage.setItem(KEY, JSON.stringify(login));
        root.hidden = true;
        root.replaceChildren();
        resolve(login);
      } catch (error) {
        const words = error instanceof HttpError ? error.message : "the login failed";
        setText(refused, words);
        password.value = "";
        password.focus();
      }
      submit.disabled = false;
    });
  });
}
