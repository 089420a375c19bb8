// The form of a reading: a verdict on each subject and a comment.

import { announce, h, problemBox } from "../dom.js";
import { layerName, verdictMeaning, verdictName } from "../format.js";

/** `kept` holds what was chosen and typed so far; `save` sends it and fails in words. */
export function verdictForm({ subjects, verdicts, kept, title, hint, actions }) {
  const box = problemBox();
  let active = subjects[0];
  const mark = () => subjects.forEach((subject) => fields[subject].classList.toggle("active", subjects.length > 1 && subject === active));
  const choose = (subject, verdict) => {
    kept.verdicts[subject] = verdict;
    kept.touched = true;
    box.clear();
  };
  const fields = Object.fromEntries(subjects.map((subject) => [subject, h("fieldset", {
    class: "subject", focusin: () => { active = subject; mark(); },
  }, h("legend", {}, layerName(subject)), h("div", { class: "choices" }, verdicts.map((verdict, at) => {
    const id = `verdict-${subject}-${verdict}`;
    const radio = h("input", { type: "radio", id, name: `verdict-${subject}`, value: verdict, change: () => choose(subject, verdict) });
    radio.checked = kept.verdicts[subject] === verdict;
    return h("div", { class: `choice ${verdict}` }, radio, h("label", { for: id },
      h("span", { class: "name" }, verdictName(verdict)), h("kbd", { "aria-hidden": "true" }, String(at + 1)),
      h("span", { class: "meaning" }, verdictMeaning(verdict))));
  })))]));
  const comment = h("textarea", { id: "comment", rows: "3", maxlength: "4000", input: () => {
    kept.comment = comment.value;
    kept.touched = true;
  } });
  comment.value = kept.comment;
  const element = h("section", { class: "panel reading" }, h("h2", {}, title), hint && h("p", { class: "hint" }, hint),
    subjects.map((subject) => fields[subject]),
    h("label", { for: "comment" }, "Comment ", h("kbd", { "aria-hidden": "true" }, "c")), comment,
    box.element, h("div", { class: "actions" }, actions));
  mark();

  const press = (key) => {
    const verdict = verdicts[Number(key) - 1];
    const subject = active;
    element.querySelector(`#verdict-${subject}-${verdict}`).click();
    announce(`${layerName(subject)}: ${verdictName(verdict)}`);
    active = subjects.find((other) => !kept.verdicts[other]) ?? subject;
    mark();
  };
  const other = () => {
    active = subjects[(subjects.indexOf(active) + 1) % subjects.length];
    mark();
    announce(`Keys 1 to ${verdicts.length} now go to ${layerName(active)}`);
  };
  return {
    element,
    box,
    /** What is missing, in words; null where the form is whole. */
    missing: () => {
      const without = subjects.filter((subject) => !kept.verdicts[subject]);
      return without.length ? `A verdict is missing: ${without.map(layerName).join(", ")}.` : null;
    },
    bindings: [
      { keys: verdicts.map((_, at) => String(at + 1)), label: verdicts.map(verdictName).join(", "), group: "Reading", run: press },
      ...(subjects.length > 1 ? [{ keys: ["n"], label: "Give the next verdict to the other segmentation", group: "Reading", run: other }] : []),
      { keys: ["c"], label: "Write a comment (Escape leaves it)", group: "Reading", run: () => comment.focus() },
    ],
    comment,
  };
}
