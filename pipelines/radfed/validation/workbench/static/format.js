// Numbers and words as the page shows them.

const STATES = {
  open: "Not read", one: "One reading", agreed: "Readers agree", disagreed: "Readers disagree", adjudicated: "Adjudicated", read: "Read",
};
const VERDICTS = { accept: "Accept", minor: "Minor edits", major: "Major edits", reject: "Reject" };
const MEANINGS = {
  accept: "usable as it is",
  minor: "usable after small corrections",
  major: "needs redrawing in part",
  reject: "not usable",
};
const LAYERS = { image: "Image", prediction: "Prediction", reference: "Reference", disagreement: "Disagreement" };

export const stateName = (state) => STATES[state] ?? state;
export const verdictName = (verdict) => VERDICTS[verdict] ?? verdict;
export const verdictMeaning = (verdict) => MEANINGS[verdict] ?? "";
export const layerName = (layer) => LAYERS[layer] ?? `Segmentation ${layer}`;
export const spoken = (name) => name.replaceAll("_", " ");

/** A number with a fixed count of digits, a dash where there is none. */
export function number(value, digits) {
  return typeof value === "number" && Number.isFinite(value) ? value.toFixed(digits) : "–";
}

/** Seconds as minutes:seconds. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}

/** All of a reading's verdicts in one line: "Accept", or "A: Accept, B: Reject". */
export function verdictLine(verdicts) {
  const entries = Object.entries(verdicts);
  if (entries.length === 1) return verdictName(entries[0][1]);
  return entries.map(([subject, verdict]) => `${subject}: ${verdictName(verdict)}`).join(", ");
}
