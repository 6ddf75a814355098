// A page on which a neuron with one input learns, with the quadratic cost and with cross-entropy from the same start.

const MOST = 1000; // the largest size of a number that can be given

const settings = { w: start.w, b: start.b, lr: start.lr };
let epoch = 0;
let paths; // of each cost, the numbers after each epoch

// What a neuron with these parameters does, and with what error
function compute(cost, w, b) {
  const example = computeExample([{ kind: "dense", w: [w], b: [b] }, sigmoidPart], [start.x], [start.y], cost);
  const [[z], [a], [delta]] = [example.z[1], example.a[1], example.delta[1]];
  return { w, b, a, slope: ACTIVATIONS.sigmoid.slope(z, a), delta, cost: example.cost };
}

function train(cost) {
  const path = [compute(cost, settings.w, settings.b)];
  for (let k = 0; k < start.epochs; k++) {
    const { w, b, delta } = path.at(-1);
    path.push(compute(cost, w - settings.lr * delta * start.x, b - settings.lr * delta)); // BP4 and BP3
  }
  return path;
}

// Show the numbers now, and the plots up to now

// Names, and the formulas of both costs; for those that are plotted, what the plot is called, and its ends
const QUANTITIES = {
  a: { text: "output a", plot: ["output", [0, 1]] },
  slope: { text: "σ′(z)", plot: ["slope of the sigmoid", [0, 0.25]] },
  delta: { text: "error δ", formulas: ["(a − y) σ′(z)", "a − y"], plot: ["error", [0, 1]] },
  cost: { text: "cost C", formulas: ["½ (a − y)²", "−ln(1 − a)"] },
  w: { text: "weight w" },
  b: { text: "bias b" },
};

const COMPARED = Object.values(COSTS);
const labels = COMPARED.map(({ label }) => label);
const cells = new Map(); // from quantities to the cells of both costs
const rows = Object.entries(QUANTITIES).map(([name, { text, formulas = ["", ""] }]) => {
  const values = COMPARED.map(() => make("span", { className: "value" }));
  cells.set(name, values);
  const notes = formulas.map((formula) => make("span", { className: "note" }, formula));
  return [text, ...values.map((value, k) => [value, notes[k]])];
});
byId("state").append(...makeTable(labels, rows));

// The present values of both costs, as a text
const writeBoth = (name) => paths.map((path, k) => `${format(path[epoch][name])} with ${labels[k]}`).join(", ");

function show() {
  for (const [name, values] of cells) {
    values.forEach((value, k) => {
      value.textContent = format(paths[k][epoch][name], 3);
      value.dataset.value = paths[k][epoch][name];
    });
  }
  byId("epoch").textContent = `Epoch ${epoch} of ${start.epochs}`;
  byId("one").disabled = epoch === start.epochs;
  const at = Array.from({ length: start.epochs + 1 }, (_, k) => k);
  for (const [name, { plot }] of Object.entries(QUANTITIES)) {
    if (!plot) continue;
    const [text, ends] = plot;
    const lines = paths.map((path) => at.map((k) => (k <= epoch ? path[k][name] : NaN)));
    const description = `Curves of the ${text} up to epoch ${epoch}: now ${writeBoth(name)}`;
    drawChart(byId(`plot-${name}`), at, lines, labels, epoch, description, { ends, isCount: true });
  }
}

// What was wrong with an entry before a change
const clearNote = () => (byId("set-note").textContent = "");

// Train anew with the present settings; moving the slider changes the curves at once
function retrain() {
  paths = COMPARED.map(train);
  clearNote();
  show();
}

// Run, an epoch with each frame

function goOn(epochs) {
  epoch = Math.min(epoch + epochs, start.epochs);
  show();
}

const runner = makeRunner({
  begin() {
    clearNote();
    if (epoch === start.epochs) epoch = 0;
  },
  goOn,
  isMore: () => epoch < start.epochs,
  most: start.epochs,
  end: () => announce(`Epoch ${epoch}: the output is ${writeBoth("a")}.`),
});

function goTo(wanted) {
  clearNote();
  epoch = wanted;
  show();
  runner.stop();
}
byId("one").addEventListener("click", () => goTo(Math.min(epoch + 1, start.epochs)));

// Settings

const [LOWEST, HIGHEST] = [0.005, 10]; // ends of the slider of the learning rate
const toPlace = (lr) => Math.log10(Math.max(lr, LOWEST));

const ends = { min: toPlace(LOWEST), max: toPlace(HIGHEST), value: toPlace(settings.lr) };
const slider = makeSlider({ ...ends, "aria-labelledby": "rate-label" });
const nameRate = () => slider.setAttribute("aria-valuetext", shorten(settings.lr, 3));
function showRate() {
  slider.value = toPlace(settings.lr);
  nameRate();
}
slider.addEventListener("input", () => {
  settings.lr = round(10 ** slider.valueAsNumber, 2);
  fields.lr.show(settings.lr);
  nameRate();
  retrain();
});

function addField(setting, label, min = -MOST) {
  const use = (value) => {
    settings[setting] = value;
    showRate();
    retrain();
  };
  const options = { min, max: MOST, note: byId("set-note"), name: `The ${label}` };
  return makeField(label, settings[setting], use, options);
}

const fields = {
  w: addField("w", "weight at the start"),
  b: addField("b", "bias at the start"),
  lr: addField("lr", "learning rate", 0),
};
byId("rate").append(slider);
byId("rate-number").append(fields.lr);
byId("start").append(make("label", {}, "start w ", fields.w), make("label", {}, "start b ", fields.b));
byId("reset").addEventListener("click", () => {
  Object.assign(settings, { w: start.w, b: start.b, lr: start.lr });
  for (const [name, field] of Object.entries(fields)) field.show(settings[name]);
  showRate();
  paths = COMPARED.map(train);
  goTo(0);
});

byId("summary").textContent =
  `One weight and one bias; the input is ${start.x} and the target ${start.y}. ` +
  "Both neurons begin with the same wrong output. As there is one example, an epoch is one step.";
showRate();
retrain();
new ResizeObserver(() => show()).observe(byId("plot-a"));
