// Charts of curves, which differ by dashes too.

const SVG = "http://www.w3.org/2000/svg";
const DASHES = ["", "8 4", "2 3", "10 3 2 3", "4 4", "1 4"];

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

// Find about `wanted` round numbers between two ends, no closer than `least`
function findTicks(low, high, wanted, least = 0) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const round = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough) ?? 10 * power;
  const step = Math.max(round, least);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  const ticks = Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => (first + k) * step);
  return ticks.map((tick) => [tick, showTick(tick, step)]);
}

// Format a tick with the decimal places of the step between ticks
function showTick(tick, step) {
  const places = Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
  return Math.abs(tick) >= 1e6 || places > 5 ? format(tick, 3) : tick.toFixed(places).replace("-", "−");
}

// Draw curves: `lines` are lists of numbers, one for each of the numbers `at`; `now` is where the input is. A band, if
// there is one, has a text and two lines, its edges. `ends` are those of the vertical axis, if they do not follow from
// the lines; `isCount` says that the numbers `at` are whole.
function drawChart(place, at, lines, labels, now, description, { band = null, ends = null, isCount = false } = {}) {
  const [wide, tall, left, right, top, bottom] = [Math.max(place.clientWidth, 260), 190, 52, 12, 10, 26];
  const numbers = [...lines, ...(band?.edges ?? [])].flat().filter(Number.isFinite);
  let [low, high] = ends ?? (numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [0, 1]);
  const margin = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - margin, high + margin];
  const across = (value) => left + ((value - at[0]) / (at.at(-1) - at[0])) * (wide - left - right);
  const up = (value) => tall - bottom - ((value - low) / (high - low)) * (tall - top - bottom);
  const line = (name, [x1, x2], [y1, y2]) => draw("line", { class: name, x1, x2, y1, y2 });
  const write = (text, x, y, anchor) => draw("text", { x, y, "text-anchor": anchor }, text);
  const chart = draw("svg", { width: wide, height: tall, role: "img", "aria-label": description });
  for (const [tick, text] of findTicks(low, high, 5)) {
    const y = up(tick);
    chart.append(line("grid", [left, wide - right], [y, y]), write(text, left - 6, y + 4, "end"));
  }
  for (const [tick, text] of findTicks(at[0], at.at(-1), wide / 90, isCount ? 1 : 0)) {
    const x = across(tick);
    chart.append(line("grid", [x, x], [tall - bottom, tall - bottom + 4]), write(text, x, tall - 8, "middle"));
  }
  if (now >= at[0] && now <= at.at(-1)) {
    chart.append(line("now", [across(now), across(now)], [top, tall - bottom]));
  }
  const trace = (line) => {
    const points = line.map((value, p) => [at[p], value]).filter(([, value]) => Number.isFinite(value));
    return points.map(([a, value]) => `${across(a).toFixed(1)} ${up(value).toFixed(1)}`);
  };
  if (band) {
    const [lower, upper] = band.edges.map(trace);
    chart.append(draw("path", { class: "band", d: `M${[...lower, ...upper.reverse()].join("L")}Z` }));
  }
  lines.forEach((line, k) => {
    const d = `M${trace(line).join("L")}`;
    chart.append(draw("path", { class: `curve color${k}`, d, "stroke-dasharray": DASHES[k] }));
  });
  place.replaceChildren(chart);
  if (labels.length > 1 || band) place.append(makeKey(labels, band?.text));
}

function makeKey(labels, bandText) {
  const curves = labels.map((label, k) => {
    const style = { class: `curve color${k}`, "stroke-dasharray": DASHES[k] };
    return [label, draw("line", { ...style, x1: 1, x2: 29, y1: 6, y2: 6 })];
  });
  const band = bandText ? [[bandText, draw("rect", { class: "band", x: 1, width: 28, height: 12 })]] : [];
  const entries = [...curves, ...band].map(([text, shape]) =>
    make("span", {}, draw("svg", { width: 30, height: 12, "aria-hidden": "true" }, shape), ` ${text}`),
  );
  return make("div", { className: "key" }, ...entries);
}
