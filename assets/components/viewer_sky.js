// World coordinates: from pixels to the sky by the definitions of FITS paper II (Calabretta & Greisen 2002), with
// SIP (Shupe et al. 2005) and TPV distortions. Projections: TAN, TPV, SIN, ARC, ZEA, STG.

const DEG = Math.PI / 180;

// Native latitude in degrees of a distance from the pole of the projection, in degrees.
const LATITUDES = {
  TAN: (r) => Math.atan2(1, r * DEG) / DEG,
  SIN: (r) => Math.acos(r * DEG) / DEG,
  ARC: (r) => 90 - r,
  ZEA: (r) => 90 - (2 * Math.asin((r * DEG) / 2)) / DEG,
  STG: (r) => 90 - (2 * Math.atan((r * DEG) / 2)) / DEG,
};

const UNITS = { deg: 1, arcmin: 1 / 60, arcsec: 1 / 3600, rad: 1 / DEG };
const SYSTEMS = { RA: ["RA", "Dec"], GLON: ["l", "b"], ELON: ["λ", "β"] };

// The sky of FITS cards: { position(column, row) -> [longitude, latitude] in degrees, names, frame }, for pixels
// counted from 0; { reason } where there is none.
function makeSky(cards) {
  const types = [String(cards.CTYPE1 ?? ""), String(cards.CTYPE2 ?? "")];
  if (!types[0] && !types[1]) return { reason: "no WCS" };
  const swapped = /^(DEC|.LAT)/.test(types[0]);
  const [lon, lat] = swapped ? [1, 0] : [0, 1];
  const [, name, code] = /^(RA|GLON|ELON)-+([A-Z]{3})/.exec(types[lon]) || [];
  if (!name || !/^(DEC|GLAT|ELAT)-/.test(types[lat])) return { reason: "axes not on the sky" };
  const some = (pattern) => Object.keys(cards).some((card) => pattern.test(card));
  const polynomial = code === "TPV" || (code === "TAN" && some(/^PV[12]_([5-9]|\d\d)$/));
  const latitude = LATITUDES[polynomial ? "TAN" : code];
  const slanted = code !== "TAN" && !polynomial && some(new RegExp(`^PV${lat + 1}_`));
  if (!latitude || slanted) return { reason: `projection ${code} not supported` };
  const plane = toPlane(cards);
  const start = [cards[`CRVAL${lon + 1}`], cards[`CRVAL${lat + 1}`]].map((v, k) => v * unit(cards, k ? lat : lon));
  if (!start.every(Number.isFinite) || !plane(0, 0).every(Number.isFinite)) return { reason: "WCS incomplete" };
  const pole = Number(cards.LONPOLE ?? (start[1] >= 90 ? 0 : 180));
  const distort = polynomial ? tpv(cards, lon + 1, lat + 1) : (x, y) => [x, y];
  const position = (column, row) => {
    const flat = plane(column, row);
    const [x, y] = distort(flat[lon], flat[lat]);
    return celestial(Math.atan2(x, -y) / DEG, latitude(Math.hypot(x, y)), start, pole);
  };
  return { position, names: SYSTEMS[name], frame: String(cards.RADESYS ?? "") };
}

function unit(cards, axis) {
  return UNITS[String(cards[`CUNIT${axis + 1}`] ?? "deg").trim().toLowerCase() || "deg"] ?? NaN;
}

// From pixels to intermediate world coordinates in degrees: SIP, then the linear part.
function toPlane(cards) {
  const reference = [cards.CRPIX1 ?? 0, cards.CRPIX2 ?? 0];
  const units = [unit(cards, 0), unit(cards, 1)];
  const matrix = linearPart(cards).map((row, i) => row.map((v) => v * units[i]));
  const sip = /-SIP$/.test(String(cards.CTYPE1)) ? ["A", "B"].map((letter) => sipTerms(cards, letter)) : [[], []];
  return (column, row) => {
    const [u, v] = [column + 1 - reference[0], row + 1 - reference[1]];
    const [f, g] = sip.map((terms) => terms.reduce((sum, [p, q, a]) => sum + a * u ** p * v ** q, 0));
    return matrix.map(([a, b]) => a * (u + f) + b * (v + g));
  };
}

// CD, else PC with CDELT, else CROTA2 with CDELT.
function linearPart(cards) {
  const names = ["1_1", "1_2", "2_1", "2_2"];
  if (names.some((n) => `CD${n}` in cards)) {
    const [a, b, c, d] = names.map((n) => cards[`CD${n}`] ?? 0);
    return [[a, b], [c, d]];
  }
  const delta = [cards.CDELT1 ?? 1, cards.CDELT2 ?? 1];
  let [a, b, c, d] = names.map((n, k) => cards[`PC${n}`] ?? (k === 0 || k === 3 ? 1 : 0));
  if (!names.some((n) => `PC${n}` in cards) && cards.CROTA2) {
    const turn = cards.CROTA2 * DEG;
    [a, b] = [Math.cos(turn), (-Math.sin(turn) * delta[1]) / delta[0]];
    [c, d] = [(Math.sin(turn) * delta[0]) / delta[1], Math.cos(turn)];
  }
  return [[a * delta[0], b * delta[0]], [c * delta[1], d * delta[1]]];
}

function sipTerms(cards, letter) {
  return Object.entries(cards).flatMap(([name, value]) => {
    const found = new RegExp(`^${letter}_(\\d)_(\\d)$`).exec(name);
    return found ? [[Number(found[1]), Number(found[2]), value]] : [];
  });
}

// TPV: each axis a polynomial to the 7th order in itself, the other and, at odd orders, their distance r.
function tpv(cards, lon, lat) {
  const terms = [];
  for (let order = 0; order <= 7; order++) {
    for (let q = 0; q <= order; q++) terms.push([order - q, q, 0]);
    if (order % 2) terms.push([0, 0, order]);
  }
  const axis = (number) => {
    const factors = terms.map((_, m) => cards[`PV${number}_${m}`] ?? (m === 1 ? 1 : 0));
    return (own, other) => {
      const r = Math.hypot(own, other);
      return terms.reduce((sum, [p, q, k], m) => sum + factors[m] * own ** p * other ** q * r ** k, 0);
    };
  };
  const [first, second] = [axis(lon), axis(lat)];
  return (x, y) => [first(x, y), second(y, x)];
}

// From native to celestial coordinates, all in degrees, where the reference point is the native pole.
function celestial(phi, theta, [lon, lat], pole) {
  const [t, d, f] = [theta * DEG, lat * DEG, (phi - pole) * DEG];
  const x = Math.sin(t) * Math.cos(d) - Math.cos(t) * Math.sin(d) * Math.cos(f);
  const y = -Math.cos(t) * Math.sin(f);
  const z = Math.sin(t) * Math.sin(d) + Math.cos(t) * Math.cos(d) * Math.cos(f);
  return [(((lon + Math.atan2(y, x) / DEG) % 360) + 360) % 360, Math.atan2(z, Math.hypot(x, y)) / DEG];
}

// Arcsec to the east and to the north from the sky at a pixel to that at another, for small distances.
function offset(sky, [column, row], [otherColumn, otherRow]) {
  const [lon, lat] = sky.position(column, row);
  const [otherLon, otherLat] = sky.position(otherColumn, otherRow);
  const turned = ((((otherLon - lon + 180) % 360) + 360) % 360) - 180;
  return [turned * 3600 * Math.cos(lat * DEG), (otherLat - lat) * 3600];
}

// Directions of north and east on the pixel grid at a pixel, as unit vectors [columns, rows].
function compass(sky, column, row) {
  const [a, c] = offset(sky, [column, row], [column + 1, row]); // east, north a column further
  const [b, d] = offset(sky, [column, row], [column, row + 1]);
  const size = a * d - b * c;
  const unitOf = (x, y) => [x / Math.hypot(x, y), y / Math.hypot(x, y)];
  return { north: unitOf(-b / size, a / size), east: unitOf(d / size, -c / size) };
}

// The pixel that shows a place of the sky, by Newton's method from `guess`; null where it does not settle.
function pixelOf(sky, target, guess) {
  let [x, y] = guess;
  for (let round = 0; round < 20; round++) {
    const here = sky.position(x, y);
    const turned = ((((target[0] - here[0] + 180) % 360) + 360) % 360) - 180;
    const [east, north] = [turned * 3600 * Math.cos(here[1] * DEG), (target[1] - here[1]) * 3600];
    const [a, c] = offset(sky, [x, y], [x + 1, y]);
    const [b, d] = offset(sky, [x, y], [x, y + 1]);
    const size = a * d - b * c;
    const [dx, dy] = [(d * east - b * north) / size, (a * north - c * east) / size];
    [x, y] = [x + dx, y + dy];
    if (!Number.isFinite(x + y)) return null;
    if (Math.hypot(dx, dy) < 1e-6) return [x, y];
  }
  return null;
}
