// How far the review is.

import { h } from "../dom.js";

/** A bar and its figures in words, from /api/progress. */
export function progressBar({ cases, open, one, agreed, disagreed, adjudicated, read, signed }) {
  // A blinded reader is told only which cases have all their readings.
  const done = read ?? agreed + adjudicated;
  const what = read === undefined ? "finished" : "read";
  const words = `${done} of ${cases} cases ${what}`;
  const rest = [[one, "with one reading"], [disagreed, "to adjudicate"], [open, "not read"]]
    .filter(([count]) => count).map(([count, how]) => `${count} ${how}`).join(", ");
  return h("div", { class: "progress" },
    h("progress", { max: Math.max(cases, 1), value: done, "aria-label": `Cases ${what}` }),
    h("p", {}, h("strong", {}, words), rest && `; ${rest}`, signed && "; signed off", "."));
}
