// Which layers are drawn and how strongly, and what their colours mean.

import { announce, h, swatch } from "../dom.js";
import { layerName, spoken } from "../format.js";

/** Told apart with every kind of colour vision, by their lightness alone, and not among the colours of labels. */
export const DISAGREEMENT = [
  { value: 1, name: "Only in the prediction", colour: "#f0e442" },
  { value: 2, name: "Only in the reference", colour: "#c2185b" },
  { value: 3, name: "Different labels", colour: "#ffffff" },
];
const KEYS = { image: "i", prediction: "p", reference: "r", disagreement: "d", A: "a", B: "b" };
const STRENGTH = { image: 100, disagreement: 85 };
const UNFILLED = 0.01;
const FIRST_ON = ["image", "prediction", "A"];

/** Switches and sliders, one a layer; `bindings` are their keys. */
export function layerPanel(layers, viewer) {
  const outlines = h("input", { type: "checkbox", id: "outlines", change: () => apply() });
  const apply = () => viewer.setLayers(Object.fromEntries(controls.map(({ name, strength }) =>
    [name, strength(outlines.checked)])), outlines.checked);
  const controls = layers.map((name) => control(name, apply));
  const toggleOutlines = () => {
    outlines.checked = !outlines.checked;
    apply();
    announce(outlines.checked ? "Outlines only" : "Filled");
  };
  const element = h("fieldset", { class: "layers" }, h("legend", {}, "Layers"),
    controls.map(({ element: row }) => row),
    h("p", { class: "check" }, outlines, h("label", { for: "outlines" }, "Outlines only ", h("kbd", { "aria-hidden": "true" }, "o"))));
  return {
    element,
    apply,
    bindings: [
      ...controls.map(({ name, toggle }) => ({ keys: [KEYS[name]], label: `${layerName(name)} on or off`, group: "Layers", run: toggle })),
      { keys: ["o"], label: "Outlines or filled", group: "Layers", run: toggleOutlines },
    ],
  };
}

function control(name, apply) {
  const id = `layer-${name}`;
  const on = h("input", { type: "checkbox", id, change: () => apply() });
  const slider = h("input", { type: "range", min: "5", max: "100", step: "5", value: STRENGTH[name] ?? 55,
    "aria-label": `Opacity of ${layerName(name)}, per cent`, input: () => { on.checked = true; apply(); } });
  on.checked = FIRST_ON.includes(name);
  // NiiVue draws outlines over the filling and at full strength: only the filling is taken away.
  const strength = (outlined) => {
    if (!on.checked) return 0;
    return outlined && name !== "image" ? UNFILLED : slider.valueAsNumber / 100;
  };
  const toggle = () => {
    on.checked = !on.checked;
    apply();
    announce(`${layerName(name)} ${on.checked ? "on" : "off"}`);
  };
  const element = h("div", { class: "layer" },
    h("span", { class: "check" }, on, h("label", { for: id }, layerName(name), " ", h("kbd", { "aria-hidden": "true" }, KEYS[name]))),
    slider);
  return { name, element, strength, toggle };
}

/** What each colour means. */
export function legend(labels, layers) {
  const item = ({ name, colour }) => h("li", {}, swatch(colour), spoken(name));
  return h("div", { class: "legend" },
    h("ul", { "aria-label": "Colours of the labels" }, labels.map(item)),
    layers.includes("disagreement") && h("ul", { "aria-label": "Colours of the disagreement" }, DISAGREEMENT.map(item)));
}
