// Readings of a case side by side, for the lead and for who has already read it.

import { h } from "../dom.js";
import { clock, layerName, verdictName } from "../format.js";

export function readings(found, user) {
  if (!found.reviews?.some(({ reader }) => reader !== user)) return null;
  const row = (name, cell) => h("tr", {}, h("th", { scope: "row" }, name), found.reviews.map((review) => h("td", {}, cell(review))));
  const differs = (subject) => new Set(found.reviews.map(({ verdicts }) => verdicts[subject])).size > 1;
  return h("section", { class: "panel" }, h("h2", {}, "Readings"),
    h("table", { class: "readings" },
      h("caption", { class: "visually-hidden" }, "Readings side by side"),
      h("thead", {}, h("tr", {}, h("td"), found.reviews.map(({ reader }) => h("th", { scope: "col" }, reader)))),
      h("tbody", {},
        found.subjects.map((subject) => row(layerName(subject), ({ verdicts }) =>
          h("span", { class: differs(subject) ? "verdict differs" : "verdict" }, verdictName(verdicts[subject])))),
        row("Comment", ({ comment }) => comment || "–"),
        row("Time", ({ seconds }) => (typeof seconds === "number" ? clock(seconds) : "–")))));
}
