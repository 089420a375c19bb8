// Which planes are shown, and the slice of each: sliders for touch and keyboard.

import { h } from "../dom.js";

const VIEWS = [["planes", "Three planes and 3D"], ["axial", "Axial"], ["coronal", "Coronal"], ["sagittal", "Sagittal"], ["render", "3D"]];
const AXES = [[2, "Axial"], [1, "Coronal"], [0, "Sagittal"]];

export function planePanel(viewer) {
  const choice = h("select", { id: "planes", change: () => viewer.setView(choice.value) },
    VIEWS.map(([value, name]) => h("option", { value }, name)));
  const cross = h("input", { type: "checkbox", id: "cross", checked: true, change: () => viewer.setCrosshair(cross.checked) });
  const size = viewer.size();
  const sliders = AXES.map(([axis, name]) => slider(axis, name, size[axis], viewer));
  const cycle = () => {
    choice.selectedIndex = (choice.selectedIndex + 1) % VIEWS.length;
    viewer.setView(choice.value);
  };
  const flip = () => { cross.checked = !cross.checked; viewer.setCrosshair(cross.checked); };
  return {
    view: h("div", { class: "planes" },
      h("label", { for: "planes" }, "View ", h("kbd", { "aria-hidden": "true" }, "v")), choice,
      h("span", { class: "check" }, cross, h("label", { for: "cross" }, "Crosshair ", h("kbd", { "aria-hidden": "true" }, "x")))),
    slices: h("div", { class: "slices" }, sliders.map(({ element }) => element)),
    follow: () => { const at = viewer.voxel(); sliders.forEach(({ axis, set }) => set(at[axis])); },
    apply: () => { viewer.setView(choice.value); viewer.setCrosshair(cross.checked); },
    bindings: [
      { keys: ["v"], label: "Next view: planes, one plane, 3D", group: "Viewer", run: cycle },
      { keys: ["x"], label: "Crosshair on or off", group: "Viewer", run: flip },
    ],
  };
}

function slider(axis, name, count, viewer) {
  const shown = h("output", {});
  const range = h("input", { type: "range", min: "0", max: String(count - 1), step: "1", id: `slice-${axis}`,
    input: () => viewer.setSlice(axis, range.valueAsNumber) });
  const set = (index) => {
    range.value = String(index);
    shown.textContent = `${index + 1} / ${count}`;
    range.setAttribute("aria-valuetext", `slice ${index + 1} of ${count}`);
  };
  return { axis, set, element: h("div", { class: "slice" }, h("label", { for: `slice-${axis}` }, name), range, shown) };
}
