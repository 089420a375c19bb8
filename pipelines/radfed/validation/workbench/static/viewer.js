// The scan on the screen: a thin coat around NiiVue, so that the page speaks of layers, windows and planes only.
//
// One viewer serves all cases: a browser gives few WebGL contexts, and compiling the shaders takes a second each time.

import { h } from "./dom.js";

const SLICE_TYPES = { axial: 0, coronal: 1, sagittal: 2, planes: 3, render: 4 };
const GRID = 2;
const ALWAYS = 1;
const CROSSHAIR = 0.4; // per cent of the scan's width
const LABELS = 1002; // NIFTI_INTENT_LABEL
const RENDER_SCALE = 1.35;
const SETTINGS = {
  isRadiologicalConvention: true, // the patient's left at the right of the screen
  sagittalNoseLeft: true,         // and anterior at its left
  multiplanarLayout: GRID,
  multiplanarShowRender: ALWAYS,
  multiplanarPadPixels: 2,
  showAllOrientationMarkers: true,
  showLegend: false,
  dragAndDropEnabled: false,
  backColor: [0.04, 0.05, 0.06, 1],
  crosshairColor: [0.8, 0.9, 1, 0.8],
  crosshairWidthUnit: "percent",
  fontColor: [0.85, 0.87, 0.9, 1],
  fontSizeScaling: 0.3,
  viewModeHotKey: "",
  clipPlaneHotKey: "",
  cycleClipPlaneHotKey: "",
  logLevel: "error",
};

let opened = null;

/** Why scans cannot be drawn here, in words for the reader. */
export class NoViewer extends Error {}

/** The page's viewer, made on first use. */
export function openViewer() {
  opened ??= make().catch((error) => { opened = null; throw error; });
  return opened;
}

async function make() {
  if (!document.createElement("canvas").getContext("webgl2")) {
    throw new NoViewer("This browser cannot draw scans: WebGL2 is missing or switched off. Switch on hardware " +
      "acceleration in its settings, or use a current Chrome, Edge, Firefox or Safari. Without the scan no verdict is taken.");
  }
  let niivue;
  try {
    niivue = await import("./vendor/niivue.js");
  } catch {
    throw new NoViewer("The viewer is not installed with this workbench. Whoever runs it must put npm in place and " +
      "install radfed again. Without the scan no verdict is taken.");
  }
  return new Viewer(niivue);
}

class Viewer {
  constructor({ Niivue, NVImage }) {
    this.NVImage = NVImage;
    this.canvas = h("canvas", { role: "application", "aria-label": "Scan", "aria-roledescription": "scan viewer",
      "aria-describedby": "convention location" });
    this.element = h("div", { class: "stage" }, this.canvas);
    this.nv = new Niivue(SETTINGS);
    this.moved = () => {};
    this.windowed = () => {};
    this.nv.onLocationChange = (place) => this.moved(this.placeOf(place));
    this.nv.onIntensityChange = (volume) => this.windowed(volume.cal_min, volume.cal_max);
    // NiiVue's own keys (h, j, k, l, u, d, arrows) mean other things on this page.
    for (const kind of ["keydown", "keyup"]) this.element.addEventListener(kind, (event) => this.key(event), true);
    this.attached = null;
  }

  /** Begins to draw; the element must be in the page. */
  attach() {
    this.attached ??= this.nv.attachToCanvas(this.canvas, true);
    return this.attached;
  }

  /**
   * Shows layers: [{name, bytes, palette}], an image first; palette is null for an image. `furnish` is called when they
   * stand, before they are drawn.
   */
  async load(layers, signal, furnish) {
    const volumes = [];
    for (const { name, bytes, palette } of layers) {
      const volume = await this.NVImage.loadFromUrl({ url: bytes, name: `${name}.nii.gz`, opacity: palette ? 0 : 1 });
      if (palette) {
        volume.setColormapLabel(lookUp(palette));
        volume.hdr.intent_code = LABELS; // without it NiiVue draws no outlines
      }
      volumes.push(volume);
    }
    signal.throwIfAborted();
    this.names = layers.map(({ name }) => name);
    this.together(() => {
      Object.assign(this.nv, { volumes, back: volumes[0], overlays: volumes.slice(1) });
      this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
      this.nv.setScale(RENDER_SCALE);
      this.nv.scene.crosshairPos = this.start(volumes);
      furnish();
    });
    this.nv.createOnLocationChange();
  }

  /** Several changes, brought to the GPU and drawn once: each time costs as much as all the volumes are large. */
  together(work) {
    this.nv.isBusy = true;
    try { work(); } finally { this.nv.isBusy = false; }
    this.refresh();
  }

  refresh() {
    if (!this.nv.isBusy) this.nv.updateGLVolume();
  }

  /** Takes everything off the screen. */
  clear() {
    this.moved = () => {};
    this.windowed = () => {};
    Object.assign(this.nv, { volumes: [], overlays: [], back: null });
    this.nv.drawScene();
  }

  /** Where most of the first segmentation is that is not empty; else the middle. */
  start(volumes) {
    for (const volume of volumes.filter(({ colormapLabel }) => colormapLabel)) {
      const place = fullest(volume);
      if (place) return this.nv.mm2frac(toMillimetres(volume, place));
    }
    return [0.5, 0.5, 0.5];
  }

  /** How strongly each layer is drawn, by its name, and whether segmentations get outlines. */
  setLayers(opacities, outlined) {
    for (const [at, name] of this.names.entries()) this.nv.volumes[at].opacity = opacities[name];
    this.nv.opts.atlasOutline = outlined ? 1 : 0;
    this.refresh();
  }

  setCrosshair(on) {
    this.nv.setCrosshairWidth(on ? CROSSHAIR : 0);
  }

  setView(name) {
    this.nv.setSliceType(SLICE_TYPES[name]);
    this.view = name;
  }

  /** The grey values shown as black and as white. */
  setWindow(low, high) {
    const image = this.nv.volumes[0];
    image.cal_min = low;
    image.cal_max = high;
    this.refresh();
  }

  /** Windows that follow from the image itself. */
  ownWindows() {
    const image = this.nv.volumes[0];
    return [
      { name: "Automatic", low: image.robust_min, high: image.robust_max },
      { name: "Full range", low: image.global_min, high: image.global_max },
    ];
  }

  /** Voxels along x, y and z, in RAS. */
  size() {
    return this.nv.volumes[0].dimsRAS.slice(1, 4);
  }

  /** The crosshair's voxel in RAS. */
  voxel() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos));
  }

  setSlice(axis, index) {
    const step = [0, 0, 0];
    step[axis] = index - this.voxel()[axis];
    this.nv.moveCrosshairInVox(...step);
  }

  placeOf({ mm, values }) {
    return { mm: Array.from(mm).slice(0, 3), values: Object.fromEntries(values.map(({ value }, at) => [this.names[at], value])) };
  }

  /** Arrows move the crosshair as the screen shows it, or turn the model in 3D; Page Up and Down change the slice. */
  key(event) {
    if (event.key === "Tab") return;
    event.stopPropagation();
    if (event.type !== "keydown" || event.ctrlKey || event.metaKey || event.altKey) return;
    const turn = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
    const step = stepOf(event.key, this.view);
    if (this.view === "render" && turn) {
      this.nv.setRenderAzimuthElevation(this.nv.scene.renderAzimuth + turn[0], this.nv.scene.renderElevation + turn[1]);
    } else if (step) this.nv.moveCrosshairInVox(...step);
    else return;
    event.preventDefault();
  }
}

// To the screen's left is the patient's right, which is +x in RAS; in sagittal planes it is anterior, +y.
function stepOf(key, view) {
  const planes = {
    sagittal: { ArrowLeft: [0, 1, 0], ArrowRight: [0, -1, 0], ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], PageUp: [1, 0, 0], PageDown: [-1, 0, 0] },
    coronal: { ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1], PageUp: [0, 1, 0], PageDown: [0, -1, 0] },
    axial: { ArrowLeft: [1, 0, 0], ArrowRight: [-1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0], PageUp: [0, 0, 1], PageDown: [0, 0, -1] },
  };
  return (planes[view] ?? planes.axial)[key];
}

/** NiiVue's table of colours; what has no entry is not drawn. */
function lookUp(palette) {
  const rows = [{ value: 0, name: "", colour: "#000000" }, ...palette];
  const part = (at) => rows.map(({ colour }) => Number.parseInt(colour.slice(at, at + 2), 16));
  return { R: part(1), G: part(3), B: part(5), A: rows.map(({ value }) => (value ? 255 : 0)),
    I: rows.map(({ value }) => value), labels: rows.map(({ name }) => name) };
}

/** The voxel, in the file's own order, where the slices that hold most of a segmentation meet; null where it is empty. */
function fullest(volume) {
  const [nx, ny, nz] = volume.hdr.dims.slice(1, 4);
  const counts = [new Uint32Array(nx), new Uint32Array(ny), new Uint32Array(nz)];
  let at = 0;
  for (let z = 0; z < nz; z++) for (let y = 0; y < ny; y++) for (let x = 0; x < nx; x++) {
    if (volume.img[at++]) { counts[0][x]++; counts[1][y]++; counts[2][z]++; }
  }
  const place = counts.map((along) => along.indexOf(along.reduce((most, count) => Math.max(most, count), 0)));
  return counts[0][place[0]] ? place : null;
}

const toMillimetres = (volume, place) =>
  volume.hdr.affine.slice(0, 3).map((row) => row[0] * place[0] + row[1] * place[1] + row[2] * place[2] + row[3]);
