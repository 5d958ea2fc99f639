// One pane: a canvas with its title above and the readout below, and what pointer and keys do on it.

const BORDER_STEPS = {
  ArrowLeft: -0.01, ArrowDown: -0.01, ArrowRight: 0.01, ArrowUp: 0.01, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1,
};

class Pane {
  constructor(viewer, number) {
    this.viewer = viewer;
    this.number = number;
    this.title = el("div", { class: "title" });
    this.said = el("div", { class: "said" });
    this.bar = el("canvas", { class: "colours", width: 256, height: 1, "aria-hidden": "true" });
    this.canvas = el("canvas", { class: "sky", tabindex: 0, role: "application", "aria-roledescription": "image" });
    this.stage = el("div", { class: "stage" }, this.canvas);
    this.readout = el("div", { class: "readout" });
    const caption = el("figcaption", {}, this.title, this.bar, this.said);
    this.node = el("figure", { class: "pane" }, caption, this.stage, this.readout);
    if (viewer.mode === "slider") this.addHandle();
    this.listen();
  }

  // What the pane shows: one panel; of a slider the left one, with the right one as `other`.
  get panel() {
    const { viewer } = this;
    if (viewer.mode === "blink") return viewer.panels[viewer.state.blink.shown % viewer.panels.length];
    return viewer.drawn()[viewer.mode === "side" ? this.number : 0];
  }

  get other() {
    return this.viewer.mode === "slider" ? this.viewer.pair[1] : null;
  }

  resize(width, height) {
    [this.width, this.height] = [width, height];
    this.node.style.width = `${width}px`;
    this.canvas.style.width = `${width}px`;
    this.canvas.style.height = `${height}px`;
  }

  get geometry() {
    return geometry(this.width, this.height, fieldOf(this.viewer.panels), this.viewer.state.view);
  }

  // --- drawing

  draw() {
    const { panel, other, geometry: g } = this;
    const { state, panels } = this.viewer;
    const ctx = prepared(this.canvas, this.width, this.height);
    clipped(ctx, g.box, () => this.drawPanel(ctx, g, panel));
    if (other) this.drawOther(ctx, g, other);
    clipped(ctx, g.box, () => {
      if (state.cross) drawCross(ctx, g, state.cross);
      drawScaleBar(ctx, g, panel);
      drawCompass(ctx, g, panel);
    });
    drawAxes(ctx, g, panel);
    this.describe(panel, other, stretchText(state, panels, panel));
    this.tell(panel, other);
  }

  drawPanel(ctx, g, panel) {
    const { state, panels } = this.viewer;
    drawImage(ctx, g, panel, pictureOf(state, panels, panel));
    if (panel.overlay && state.overlay) drawOverlay(ctx, g, panel, state.opacity);
    if (state.curves) drawCurves(ctx, g, panel);
  }

  drawOther(ctx, g, other) {
    const { left, top, width, height } = g.box;
    const at = left + width * this.viewer.state.split;
    const right = { left: at, top, width: left + width - at, height };
    clipped(ctx, right, () => {
      ctx.fillStyle = PLATE;
      ctx.fillRect(at, top, right.width, height);
      this.drawPanel(ctx, g, other);
    });
    this.handle.style.left = `${at}px`;
    this.handle.style.top = `${top}px`;
    this.handle.style.height = `${height}px`;
    this.handle.setAttribute("aria-valuenow", Math.round(100 * this.viewer.state.split));
  }

  // Title, limits and colours in words.
  describe(panel, other, said) {
    const { state, panels } = this.viewer;
    const title = other ? `${panel.title} | ${other.title}` : panel.title;
    const more = other && other.group !== panel.group ? ` | ${stretchText(state, panels, other)}` : "";
    const sampled = panel.sampled ? "; coarser image sampled at the finer one's pixels" : "";
    if (this.title.textContent !== title) this.title.textContent = title;
    if (this.said.textContent !== said + more + sampled) this.said.textContent = said + more + sampled;
    const map = panel.overlay && state.overlay ? `, with ${panel.overlay.title} over it` : "";
    this.canvas.setAttribute("aria-label", `${title}: ${sizeText(panel)}${map}. ${said}${more}`);
    const settings = settingsOf(state, panel);
    this.bar.hidden = settings.band === "rgb";
    if (this.bar.hidden) return;
    const ramp = colourTable(settings.colormap, settings.invert).slice(0, 1024);
    this.bar.getContext("2d").putImageData(new ImageData(ramp, 256, 1), 0, 0);
  }

  // What is under the crosshair.
  tell(panel, other) {
    const { cross } = this.viewer.state;
    const pixel = cross && wholePixel(panel, cross);
    if (!pixel) {
      this.readout.replaceChildren(el("span", { text: sizeText(panel) }));
      return;
    }
    const parts = [el("span", { class: "xy", text: `x ${pixel[0]}  y ${pixel[1]}` })];
    parts.push(el("span", { class: "value", text: this.valueText(panel, pixel) }));
    const right = other && wholePixel(other, cross);
    if (right) parts.push(el("span", { class: "value", text: `| ${this.valueText(other, right)}` }));
    if (panel.sky.position) {
      parts.push(el("span", { class: "sky-position", text: skyText(panel.sky, pixelAt(panel, cross)) }));
    }
    if (panel.overlay && this.viewer.state.overlay) {
      const over = panel.overlay.array.values[pixel[1] * panel.w + pixel[0]];
      parts.push(el("span", { text: `${panel.overlay.title} ${over.toPrecision(3)}` }));
    }
    this.readout.replaceChildren(...parts);
  }

  valueText(panel, [column, row]) {
    const settings = settingsOf(this.viewer.state, panel);
    const place = row * panel.w + column;
    const unit = panel.unit ? ` ${panel.unit}` : "";
    if (settings.band === "rgb") {
      return settings.rgb.map((k) => `${panel.bands[k]} ${exact(bandValues(panel, k)[place])}`).join("  ") + unit;
    }
    return exact(bandValues(panel, settings.band)[place]) + unit;
  }

  // --- pointer and keys

  listen() {
    const { canvas, viewer } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    let drag = null;
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 20 : 1;
      const turned = Math.max(-240, Math.min(240, event.deltaY * lines));
      viewer.zoomBy(Math.exp(-turned / 500), toPlace(this.geometry, at(event)));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      if (event.shiftKey) {
        viewer.point(toPlace(this.geometry, at(event)));
        viewer.pick(this.panel);
        return;
      }
      drag = at(event);
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const here = at(event);
      this.readout.removeAttribute("aria-live");
      if (drag) {
        const { k } = this.geometry;
        viewer.panBy((drag[0] - here[0]) / k, (here[1] - drag[1]) / k);
        drag = here;
      }
      viewer.point(toPlace(this.geometry, here));
    });
    const drop = () => { drag = null; };
    canvas.addEventListener("pointerup", drop);
    canvas.addEventListener("pointercancel", drop);
    canvas.addEventListener("pointerleave", () => viewer.point(null));
    canvas.addEventListener("dblclick", () => viewer.reset());
    canvas.addEventListener("keydown", (event) => this.onKey(event));
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = this.actionOf(event);
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  actionOf({ key, shiftKey }) {
    const { viewer } = this;
    const { state } = viewer;
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (key in arrows) {
      const [dx, dy] = arrows[key];
      if (shiftKey) return () => this.stepCross(dx, dy);
      const step = this.geometry.box.width / this.geometry.k / 10;
      return () => viewer.panBy(dx * step, dy * step);
    }
    const next = (list, now) => list[(list.indexOf(now) + 1) % list.length];
    const panels = viewer.drawn();
    const settings = settingsOf(state, panels[0]);
    return {
      "+": () => viewer.zoomBy(1.5), "=": () => viewer.zoomBy(1.5), "-": () => viewer.zoomBy(1 / 1.5),
      0: () => viewer.reset(), Enter: () => viewer.pick(this.panel), Escape: () => viewer.point(null),
      m: () => viewer.panels.length > 1 && viewer.change({ mode: next(Object.keys(MODES), viewer.mode) }),
      s: () => viewer.changeSettings(panels, { curve: next(Object.keys(STRETCHES), settings.curve) }),
      i: () => viewer.changeSettings(panels, { invert: !settings.invert }),
      o: () => viewer.change({ overlay: !state.overlay }),
      b: () => viewer.mode === "blink" && viewer.blinkOn(!state.blink.running),
      n: () => viewer.mode === "blink" && viewer.blinkNext(),
    }[key.length === 1 ? key.toLowerCase() : key];
  }

  // Moves the crosshair by a pixel of this pane; it begins at the middle of what is seen.
  stepCross(dx, dy) {
    const { panel } = this;
    this.readout.setAttribute("aria-live", "polite");
    const [column, row] = pixelAt(panel, this.viewer.state.cross || this.geometry.centre).map(Math.round);
    const next = [column + dx, row + (panel.lower ? dy : -dy)];
    const inside = [Math.min(panel.w - 1, Math.max(0, next[0])), Math.min(panel.h - 1, Math.max(0, next[1]))];
    this.viewer.point(placeOf(panel, inside));
  }

  // --- before and after

  addHandle() {
    const { viewer } = this;
    this.handle = el("div", {
      class: "handle", role: "slider", tabindex: 0, "aria-label": "Border between both images, in percent",
      "aria-valuemin": 0, "aria-valuemax": 100,
    });
    this.stage.append(this.handle);
    const move = (split) => {
      viewer.state.split = Math.min(1, Math.max(0, split));
      viewer.redraw();
    };
    this.handle.addEventListener("pointerdown", (event) => {
      event.stopPropagation();
      this.handle.setPointerCapture(event.pointerId);
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      const { box } = this.geometry;
      move((event.clientX - this.canvas.getBoundingClientRect().left - box.left) / box.width);
    });
    this.handle.addEventListener("keydown", (event) => {
      if (!(event.key in BORDER_STEPS)) return this.onKey(event);
      event.preventDefault();
      return move(viewer.state.split + BORDER_STEPS[event.key] * (event.shiftKey ? 10 : 1));
    });
  }
}

function sizeText(panel) {
  const size = `${panel.w} × ${panel.h}`;
  const sky = panel.sky.reason || panel.sky.frame || "WCS";
  if (panel.scale) return `${size} pixels of ${Number(panel.scale.toPrecision(4))} arcsec, ${sky}`;
  return panel.sky.reason ? `${size}, ${sky}, pixels` : `${size} pixels, ${sky}`;
}

function skyText(sky, pixel) {
  const [lon, lat] = sky.position(...pixel);
  if (!Number.isFinite(lon + lat)) return "outside the projection";
  const sign = lat < 0 ? "−" : "+";
  return `${sky.names[0]} ${lon.toFixed(7)}  ${sky.names[1]} ${sign}${Math.abs(lat).toFixed(7)} ${sky.frame}`;
}
