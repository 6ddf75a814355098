// A page for a network whose inputs are numbers: sliders, and curves of the outputs and their derivatives.

// Each input that the user sets is a field: a number, which becomes the inputs of its terms, or a choice of texts,
// which becomes those of a row. For a table, fields are its columns; otherwise each input of the network is one.
const n = network.sizes[0];
const { fields } = network;
const firsts = []; // the first input of each field
fields.reduce((first, { terms, rows }) => (firsts.push(first), first + (terms ?? rows[0]).length), 0);
const isNumber = (k) => "terms" in fields[k];
const canBeMissing = (k) => isNumber(k) && fields[k].terms.some(({ kind }) => kind === "missing");

// Functions of z, and their derivatives; `ColumnTerm` in xpnet/tables/columns.py says what the kinds are
const TERMS = {
  linear: {
    value: (z, low, high) => Math.min(Math.max(z, low), high),
    slope: (z, low, high) => (low <= z && z < high ? 1 : 0),
  },
  squash: { value: (z) => z / Math.sqrt(1 + (z / 3) ** 2), slope: (z) => (1 + (z / 3) ** 2) ** -1.5 },
  wave: { value: (z) => Math.sin(2 * Math.PI * z), slope: (z) => 2 * Math.PI * Math.cos(2 * Math.PI * z) },
};

// What is set: for each field a number, or the number of an option, and whether it is missing
const findStart = () => fields.map(({ start }) => ({ value: start, missing: false }));
let state = findStart();

function encode(state) {
  const x = new Float64Array(n);
  fields.forEach(({ terms, rows }, k) => {
    const { value, missing } = state[k];
    if (rows) x.set(rows[value], firsts[k]);
    terms?.forEach(({ kind, offset, divisor, low, high }, j) => {
      const z = (value - offset) / divisor;
      x[firsts[k] + j] = kind === "missing" ? Number(missing) : TERMS[kind].value(z, low ?? -Infinity, high ?? Infinity);
    });
  });
  return network.rounds ? x.map(Math.fround) : x;
}

// The derivative with respect to a number, from a row of derivatives with respect to the inputs
function slopeOf(row, state, k) {
  const { value, missing } = state[k];
  if (missing) return 0;
  const parts = fields[k].terms.map(({ kind, offset, divisor, low, high }, j) => {
    if (kind === "missing") return 0;
    const slope = TERMS[kind].slope((value - offset) / divisor, low ?? -Infinity, high ?? Infinity);
    return (row[firsts[k] + j] * slope) / divisor;
  });
  return sum(parts);
}

// The state with another value in field k
const change = (state, k, value, missing = false) => state.with(k, { value, missing });

// A row for each number: its name, a slider, a number that may lie beyond the slider's ends, and a derivative. A row
// for each choice, and for whether a number is missing.

const MOST_FIELDS = 200; // listed at once
const MANY = 12; // with at least this many, there is a field to search them
let list = []; // the rows of numbers that are shown

function makeRow(name, ...cells) {
  return make("div", { className: "slider" }, make("span", { className: "label" }, name), ...cells);
}

function makeSelect(name, options, value, use) {
  const select = make("select", { "aria-label": name }, ...options.map((text, option) => new Option(text, option)));
  select.value = value;
  select.addEventListener("change", () => use(Number(select.value)));
  return select;
}

function makeNumber(k) {
  const { name, range, median } = fields[k];
  const [[min, max], { value, missing }] = [range, state[k]];
  const set = (value, isMissing = false) => {
    state = change(state, k, value, isMissing);
    select.value = Number(isMissing);
    update();
  };
  const slider = makeSlider({ min, max, value, "aria-label": name });
  const number = makeField(`${name}, as a number`, value, (value) => {
    set(value);
    slider.valueAsNumber = value;
  });
  slider.addEventListener("input", () => {
    set(slider.valueAsNumber);
    number.show(slider.valueAsNumber);
  });
  const select = makeSelect(`${name} is missing`, ["no", "yes"], Number(missing), (isMissing) => {
    set(isMissing ? median : state[k].value, Boolean(isMissing));
    slider.valueAsNumber = state[k].value;
    number.show(state[k].value);
  });
  const slope = make("span", { className: "value" });
  const rows = [makeRow(name, slider, number, slope)];
  if (canBeMissing(k)) rows.push(makeRow(`${name} is missing`, select));
  return { k, rows, slope };
}

function makeChoice(k) {
  const { name, options } = fields[k];
  const select = makeSelect(name, options, state[k].value, (option) => {
    state = change(state, k, option);
    update();
  });
  return { k, rows: [makeRow(name, select)] };
}

function listFields() {
  const wanted = byId("search").value.trim().toLowerCase();
  const found = fields.flatMap(({ name }, k) => (name.toLowerCase().includes(wanted) ? [k] : []));
  const entries = found.slice(0, MOST_FIELDS).map((k) => (isNumber(k) ? makeNumber(k) : makeChoice(k)));
  list = entries.filter(({ slope }) => slope);
  byId("inputs").replaceChildren(...entries.flatMap(({ rows }) => rows));
  const first = `The first ${MOST_FIELDS} of ${thousands(found.length)} inputs are listed; type to find others.`;
  const none = found.length ? "" : "No input has this in its name.";
  byId("inputs-note").textContent = found.length > MOST_FIELDS ? first : none;
  update();
}

byId("search-row").hidden = fields.length < MANY;
byId("search").addEventListener("input", listFields);
byId("reset").addEventListener("click", () => {
  state = findStart();
  restartColors();
  listFields();
});

// Curves

const MOST_CURVES = 6;
const WORK = 6e7; // multiplications that a drawing may take

// The band around the curve of an output: two standard deviations to both sides of a mean, or the outermost quantiles
// around the middle one. `edgesOf` computes its lower and upper end from the values of all outputs.
function findBand(label) {
  const { levels, labels } = network;
  const hasMeans = inside.some(isMeanStd);
  const targets = labels.length / (hasMeans ? 2 : levels.length || 1);
  if (hasMeans && label < targets) {
    const edgesOf = (values) => [-2, 2].map((factor) => values[label] + factor * values[label + targets]);
    return { text: "± 2 standard deviations", edgesOf };
  }
  const [last, level, column] = [levels.length - 1, Math.floor(label / targets), label % targets];
  if (last > 0 && level === last / 2) {
    const edgesOf = (values) => [values[column], values[last * targets + column]];
    return { text: `from quantile ${levels[0]} to quantile ${levels[last]}`, edgesOf };
  }
  return null;
}

const over = byId("over");
const numbers = fields.flatMap((_, k) => (isNumber(k) ? [k] : []));
for (const k of numbers) over.add(new Option(fields[k].name, k));
over.value = network.over; // the most important one, where that is known
byId("curves").hidden = numbers.length === 0;
if (network.labels.length > 1 && network.labels.length <= MOST_CURVES) {
  target.prepend(new Option("all outputs", "all"));
}
target.selectedIndex = 0;
// Start with a mean or a middle quantile, and its band
const banded = network.labels.findIndex((_, label) => findBand(label));
if (banded >= 0) target.value = String(banded);

const drawnLabels = (outputs) => (target.value === "all" ? network.labels.map((_, k) => k) : [chosenLabel(outputs)]);

// Compute outputs and derivatives along one input, and draw them
function showCurves(outputs) {
  if (numbers.length === 0) return; // all inputs are choices
  const i = Number(over.value);
  const { name, range } = fields[i];
  const now = state[i].value;
  const labels = drawnLabels(outputs);
  const [low, high] = [Math.min(range[0], now), Math.max(range[1], now)];
  const count = Math.min(121, Math.max(25, Math.floor(WORK / (network.parameters * members * (1 + labels.length)))));
  const at = Array.from({ length: count }, (_, k) => low + ((high - low) * k) / (count - 1));
  const [values, slopes] = [labels.map(() => []), labels.map(() => [])];
  const band = labels.length === 1 ? findBand(labels[0]) : null;
  const edges = [[], []];
  for (const value of at) {
    const moved = change(state, i, value);
    const pass = run(network, encode(moved));
    const shown = valuesOf(pass.outputs);
    band?.edgesOf(shown).forEach((end, k) => edges[k].push(end));
    labels.forEach((label, k) => {
      values[k].push(shown[label]);
      slopes[k].push(slopeOf(derivativesOf(pass, label), moved, i));
    });
  }
  const texts = labels.map((label) => network.labels[label]);
  const subject = texts.length === 1 ? texts[0] : isShare ? "probabilities" : "outputs";
  const prefix = isShare && texts.length === 1 ? "probability of " : "";
  byId("curve-title").replaceChildren(`${prefix}${subject} `, make("span", {}, `over ${name}`));
  byId("slope-title").replaceChildren("derivative ", make("span", {}, `with respect to ${name}`));
  const between = (numbers) => `from ${format(numbers[0])} to ${format(numbers.at(-1))}`;
  const bandText = band ? `; with a band, ${band.text}` : "";
  const curveText = `Curve of ${subject} over ${name}: ${between(values[0])}${bandText}`;
  drawChart(byId("curve"), at, values, texts, now, curveText, { band: band && { text: band.text, edges } });
  const slopeText = `Curve of the derivative with respect to ${name}: ${between(slopes[0])}`;
  drawChart(byId("slope"), at, slopes, texts, now, slopeText);
}

// All together

function updateNow() {
  const pass = showNetwork(encode(state));
  const { outputs } = pass;
  const label = target.value === "all" ? (answerOf(valuesOf(outputs)) ?? 0) : chosenLabel(outputs);
  const row = derivativesOf(pass, label);
  for (const { k, slope } of list) slope.textContent = format(slopeOf(row, state, k), 2);
  byId("slope-head").textContent = `derivative of ${network.labels[label]}`;
  showCurves(outputs);
}
const update = onceAFrame(updateNow);

for (const id of ["target", "over"]) byId(id).addEventListener("change", update);
new ResizeObserver(update).observe(byId("curve"));
const hasBins = fields.some(({ terms }) => terms?.some(({ low }) => low !== null));
if (hasBins) byId("slopes-note").append(" Numbers are encoded in bins, and at their edges the derivative jumps.");
listFields();
