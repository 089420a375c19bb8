// Progress, sign-off and what can be taken away.

import { download, read } from "../api.js";
import { announce, button, h, problemBox } from "../dom.js";
import { progressBar } from "../parts/progressbar.js";
import { openSignOff } from "../parts/signoff.js";
import { current } from "../session.js";

const STATES = [
  ["open", "Not read"], ["one", "With one reading"], ["agreed", "Readers agree"],
  ["disagreed", "Readers disagree, to adjudicate"], ["adjudicated", "Adjudicated by the lead"],
  ["read", "Read"],
];
const EXPORTS = [
  ["report.pdf", "Review report", "PDF for reading and filing"],
  ["results.zip", "Results of each case", "DICOM SEG and verified SR where DICOM sources were given"],
  ["signoff.json", "Sign-off", "signed statement that belongs into the release"],
  ["review-chain.jsonl", "Review chain", "audit chain with digests only, to check the sign-off"],
];

export async function progressView(page) {
  const progress = await read("progress");
  const me = current();
  const lead = me.role === "lead";
  const box = problemBox();
  const element = h("section", { class: "page" },
    h("h1", {}, lead ? "Progress and sign-off" : "Progress"),
    progressBar(progress),
    h("dl", { class: "figures" }, STATES.filter(([state]) => state in progress).map(([state, name]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, String(progress[state]))))),
    model(me.release),
    lead && signOff(progress, page),
    lead && exports(progress, page, box),
    box.element);
  return { title: "Progress", element };
}

function model(release) {
  return h("section", { class: "card" },
    h("h2", {}, "Model under review"),
    h("dl", { class: "facts" },
      h("div", {}, h("dt", {}, "Release"), h("dd", {}, release.name)),
      h("div", {}, h("dt", {}, "Task"), h("dd", {}, release.task)),
      h("div", {}, h("dt", {}, "Version"), h("dd", {}, release.version)),
      h("div", {}, h("dt", {}, "SHA-256 of model.onnx"), h("dd", {}, h("code", {}, release.model_sha256)))));
}

function signOff(progress, page) {
  const state = progress.signed ? h("p", { class: "notice good" }, "The review is signed off.")
    : progress.signable ? h("p", {}, "All cases are finished. Your signature closes the review: no verdict can be changed after it.")
      : h("p", { class: "notice" }, `Not yet: ${progress.why_not ?? "the review is not complete."}`);
  return h("section", { class: "card" },
    h("h2", {}, "Sign-off"), state,
    !progress.signed && progress.signable &&
      h("button", { type: "button", class: "primary", click: () => openSignOff(page) }, "Sign off …"));
}

function exports(progress, page, box) {
  const take = (name) => async () => {
    box.clear();
    announce(`${name} is being made.`);
    try { await download(`export/${name}`, name); } catch (error) { await page.failed(error, box); }
  };
  return h("section", { class: "card" },
    h("h2", {}, "Exports"),
    progress.signed
      ? h("ul", { class: "exports" }, EXPORTS.map(([name, title, about]) => h("li", {},
        h("span", {}, h("strong", {}, title), h("span", { class: "hint" }, about)),
        button(name, take(name), { "aria-label": `Download ${name}` }))))
      : h("p", {}, "They can be taken after sign-off."));
}
