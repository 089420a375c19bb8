// The list of cases, worst first, or in a drawn order where the reading is blinded.

import { read } from "../api.js";
import { h } from "../dom.js";
import { number, stateName, verdictLine } from "../format.js";
import { bind } from "../keys.js";
import { progressBar } from "../parts/progressbar.js";
import { current } from "../session.js";

const TODO = { review: "Read", adjudicate: "Adjudicate" };

export async function casesView(page) {
  const [cases, progress] = await Promise.all([read("cases"), read("progress")]);
  const { blinded } = current();
  const next = cases.find((found) => found.todo);
  const left = cases.filter((found) => found.todo).length;
  const rows = h("tbody");
  const only = h("input", { type: "checkbox", id: "only", change: () => fill() });
  const fill = () => rows.replaceChildren(...cases.filter((found) => !only.checked || found.todo).map(row));
  const row = (found) => h("tr", {},
    h("th", { scope: "row" }, h("a", { href: `#/case/${found.id}` }, `Case ${found.number}`)),
    h("td", {}, h("span", { class: `state ${found.state}` }, stateName(found.state))),
    h("td", {}, found.mine ? verdictLine(found.mine) : "–"),
    !blinded && h("td", { class: "figure" }, number(found.dice, 2)),
    h("td", {}, found.todo ? TODO[found.todo] ?? found.todo : "Nothing"));
  fill();
  const open = () => next && page.go(`#/case/${next.id}`);
  const element = h("section", { class: "page" },
    h("div", { class: "head" },
      h("h1", {}, "Cases"),
      next && h("a", { class: "primary", href: `#/case/${next.id}` }, left === cases.length ? "Start reading" : "Go on reading")),
    progressBar(progress),
    h("p", { class: "hint" }, blinded
      ? "The order is drawn by lot. Prediction and reference are shown as A and B, and which is which stays hidden until sign-off."
      : "Worst first, by the mean Dice of the prediction against the reference."),
    h("p", { class: "check" }, only, h("label", { for: "only" }, `Only what I have to do (${left})`)),
    h("table", { class: "cases" },
      h("caption", { class: "visually-hidden" }, "Cases under review"),
      h("thead", {}, h("tr", {}, ["Case", "State", "My verdict", !blinded && "Dice", "To do"].filter(Boolean)
        .map((name) => h("th", { scope: "col" }, name)))),
      rows));
  const leave = bind([{ keys: ["j"], label: "Open the next case to read", group: "List of cases", run: open }]);
  return { title: "Cases", element, leave };
}
