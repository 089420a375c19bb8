// The bar above every view: which model is under review, where one can go, who is logged in.

import { button, h } from "./dom.js";
import { spoken } from "./format.js";
import { showHelp } from "./help.js";
import { current } from "./session.js";

const PLACES = {
  reader: [["cases", "Cases"], ["progress", "Progress"]],
  lead: [["cases", "Cases"], ["progress", "Progress and sign-off"], ["audit", "Audit"]],
  auditor: [["audit", "Audit"], ["progress", "Progress"]],
};

export function topBar(place, page) {
  const top = document.getElementById("top");
  const me = current();
  const brand = h("p", { class: "brand" }, h("strong", {}, "Review workbench"),
    me && h("span", {}, `${spoken(me.release.task)} ${me.release.version}`));
  if (!me) {
    top.replaceChildren(brand);
    return;
  }
  const links = PLACES[me.role].map(([name, label]) =>
    h("li", {}, h("a", { href: `#/${name}`, "aria-current": name === place && "page" }, label)));
  top.replaceChildren(
    brand,
    h("nav", { "aria-label": "Views" }, h("ul", {}, links)),
    h("div", { class: "who" },
      me.blinded && h("span", { class: "chip" }, "Blinded"),
      h("span", { class: "user" }, `${me.user}, ${me.role}`),
      button("Help", showHelp, { class: "quiet", "aria-keyshortcuts": "?" }),
      button("Log out", page.logout, { class: "quiet" })));
}
