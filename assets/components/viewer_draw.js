// Drawing one pane: the picture and what lies over it, on a canvas in CSS pixels.

const PLATE = "#07090D";
const INK = "#E6E9EF";
const QUIET = "#A3ABB8";
const MARGIN = { left: 34, right: 6, top: 6, bottom: 20 };
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";

// Where the picture lies in a pane of this size: pixels of the screen per unit, and the middle.
function geometry(width, height, field, view) {
  const box = {
    left: MARGIN.left, top: MARGIN.top, width: Math.max(1, width - MARGIN.left - MARGIN.right),
    height: Math.max(1, height - MARGIN.top - MARGIN.bottom),
  };
  const fit = Math.min(box.width / field[0], box.height / field[1]);
  const far = Math.max(...field);
  const middle = [box.left + box.width / 2, box.top + box.height / 2];
  return { box, k: fit * view.zoom, centre: [view.x * far, view.y * far], middle };
}

function toScreen(g, [x, y]) {
  return [g.middle[0] + (x - g.centre[0]) * g.k, g.middle[1] - (y - g.centre[1]) * g.k];
}

function toPlace(g, [sx, sy]) {
  return [g.centre[0] + (sx - g.middle[0]) / g.k, g.centre[1] - (sy - g.middle[1]) / g.k];
}

// A pane's canvas for its size on the screen; returns its context in CSS pixels, wiped to the plate.
function prepared(canvas, width, height) {
  const sharp = window.devicePixelRatio || 1;
  const [w, h] = [Math.round(width * sharp), Math.round(height * sharp)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const ctx = canvas.getContext("2d");
  ctx.setTransform(sharp, 0, 0, sharp, 0, 0);
  ctx.imageSmoothingEnabled = false;
  ctx.fillStyle = PLATE;
  ctx.fillRect(0, 0, width, height);
  return ctx;
}

function clipped(ctx, { left, top, width, height }, draw) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, width, height);
  ctx.clip();
  draw();
  ctx.restore();
}

function drawImage(ctx, g, panel, picture) {
  const [width, height] = [panel.w * panel.step, panel.h * panel.step];
  const [x, y] = toScreen(g, [panel.shift[0] - width / 2, panel.shift[1] + height / 2]);
  ctx.drawImage(picture, x, y, width * g.k, height * g.k);
}

function drawOverlay(ctx, g, panel, opacity) {
  ctx.save();
  ctx.globalAlpha = opacity;
  ctx.imageSmoothingEnabled = true;
  drawImage(ctx, g, panel, overlayOf(panel));
  ctx.restore();
}

function drawCurves(ctx, g, panel) {
  const size = panel.scale ? panel.step / panel.scale : panel.step;
  for (const curve of panel.curves) {
    ctx.beginPath();
    for (const [x, y] of curve.points) {
      ctx.lineTo(...toScreen(g, [x * size + panel.shift[0], y * size + panel.shift[1]]));
    }
    ctx.setLineDash(curve.dash ? curve.dash.split(/[ ,]+/).map(Number) : []);
    ctx.lineWidth = 1.6;
    ctx.strokeStyle = curve.color;
    ctx.stroke();
  }
  ctx.setLineDash([]);
}

function drawCross(ctx, g, place) {
  const [x, y] = toScreen(g, place);
  const { left, top, width, height } = g.box;
  const lines = [[x, top, x, y - 6], [x, y + 6, x, top + height], [left, y, x - 6, y], [x + 6, y, left + width, y]];
  for (const [colour, thick] of [[PLATE, 3], ["#7FD1FF", 1]]) {
    ctx.strokeStyle = colour;
    ctx.lineWidth = thick;
    ctx.globalAlpha = colour === PLATE ? 0.4 : 0.9;
    ctx.beginPath();
    for (const [a, b, c, d] of lines) {
      ctx.moveTo(a, b);
      ctx.lineTo(c, d);
    }
    ctx.stroke();
  }
  ctx.globalAlpha = 1;
}

// --- axes, scale bar, compass

// The largest of 1, 2, 5 times a power of ten that is not above `most`.
function roundStep(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return power * [5, 2, 1].find((k) => k * power <= most * (1 + 1e-9));
}

function outlined(ctx, text, x, y) {
  ctx.lineWidth = 3;
  ctx.lineJoin = "round";
  ctx.strokeStyle = PLATE;
  ctx.strokeText(text, x, y);
  ctx.fillText(text, x, y);
}

// Ticks along the left and lower edge: arcsec from the centre, or pixels where no scale is known.
function drawAxes(ctx, g, panel) {
  const { left, top, width, height } = g.box;
  const own = panel.scale ? panel.step / panel.scale : panel.step; // units per arcsec or per pixel
  const apart = Math.min(130, Math.max(40, width / 3.2)); // pixels of the screen between ticks, at most
  const step = Math.max(roundStep(apart / g.k / own), panel.scale ? 0 : 1);
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  ctx.font = FONT;
  ctx.fillStyle = ctx.strokeStyle = QUIET;
  ctx.lineWidth = 1;
  const ticks = (from, to, origin, draw) => {
    const [a, b] = [(Math.min(from, to) - origin) / own, (Math.max(from, to) - origin) / own];
    for (let k = Math.ceil(a / step); k * step <= b; k++) {
      draw(k * step * own + origin, (k * step).toFixed(decimals).replace("-", "−"));
    }
  };
  const zero = panel.scale ? panel.shift : placeOf(panel, [0, panel.lower ? 0 : panel.h - 1]);
  const [x0, y1] = toPlace(g, [left, top]);
  const [x1, y0] = toPlace(g, [left + width, top + height]);
  ctx.textAlign = "center";
  ticks(x0, x1, zero[0], (x, text) => {
    const sx = toScreen(g, [x, 0])[0];
    ctx.fillRect(sx - 0.5, top + height, 1, 4);
    if (sx > left + 8 && sx < left + width - 12) ctx.fillText(text, sx, top + height + 15);
  });
  ctx.textAlign = "right";
  ticks(y0, y1, zero[1], (y, text) => {
    const sy = toScreen(g, [0, y])[1];
    ctx.fillRect(left - 4, sy - 0.5, 4, 1);
    if (sy > top + 6 && sy < top + height - 4) ctx.fillText(text, left - 7, sy + 4);
  });
}

function barOf(g, panel) {
  const own = panel.scale ? panel.step / panel.scale : panel.step;
  const length = Math.max(roundStep(g.box.width / 4 / g.k / own), panel.scale ? 0 : 1);
  return { width: length * own * g.k, text: `${Number(length.toPrecision(3))} ${panel.scale ? "arcsec" : "pixels"}` };
}

function drawScaleBar(ctx, g, panel) {
  const bar = barOf(g, panel);
  const [x, y] = [g.box.left + 10, g.box.top + g.box.height - 10];
  ctx.fillStyle = PLATE;
  ctx.fillRect(x - 1.5, y - 2.5, bar.width + 3, 5);
  ctx.fillStyle = INK;
  ctx.fillRect(x, y - 1, bar.width, 2);
  ctx.font = FONT;
  ctx.textAlign = "left";
  outlined(ctx, bar.text, x, y - 6);
}

// North and east at the middle of the pane; only with a place on the sky.
function drawCompass(ctx, g, panel) {
  if (!panel.sky.position) return;
  const arrows = compass(panel.sky, ...pixelAt(panel, g.centre));
  const [x, y] = [g.box.left + g.box.width - 38, g.box.top + 42];
  ctx.font = FONT;
  ctx.textAlign = "center";
  const [east, north] = panel.sky.names[0] === "RA" ? ["E", "N"] : panel.sky.names;
  for (const [name, [columns, rows]] of [[north, arrows.north], [east, arrows.east]]) {
    const [dx, dy] = [columns, panel.lower ? -rows : rows];
    if (!Number.isFinite(dx + dy)) continue;
    const [tx, ty] = [x + 22 * dx, y + 22 * dy];
    for (const [colour, thick] of [[PLATE, 4], [INK, 1.5]]) {
      ctx.strokeStyle = colour;
      ctx.lineWidth = thick;
      ctx.beginPath();
      ctx.moveTo(x, y);
      ctx.lineTo(tx, ty);
      ctx.moveTo(tx - 5 * dx - 3 * dy, ty - 5 * dy + 3 * dx);
      ctx.lineTo(tx, ty);
      ctx.lineTo(tx - 5 * dx + 3 * dy, ty - 5 * dy - 3 * dx);
      ctx.stroke();
    }
    ctx.fillStyle = INK;
    outlined(ctx, name, x + 31 * dx, y + 31 * dy + 4);
  }
}
