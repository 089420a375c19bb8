// Which grey values are shown: presets, and two numbers by hand.

import { announce, h } from "../dom.js";
import { spoken } from "../format.js";

/** Presets of the task first, then those that follow from the image. */
export function windowPanel(presets, viewer) {
  const all = [...presets, ...viewer.ownWindows()];
  const choice = h("select", { id: "window", change: () => choose(Number(choice.value)) },
    all.map(({ name }, at) => h("option", { value: at }, capital(name))),
    h("option", { value: -1 }, "By hand"));
  const low = figure("Lower grey value");
  const high = figure("Upper grey value");
  const write = (from, to) => { low.value = tidy(from); high.value = tidy(to); };
  const choose = (at) => {
    if (at < 0) return;
    choice.value = String(at);
    viewer.setWindow(all[at].low, all[at].high);
    write(all[at].low, all[at].high);
  };
  const byHand = () => {
    const [from, to] = [low.valueAsNumber, high.valueAsNumber];
    const wrong = !(from < to);
    for (const input of [low, high]) input.setAttribute("aria-invalid", String(wrong));
    if (wrong) { announce("The lower value must be below the upper one."); return; }
    choice.value = "-1";
    viewer.setWindow(from, to);
  };
  function figure(name) {
    return h("input", { type: "number", step: "any", "aria-label": name, change: () => byHand() });
  }
  viewer.windowed = (from, to) => { choice.value = "-1"; write(from, to); };
  const cycle = () => {
    const at = (Number(choice.value) + 1) % all.length;
    choose(at);
    announce(`Window: ${capital(all[at].name)}`);
  };
  return {
    element: h("div", { class: "window" },
      h("label", { for: "window" }, "Window ", h("kbd", { "aria-hidden": "true" }, "w")), choice, low, h("span", {}, "to"), high),
    apply: () => choose(0),
    bindings: [{ keys: ["w"], label: "Next window", group: "Viewer", run: cycle }],
  };
}

const capital = (name) => name.charAt(0).toUpperCase() + spoken(name).slice(1);
const tidy = (value) => String(Number(value.toPrecision(4)));
