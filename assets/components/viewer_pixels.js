// Pixel values: reading them, limits of the display, stretch. All of it on the raw float32 values.
// The files of this folder are joined into one module, in the order of pages/ui/viewer.py.

// --- what pages/ui/viewer.py packs: length of the header (uint32), the header as JSON, the values

function unpack(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const text = new TextDecoder().decode(bytes.subarray(4, 4 + length));
  const values = (array) => {
    const start = 4 + length + 4 * array.place;
    const count = array.shape.reduce((a, b) => a * b, 1);
    return new Float32Array(bytes.slice(start, start + 4 * count).buffer); // a copy: aligned, and ours
  };
  return { text, header: JSON.parse(text), values };
}

// --- limits

// A float32 as an unsigned integer of the same order, so that ranks can be counted by its bits.
function orderedBits(values) {
  const bits = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < bits.length; i++) bits[i] = bits[i] & 0x80000000 ? ~bits[i] : bits[i] | 0x80000000;
  return bits;
}

function fromOrderedBits(bits) {
  const raw = new Uint32Array([bits & 0x80000000 ? bits & 0x7fffffff : ~bits]);
  return new Float32Array(raw.buffer)[0];
}

function finiteValues(values) {
  let count = 0;
  for (let i = 0; i < values.length; i++) if (Number.isFinite(values[i])) count++;
  if (count === values.length) return values;
  const kept = new Float32Array(count);
  for (let i = 0, j = 0; i < values.length; i++) if (Number.isFinite(values[i])) kept[j++] = values[i];
  return kept;
}

// The values of these ranks (0 is the lowest) without sorting: two passes over 16 bits each.
function valuesOfRank(values, ranks) {
  const bits = orderedBits(values);
  const high = new Uint32Array(65536);
  for (let i = 0; i < bits.length; i++) high[bits[i] >>> 16]++;
  const low = new Map();
  const countLow = (top) => {
    const counts = new Uint32Array(65536);
    for (let i = 0; i < bits.length; i++) if (bits[i] >>> 16 === top) counts[bits[i] & 65535]++;
    low.set(top, counts);
    return counts;
  };
  const place = (counts, rank) => {
    let bin = 0;
    while (rank >= counts[bin]) rank -= counts[bin++];
    return [bin, rank];
  };
  return ranks.map((rank) => {
    const [top, left] = place(high, rank);
    const [rest] = place(low.get(top) || countLow(top), left);
    return fromOrderedBits(((top << 16) | rest) >>> 0);
  });
}

// Percentiles with linear interpolation between ranks, as numpy.percentile.
function percentiles(values, wanted) {
  const known = finiteValues(values);
  if (!known.length) return wanted.map(() => NaN);
  const places = wanted.map((p) => (p / 100) * (known.length - 1));
  const ranks = places.flatMap((p) => [Math.floor(p), Math.ceil(p)]);
  const found = valuesOfRank(known, ranks);
  return places.map((p, k) => found[2 * k] + (found[2 * k + 1] - found[2 * k]) * (p - Math.floor(p)));
}

// IRAF's zscale, step by step as astropy.visualization.ZScaleInterval with its defaults.
function zscaleLimits(values) {
  const known = finiteValues(values);
  const stride = Math.max(1, Math.floor(known.length / 1000));
  const count = Math.min(1000, Math.ceil(known.length / stride));
  const samples = Float64Array.from({ length: count }, (_, i) => known[i * stride]);
  samples.sort();
  const n = samples.length;
  if (!n) return [NaN, NaN];
  const fewest = Math.max(5, Math.floor(n * 0.5));
  const grow = Math.max(1, Math.floor(n * 0.01));
  let bad = new Uint8Array(n);
  let good = n;
  let before = n + 1;
  let line = [0, 0];
  for (let round = 0; round < 5 && good < before && good >= fewest; round++) {
    line = fitLine(samples, bad);
    bad = rejected(samples, line, bad, grow);
    before = good;
    good = n - bad.reduce((a, b) => a + b, 0);
  }
  let [low, high] = [samples[0], samples[n - 1]];
  if (good >= fewest) {
    const slope = line[0] / 0.25;
    const centre = Math.floor((n - 1) / 2);
    const median = (samples[Math.floor((n - 1) / 2)] + samples[Math.floor(n / 2)]) / 2;
    low = Math.max(low, median - (centre - 1) * slope);
    high = Math.min(high, median + (n - centre) * slope);
  }
  return [low, high];
}

// Least squares through the samples that are not bad: [slope, intercept].
function fitLine(samples, bad) {
  let [count, sx, sy] = [0, 0, 0];
  for (let i = 0; i < samples.length; i++) if (!bad[i]) [count, sx, sy] = [count + 1, sx + i, sy + samples[i]];
  const [mx, my] = [sx / count, sy / count];
  let [sxx, sxy] = [0, 0];
  for (let i = 0; i < samples.length; i++) {
    if (bad[i]) continue;
    sxx += (i - mx) ** 2;
    sxy += (i - mx) * (samples[i] - my);
  }
  const slope = sxx ? sxy / sxx : 0;
  return [slope, my - slope * mx];
}

// Samples beyond 2.5 sigma of the line, and their neighbours within the width `grow`.
function rejected(samples, [slope, intercept], bad, grow) {
  const flat = samples.map((value, i) => value - (slope * i + intercept));
  let [count, sum, squares] = [0, 0, 0];
  flat.forEach((value, i) => { if (!bad[i]) { count++; sum += value; } });
  const mean = sum / count;
  flat.forEach((value, i) => { if (!bad[i]) squares += (value - mean) ** 2; });
  const threshold = 2.5 * Math.sqrt(squares / count);
  const marked = bad.slice();
  flat.forEach((value, i) => { if (Math.abs(value) > threshold) marked[i] = 1; });
  const grown = new Uint8Array(samples.length);
  // numpy.convolve(..., mode="same") with `grow` ones reaches further forward for an even width
  const back = Math.floor((grow - 1) / 2);
  for (let i = 0; i < marked.length; i++) {
    if (!marked[i]) continue;
    for (let j = Math.max(0, i - back); j < Math.min(grown.length, i - back + grow); j++) grown[j] = 1;
  }
  return grown;
}

const LIMITS = {
  "zscale": "zscale",
  "99.9": "99.9 %",
  "99.5": "99.5 %",
  "98": "98 %",
  "95": "95 %",
  "minmax": "min – max",
  "hand": "by hand",
};

// Values that become black and white. `kind` is a name of LIMITS but "hand".
function limitsOf(values, kind) {
  if (kind === "zscale") return zscaleLimits(values);
  const p = kind === "minmax" ? 100 : Number(kind);
  return percentiles(values, [100 - p, p]);
}

// --- stretch: of [0, 1] to [0, 1], the curves of astropy.visualization (asinh a = 0.1, log a = 1000)

const CURVES = {
  asinh: (x) => Math.asinh(x / 0.1) / Math.asinh(10),
  log: (x) => Math.log1p(1000 * x) / Math.log(1001),
  linear: (x) => x,
};

// Display level 0 to 255 of each value; 256 where there is no number.
function levels(values, [low, high], curve) {
  const out = new Uint16Array(values.length);
  const bend = CURVES[curve];
  const width = high - low;
  for (let i = 0; i < values.length; i++) {
    const x = width > 0 ? (values[i] - low) / width : 0;
    out[i] = Number.isFinite(values[i]) ? Math.round(255 * bend(x < 0 ? 0 : x > 1 ? 1 : x)) : 256;
  }
  return out;
}

// Lupton et al. (2004), as astropy's make_lupton_rgb: one stretch for the mean of the bands keeps colours.
// RGBA of three bands: (value - minimum) * scale of each.
function luptonRgba([red, green, blue], minimum, scale, stretch, q) {
  const out = new Uint8ClampedArray(4 * red.length);
  const gain = 0.1 / Math.asinh(0.1 * q);
  for (let i = 0; i < red.length; i++) {
    const r = (red[i] - minimum[0]) * scale[0];
    const g = (green[i] - minimum[1]) * scale[1];
    const b = (blue[i] - minimum[2]) * scale[2];
    const mean = (r + g + b) / 3;
    if (!Number.isFinite(mean)) continue; // stays transparent
    const factor = mean > 0 ? (Math.asinh((q * mean) / stretch) * gain) / mean : 0;
    const top = Math.max(1, Math.max(r, g, b) * factor);
    out[4 * i] = Math.floor(255 * (Math.max(0, r * factor) / top));
    out[4 * i + 1] = Math.floor(255 * (Math.max(0, g * factor) / top));
    out[4 * i + 2] = Math.floor(255 * (Math.max(0, b * factor) / top));
    out[4 * i + 3] = 255;
  }
  return out;
}

// The stretch with which a mean of 1 becomes full brightness.
function luptonStretch(q) {
  return q / Math.sinh(Math.asinh(0.1 * q) / 0.1);
}

// Q with which the noise of the sky, in units of full brightness, is seen but does not shine: 6 % of it.
function quietQ(noise) {
  const shown = (q) => (Math.asinh((q * noise) / luptonStretch(q)) * 0.1) / Math.asinh(0.1 * q);
  let q = 0.5;
  while (q < 20 && shown(q + 0.5) < 0.06) q += 0.5;
  return q;
}

// Black at the sky, white at the upper limit of each band, so that unlike zero points do not paint the image one
// colour.
function luptonLimits(bands, kind) {
  const black = bands.map((values) => percentiles(values, [50])[0]);
  const white = bands.map((values, k) => Math.max(limitsOf(values, kind)[1], black[k]));
  const scale = white.map((w, k) => 1 / (w - black[k] || 1));
  const mean = bands[0].map((_, i) => bands.reduce((sum, values, k) => sum + (values[i] - black[k]) * scale[k], 0) / 3);
  const [low, middle] = percentiles(mean, [15.87, 50]); // below the median there is only noise
  return { black, white, q: quietQ(middle - low) };
}

// The value of each pixel averaged over bands.
function meanBand(cube, count) {
  const size = cube.length / count;
  const out = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    let sum = 0;
    for (let k = 0; k < count; k++) sum += cube[k * size + i];
    out[i] = sum / count;
  }
  return out;
}

// --- numbers as text

// The shortest decimal that is this float32 and no other: what Python prints of it.
function exact(value) {
  if (!Number.isFinite(value)) return String(value).replace("Infinity", "inf");
  for (let digits = 1; digits <= 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) !== value) continue;
    const size = Math.abs(value);
    return size && (size >= 1e9 || size < 1e-5) ? Number(text).toExponential() : String(Number(text));
  }
  return String(value);
}

// Both limits with the decimals that give the larger three significant digits.
function limitsText([low, high]) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  if (!Number.isFinite(size)) return "no finite value";
  const decimals = size ? Math.max(0, 2 - Math.floor(Math.log10(size))) : 0;
  const small = size && (size < 1e-3 || size >= 1e6);
  const text = (value) => (small ? value.toExponential(2) : value.toFixed(decimals));
  return `${text(low)} to ${text(high)}`.replaceAll("-", "−");
}
