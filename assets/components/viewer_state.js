// What is shown: panels from the data, the reader's choices, and the pictures worked out from both.

const MODES = { side: "Side by side", slider: "Slider", blink: "Blink", difference: "Difference" };
const STRETCHES = { asinh: "asinh", log: "log", linear: "linear" };
const COLOUR_MAPS = { inferno: "inferno", gray: "gray", viridis: "viridis", RdBu: "RdBu" };
const DIFFERENCE = "difference";

const states = new Map(); // by key of the viewer: lives on when the page draws the component anew
const arrays = new Map(); // by hash: values and what was worked out from them, the last used last
const BYTES_KEPT = 256 * 2 ** 20;
const PICTURES_KEPT = 4; // of one array

// The reader's choices under a key. `start` is what the page asked for; a choice of the page that has changed
// since replaces the reader's.
function stateOf(start) {
  let state = states.get(start.key);
  if (!state) {
    state = {
      mode: start.mode, start, first: 0, second: 1, split: 0.5, view: { zoom: 1, x: 0, y: 0 }, cross: null,
      settings: new Map(), target: "all", overlay: true, opacity: 0.5, curves: true,
      blink: { shown: 0, every: 700, running: !matchMedia("(prefers-reduced-motion: reduce)").matches },
    };
    states.set(start.key, state);
  }
  if (state.start.mode !== start.mode) state.mode = start.mode;
  if (state.start.stretch !== start.stretch || state.start.colormap !== start.colormap) state.settings.clear();
  state.start = start;
  return state;
}

// An array of the data, with a store for what is worked out from it while its content stays the same.
function arrayOf(described, values) {
  let known = arrays.get(described.hash);
  if (!known) known = newArray(described.hash, values(described));
  arrays.delete(described.hash);
  arrays.set(described.hash, known);
  let bytes = 0;
  for (const array of [...arrays.values()].reverse()) {
    bytes += array.values.byteLength;
    if (bytes > BYTES_KEPT && array !== known) arrays.delete(array.hash);
  }
  return known;
}

function newArray(hash, values) {
  return { hash, values, memo: new Map(), pictures: new Map() };
}

function remembered(array, name, make) {
  if (!array.memo.has(name)) array.memo.set(name, make());
  return array.memo.get(name);
}

function makePanels(header, values) {
  const panels = header.panels.map((p, index) => {
    const [c, h, w] = p.pixels.shape;
    return {
      index, c, h, w, title: p.title || `Image ${index + 1}`, unit: p.unit, scale: p.scale, lower: p.origin === "lower",
      bands: Array.from({ length: c }, (_, k) => p.bands[k] || (c > 1 ? `band ${k + 1}` : "")),
      array: arrayOf(p.pixels, values), sky: makeSky(p.wcs), curves: p.curves, stretch: p.stretch, colormap: p.colormap,
      overlay: p.overlay && { array: arrayOf(p.overlay, values), title: p.overlay.title || "map" },
      group: p.lock ? `lock ${p.lock}` : `panel ${index}`,
    };
  });
  placePanels(panels);
  return panels;
}

// --- where panels lie: in arcsec from their common centre where every scale is known; else in relative fields,
// counted in pixels of the first panel

function placePanels(panels) {
  const inArcsec = panels.every((p) => p.scale);
  const side = (p) => Math.max(p.w, p.h);
  for (const p of panels) {
    p.step = inArcsec ? p.scale : side(panels[0]) / side(p);
    p.shift = [0, 0];
  }
  if (inArcsec && panels.every((p) => p.sky.position)) for (const p of panels.slice(1)) alignOnSky(p, panels[0]);
}

// Moves a panel so that it shows the sky where the first does; not where they are turned against each other.
function alignOnSky(panel, first) {
  const middle = [(first.w - 1) / 2, (first.h - 1) / 2];
  const own = [(panel.w - 1) / 2, (panel.h - 1) / 2];
  const found = pixelOf(panel.sky, first.sky.position(...middle), own);
  const [a, b] = [compass(first.sky, ...middle).north, compass(panel.sky, ...own).north];
  if (!found || a[0] * b[0] + a[1] * b[1] < 0.999 || panel.lower !== first.lower) return;
  const moved = [own[0] - found[0], (own[1] - found[1]) * (panel.lower ? 1 : -1)].map((v) => v * panel.step);
  if (Math.hypot(...moved) < (Math.max(panel.w, panel.h) * panel.step) / 2) panel.shift = moved;
}

function fieldOf(panels) {
  return [Math.max(...panels.map((p) => p.w * p.step)), Math.max(...panels.map((p) => p.h * p.step))];
}

// Pixel [column, row] under a place, fractional: whole numbers are centres of pixels.
function pixelAt(panel, [x, y]) {
  const column = (x - panel.shift[0]) / panel.step + (panel.w - 1) / 2;
  const up = (y - panel.shift[1]) / panel.step + (panel.h - 1) / 2;
  return [column, panel.lower ? up : panel.h - 1 - up];
}

function placeOf(panel, [column, row]) {
  const up = panel.lower ? row : panel.h - 1 - row;
  const fromMiddle = [column - (panel.w - 1) / 2, up - (panel.h - 1) / 2];
  return fromMiddle.map((pixels, axis) => pixels * panel.step + panel.shift[axis]);
}

// The whole pixel under a place, or null outside.
function wholePixel(panel, place) {
  const [column, row] = pixelAt(panel, place).map(Math.round);
  return column >= 0 && row >= 0 && column < panel.w && row < panel.h ? [column, row] : null;
}

// --- bands, limits, pictures

function defaultSettings(panel, start) {
  const wanted = panel.stretch || start.stretch;
  return {
    asked: panel.stretch + panel.colormap, curve: wanted in STRETCHES ? wanted : "linear",
    limits: wanted === "zscale" ? "zscale" : "99.5", low: 0, high: 1,
    colormap: panel.colormap || start.colormap, invert: false, band: panel.c >= 3 ? "rgb" : "0", q: null,
    rgb: panel.bands.join() === "R,G,B" ? [0, 1, 2] : [panel.c - 1, Math.round((panel.c - 1) / 2), 0],
  };
}

function settingsOf(state, panel) {
  let settings = state.settings.get(panel.group);
  if (settings?.asked !== panel.stretch + panel.colormap) {
    settings = defaultSettings(panel, state.start);
    state.settings.set(panel.group, settings);
  }
  const known = settings.band === "rgb" ? panel.c >= 3 : settings.band === "mean" || Number(settings.band) < panel.c;
  if (!known || Math.max(...settings.rgb) >= panel.c) {
    const { band, rgb } = defaultSettings(panel, state.start);
    Object.assign(settings, { rgb, band: known ? settings.band : band });
  }
  return settings;
}

// Values of one band, or their mean; of a picture in Lupton's colours the mean stands for it.
function bandValues(panel, band) {
  const size = panel.w * panel.h;
  if (band === "mean" || band === "rgb") {
    const { array, c } = panel;
    return c === 1 ? array.values : remembered(array, "mean", () => meanBand(array.values, c));
  }
  return panel.array.values.subarray(Number(band) * size, (Number(band) + 1) * size);
}

function joined(parts) {
  if (parts.length === 1) return parts[0];
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  parts.reduce((place, part) => (out.set(part, place), place + part.length), 0);
  return out;
}

// Limits that a panel's group has by its settings: { low, high } or, in Lupton's colours, { black, white, q } with
// values of each band.
function groupLimits(state, panels, panel) {
  const settings = settingsOf(state, panel);
  const members = panel.group === DIFFERENCE ? [panel] : panels.filter((p) => p.group === panel.group);
  const rgb = settings.band === "rgb";
  const hand = settings.limits === "hand";
  const kind = hand ? "99.5" : settings.limits;
  const name = ["limits", kind, settings.band, settings.rgb, ...members.map((p) => p.array.hash)].join();
  const found = remembered(panel.array, name, () => {
    const values = (band) => joined(members.map((p) => bandValues(p, band)));
    if (rgb) return luptonLimits(settings.rgb.map(values), kind);
    const [low, high] = limitsOf(values(settings.band), kind);
    return panel.group === DIFFERENCE ? symmetric(low, high) : { low, high };
  });
  const { low, high } = settings;
  if (!rgb) return hand ? { low, high } : found;
  const q = settings.q ?? found.q;
  return hand ? { black: [low, low, low], white: [high, high, high], q } : { ...found, q };
}

function symmetric(low, high) {
  const far = Math.max(Math.abs(low), Math.abs(high)) || 1;
  return { low: -far, high: far };
}

// How brightness became colour, in words.
function stretchText(state, panels, panel) {
  const settings = settingsOf(state, panel);
  const limits = groupLimits(state, panels, panel);
  const kind = { zscale: "zscale", minmax: "min – max", hand: "by hand" }[settings.limits] || `${settings.limits} %`;
  const unit = panel.unit ? ` ${panel.unit}` : "";
  if (settings.band !== "rgb") return `${settings.curve}, ${limitsText([limits.low, limits.high])}${unit} (${kind})`;
  const each = settings.rgb.map((band, k) => `${panel.bands[band]} ${limitsText([limits.black[k], limits.white[k]])}`);
  return `Lupton RGB, Q ${limits.q}: ${each.join(", ")}${unit} (${kind})`;
}

// The panel as a canvas of its own size, first row at the top of the picture.
function pictureOf(state, panels, panel) {
  const settings = settingsOf(state, panel);
  const limits = groupLimits(state, panels, panel);
  const { pictures } = panel.array;
  const name = JSON.stringify([settings, limits, panel.lower]);
  if (pictures.has(name)) return pictures.get(name);
  let rgba;
  if (settings.band === "rgb") {
    const scale = limits.white.map((white, k) => 1 / (white - limits.black[k] || 1));
    const bands = settings.rgb.map((k) => bandValues(panel, k));
    rgba = luptonRgba(bands, limits.black, scale, luptonStretch(limits.q), limits.q);
    if (settings.invert) for (let i = 0; i < rgba.length; i++) if (i % 4 < 3) rgba[i] = 255 - rgba[i];
  } else {
    const display = levels(bandValues(panel, settings.band), [limits.low, limits.high], settings.curve);
    rgba = coloured(display, colourTable(settings.colormap, settings.invert));
  }
  if (pictures.size >= PICTURES_KEPT) pictures.delete(pictures.keys().next().value);
  pictures.set(name, canvasOf(rgba, panel));
  return pictures.get(name);
}

function canvasOf(rgba, { w, h, lower }) {
  const canvas = document.createElement("canvas");
  canvas.width = w;
  canvas.height = h;
  const upright = new Uint8ClampedArray(rgba.length);
  for (let row = 0; row < h; row++) {
    upright.set(rgba.subarray(4 * w * row, 4 * w * (row + 1)), 4 * w * (lower ? h - 1 - row : row));
  }
  canvas.getContext("2d").putImageData(new ImageData(upright, w, h), 0, 0);
  return canvas;
}

function overlayOf(panel) {
  return remembered(panel.overlay.array, `picture ${panel.lower}`, () => {
    return canvasOf(overlayRgba(panel.overlay.array.values), panel);
  });
}

// A − B as a panel of its own, on the finer of both grids; equal images give exactly 0.
function differenceOf(state, a, b) {
  const fine = a.step <= b.step ? a : b;
  const [bandA, bandB] = [a, b].map((p) => settingsOf(state, p).band);
  const shift = [a, b].map((p) => [p.step, p.shift, p.lower]);
  const name = JSON.stringify(["difference", b.array.hash, bandA, bandB, shift]);
  const array = remembered(a.array, name, () => {
    const values = subtract(fine, a, bandValues(a, bandA), b, bandValues(b, bandB));
    return newArray(name + a.array.hash, values);
  });
  const unit = a.unit === b.unit ? a.unit : "";
  return {
    ...fine, c: 1, bands: [""], title: `${a.title} − ${b.title}`, unit, array, overlay: null, curves: [],
    group: DIFFERENCE, stretch: "linear", colormap: "RdBu", sampled: a.step !== b.step || a.w !== b.w || a.h !== b.h,
  };
}

function subtract(fine, a, valuesA, b, valuesB) {
  const out = new Float32Array(fine.w * fine.h).fill(NaN);
  for (let row = 0; row < fine.h; row++) {
    for (let column = 0; column < fine.w; column++) {
      const place = placeOf(fine, [column, row]);
      const [p, q] = [wholePixel(a, place), wholePixel(b, place)];
      if (p && q) out[row * fine.w + column] = valuesA[p[1] * a.w + p[0]] - valuesB[q[1] * b.w + q[0]];
    }
  }
  return out;
}
