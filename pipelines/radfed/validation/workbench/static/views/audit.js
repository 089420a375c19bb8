// The audit chain: whether it holds, and its lines, latest first.

import { read } from "../api.js";
import { h, scrollTable } from "../dom.js";

const AT_ONCE = 200;

export async function auditView() {
  const audit = await read("audit");
  const lines = audit.lines.slice().reverse();
  const list = h("div");
  const show = (count) => list.replaceChildren(
    scrollTable("Lines of the audit chain", ["No.", "Time", "User", "Action", "Case", "Digest", "Hash"],
      lines.slice(0, count).map(row)),
    ...(count < lines.length ? [h("p", {}, h("button", { type: "button", click: () => show(count + AT_ONCE) },
      `Show ${Math.min(AT_ONCE, lines.length - count)} earlier lines`))] : []));
  show(AT_ONCE);
  const element = h("section", { class: "page" },
    h("h1", {}, "Audit"),
    h("p", { class: audit.ok ? "notice good" : "notice bad", role: audit.ok ? null : "alert" }, audit.ok
      ? `The chain holds: each of its ${lines.length} lines follows from the one before, and its head is signed.`
      : "The chain does not hold. Do not rely on this review; sign-off is refused."),
    audit.problems.length > 0 && h("ul", { class: "problems" }, audit.problems.map((problem) => h("li", {}, problem))),
    audit.notes?.length > 0 && h("ul", { class: "hint" }, audit.notes.map((note) => h("li", {}, note))),
    h("dl", { class: "facts card" }, h("div", {}, h("dt", {}, "Head of the chain"), h("dd", {}, h("code", {}, audit.head ?? "–")))),
    list);
  return { title: "Audit", element };
}

function row(line) {
  return h("tr", {},
    h("td", { class: "figure" }, String(line.index)),
    h("td", { class: "nowrap" }, when(line.time)),
    h("td", {}, line.user || "–"),
    h("td", {}, line.action),
    h("td", {}, short(line.case)),
    h("td", {}, short(line.digest)),
    h("td", {}, short(line.hash)));
}

/** The time in the reader's own zone, the exact one on the element. */
function when(time) {
  const date = new Date(typeof time === "number" ? time * 1000 : time);
  if (Number.isNaN(date.getTime())) return String(time);
  return h("time", { datetime: date.toISOString() }, date.toLocaleString("en-GB"));
}

function short(digest) {
  return digest ? h("code", { title: digest }, digest.length > 14 ? `${digest.slice(0, 12)}…` : digest) : "–";
}
