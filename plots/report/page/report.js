// Draws what the filters choose from the embedded data, filters and sorts the tables, and switches the colours.
const MOST_IN_A_ROW = 4, AT_ONCE = 60;

// -- the three charts -------------------------------------------------------------------------------------------------
function performancePanels(chosen) {
  const panels = [];
  for (const b of chosen.b) {
    const groups = data.performance.filter((group) => group.b === b && chosen.p.includes(group.p));
    const drawn = groups.map((group) => ({ group, curves: group.curves.filter((curve) => chosen.o.includes(curve.o)) })).filter((one) => one.curves.length);
    if (!drawn.length) continue;
    const log = drawn[0].group.quantity === "regret";
    const times = drawn.flatMap(({ group, curves }) => curves.flatMap((c) => [group.times[c.first], group.times[c.first + c.centre.length - 1]]));
    const values = drawn.flatMap(({ curves }) => curves.flatMap((c) => c.centre)).filter((value) => !log || value > 0);
    const [low, high] = extent(values) || [1, 1];
    const room = log ? 0 : 0.05 * (high - low || 1);
    const [begin, end] = extent(times);
    const y = { log, domain: log ? [low * 0.7, high * 1.4] : [low - room, high + room], label: drawn[0].group.quantity === "value" ? "best value" : drawn[0].group.quantity };
    const x = { log: begin > 0 && end >= data.logarithmicFrom * begin, domain: [begin, end], label: "simulated time [s]" };
    for (const { group, curves } of drawn) {
      panels.push({
        chart: `Performance over time, ${data.benchmarks[b]}`, group: data.benchmarks[b], title: workersText(data.workers[group.p]), steps: true, x, y,
        series: curves.map((curve) => {
          const points = curve.centre.map((value, i) => [group.times[curve.first + i], log ? Math.max(value, y.domain[0] / 10) : value]);
          const band = curve.error && points.map(([time], i) => [time, curve.centre[i] - curve.error[i], curve.centre[i] + curve.error[i]]);
          return { o: curve.o, points, band };
        }),
      });
    }
  }
  return { panels, note: "" };
}

// An optimizer's rank is 1 plus the number of rivals that beat it, a tie counting half; so the average rank among any
// choice of optimizers follows from how often each beats each other one.
function rankPanels(chosen) {
  if (chosen.o.length < 2) return { panels: [], note: "Ranks compare optimizers: tick at least two." };
  const { fractions, groups } = data.rank, panels = [], absent = new Set();
  const ticks = chosen.o.map((_, i) => i + 1);
  const every = Math.ceil(ticks.length / 8);
  const y = { domain: [chosen.o.length + 0.15, 0.85], ticks: ticks.filter((t) => (t - 1) % every === 0), label: "average rank (1 is best)" };
  for (const p of chosen.p) {
    const sums = chosen.o.map(() => fractions.map(() => 0));
    let count = 0;
    for (const group of groups.filter((one) => one.p === p && chosen.b.includes(one.b))) {
      const pairs = group.pairs.filter(([i, j]) => chosen.o.includes(i) && chosen.o.includes(j));
      if (pairs.length < (chosen.o.length * (chosen.o.length - 1)) / 2) {
        absent.add(data.benchmarks[group.b]);
        continue;
      }
      count += 1;
      for (const [i, j, n, halfWins] of pairs) {
        halfWins.forEach((wins, f) => {
          sums[chosen.o.indexOf(i)][f] += 1 - wins / (2 * n);
          sums[chosen.o.indexOf(j)][f] += wins / (2 * n);
        });
      }
    }
    if (!count) continue;
    const series = chosen.o.map((o, at) => ({ o, points: fractions.map((fraction, f) => [fraction, 1 + sums[at][f] / count]) }));
    panels.push({ chart: "Rank over time", title: `${workersText(data.workers[p])}, ${count} benchmark${count === 1 ? "" : "s"}`, steps: true, y, series });
  }
  // As long as nobody has a result all are tied, and there is nothing to see.
  const tied = (f) => panels.every(({ series }) => series.every((one) => one.points[f][1] === series[0].points[f][1]));
  let first = 0;
  while (first < fractions.length - 2 && tied(first + 1)) first += 1;
  for (const panel of panels) {
    panel.x = { log: true, domain: [fractions[first], 1], label: "share of the time budget" };
    for (const one of panel.series) one.points = one.points.slice(first);
  }
  const names = [...absent];
  return { panels, note: names.length ? `Left out, because not all ticked optimizers have runs with common seeds there: ${names.join(", ")}.` : "" };
}

function speedUpPanels(chosen) {
  if (data.speedUp.reason) return { panels: [], note: data.speedUp.reason };
  const every = chosen.b.length === data.benchmarks.length, series = [];
  const workers = chosen.p.map((p) => data.workers[p]);
  const gap = Math.min(...workers.slice(1).map((n, i) => Math.log2(n / workers[i])), 1);
  const apart = Math.min(0.09, (0.3 * gap) / Math.max(chosen.o.length - 1, 1));
  for (const o of chosen.o) {
    const rows = data.speedUp.rows.filter((one) => one.o === o && chosen.p.includes(one.p));
    const averaged = rows.filter((one) => one.b === null), single = rows.filter((one) => chosen.b.includes(one.b));
    const benchmarks = new Set(single.map((one) => one.b));
    const points = [], bars = [];
    // Points stand at P; their bars a little apart, or they would hide one another.
    const aside = 2 ** (apart * (chosen.o.indexOf(o) - (chosen.o.length - 1) / 2));
    for (const p of chosen.p) {
      const [whole] = averaged.filter((one) => one.p === p), some = single.filter((one) => one.p === p);
      if (!some.length) continue;
      const one = every && whole ? whole : benchmarks.size === 1 ? some[0] : null;
      const value = one ? one.value : Math.exp(some.reduce((sum, row) => sum + Math.log(row.value), 0) / some.length);
      if (!(value > 0)) continue;
      points.push([data.workers[p], value]);
      if (one && one.low !== null) bars.push([data.workers[p] * aside, Math.max(one.low, 1e-6), one.high === null ? 1e6 : one.high]);
    }
    if (points.length) series.push({ o, points, bars });
  }
  if (!series.length) return { panels: [], note: "No speed-up was measured for this choice." };
  const [low, high] = extent(series.flatMap((one) => one.points.map((point) => point[1])));
  const top = Math.max(high, workers.at(-1)), first = workers[0], last = workers.at(-1) === first ? first * 2 : workers.at(-1);
  const powers = [];
  for (let tick = 2 ** Math.floor(Math.log2(Math.min(low, 1))); tick <= top * 1.3; tick *= 2) powers.push(tick);
  const x = { log: true, domain: [first * 0.8, last * 1.25], ticks: workers, label: "workers P" };
  const y = { log: true, domain: [Math.min(0.8, low * 0.8), top * 1.3], ticks: powers.filter((tick) => tick >= Math.min(0.8, low * 0.8)), label: "speed-up to target" };
  const title = every ? "all benchmarks" : chosen.b.length === 1 ? data.benchmarks[chosen.b[0]] : `${chosen.b.length} benchmarks`;
  const bars = every || chosen.b.length === 1 ? "" : "Bars are drawn for all benchmarks or for one: intervals of several do not combine.";
  return { panels: [{ chart: "Speed-up", title, x, y, series, references: [[[first, first], [last, last]]] }], note: bars, references: ["ideal"], markers: true };
}

const charts = { performance: performancePanels, rank: rankPanels, "speed-up": speedUpPanels };

// -- filters, tables, colours -----------------------------------------------------------------------------------------
function chosenNow() {
  const chosen = {};
  for (const set of document.querySelectorAll("[data-filter]")) {
    chosen[set.dataset.filter] = [...set.querySelectorAll("input:checked")].map((input) => Number(input.value));
  }
  return chosen;
}

// All panels, a benchmark's in rows of equal length; a large study's in several goes, so that the page answers meanwhile.
function drawPanels(parent, panels, workers) {
  parent.replaceChildren();
  const turn = (drawPanels.turns.get(parent.id) || 0) + 1;
  drawPanels.turns.set(parent.id, turn);
  const rows = Math.ceil(workers / MOST_IN_A_ROW), groups = new Map();
  const some = (from) => {
    if (drawPanels.turns.get(parent.id) !== turn) return;
    for (const panel of panels.slice(from, from + AT_ONCE)) {
      if (!groups.has(panel.group)) {
        const group = Object.assign(document.createElement("div"), { className: "row" });
        if (panel.group !== undefined) parent.append(Object.assign(document.createElement("h4"), { textContent: panel.group }));
        group.style.setProperty("--columns", Math.ceil(workers / rows));
        group.id = `${parent.id}-${groups.size}`;
        parent.append(group);
        groups.set(panel.group, group);
      }
      drawPanel(groups.get(panel.group), panel);
    }
    if (from + AT_ONCE < panels.length) window.setTimeout(some, 0, from + AT_ONCE);
  };
  some(0);
}
drawPanels.turns = new Map();

function update() {
  const chosen = chosenNow();
  const nothing = Object.values(chosen).some((indices) => !indices.length);
  for (const [name, make] of Object.entries(charts)) {
    const { panels, note, references, markers } = nothing ? { panels: [], note: "Nothing is chosen: tick an optimizer, a benchmark and a number of workers." } : make(chosen);
    drawPanels(element(name), panels, chosen.p.length);
    drawKey(element(`${name}-key`), chosen.o.filter((o) => panels.some((panel) => panel.series.some((one) => one.o === o))), panels.length ? references || [] : [], markers);
    element(`${name}-note`).textContent = note;
  }
  for (const line of document.querySelectorAll("#tables tbody tr")) {
    line.hidden = Object.entries(chosen).some(([key, indices]) => key in line.dataset && !indices.includes(Number(line.dataset[key])));
  }
}

function sortBy(heading) {
  const table = heading.closest("table"), column = heading.cellIndex;
  const descending = heading.getAttribute("aria-sort") === "ascending";
  const key = (line) => {
    const cell = line.cells[column];
    return "v" in cell.dataset ? Number(cell.dataset.v) : cell.textContent;
  };
  const missing = (value) => Number.isNaN(value) || value === "";
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true }));
  const lines = [...table.tBodies[0].rows].sort((one, other) => {
    const a = key(one), b = key(other);
    if (missing(a) || missing(b)) return missing(a) - missing(b); // what is missing stays last either way
    return descending ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...lines);
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
}

function showTheme() {
  const named = document.documentElement.dataset.theme;
  const dark = named ? named === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  element("theme").textContent = dark ? "Light" : "Dark";
  element("theme").setAttribute("aria-pressed", String(dark));
  return dark;
}

element("filters").addEventListener("change", update);
element("filters").addEventListener("submit", (event) => event.preventDefault());
for (const button of document.querySelectorAll("[data-set]")) {
  button.addEventListener("click", () => {
    for (const input of button.closest("fieldset").querySelectorAll("input")) input.checked = button.dataset.set === "all";
    update();
  });
}
for (const button of document.querySelectorAll("table.sortable th button")) button.addEventListener("click", () => sortBy(button.parentElement));
element("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = showTheme() ? "light" : "dark";
  showTheme();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
showTheme();
update();
