// A page for a network whose inputs are numbers: sliders, and curves of the outputs and their derivatives.

const n = network.sizes[0];
const names = network.features ?? Array.from({ length: n }, (_, i) => `input ${i}`);
const middles = network.ranges.map(([low, high]) => (low + high) / 2);

// The inputs of a table depend on each other: those of a choice are 0, except one, and waves follow a date
const { choices, waves } = network.table;
const follows = new Set([...choices.flatMap(({ inputs }) => inputs), ...waves.map(({ input }) => input)]);
const free = names.flatMap((_, i) => (follows.has(i) ? [] : [i]));

const angleOf = (value, { period, shift }) => 2 * Math.PI * (value / period + shift);

// Set an input, and the waves that follow it
function place(inputs, i, value) {
  inputs[i] = value;
  for (const wave of waves) if (wave.of === i) inputs[wave.input] = Math.sin(angleOf(value, wave));
}

// The derivative with respect to an input and the waves that follow it
function slopeOf(row, inputs, i) {
  const parts = waves.filter((wave) => wave.of === i).map((wave) => {
    return (row[wave.input] * 2 * Math.PI * Math.cos(angleOf(inputs[i], wave))) / wave.period;
  });
  return parts.reduce((sum, part) => sum + part, row[i]);
}

function choose(inputs, { inputs: places, median }, option) {
  places.forEach((i, k) => (inputs[i] = k === option ? 1 : 0));
  if (median && option === 0) place(inputs, ...median);
}

const chosenOption = (inputs, { inputs: places }) => {
  const k = places.findIndex((i) => inputs[i] === 1);
  return k < 0 ? places.length : k;
};

// Begin with the means, and with what was most frequent
function findStart() {
  const start = Float64Array.from(middles);
  for (const i of free) place(start, i, start[i]);
  for (const choice of choices) {
    const shares = choice.inputs.map((i) => middles[i]);
    const most = Math.max(...shares);
    choose(start, choice, choice.median && most < 0.5 ? 1 : shares.indexOf(most));
  }
  return start;
}

let x = findStart();

// A row for each input: its name, a slider, a number that may lie beyond the slider's ends, and a derivative

const MOST_INPUTS = 200; // listed at once
const MANY = 12; // with at least this many inputs, there is a field to search them
let list = []; // the rows that are shown

function makeInput(i) {
  const [min, max] = network.ranges[i];
  const slider = makeSlider({ min, max, value: x[i], "aria-label": names[i] });
  const number = makeField(`${names[i]}, as a number`, x[i], (value) => {
    place(x, i, value);
    slider.valueAsNumber = x[i];
    update();
  });
  const slope = make("span", { className: "value" });
  slider.addEventListener("input", () => {
    place(x, i, slider.valueAsNumber);
    number.show(x[i]);
    update();
  });
  const label = make("span", { className: "label" }, names[i]);
  const row = make("div", { className: "slider" }, label, slider, number, slope);
  return { i, row, slope };
}

function makeChoice(choice) {
  const select = make("select", { "aria-label": choice.name }, ...choice.options.map((text, k) => new Option(text, k)));
  select.value = String(chosenOption(x, choice));
  select.addEventListener("change", () => {
    choose(x, choice, Number(select.value));
    if (choice.median) listInputs();
    update();
  });
  return make("div", { className: "slider" }, make("span", { className: "label" }, choice.name), select);
}

function listInputs() {
  const wanted = byId("search").value.trim().toLowerCase();
  const isWanted = (name) => name.toLowerCase().includes(wanted);
  const found = [...free.filter((i) => isWanted(names[i])), ...choices.filter(({ name }) => isWanted(name))];
  const rows = found.slice(0, MOST_INPUTS);
  list = rows.filter((entry) => typeof entry === "number").map(makeInput);
  const selects = rows.filter((entry) => typeof entry === "object").map(makeChoice);
  byId("inputs").replaceChildren(...list.map(({ row }) => row), ...selects);
  let note = found.length ? "" : "No input has this in its name.";
  if (found.length > MOST_INPUTS) {
    note = `The first ${MOST_INPUTS} of ${thousands(found.length)} inputs are listed; type to find others.`;
  }
  byId("inputs-note").textContent = note;
  update();
}

byId("search-row").hidden = free.length + choices.length < MANY;
byId("search").addEventListener("input", listInputs);
byId("reset").addEventListener("click", () => {
  x = findStart();
  restartColors();
  listInputs();
});

// Curves

const MOST_CURVES = 6;
const WORK = 3e7; // multiplications that a drawing may take

// The band around the curve of an output: two standard deviations to both sides of a mean, or the outermost quantiles
// around the middle one. `edgesOf` computes its lower and upper end from the values of all outputs.
function findBand(label) {
  const { levels, labels } = network;
  const hasMeans = network.parts.some(isMeanStd);
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
for (const i of free) over.add(new Option(names[i], i));
byId("curves").hidden = free.length === 0;
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
  if (free.length === 0) return; // all inputs are choices
  const i = Number(over.value);
  const labels = drawnLabels(outputs);
  const [low, high] = [Math.min(network.ranges[i][0], x[i]), Math.max(network.ranges[i][1], x[i])];
  const count = Math.min(121, Math.max(25, Math.floor(WORK / (network.parameters * (1 + labels.length)))));
  const at = Array.from({ length: count }, (_, k) => low + ((high - low) * k) / (count - 1));
  const [values, slopes] = [labels.map(() => []), labels.map(() => [])];
  const band = labels.length === 1 ? findBand(labels[0]) : null;
  const edges = [[], []];
  for (const value of at) {
    const inputs = x.slice();
    place(inputs, i, value);
    const steps = forward(network.parts, inputs);
    const shown = valuesOf(steps.at(-1));
    band?.edgesOf(shown).forEach((end, k) => edges[k].push(end));
    labels.forEach((label, k) => {
      values[k].push(shown[label]);
      slopes[k].push(slopeOf(derivativesOf(steps, label), inputs, i));
    });
  }
  const texts = labels.map((label) => network.labels[label]);
  const subject = texts.length === 1 ? texts[0] : isShare ? "probabilities" : "outputs";
  const prefix = isShare && texts.length === 1 ? "probability of " : "";
  byId("curve-title").replaceChildren(`${prefix}${subject} `, make("span", {}, `over ${names[i]}`));
  byId("slope-title").replaceChildren("derivative ", make("span", {}, `with respect to ${names[i]}`));
  const between = (numbers) => `from ${format(numbers[0])} to ${format(numbers.at(-1))}`;
  const bandText = band ? `; with a band, ${band.text}` : "";
  const curveText = `Curve of ${subject} over ${names[i]}: ${between(values[0])}${bandText}`;
  drawChart(byId("curve"), at, values, texts, x[i], curveText, { band: band && { text: band.text, edges } });
  const slopeText = `Curve of the derivative with respect to ${names[i]}: ${between(slopes[0])}`;
  drawChart(byId("slope"), at, slopes, texts, x[i], slopeText);
}

// All together

function updateNow() {
  const steps = showNetwork(x);
  const outputs = steps.at(-1);
  const label = target.value === "all" ? (answerOf(valuesOf(outputs)) ?? 0) : chosenLabel(outputs);
  const row = derivativesOf(steps, label);
  for (const { i, slope } of list) slope.textContent = format(slopeOf(row, x, i), 2);
  byId("slope-head").textContent = `derivative of ${network.labels[label]}`;
  showCurves(outputs);
}
const update = onceAFrame(updateNow);

for (const id of ["target", "over"]) byId(id).addEventListener("change", update);
new ResizeObserver(update).observe(byId("curve"));
listInputs();
