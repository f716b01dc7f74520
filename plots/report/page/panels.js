"use strict";
// Draws a panel: curves with bands or points with bars on linear or logarithmic axes, and reads values at the pointer.
const data = JSON.parse(document.getElementById("data").textContent);
const WIDTH = 270, HEIGHT = 205, LEFT = 50, RIGHT = 12, TOP = 24, BOTTOM = 38;

// -- small helpers ----------------------------------------------------------------------------------------------------
const element = (id) => document.getElementById(id);
const workersText = (p) => `${p} worker${p === 1 ? "" : "s"}`;

function shape(parent, name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function readable(value) {
  const size = Math.abs(value);
  return size !== 0 && (size >= 1e5 || size < 1e-3) ? power(value) : String(Number(value.toPrecision(4)));
}

function power(value) {
  if (value === 0) return "0";
  const [mantissa, exponent] = value.toExponential(3).split("e");
  const raised = [...String(Number(exponent))].map((digit) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(digit)]).join("");
  const factor = Number(mantissa);
  return factor === 1 ? `10${raised}` : factor === -1 ? `-10${raised}` : `${factor}·10${raised}`;
}

// All numbers of an axis in one way: plain, with equal decimals unless it is logarithmic, or as powers of ten.
function written(ticks, logarithmic) {
  const sizes = ticks.filter((tick) => tick !== 0).map(Math.abs);
  if (sizes.some((size) => size >= 1e5 || size < 1e-3)) return ticks.map(power);
  const plain = ticks.map((tick) => String(Number(tick.toPrecision(10))));
  if (logarithmic) return plain;
  const decimals = Math.max(...plain.map((text) => (text.split(".")[1] || "").length));
  return ticks.map((tick) => tick.toFixed(decimals));
}

// Around a point, the marker that the figures have.
const MARKERS = {
  o: (r) => `M${-r},0a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  s: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  "^": (r) => `M0,${-1.2 * r}L${1.1 * r},${0.9 * r}H${-1.1 * r}Z`,
  v: (r) => `M0,${1.2 * r}L${1.1 * r},${-0.9 * r}H${-1.1 * r}Z`,
  D: (r) => `M0,${-1.3 * r}L${1.3 * r},0L0,${1.3 * r}L${-1.3 * r},0Z`,
  P: (r) => `M${-r},${-r / 2.5}H${-r / 2.5}V${-r}H${r / 2.5}V${-r / 2.5}H${r}V${r / 2.5}H${r / 2.5}V${r}H${-r / 2.5}V${r / 2.5}H${-r}Z`,
  X: (r) => `M${-r},${-r}L0,${-r / 2.5}L${r},${-r}L${r / 2.5},0L${r},${r}L0,${r / 2.5}L${-r},${r}L${-r / 2.5},0Z`,
};

function mark(parent, o, x, y) {
  const made = data.optimizers[o];
  return shape(parent, "path", { class: "marker", d: MARKERS[made.marker](2.8), transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, fill: made.colour });
}

// What the lines of a chart stand for: the optimizers that are drawn, and the lines that are none.
function drawKey(parent, optimizers, references, markers) {
  parent.replaceChildren();
  for (const o of [...optimizers, ...references]) {
    const entry = document.createElement("span"), svg = shape(entry, "svg", { width: 34, height: 12, "aria-hidden": "true" });
    const line = { x1: 1, x2: 33, y1: 6, y2: 6 };
    if (typeof o === "string") shape(svg, "line", { ...line, class: "reference" });
    else shape(svg, "line", { ...line, stroke: colour(o), "stroke-width": 2, "stroke-dasharray": data.optimizers[o].dash });
    if (markers && typeof o !== "string") mark(svg, o, 17, 6);
    entry.append(Object.assign(document.createElement("span"), { textContent: typeof o === "string" ? o : data.optimizers[o].name }));
    parent.append(entry);
  }
}

function extent(values) {
  const known = values.filter((value) => value !== null && Number.isFinite(value));
  return known.length ? [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))] : null;
}

// -- scales -----------------------------------------------------------------------------------------------------------
function makeScale(domain, range, logarithmic, ticks) {
  const map = logarithmic ? Math.log10 : (value) => value;
  const [low, high] = domain.map(map);
  const span = high - low || 1;
  const scale = (value) => range[0] + ((map(value) - low) / span) * (range[1] - range[0]);
  scale.invert = (pixel) => {
    const value = low + ((pixel - range[0]) / (range[1] - range[0])) * span;
    return logarithmic ? 10 ** value : value;
  };
  scale.ticks = ticks || (logarithmic ? decades(domain) : steps(domain));
  return scale;
}

function decades([low, high]) {
  const first = Math.floor(Math.log10(low)), last = Math.ceil(Math.log10(high));
  const every = Math.max(1, Math.ceil((last - first) / 5));
  const factors = high / low < 50 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = first; power <= last; power += factors.length > 1 ? 1 : every) {
    for (const factor of factors) found.push(Number(`${factor}e${power}`));
  }
  return found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
}

function steps([low, high]) {
  const rough = (high - low || 1) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
  return found;
}

// -- one panel --------------------------------------------------------------------------------------------------------
function stepPath(points, x, y) {
  return points.map(([px, py], i) => (i ? `H${x(px).toFixed(1)}V${y(py).toFixed(1)}` : `M${x(px).toFixed(1)},${y(py).toFixed(1)}`)).join("");
}

function linePath(points, x, y) {
  return points.map(([px, py], i) => `${i ? "L" : "M"}${x(px).toFixed(1)},${y(py).toFixed(1)}`).join("");
}

function bandPath(band, x, y, floor) {
  const inside = (value) => y(floor === null ? value : Math.max(value, floor));
  const corners = [];
  band.forEach(([px, low, high], i) => {
    if (i) corners.push([x(px), inside(band[i - 1][1]), inside(band[i - 1][2])]);
    corners.push([x(px), inside(low), inside(high)]);
  });
  const one = (at) => corners.map((corner) => `${corner[0].toFixed(1)},${corner[at].toFixed(1)}`);
  return `M${one(2).join("L")}L${one(1).reverse().join("L")}Z`;
}

function drawPanel(parent, panel) {
  const svg = shape(parent, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": spoken(panel) });
  const x = makeScale(panel.x.domain, [LEFT, WIDTH - RIGHT], panel.x.log, panel.x.ticks);
  const y = makeScale(panel.y.domain, [HEIGHT - BOTTOM, TOP], panel.y.log, panel.y.ticks);
  const clip = `clip-${parent.id}-${parent.childElementCount}`;
  shape(shape(svg, "clipPath", { id: clip }), "rect", { x: LEFT, y: TOP - 2, width: WIDTH - LEFT - RIGHT + 2, height: HEIGHT - TOP - BOTTOM + 4 });
  const xTexts = written(x.ticks, panel.x.log), yTexts = written(y.ticks, panel.y.log);
  let right = -Infinity;
  for (const [i, tick] of x.ticks.entries()) {
    shape(svg, "line", { class: "grid", x1: x(tick), x2: x(tick), y1: TOP, y2: HEIGHT - BOTTOM });
    const text = shape(svg, "text", { x: x(tick), y: HEIGHT - BOTTOM + 13, "text-anchor": "middle" }, xTexts[i]);
    const half = text.getComputedTextLength() / 2;
    if (x(tick) - half < right + 3) text.remove();
    else right = x(tick) + half;
  }
  for (const [i, tick] of y.ticks.entries()) {
    shape(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) });
    shape(svg, "text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, yTexts[i]);
  }
  shape(svg, "path", { class: "axis", d: `M${LEFT},${TOP}V${HEIGHT - BOTTOM}H${WIDTH - RIGHT}` });
  fitted(shape(svg, "text", { class: "title", x: (LEFT + WIDTH - RIGHT) / 2, y: 14, "text-anchor": "middle" }, panel.title), WIDTH - LEFT);
  shape(svg, "text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 8, "text-anchor": "middle" }, panel.x.label);
  shape(svg, "text", { "text-anchor": "middle", transform: `translate(11 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)` }, panel.y.label);
  const inside = shape(svg, "g", { "clip-path": `url(#${clip})` });
  const floor = panel.y.log ? panel.y.domain[0] / 10 : null;
  for (const series of panel.series) if (series.band) shape(inside, "path", { class: "band", d: bandPath(series.band, x, y, floor), fill: colour(series.o) });
  for (const series of panel.series) {
    const path = shape(inside, "path", { class: "curve", "data-optimizer": data.optimizers[series.o].name, stroke: colour(series.o), "stroke-dasharray": data.optimizers[series.o].dash, d: (panel.steps ? stepPath : linePath)(series.points, x, y) });
    shape(path, "title", {}, data.optimizers[series.o].name);
    for (const [px, low, high] of series.bars || []) shape(inside, "line", { class: "bar", stroke: colour(series.o), x1: x(px), x2: x(px), y1: y(Math.max(low, panel.y.domain[0] / 10)), y2: y(Math.min(high, panel.y.domain[1] * 10)) });
    if (!panel.steps) for (const [px, py] of series.points) mark(inside, series.o, x(px), y(py));
  }
  // Above the curves: whether one lies below it is what it is for.
  for (const line of panel.references || []) shape(inside, "path", { class: "reference", d: linePath(line, x, y) });
  watch(svg, panel, x);
}

const colour = (o) => data.optimizers[o].colour;

function fitted(text, width) {
  if (text.getComputedTextLength() > width) {
    text.setAttribute("textLength", width);
    text.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
}

function spoken(panel) {
  const ends = panel.series.map((series) => `${data.optimizers[series.o].name} ends at ${readable(series.points.at(-1)[1])}`);
  return `${panel.chart}, ${panel.title}. ${panel.y.label} against ${panel.x.label}. ${ends.join("; ")}.`;
}

function watch(svg, panel, x) {
  const cursor = shape(svg, "line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const readout = element("readout");
  svg.addEventListener("pointermove", (event) => {
    const at = svg.createSVGPoint();
    at.x = event.clientX;
    const pixel = Math.min(WIDTH - RIGHT, Math.max(LEFT, at.matrixTransform(svg.getScreenCTM().inverse()).x));
    let when = x.invert(pixel);
    if (!panel.steps) when = panel.x.ticks.reduce((a, b) => (Math.abs(x(b) - pixel) < Math.abs(x(a) - pixel) ? b : a));
    cursor.setAttribute("x1", x(when));
    cursor.setAttribute("x2", x(when));
    cursor.setAttribute("visibility", "visible");
    readout.replaceChildren(row(panel.x.label, readable(when)));
    for (const series of panel.series) {
      // Of a step function what was known at that time: never a later point.
      const known = panel.steps ? series.points.filter((point) => point[0] <= when).at(-1) : series.points.find((point) => Math.abs(Math.log2(point[0] / when)) < 0.4);
      if (known) readout.append(row(data.optimizers[series.o].name, readable(known[1])));
    }
    readout.hidden = false;
    readout.style.left = `${Math.min(event.clientX + 14, window.innerWidth - readout.offsetWidth - 8)}px`;
    readout.style.top = `${Math.min(event.clientY + 14, window.innerHeight - readout.offsetHeight - 8)}px`;
  });
  svg.addEventListener("pointerleave", () => {
    readout.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  });
}

function row(name, value) {
  const line = document.createElement("div");
  for (const text of [name, value]) line.append(Object.assign(document.createElement("span"), { textContent: text }));
  return line;
}
