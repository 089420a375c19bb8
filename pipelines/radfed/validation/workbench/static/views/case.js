// One case: the scan, the measurements, the reading or its adjudication.

import { read, write } from "../api.js";
import { announce, button, h } from "../dom.js";
import { stateName } from "../format.js";
import { bind } from "../keys.js";
import { measurements } from "../parts/measurements.js";
import { readings } from "../parts/readings.js";
import { stage } from "../parts/stage.js";
import { verdictForm } from "../parts/verdict.js";
import { current, draft, dropDraft } from "../session.js";
import { readingTimer } from "../timer.js";
import { NoViewer } from "../viewer.js";

export async function caseView(page, id) {
  const [cases, progress, found] = await Promise.all([read("cases"), read("progress"), read(`cases/${id}`)]);
  const at = cases.findIndex((other) => other.id === id);
  const listed = cases[at];
  const kept = startOf(found, listed);
  const timer = readingTimer(kept.seconds);
  const screen = stage(found);
  const form = progress.signed || !mayWrite(listed) ? null : formOf(page, found, listed, kept, timer, cases, at);
  const goto = (step) => {
    const other = cases[at + step];
    if (other) page.go(`#/case/${other.id}`);
    else announce(step > 0 ? "This is the last case." : "This is the first case.");
  };
  const element = h("section", { class: "case" },
    h("div", { class: "case-head" },
      h("a", { href: "#/cases" }, "All cases"),
      h("h1", {}, `Case ${found.number}`), h("span", { class: "of" }, `${at + 1} of ${cases.length}`),
      h("span", { class: `state ${listed.state}` }, stateName(listed.state)),
      timer.element,
      h("span", { class: "steps" },
        button("Previous", () => goto(-1), { "aria-keyshortcuts": "k", disabled: at === 0 }),
        button("Next", () => goto(1), { "aria-keyshortcuts": "j", disabled: at === cases.length - 1 }))),
    h("div", { class: "columns" }, screen.element,
      h("aside", { class: "side", "aria-label": "Reading and measurements" },
        screen.controls, readings(found, current().user), form?.element ?? h("p", { class: "notice" }, whyNot(listed, progress)),
        measurements(found, current().labels))));
  const unbind = bind([
    ...(form?.bindings ?? []),
    { keys: ["j"], label: "Next case", group: "Cases", run: () => goto(1) },
    { keys: ["k"], label: "Previous case", group: "Cases", run: () => goto(-1) },
    { keys: ["u"], label: "Back to the list", group: "Cases", run: () => page.go("#/cases") },
  ]);
  return {
    title: `Case ${found.number}`,
    element,
    shown: () => screen.opening().then(() => { form?.open(); announce(`Case ${found.number}: the scan stands.`); }, (error) => {
      if (error instanceof NoViewer) { screen.instead(error.message); form?.close(error.message); }
      else page.failed(error, { show: (message) => { screen.instead(message); form?.close(message); } });
    }),
    leave: () => {
      kept.seconds = timer.seconds();
      timer.stop();
      unbind();
      screen.leave();
    },
  };
}

/** What the reader has typed and not sent, or the reading that stands. */
function startOf(found, listed) {
  const kept = draft(found.id);
  if (kept.touched) return kept;
  const own = found.reviews?.find(({ reader }) => reader === current().user);
  kept.verdicts = { ...(listed.mine ?? {}) };
  kept.comment = own?.comment ?? "";
  kept.seconds = own?.seconds ?? kept.seconds;
  return kept;
}

/** Readers read; the lead decides where they disagree, and may do so again. */
const mayWrite = ({ state }) => ({ reader: true, lead: ["disagreed", "adjudicated"].includes(state), auditor: false })[current().role];

function whyNot({ state }, { signed }) {
  if (signed) return "The review is signed off; verdicts can no longer be changed.";
  if (current().role !== "lead") return "Auditors give no verdicts.";
  return state === "agreed" ? "The readers agree; there is nothing to decide." : "The readers have not finished with this case.";
}

function formOf(page, found, listed, kept, timer, cases, at) {
  const adjudicating = current().role === "lead";
  const send = async (goOn) => {
    if (saves[0].disabled) return;
    const missing = form.missing();
    if (missing) { form.box.show(missing); return; }
    const verdicts = Object.fromEntries(found.subjects.map((subject) => [subject, kept.verdicts[subject]]));
    const reading = { verdicts, comment: kept.comment.trim() };
    try {
      if (adjudicating) await write(`cases/${found.id}/adjudicate`, reading);
      else await write(`cases/${found.id}/review`, { ...reading, seconds: Math.round(timer.seconds()) });
    } catch (error) {
      await page.failed(error, form.box);
      return;
    }
    dropDraft(found.id);
    announce("Saved.");
    const next = goOn && [...cases.slice(at + 1), ...cases.slice(0, at)].find(({ todo }) => todo);
    if (next) page.go(`#/case/${next.id}`);
    else if (goOn) page.go("#/cases");
    else page.reload();
  };
  const lettered = current().blinded ? "Others see A and B in another order: describe what is wrong, not the letter." : "";
  const name = adjudicating ? "adjudication" : "reading";
  const saves = [
    button("Save and next", () => send(true), { class: "primary", "aria-keyshortcuts": "s" }),
    button("Save", () => send(false)),
  ];
  const form = verdictForm({
    subjects: found.subjects, verdicts: current().verdicts, kept, actions: saves,
    title: adjudicating ? "Adjudication" : listed.mine ? "Your reading" : "Reading",
    hint: [adjudicating ? (listed.state === "adjudicated" ? "Decided. You may decide again until the review is signed off." : "The readers disagree. Your verdict decides.")
      : listed.mine ? "Saved. You may revise it until the review is signed off." : "", lettered].filter(Boolean).join(" "),
  });
  form.comment.addEventListener("keydown", (event) => { if (event.key === "Escape") form.comment.blur(); });
  form.bindings.push({ keys: ["s"], label: `Save the ${name} and open the next case`, group: "Reading", run: () => send(true) });
  // Nobody judges what they cannot see: the form opens with the scan.
  const close = (closed) => saves.forEach((save) => { save.disabled = closed; });
  close(true);
  form.open = () => close(false);
  form.close = (why) => form.box.show(why);
  return form;
}
