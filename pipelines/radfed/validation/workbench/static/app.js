// The page: which view is shown, the bar above it, and what happens when a session ends.

import { SessionExpired } from "./api.js";
import { announce, h } from "./dom.js";
import { showHelp } from "./help.js";
import { bind } from "./keys.js";
import * as session from "./session.js";
import { topBar } from "./topbar.js";
import { auditView } from "./views/audit.js";
import { caseView } from "./views/case.js";
import { casesView } from "./views/cases.js";
import { loginView } from "./views/login.js";
import { progressView } from "./views/progress.js";

const view = document.getElementById("view");
let leave = () => {};
let turn = 0;

const VIEWS = { cases: casesView, case: caseView, progress: progressView, audit: auditView };
const HOME = { reader: "cases", lead: "cases", auditor: "audit" };

/** What a view may ask of the page. */
const page = {
  go: (hash) => { location.hash = hash; },
  reload: () => show(),
  /** Shows an error in words; true where the view need not go on. */
  async failed(error, box) {
    if (error.name === "AbortError") return;
    if (error instanceof SessionExpired) await expired();
    else if (box) box.show(error.message);
    else throw error;
  },
};

async function show() {
  const mine = ++turn;
  leave();
  leave = () => {};
  const [name, argument] = location.hash.replace(/^#\/?/, "").split("/");
  try {
    if (!session.current()) await session.load();
    const make = VIEWS[name] ?? VIEWS[HOME[session.current().role]];
    topBar(name === "case" ? "cases" : name in VIEWS ? name : HOME[session.current().role], page);
    const made = await make(page, argument);
    if (mine !== turn) { made.leave?.(); return; }
    put(made);
  } catch (error) {
    if (mine !== turn) return;
    if (error instanceof SessionExpired) showLogin("");
    else put({ title: "Something went wrong", element: broken(error) });
  }
}

function put(made) {
  leave = made.leave ?? (() => {});
  document.title = `${made.title} – review workbench`;
  view.replaceChildren(made.element);
  made.shown?.();
  const head = view.querySelector("h1");
  head?.setAttribute("tabindex", "-1");
  (made.focus ?? head)?.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

function broken(error) {
  return h("section", { class: "narrow" },
    h("h1", {}, "Something went wrong"),
    h("p", { class: "notice bad", role: "alert" }, error.message),
    h("button", { type: "button", class: "primary", click: () => show() }, "Try again"));
}

async function expired() {
  const kept = session.unsent();
  session.forget();
  showLogin(`Your session has ended. ${kept ? "What you typed is kept: log in" : "Log in"} to go on where you were.`);
}

function showLogin(why) {
  turn += 1;
  leave();
  leave = () => {};
  document.querySelectorAll("dialog[open]").forEach((dialog) => dialog.close());
  topBar(null, page);
  put(loginView(why, () => show()));
}

async function logout() {
  try {
    await session.logout();
  } catch (error) {
    leave();
    leave = () => {};
    put({ title: "Something went wrong", element: broken(error) });
    return;
  }
  location.hash = "";
  showLogin("You are logged out.");
}
page.logout = logout;

bind([{ keys: ["?"], label: "This help", group: "Everywhere", run: showHelp }]);
window.addEventListener("hashchange", (event) => {
  if (new URL(event.newURL).hash === "#view") return;
  if (session.current()) show();
});
window.addEventListener("beforeunload", (event) => { if (session.unsent()) event.preventDefault(); });
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof SessionExpired) { event.preventDefault(); expired(); }
  else announce(`Something went wrong: ${event.reason?.message ?? event.reason}`);
});
show();
