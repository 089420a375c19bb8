// Volumes and agreement with the reference, a row a label.

import { h, swatch } from "../dom.js";
import { number, spoken } from "../format.js";

export function measurements(found, labels) {
  if (!found.volumes_ml && !found.metrics) {
    return h("section", { class: "panel" }, h("h2", {}, "Measurements"),
      h("p", { class: "hint" }, "Hidden while the reading is blinded."));
  }
  const rows = labels.map(({ name, colour }) => {
    const volume = found.volumes_ml?.[name] ?? {};
    const metric = found.metrics?.[name] ?? {};
    return h("tr", {},
      h("th", { scope: "row" }, swatch(colour), spoken(name)),
      [[volume.prediction, 1], [volume.reference, 1], [metric.dice, 2], [metric.hd95, 1], [metric.nsd, 2]]
        .map(([value, digits]) => h("td", { class: "figure" }, number(value, digits))));
  });
  const heads = [["Label"], ["Pred.", "Volume of the prediction, ml"], ["Ref.", "Volume of the reference, ml"],
    ["Dice", "Dice coefficient"], ["HD95", "95th percentile of the surface distance, mm"], ["NSD", "Normalised surface Dice"]];
  return h("section", { class: "panel" }, h("h2", {}, "Measurements"),
    h("table", { class: "measurements" },
      h("caption", { class: "hint" }, "Volumes in ml, HD95 in mm"),
      h("thead", {}, h("tr", {}, heads.map(([short, long]) =>
        h("th", { scope: "col", abbr: long }, long ? h("abbr", { title: long }, short) : short)))),
      h("tbody", {}, rows)));
}
