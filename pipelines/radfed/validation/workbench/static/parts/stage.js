// The viewer's place in a case: what it shows, its controls, and where the crosshair is.

import { bytes } from "../api.js";
import { h } from "../dom.js";
import { layerName, spoken } from "../format.js";
import { bind } from "../keys.js";
import { current } from "../session.js";
import { openViewer } from "../viewer.js";
import { DISAGREEMENT, layerPanel, legend } from "./layers.js";
import { planePanel } from "./planes.js";
import { windowPanel } from "./windows.js";

const SIDES = [["R", "L"], ["A", "P"], ["S", "I"]];

/** A stage for a case's layers. `opening` resolves when the scan stands, and fails with NoViewer where it cannot. */
export function stage(found) {
  const gone = new AbortController();
  const frame = h("div", { class: "frame" });
  const waiting = h("p", { class: "waiting", role: "status" }, "The scan is loading …");
  const location = h("p", { class: "location", id: "location" });
  const bars = h("div", { class: "bars" });
  const side = h("div", { class: "side-controls" });
  const below = h("div");
  const element = h("section", { class: "viewer", "aria-label": "Viewer" }, bars,
    h("div", { class: "screen" }, frame, waiting),
    below,
    h("p", { class: "convention", id: "convention" },
      h("strong", {}, "Radiological convention: "), "the patient’s left (L) is at the right of the screen."),
    location, legend(current().labels, found.layers));
  let unbind = () => {};
  let viewer = null;

  async function open() {
    viewer = await openViewer();
    gone.signal.throwIfAborted();
    frame.replaceChildren(viewer.element);
    const files = found.layers.map((name) => bytes(`cases/${found.id}/layers/${name}.nii.gz`, gone.signal));
    const [contents] = await Promise.all([Promise.all(files), viewer.attach()]);
    const layers = found.layers.map((name, at) => ({ name, bytes: contents[at], palette: paletteOf(name) }));
    await viewer.load(layers, gone.signal, furnish);
    waiting.remove();
  }

  function furnish() {
    const layers = layerPanel(found.layers, viewer);
    const windows = windowPanel(current().windows, viewer);
    const planes = planePanel(viewer);
    const place = ({ mm, values }) => {
      planes.follow();
      location.textContent = inWords(mm, values);
    };
    viewer.moved = place;
    bars.replaceChildren(planes.view, windows.element);
    side.replaceChildren(layers.element);
    below.replaceChildren(planes.slices);
    for (const panel of [layers, windows, planes]) panel.apply();
    unbind = bind([...layers.bindings, ...windows.bindings, ...planes.bindings, ...SCAN_KEYS]);
  }

  return {
    element,
    controls: side,
    opening: open,
    instead: (message) => { waiting.remove(); frame.replaceChildren(h("p", { class: "notice bad", role: "alert" }, message)); },
    leave: () => { gone.abort(); unbind(); if (viewer?.element.isConnected) viewer.clear(); },
  };
}

// Handled by the viewer itself while it has the focus; here for the help.
const SCAN_KEYS = [
  { keys: [], label: "With the scan in focus: arrows move the crosshair, Page Up and Page Down change the slice", group: "Viewer" },
];

function paletteOf(name) {
  if (name === "image") return null;
  return name === "disagreement" ? DISAGREEMENT : current().labels;
}

/** The crosshair's place and what lies there. */
function inWords(mm, values) {
  const place = mm.map((along, axis) => `${Math.abs(along).toFixed(1)} mm ${SIDES[axis][along < 0 ? 1 : 0]}`).join(", ");
  const there = Object.entries(values).map(([name, value]) => {
    const palette = paletteOf(name);
    if (!palette) return `${layerName(name)} ${Number(value.toPrecision(4))}`;
    const label = palette.find((entry) => entry.value === Math.round(value));
    return `${layerName(name)}: ${label ? spoken(label.name) : "–"}`;
  });
  return `${place} · ${there.join(" · ")}`;
}
