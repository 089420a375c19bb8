// The lead's signature: a statement, and the password once more.

import { write } from "../api.js";
import { openDialog } from "../dialog.js";
import { announce, h, problemBox } from "../dom.js";
import { load } from "../session.js";

export function openSignOff(page) {
  const box = problemBox();
  const statement = h("textarea", { id: "statement", rows: "4", required: true, maxlength: "2000",
    "aria-describedby": "statement-hint" });
  const password = h("input", { id: "again", type: "password", autocomplete: "current-password", required: true });
  const send = h("button", { type: "submit", class: "primary" }, "Sign off");
  const form = h("form", { submit: async (event) => {
    event.preventDefault();
    if (send.disabled) return;
    box.clear();
    send.disabled = true;
    try {
      await write("signoff", { statement: statement.value.trim(), password: password.value });
      dialog.close();
      await load();
      announce("The review is signed off.");
      page.reload();
    } catch (error) {
      password.value = "";
      await page.failed(await meant(error), box);
    } finally {
      send.disabled = false;
    }
  } },
  h("label", { for: "statement" }, "Statement"), statement,
  h("p", { class: "hint", id: "statement-hint" },
    "It goes into the release word for word, with your name and role. Write nothing about a patient."),
  h("label", { for: "again" }, "Your password, once more"), password,
  box.element,
  h("p", { class: "actions" },
    h("button", { type: "button", click: () => dialog.close() }, "Cancel"), send));
  const dialog = openDialog("Sign off the review", form);
  statement.focus();
}

/** 401 may mean a wrong password or a session that ended meanwhile: asking who one is tells them apart. */
async function meant(error) {
  if (error.status !== 401) return error;
  try { await load(); } catch (ended) { return ended; }
  return error;
}
