// The viewer as a component: one instance for each place on a page, its choices kept by key.

const GAP = 8;
const NARROWEST = 230;
const instances = new WeakMap();

class Viewer {
  constructor(parent) {
    if (!el("canvas").getContext("2d")) throw new Error("this browser draws no canvas");
    this.root = el("section", { class: "viewer", "aria-label": "Image viewer" });
    this.bars = el("div", { class: "bars" });
    this.plate = el("div", { class: "plate" });
    this.root.append(el("div", { class: "inner" }, this.bars, this.plate));
    parent.append(this.root);
    this.watch = new ResizeObserver(() => this.layout());
    this.watch.observe(this.root);
    this.help = false;
    this.text = "";
  }

  destroy() {
    this.watch.disconnect();
    clearTimeout(this.timer);
    this.root.remove();
  }

  // New data: what the reader chose stays. The same header means the same content, by the hashes in it.
  update(bytes, send) {
    this.send = send;
    const { text, header, values } = unpack(bytes);
    if (text === this.text) return;
    this.text = text;
    this.header = header;
    this.state = stateOf(header);
    this.panels = makePanels(header, values);
    const last = this.panels.length - 1;
    const gone = this.state.first > last || this.state.second > last;
    if (gone) Object.assign(this.state, { first: 0, second: Math.min(1, last) });
    this.rebuild();
  }

  get mode() {
    return this.panels.length > 1 ? this.state.mode : "side";
  }

  get pair() {
    return [this.panels[this.state.first], this.panels[this.state.second]];
  }

  // The panels on the plate: the difference is one of its own.
  drawn() {
    if (this.mode === "difference") return [differenceOf(this.state, ...this.pair)];
    return this.mode === "slider" ? this.pair : this.panels;
  }

  // --- changes

  change = (changes, light = false) => {
    Object.assign(this.state, changes);
    if (light) this.redraw();
    else this.rebuild();
  };

  changeSettings(panels, changes, light) {
    for (const panel of panels) Object.assign(settingsOf(this.state, panel), changes);
    if (light) this.redraw();
    else this.rebuild();
  }

  toggleHelp() {
    this.help = !this.help;
    this.rebuild();
  }

  rebuild() {
    const active = this.root.getRootNode().activeElement;
    const onPlate = this.plate.contains(active);
    this.bars.replaceChildren(...[...controlRows(this), this.help && keyList()].filter(Boolean));
    const panes = { side: this.panels.length, slider: 1, blink: 1, difference: 1 }[this.mode];
    if (this.panes?.length !== panes || this.shape !== this.mode) {
      this.shape = this.mode;
      this.panes = Array.from({ length: panes }, (_, k) => new Pane(this, k));
      this.plate.replaceChildren(...this.panes.map((pane) => pane.node));
    }
    const name = active?.getAttribute("name");
    if (name) this.bars.querySelector(`[name="${CSS.escape(name)}"]`)?.focus();
    if (onPlate && !this.plate.contains(active)) this.panes[0].canvas.focus();
    this.blinkEvery(this.state.blink.every);
    this.layout();
  }

  blinkOn(running) {
    this.state.blink.running = running;
    this.rebuild();
  }

  blinkEvery(every) {
    this.state.blink.every = every;
    clearTimeout(this.timer);
    if (this.mode === "blink" && this.state.blink.running) this.timer = setTimeout(() => this.blinkTick(), every);
  }

  blinkTick() {
    if (!document.hidden) this.blinkNext();
    this.blinkEvery(this.state.blink.every);
  }

  blinkNext() {
    this.state.blink.shown = (this.state.blink.shown + 1) % this.panels.length;
    this.redraw();
  }

  // --- zoom and pan; `place` stays where it is

  zoomBy(factor, place = null) {
    const { view } = this.state;
    const zoom = Math.min(200, Math.max(0.2, view.zoom * factor));
    const far = Math.max(...fieldOf(this.panels));
    const [x, y] = place || [view.x * far, view.y * far];
    const share = view.zoom / zoom;
    this.state.view = { zoom, x: (x + (view.x * far - x) * share) / far, y: (y + (view.y * far - y) * share) / far };
    this.redraw();
  }

  panBy(dx, dy) {
    const far = Math.max(...fieldOf(this.panels));
    this.state.view.x += dx / far;
    this.state.view.y += dy / far;
    this.redraw();
  }

  reset() {
    this.state.view = { zoom: 1, x: 0, y: 0 };
    this.redraw();
  }

  point(place) {
    this.state.cross = place;
    this.redraw();
  }

  pick(panel) {
    const pixel = this.state.cross && wholePixel(panel, this.state.cross);
    if (pixel) this.send("picked", { mode: this.mode, panel: panel.index, x: pixel[0], y: pixel[1] });
  }

  // --- drawing

  layout() {
    const width = this.root.clientWidth;
    if (!width || !this.panes) return;
    const lead = this.header.lead && this.panes.length > 1;
    if (lead) this.layoutLead(width - 2 * GAP, width - 2 * GAP >= 2.6 * NARROWEST);
    else this.layoutRow(width - 2 * GAP);
    this.plate.classList.toggle("lead", lead);
    this.redraw();
  }

  // The size of a pane in a space: as wide as there is room for, its picture filling it.
  fitted(room, height) {
    const field = fieldOf(this.panels);
    const [across, down] = [MARGIN.left + MARGIN.right, MARGIN.top + MARGIN.bottom];
    const wide = Math.max(Math.min(room, ((height - down) * field[0]) / field[1] + across), Math.min(room, NARROWEST));
    return [Math.floor(wide), Math.floor(Math.min(height, ((wide - across) * field[1]) / field[0] + down))];
  }

  layoutRow(width) {
    const count = this.panes.length;
    const most = Math.max(1, Math.min(count, Math.floor((width + GAP) / (NARROWEST + GAP))));
    const columns = Math.ceil(count / Math.ceil(count / most));
    const size = this.fitted((width - (columns - 1) * GAP) / columns, this.header.height);
    this.plate.style.gridTemplateColumns = `repeat(${columns}, ${size[0]}px)`;
    for (const pane of this.panes) pane.resize(...size);
  }

  // The first panel large; the others in a column beside it or, where that is too narrow, in a row below.
  layoutLead(width, beside) {
    const [first, ...others] = this.panes;
    const rows = beside ? others.length : 1;
    const columns = beside ? 1 : others.length;
    const words = 78; // of title, limits and readout, for each pane but one
    const high = beside ? (this.header.height - words * (rows - 1)) / rows : this.header.height;
    const small = this.fitted(beside ? width / 3 : (width - GAP * (columns - 1)) / columns, high);
    const large = this.fitted(beside ? width - small[0] - GAP : width, this.header.height);
    this.plate.style.gridTemplateColumns = beside ? `${large[0]}px ${small[0]}px` : `repeat(${columns}, ${small[0]}px)`;
    first.node.style.gridArea = beside ? `1 / 1 / span ${3 * rows} / auto` : `1 / 1 / span 3 / -1`;
    first.resize(...large);
    for (const pane of others) pane.resize(...small);
  }

  redraw() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!this.root.isConnected) return;
      const { zoom, x, y } = this.state.view;
      Object.assign(this.root.dataset, { zoom: zoom.toFixed(4), x: x.toFixed(5), y: y.toFixed(5), mode: this.mode });
      for (const pane of this.panes) pane.draw();
    });
  }
}

function failed(parent, error) {
  const address = new URL(window.location.href);
  address.searchParams.set("viewer", "plain");
  const link = el("a", { href: address.href, target: "_self", text: "Show plain pictures" });
  parent.querySelector(".viewer-failed")?.remove();
  const text = `The image viewer could not start here: ${error.message}. `;
  parent.append(el("p", { class: "viewer-failed", text }, link));
}

export default function ({ data, parentElement, setStateValue }) {
  let viewer = instances.get(parentElement);
  try {
    if (!viewer) {
      viewer = new Viewer(parentElement);
      instances.set(parentElement, viewer);
    }
    viewer.update(data, setStateValue);
  } catch (error) {
    console.error(error);
    failed(parentElement, error);
  }
  return () => {
    viewer?.destroy();
    instances.delete(parentElement);
  };
}
