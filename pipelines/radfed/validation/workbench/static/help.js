// The help: what a reader does, and the keys that work where they are.

import { openDialog } from "./dialog.js";
import { h } from "./dom.js";
import { boundKeys, setShortcuts, shortcutsOn } from "./keys.js";

const NAMES = { " ": "Space", ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };

export function showHelp() {
  const groups = Object.entries(grouped());
  const on = h("input", { type: "checkbox", id: "shortcuts", change: () => setShortcuts(on.checked) });
  on.checked = shortcutsOn();
  const close = h("button", { type: "button", class: "primary", click: () => dialog.close() }, "Close");
  const dialog = openDialog("Help",
    h("p", {}, "Look at each case, give a verdict on each segmentation, and save. A case is finished when all its " +
      "readers have read it; where they disagree, the lead decides. When all cases are finished the lead signs."),
    h("p", {}, "Images follow the radiological convention: the patient’s left is at the right of the screen."),
    groups.map(([group, bindings]) => [
      h("h3", {}, group),
      h("dl", { class: "keys" }, bindings.map(({ keys, label }) => h("div", {},
        h("dt", {}, keys.map((key) => h("kbd", {}, NAMES[key] ?? key))), h("dd", {}, label)))),
    ]).flat(),
    h("p", { class: "check" }, on, h("label", { for: "shortcuts" }, "Single keys work as shortcuts")),
    h("p", { class: "actions" }, close));
}

function grouped() {
  const groups = {};
  for (const binding of boundKeys()) (groups[binding.group] ??= []).push(binding);
  return groups;
}
