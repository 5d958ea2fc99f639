// The map of points as a component: one instance for each place on a page, its zoom and tool kept by key.

const REACH_PX = 18; // how near a point the cursor has to be
const REGION = 40; // points whose pictures are asked for at once
const ASK_AFTER_MS = 70;
const instances = new WeakMap();

class Scatter {
  constructor(parent) {
    this.started = performance.now();
    this.root = el("section", { class: "scatter", "aria-label": "Map of images" });
    this.bars = el("div", { class: "bars" });
    this.points = el("canvas", { class: "points", "aria-hidden": "true" });
    this.above = el("canvas", { class: "above", tabindex: "0", role: "img" });
    this.card = el("div", { class: "card", hidden: "" });
    this.spoken = el("div", { class: "spoken", "aria-live": "polite" });
    this.stage = el("div", { class: "stage" }, this.points, this.above, this.card);
    this.legend = el("div");
    this.root.append(this.bars, this.stage, this.legend, this.spoken);
    parent.append(this.root);
    this.pencil();
    this.listen();
    this.watch = new ResizeObserver(() => this.redraw());
    this.watch.observe(this.stage);
    this.text = "";
    this.help = false;
  }

  destroy() {
    this.watch.disconnect();
    clearTimeout(this.timer);
    this.group?.maps.delete(this);
    this.root.remove();
  }

  pencil() {
    try {
      this.pen = new GlPoints(this.points);
      this.kind = "webgl2";
      this.points.addEventListener("webglcontextlost", (event) => event.preventDefault());
      this.points.addEventListener("webglcontextrestored", () => {
        this.pen.build();
        this.fillAll();
      });
    } catch {
      this.pen = new PlainPoints(this.points);
      this.kind = "2d";
    }
  }

  // New data: zoom stays while the points lie where they lay; what is chosen stays while they are the same images.
  update({ text, header, body }, send) {
    this.send = send;
    if (text === this.text) return;
    this.text = text;
    this.header = header;
    const n = header.count;
    this.view = viewOf(header.key);
    const group = groupOf(header.group, n);
    if (group !== this.group) this.group?.maps.delete(this);
    this.group = group.maps.add(this) && group;
    this.looks = body.subarray(8 * n, 12 * n);
    if (header.positions !== this.placed) {
      this.placed = header.positions;
      this.positions = new Float32Array(body.buffer, body.byteOffset, 2 * n);
      this.field = fieldOf(this.positions);
      this.cells = makeCells(this.positions, this.field);
      if (this.view.positions !== header.positions) Object.assign(this.view, { zoom: 1, x: 0, y: 0, located: 0 });
      this.view.positions = header.positions;
    }
    group.known.clear(); // the words on cards go with the colours
    this.fillAll();
    this.rebuild();
    this.locate();
  }

  fillAll() {
    this.pen.fill("place", this.positions);
    this.pen.fill("look", this.looks);
    this.pen.fill("chosen", this.group.chosen);
    this.redraw();
  }

  locate() {
    const { locate } = this.header;
    if (!locate || locate.serial === this.view.located) return;
    this.view.located = locate.serial;
    this.view.x = (this.positions[2 * locate.row] - this.field.middle[0]) / this.field.side;
    this.view.y = (this.positions[2 * locate.row + 1] - this.field.middle[1]) / this.field.side;
    this.view.zoom = Math.max(this.view.zoom, 4);
    this.group.picked = locate.row;
    this.redraw();
  }

  rebuild() {
    const name = this.root.getRootNode().activeElement?.getAttribute("name");
    this.bars.replaceChildren(...[toolBar(this), this.help && keyList()].filter(Boolean));
    this.legend.replaceChildren(colourKey(this));
    if (name) this.bars.querySelector(`[name="${CSS.escape(name)}"]`)?.focus();
    this.above.setAttribute("aria-label", `${this.header.title}: ${this.header.count} images as points. Press ? for keys.`);
    this.above.classList.toggle("lassoing", this.view.tool === "lasso");
    this.redraw();
  }

  toggleHelp() {
    this.help = !this.help;
    this.rebuild();
  }

  useTool(tool) {
    this.view.tool = tool;
    this.rebuild();
  }

  // --- places: on the map, and in pixels of the stage

  get scale() {
    const [w, h] = [this.stage.clientWidth, this.stage.clientHeight];
    const fits = Math.min(w / (this.field.width || this.field.side), h / (this.field.height || this.field.side));
    return 0.92 * fits * this.view.zoom; // pixels for each unit of the map
  }

  get middle() {
    const { middle, side } = this.field;
    return [middle[0] + this.view.x * side, middle[1] + this.view.y * side];
  }

  toScreen([x, y]) {
    const { scale, middle } = this;
    return [this.stage.clientWidth / 2 + (x - middle[0]) * scale, this.stage.clientHeight / 2 - (y - middle[1]) * scale];
  }

  toMap([x, y]) {
    const { scale, middle } = this;
    return [middle[0] + (x - this.stage.clientWidth / 2) / scale, middle[1] - (y - this.stage.clientHeight / 2) / scale];
  }

  screenOf(row) {
    return this.toScreen([this.positions[2 * row], this.positions[2 * row + 1]]);
  }

  near(at, reach = REACH_PX, most = 1) {
    return rowsNear(this.cells, this.positions, this.toMap(at), reach / this.scale, most);
  }

  // --- zoom and pan; the place under `at` stays where it is

  zoomBy(factor, at = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const before = this.toMap(at);
    this.view.zoom = Math.min(5000, Math.max(0.5, this.view.zoom * factor));
    const after = this.toMap(at);
    this.view.x += (before[0] - after[0]) / this.field.side;
    this.view.y += (before[1] - after[1]) / this.field.side;
    this.redraw();
  }

  panBy(dx, dy) {
    this.view.x -= dx / this.scale / this.field.side;
    this.view.y += dy / this.scale / this.field.side;
    this.redraw();
  }

  reset() {
    Object.assign(this.view, { zoom: 1, x: 0, y: 0 });
    this.redraw();
  }

  // --- choosing

  // What is chosen is asked about now, and no longer the one point.
  chooseRows(rows, add) {
    choose(this.group, rows, add);
    this.group.picked = -1;
    this.changed();
  }

  chooseCode(code, add) {
    const rows = [];
    const look = this.header.legend.items.find((item) => item.code === code).look;
    for (let row = 0; row < this.header.count; row++) {
      if (look.every((value, k) => this.looks[4 * row + k] === value)) rows.push(row);
    }
    this.chooseRows(rows, add);
  }

  clear() {
    if (!this.group.size && this.group.picked < 0) return;
    this.chooseRows([], false);
  }

  // All maps of the group show it; the page hears of it once.
  changed() {
    for (const map of this.group.maps) {
      map.pen.fill("chosen", map.group.chosen);
      map.rebuild();
    }
    this.tell();
  }

  tell() {
    const { chosen, size, picked } = this.group;
    this.view.serial += 1;
    this.send("chosen", { serial: this.view.serial, group: this.group.name, rows: packRows(chosen), size, picked });
  }

  pick(row) {
    this.group.picked = row;
    for (const map of this.group.maps) map.redraw();
    this.tell();
  }

  hover(row, at) {
    if (row === this.group.hover) return;
    this.group.hover = row;
    this.hovered = row >= 0;
    for (const map of this.group.maps) map.redraw();
    if (row >= 0) this.ask(at);
  }

  // Pictures of the points round here, unless all are known or on their way.
  ask(at) {
    clearTimeout(this.timer);
    const { group } = this;
    if (group.known.has(group.hover) || !askers.has(group.name)) return;
    this.timer = setTimeout(() => {
      if (performance.now() - group.asked < 4000) return this.ask(at);
      const rows = this.near(at, 60, REGION).filter((row) => !group.known.has(row));
      if (!rows.includes(group.hover)) rows.unshift(group.hover);
      group.asked = performance.now();
      askers.get(group.name)(rows.slice(0, REGION));
    }, ASK_AFTER_MS);
  }

  // --- hands

  listen() {
    const at = (event) => {
      const box = this.stage.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const on = (name, act, options) => this.above.addEventListener(name, act, options);
    on("wheel", (event) => {
      event.preventDefault();
      const pixels = event.deltaY * (event.deltaMode ? 32 : 1);
      this.zoomBy(Math.exp(-pixels / 500), at(event));
    }, { passive: false });
    on("pointerdown", (event) => {
      if (event.button) return;
      this.above.setPointerCapture(event.pointerId);
      const lasso = this.view.tool === "lasso" || event.shiftKey;
      this.drag = { start: at(event), last: at(event), line: lasso ? [at(event)] : null, moved: false };
    });
    on("pointermove", (event) => this.drag ? this.dragTo(at(event)) : this.hover(this.near(at(event))[0] ?? -1, at(event)));
    on("pointerup", (event) => this.dragEnd(at(event), event.ctrlKey || event.metaKey));
    on("pointercancel", () => this.dragEnd(null));
    on("pointerleave", () => this.hover(-1));
    on("dblclick", () => this.clear());
    on("keydown", (event) => this.key(event));
  }

  dragTo(at) {
    const { drag } = this;
    if (Math.hypot(at[0] - drag.start[0], at[1] - drag.start[1]) > 3) drag.moved = true;
    if (drag.line) drag.line.push(at);
    else if (drag.moved) this.panBy(at[0] - drag.last[0], at[1] - drag.last[1]);
    drag.last = at;
    this.redraw();
  }

  dragEnd(at, add) {
    const { drag } = this;
    this.drag = null;
    if (!drag || !at) return this.redraw();
    if (drag.moved && drag.line) {
      return this.chooseRows(rowsInside(this.positions, drag.line.map((place) => this.toMap(place))), add);
    }
    const row = drag.moved ? -1 : this.near(at)[0] ?? -1;
    if (row >= 0) this.pick(row);
    return this.redraw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const middle = [this.stage.clientWidth / 2, this.stage.clientHeight / 2];
    const focused = () => this.group.hover >= 0 ? this.group.hover : this.near(middle, 1e4)[0] ?? -1;
    const step = (dx, dy) => () => {
      this.panBy(dx, dy);
      this.hover(this.near(middle, 60)[0] ?? -1, middle);
      this.say();
    };
    const acts = {
      ArrowLeft: step(40, 0), ArrowRight: step(-40, 0), ArrowUp: step(0, 40), ArrowDown: step(0, -40),
      "+": () => this.zoomBy(1.4), "=": () => this.zoomBy(1.4), "-": () => this.zoomBy(1 / 1.4), 0: () => this.reset(),
      l: () => this.useTool("lasso"), p: () => this.useTool("pan"), "?": () => this.toggleHelp(), Escape: () => this.clear(),
      Enter: () => focused() >= 0 && this.pick(focused()), " ": () => focused() >= 0 && this.flip(focused()),
      v: () => this.chooseRows(this.inView(), false),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  flip(row) {
    const rows = [...this.group.chosen.keys()].filter((one) => this.group.chosen[one] !== (one === row ? 1 : 0));
    this.chooseRows(rows, false);
  }

  inView() {
    const [w, h] = [this.stage.clientWidth, this.stage.clientHeight];
    return rowsInside(this.positions, [[0, 0], [w, 0], [w, h], [0, h]].map((place) => this.toMap(place)));
  }

  say() {
    const { hover, known } = this.group;
    this.spoken.textContent = hover >= 0 ? (known.get(hover)?.words || [`point ${hover + 1}`]).join(", ") : "";
  }

  // --- drawing

  redraw() {
    if (this.waiting || !this.header) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (this.root.isConnected) this.draw();
    });
  }

  draw() {
    const [w, h] = [this.stage.clientWidth, this.header.height];
    if (!w) return;
    this.stage.style.height = `${h}px`;
    const dense = devicePixelRatio || 1;
    for (const canvas of [this.points, this.above]) {
      if (canvas.width !== Math.round(w * dense) || canvas.height !== Math.round(h * dense)) {
        Object.assign(canvas, { width: Math.round(w * dense), height: Math.round(h * dense) });
      }
    }
    const { scale, middle, view, group } = this;
    const count = this.header.count;
    const size = pointSize(count, view.zoom) * dense;
    this.pen.draw({ count, middle, scale: [(2 * scale) / w, (2 * scale) / h], size, some: group.size > 0,
      strength: count > 20_000 ? 0.7 : 0.9 });
    this.drawAbove(dense, size / dense);
    if (this.count) this.count.textContent = group.size ? `${group.size.toLocaleString("en")} chosen` : "";
    this.first ??= performance.now() - this.started;
    Object.assign(this.root.dataset, {
      drawn: count, zoom: view.zoom.toFixed(4), x: view.x.toFixed(5), y: view.y.toFixed(5), hover: group.hover,
      chosen: group.size, picked: group.picked, looks: this.header.looks, kind: this.kind, first: Math.round(this.first), key: this.header.key,
    });
  }

  drawAbove(dense, size) {
    const pen = this.above.getContext("2d");
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.clearRect(0, 0, this.above.width, this.above.height);
    const style = getComputedStyle(this.root);
    const colours = { accent: this.header.accent, text: style.color, background: style.backgroundColor,
      font: style.fontFamily };
    const { picked, hover } = this.group;
    if (picked >= 0) ringAt(pen, this.screenOf(picked), size / 2 + 7, colours.accent, 3);
    if (hover >= 0) ringAt(pen, this.screenOf(hover), size / 2 + 4, colours.text);
    for (const { place, words } of this.header.queries) queryAt(pen, this.toScreen(place), words, colours);
    if (this.drag?.line) this.drawLasso(pen, colours);
    this.drawCard(hover);
  }

  drawLasso(pen, colours) {
    pen.beginPath();
    for (const [x, y] of this.drag.line) pen.lineTo(x, y);
    pen.closePath();
    pen.globalAlpha = 0.12;
    pen.fillStyle = colours.accent;
    pen.fill();
    pen.globalAlpha = 1;
    pen.strokeStyle = colours.accent;
    pen.lineWidth = 1.5;
    pen.stroke();
  }

  drawCard(row) {
    this.card.hidden = !(row >= 0 && this.hovered && !this.drag);
    if (this.card.hidden) return;
    fillCard(this.card, row, this.group.known.get(row));
    const [x, y] = this.screenOf(row);
    const [w, h] = [this.card.offsetWidth, this.card.offsetHeight];
    const left = x + 16 + w > this.stage.clientWidth ? x - 16 - w : x + 16;
    const top = Math.max(4, Math.min(this.stage.clientHeight - h - 4, y - h / 2));
    Object.assign(this.card.style, { left: `${Math.max(4, left)}px`, top: `${top}px` });
  }
}

function failed(parent, error) {
  const address = new URL(window.location.href);
  address.searchParams.set("scatter", "plain");
  const link = el("a", { href: address.href, target: "_self", text: "Show a plain chart" });
  parent.querySelector(".scatter-failed")?.remove();
  parent.append(el("p", { class: "scatter-failed", text: `The map could not start here: ${error.message}. ` }, link));
}

export default function ({ data, parentElement, setStateValue }) {
  const found = unpack(data);
  if (found.header.kind === "pictures") {
    const { group } = found.header;
    const ask = (rows) => setStateValue("wanted", { serial: performance.now(), rows });
    askers.set(group, ask);
    takePictures(found);
    return () => {
      if (askers.get(group) === ask) askers.delete(group);
    };
  }
  let map = instances.get(parentElement);
  try {
    if (!map) {
      map = new Scatter(parentElement);
      instances.set(parentElement, map);
    }
    map.update(found, setStateValue);
  } catch (error) {
    console.error(error);
    failed(parentElement, error);
  }
  return () => {
    map?.destroy();
    instances.delete(parentElement);
  };
}
