// What is shown: the points of the data, what the reader has chosen, and the pictures that have come for points.

const WORDS_KEPT = 3_000; // pictures of points, each of a few kilobytes

const views = new Map(); // by key of the component: zoom and tool live on when the page draws it anew
const groups = new Map(); // by name: maps of the same images share what is chosen, hovered and known
const askers = new Map(); // by name of the group: how to ask the page for pictures

// The binary data of the page: length of a header, the header as JSON, and what it describes.
function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(4, 4 + length));
  return { text, header: JSON.parse(text), body: bytes.slice(4 + length) }; // a copy: aligned, and ours
}

function groupOf(name, count) {
  let group = groups.get(name);
  if (!group || group.count !== count) {
    group = {
      name, count, chosen: new Uint8Array(count), size: 0, hover: -1, picked: -1, known: new Map(), maps: new Set(),
      asked: 0,
    };
    groups.set(name, group);
  }
  return group;
}

function viewOf(key) {
  if (!views.has(key)) views.set(key, { zoom: 1, x: 0, y: 0, tool: "pan", positions: "", serial: 0, located: 0 });
  return views.get(key);
}

// --- choosing

// Chooses rows; `add` keeps what was chosen before.
function choose(group, rows, add) {
  if (!add) group.chosen.fill(0);
  for (const row of rows) group.chosen[row] = 1;
  group.size = group.chosen.reduce((sum, one) => sum + one, 0);
}

// The chosen rows as base64 of their steps, each in groups of 7 bits, lowest first: about a byte a row.
function packRows(chosen) {
  const bytes = [];
  let last = -1;
  for (let row = 0; row < chosen.length; row++) {
    if (!chosen[row]) continue;
    let step = row - last;
    last = row;
    for (; step > 127; step >>>= 7) bytes.push((step & 127) | 128);
    bytes.push(step);
  }
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.slice(i, i + 8192));
  return btoa(text);
}

// Rows inside a closed line of places [x, y], by the even-odd rule.
function rowsInside(positions, line) {
  const rows = [];
  const xs = line.map((p) => p[0]);
  const ys = line.map((p) => p[1]);
  const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let row = 0; row < positions.length / 2; row++) {
    const [x, y] = [positions[2 * row], positions[2 * row + 1]];
    if (x < left || x > right || y < low || y > high) continue;
    let inside = false;
    for (let i = 0, j = xs.length - 1; i < xs.length; j = i++) {
      if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) inside = !inside;
    }
    if (inside) rows.push(row);
  }
  return rows;
}

// --- finding: points in square cells, a few in each

function makeCells(positions, field) {
  const count = positions.length / 2;
  const side = Math.max(1, Math.min(2048, Math.ceil(Math.sqrt(count / 3))));
  const cell = (field.side || 1) / side;
  const column = (x) => Math.max(0, Math.min(side - 1, Math.floor((x - field.left) / cell)));
  const line = (y) => Math.max(0, Math.min(side - 1, Math.floor((y - field.low) / cell)));
  const starts = new Uint32Array(side * side + 1);
  const where = new Uint32Array(count);
  for (let row = 0; row < count; row++) {
    where[row] = line(positions[2 * row + 1]) * side + column(positions[2 * row]);
    starts[where[row] + 1]++;
  }
  for (let i = 0; i < side * side; i++) starts[i + 1] += starts[i];
  const next = starts.slice();
  const rows = new Uint32Array(count);
  for (let row = 0; row < count; row++) rows[next[where[row]]++] = row;
  return { side, cell, column, line, starts, rows };
}

// Up to `most` rows within `reach` of a place, nearest first; the lower row first among equals.
function rowsNear(cells, positions, [x, y], reach, most) {
  const [left, right, low, high] = [
    cells.column(x - reach), cells.column(x + reach), cells.line(y - reach), cells.line(y + reach),
  ];
  const found = [];
  for (let line = low; line <= high; line++) {
    for (let i = cells.starts[line * cells.side + left]; i < cells.starts[line * cells.side + right + 1]; i++) {
      const row = cells.rows[i];
      const away = Math.hypot(positions[2 * row] - x, positions[2 * row + 1] - y);
      if (away <= reach) found.push([away, row]);
    }
  }
  found.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return found.slice(0, most).map((one) => one[1]);
}

// The square around all points, with a margin.
function fieldOf(positions) {
  let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < positions.length; i += 2) {
    left = Math.min(left, positions[i]);
    right = Math.max(right, positions[i]);
    low = Math.min(low, positions[i + 1]);
    high = Math.max(high, positions[i + 1]);
  }
  const side = Math.max(right - left, high - low) || 1;
  const middle = [(left + right) / 2, (low + high) / 2];
  return { middle, side, left: middle[0] - side / 2, low: middle[1] - side / 2, width: right - left, height: high - low };
}

// --- pictures of points: asked for by row, a region at once

function takePictures({ header, body }) {
  const group = groups.get(header.group);
  if (!group) return;
  const size = header.side * header.side * 3;
  header.rows.forEach((row, k) => {
    const colours = header.pictured[k] ? body.subarray(k * size, (k + 1) * size) : null;
    group.known.delete(row);
    group.known.set(row, { words: header.words[k], picture: colours && pictureOf(colours, header.side) });
  });
  while (group.known.size > WORDS_KEPT) group.known.delete(group.known.keys().next().value);
  group.asked = 0;
  for (const map of group.maps) map.redraw();
}

function pictureOf(colours, side) {
  const canvas = el("canvas", { width: side, height: side });
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  for (let i = 0; i < side * side; i++) pixels.set(colours.subarray(3 * i, 3 * i + 3), 4 * i);
  canvas.getContext("2d").putImageData(new ImageData(pixels, side, side), 0, 0);
  return canvas;
}
