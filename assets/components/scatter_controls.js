// What stands above and below the points: tools, the key of colours, the list of keys.

const KEYS = [
  ["drag", "move the map, or draw round points with the lasso"], ["wheel, + −", "zoom; 0 shows all"],
  ["L, P", "lasso, move"], ["Shift + drag", "lasso at any time"], ["Ctrl + lasso", "add to what is chosen"],
  ["click, Enter", "open the point"], ["Space", "choose the point, or leave it out"], ["V", "choose all in view"],
  ["arrows", "move the map"], ["double click, Esc", "choose none"],
];

function toolBar(map) {
  const { view, group } = map;
  const tools = [["pan", "Move", "P"], ["lasso", "Lasso", "L"]].map(([tool, text, key]) => {
    return toggle(`tool-${tool}`, text, view.tool === tool, () => map.useTool(tool), `${text} (${key})`);
  });
  map.count = el("span", { class: "count", role: "status" });
  return el("div", { class: "row" },
    el("div", { class: "joined", role: "group", "aria-label": "What dragging does" }, ...tools),
    el("div", { class: "joined" },
      button("out", "−", () => map.zoomBy(0.7), "Zoom out"), button("in", "+", () => map.zoomBy(1 / 0.7), "Zoom in"),
      button("all", "All", () => map.reset(), "Show all points (0)")),
    group.size > 0 && button("clear", "Choose none", () => map.clear(), "Choose none (Esc)"),
    map.count,
    toggle("help", "?", map.help, () => map.toggleHelp(), "Keys and gestures"));
}

function keyList() {
  const rows = KEYS.map(([keys, text]) => el("div", {}, el("kbd", { text: keys }), el("span", { text })));
  return el("div", { class: "keys" }, ...rows);
}

// The key of colours: classes with their shapes, each a button that chooses its points, or a scale.
function colourKey(map) {
  const { legend } = map.header;
  if (legend.kind === "scale") return scaleKey(legend);
  const items = legend.items.map((item) => {
    const words = el("span", { text: `${item.label} ` }, el("span", { class: "quiet", text: item.count.toLocaleString("en") }));
    const title = `Choose the ${item.count} points: ${item.label}`;
    const act = (event) => map.chooseCode(item.code, event.ctrlKey || event.metaKey);
    return el("button", { type: "button", class: "item", title, on: { click: act } }, glyph(item.shape, item.color), words);
  });
  return el("div", { class: "row legend" }, ...items);
}

function scaleKey({ label, low, high, stops, missing }) {
  const bar = el("span", { class: "scale", "aria-hidden": "true" });
  bar.style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
  const none = missing && el("span", { class: "quiet", text: `grey: unknown, ${missing.toLocaleString("en")}` });
  return el("div", { class: "row legend" }, el("span", { text: label }), el("span", { class: "quiet", text: low }), bar,
    el("span", { class: "quiet", text: high }), none);
}

// The card beside the point under the cursor.
function fillCard(card, row, known) {
  const words = known?.words || [`point ${row + 1}`, "…"];
  const lines = words.map((text, k) => el("div", { class: k ? "line" : "line name", text }));
  card.replaceChildren(...[known?.picture, ...lines].filter(Boolean));
}
