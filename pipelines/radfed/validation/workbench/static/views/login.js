// Logging in.

import { h, problemBox } from "../dom.js";
import { login } from "../session.js";

export function loginView(why, done) {
  const box = problemBox();
  const user = h("input", { id: "user", name: "user", autocomplete: "username", autocapitalize: "none",
    spellcheck: "false", required: true });
  const password = h("input", { id: "password", name: "password", type: "password",
    autocomplete: "current-password", required: true });
  const send = h("button", { type: "submit", class: "primary wide" }, "Log in");
  const form = h("form", { class: "card", submit: async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    box.clear();
    send.disabled = true;
    try {
      await login(user.value.trim(), password.value);
      done();
    } catch (error) {
      box.show(error.message);
      password.value = "";
      password.focus();
    } finally {
      send.disabled = false;
    }
  } },
  h("h1", {}, "Log in"),
  why && h("p", { class: "notice", role: "status" }, why),
  h("label", { for: "user" }, "User"), user,
  h("label", { for: "password" }, "Password"), password,
  box.element, send);
  return { title: "Log in", element: h("section", { class: "narrow" }, form), focus: user };
}
