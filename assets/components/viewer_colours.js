// Colour maps: 33 evenly spaced stops of each, linear between them.

const STOPS = {
  gray: "000000ffffff",
  inferno:
    "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754" +
    "c63d4dd04545da4e3ce35933eb6429f1711ff67e14f98c0afb9b06fcaa0ffbba1ff9c932f5d949f2e865f3f586fcffa4",
  viridis:
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d2f6b8e2c728e297a8e26828e23898e21918c" +
    "1f978b1f9f8821a68527ad8131b57b3dbc744cc26c5cc8636ece5881d34d95d840aadc32c0df25d5e21aeae51afde725",
  RdBu:
    "67001f7f0823960f27ae172abb2a34c6413ed25849dc6e57e58368ef9979f5ac8bf8bda1fbceb7fdddcbfbe6daf9efe9f6f7f7" +
    "ecf2f5e0ecf3d4e6f1c2ddecaed3e69bc9e084bcd96bacd1529dc83f8ec03480b92a71b21f63a81752900e4179053061",
};

const tables = new Map();

// 256 RGBA colours of a map as one Uint8Array, and a transparent one for pixels without a number.
function colourTable(name, invert) {
  const known = tables.get(name + invert);
  if (known) return known;
  const stops = STOPS[name].match(/../g).map((pair) => parseInt(pair, 16));
  const last = stops.length / 3 - 1;
  const table = new Uint8ClampedArray(257 * 4);
  for (let i = 0; i < 256; i++) {
    const place = ((invert ? 255 - i : i) / 255) * last;
    const stop = Math.min(last - 1, Math.floor(place));
    for (let c = 0; c < 3; c++) {
      const [a, b] = [stops[3 * stop + c], stops[3 * stop + 3 + c]];
      table[4 * i + c] = Math.round(a + (b - a) * (place - stop));
    }
    table[4 * i + 3] = 255;
  }
  tables.set(name + invert, table);
  return table;
}

// RGBA of display levels.
function coloured(display, table) {
  const out = new Uint8ClampedArray(4 * display.length);
  const wide = new Uint32Array(out.buffer);
  const colours = new Uint32Array(table.buffer);
  for (let i = 0; i < display.length; i++) wide[i] = colours[display[i]];
  return out;
}

// RGBA of a map to lay over an image: one blue, opaque where the map is high; a map of both signs is red below
// 0 and blue above, opaque far from it.
function overlayRgba(values) {
  const [low, high] = limitsOf(values, "minmax");
  const signed = low < 0 && high > 0;
  const far = Math.max(Math.abs(low), Math.abs(high));
  const out = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const share = signed ? values[i] / far : (values[i] - low) / (high - low);
    if (!Number.isFinite(share)) continue;
    out.set(share < 0 ? [255, 96, 80] : [64, 200, 255], 4 * i);
    out[4 * i + 3] = 255 * Math.abs(share);
  }
  return out;
}
