// The controls above the panes.

function choice(name, label, options, value, choose) {
  const picked = String(value);
  const known = picked in options ? options : { ...options, [picked]: "mixed" };
  const entries = Object.entries(known).map(([key, text]) => {
    const option = el("option", { value: key, text });
    option.selected = key === picked;
    return option;
  });
  const on = { change: (event) => choose(event.target.value) };
  return labelled(label, el("select", { name, "aria-label": label, on }, ...entries));
}

function range(name, label, [min, max, step], value, act) {
  const on = { input: (event) => act(Number(event.target.value)) };
  return labelled(label, el("input", { type: "range", name, min, max, step, value, "aria-label": label, on }));
}

function number(name, label, value, act) {
  const on = { change: (event) => act(Number(event.target.value)) };
  return labelled(label, el("input", { type: "number", step: "any", name, value, "aria-label": label, on }));
}

function names(panels) {
  return Object.fromEntries(panels.map((p) => [p.index, p.title]));
}

// How the panels are put together and what lies over them.
function viewControls(viewer) {
  const { state, panels } = viewer;
  const parts = [];
  if (panels.length > 1) {
    const modes = Object.entries(MODES).map(([mode, text]) => {
      return toggle(`mode-${mode}`, text, state.mode === mode, () => viewer.change({ mode }));
    });
    parts.push(el("div", { class: "joined", role: "group", "aria-label": "How panels are put together" }, ...modes));
  }
  const pair = viewer.mode === "slider" || viewer.mode === "difference";
  if (pair && panels.length > 2) {
    const [a, b] = viewer.mode === "slider" ? ["Left", "Right"] : ["Of", "minus"];
    parts.push(choice("first", a, names(panels), state.first, (v) => viewer.change({ first: Number(v) })));
    parts.push(choice("second", b, names(panels), state.second, (v) => viewer.change({ second: Number(v) })));
  }
  if (pair) {
    const swapped = { first: state.second, second: state.first };
    parts.push(button("swap", "⇄", () => viewer.change(swapped), "Swap both"));
  }
  if (viewer.mode === "blink") parts.push(...blinkControls(viewer));
  return [...parts, ...overControls(viewer)];
}

function overControls({ state, panels, change }) {
  const parts = [];
  const title = panels.find((p) => p.overlay)?.overlay.title;
  if (title) parts.push(toggle("overlay", title, state.overlay, () => change({ overlay: !state.overlay })));
  if (title && state.overlay) {
    parts.push(range("opacity", "Opacity", [0, 1, 0.05], state.opacity, (opacity) => change({ opacity }, true)));
  }
  if (panels.some((p) => p.curves.length)) {
    const words = "Critical curves and caustics";
    parts.push(toggle("curves", "Curves", state.curves, () => change({ curves: !state.curves }), words));
  }
  return parts;
}

function zoomControls(viewer) {
  return [
    el("div", { class: "joined zoom", role: "group", "aria-label": "Zoom" },
      button("out", "−", () => viewer.zoomBy(1 / 1.5), "Zoom out"),
      button("fit", "Fit", () => viewer.reset(), "Show all"),
      button("in", "+", () => viewer.zoomBy(1.5), "Zoom in")),
    toggle("keys", "?", viewer.help, () => viewer.toggleHelp(), "Keys"),
  ];
}

// One row where one panel is shown by itself, else two.
function controlRows(viewer) {
  const row = (label, ...parts) => el("div", { class: "row", role: "toolbar", "aria-label": label }, ...parts);
  const [view, colours, zoom] = [viewControls(viewer), colourControls(viewer), zoomControls(viewer)];
  if (!view.length) return [row("Colours and view", ...colours, ...zoom)];
  return [row("View", ...view, ...zoom), row("Colours", ...colours)];
}

function blinkControls(viewer) {
  const { blink } = viewer.state;
  const rates = { 250: "4 a second", 500: "2 a second", 700: "every 0.7 s", 1000: "every second", 2000: "every 2 s" };
  return [
    toggle("run", blink.running ? "Pause" : "Run", blink.running, () => viewer.blinkOn(!blink.running)),
    button("next", "Next", () => viewer.blinkNext(), "Show the next panel"),
    choice("every", "Change", rates, blink.every, (v) => viewer.blinkEvery(Number(v))),
  ];
}

// The panels whose settings the controls change: one a group.
function targets(viewer) {
  const seen = new Map();
  for (const panel of viewer.drawn()) if (!seen.has(panel.group)) seen.set(panel.group, panel);
  return [...seen.values()];
}

function targetName(viewer, panel) {
  const members = viewer.panels.filter((p) => p.group === panel.group);
  return members.length > 1 ? members.map((p) => p.title).join(", ") : panel.title;
}

// How values become colours.
function colourControls(viewer) {
  const { state } = viewer;
  const all = targets(viewer);
  const chosen = all.filter((p) => p.group === state.target);
  const aimed = chosen.length ? chosen : all;
  const each = aimed.map((p) => settingsOf(state, p));
  const common = (name) => (each.every((s) => s[name] === each[0][name]) ? each[0][name] : "mixed");
  const set = (changes, light = false) => viewer.changeSettings(aimed, changes, light);
  const rgb = each.every((s) => s.band === "rgb");
  const parts = [];
  if (all.length > 1) {
    const options = { all: "all panels", ...Object.fromEntries(all.map((p) => [p.group, targetName(viewer, p)])) };
    const now = chosen.length ? state.target : "all";
    parts.push(choice("target", "For", options, now, (target) => viewer.change({ target })));
  }
  if (!rgb) parts.push(choice("curve", "Stretch", STRETCHES, common("curve"), (curve) => set({ curve })));
  parts.push(choice("limits", "Limits", LIMITS, common("limits"), (limits) => set(byHand(viewer, aimed[0], limits))));
  if (common("limits") === "hand") {
    parts.push(number("low", "from", each[0].low, (low) => set({ low }, true)));
    parts.push(number("high", "to", each[0].high, (high) => set({ high }, true)));
  }
  if (!rgb) parts.push(choice("colormap", "Colours", COLOUR_MAPS, common("colormap"), (colormap) => set({ colormap })));
  parts.push(toggle("invert", "Invert", common("invert") === true, () => set({ invert: common("invert") !== true })));
  parts.push(...bandControls(viewer, aimed, common, set));
  return parts;
}

// Limits by hand begin where the limits are.
function byHand(viewer, panel, limits) {
  if (limits !== "hand") return { limits };
  const now = groupLimits(viewer.state, viewer.panels, panel);
  const [low, high] = "low" in now ? [now.low, now.high] : [Math.min(...now.black), Math.max(...now.white)];
  return { limits, low: Number(low.toPrecision(4)), high: Number(high.toPrecision(4)) };
}

function bandControls(viewer, aimed, common, set) {
  const panel = aimed[0];
  const { rgb } = settingsOf(viewer.state, panel);
  if (aimed.some((p) => p.c < 2 || p.c !== panel.c)) return [];
  const bands = Object.fromEntries(panel.bands.map((name, k) => [k, name]));
  const options = { ...bands, mean: "mean", ...(panel.c >= 3 ? { rgb: "RGB (Lupton)" } : {}) };
  const parts = [choice("band", "Band", options, common("band"), (band) => set({ band }))];
  if (common("band") !== "rgb") return parts;
  ["R", "G", "B"].forEach((letter, k) => {
    const change = (v) => set({ rgb: rgb.map((old, j) => (j === k ? Number(v) : old)) });
    if (panel.c > 3) parts.push(choice(`rgb-${letter}`, letter, bands, rgb[k], change));
  });
  const { q: now } = groupLimits(viewer.state, viewer.panels, panel);
  parts.push(range("q", "Q", [0.5, 20, 0.5], now, (q) => set({ q }, true)));
  return parts;
}

const KEYS = [
  ["Wheel, + −", "zoom"], ["Drag, arrows", "move"], ["Double click, 0", "show all"],
  ["Shift + arrows", "move the crosshair by a pixel"], ["Enter, Shift + click", "mark the pixel"],
  ["Esc", "no crosshair"], ["M", "next mode"], ["S", "next stretch"], ["I", "invert"], ["O", "map over the image"],
  ["B", "blink on and off"], ["N", "next panel"],
];

function keyList() {
  const rows = KEYS.map(([keys, text]) => el("div", {}, el("kbd", { text: keys }), el("span", { text })));
  const note = "x and y count from 0, as NumPy's image[y, x]; FITS counts from 1.";
  return el("div", { class: "keys" }, ...rows, el("p", { text: note }));
}
