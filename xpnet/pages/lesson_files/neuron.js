// A page on which a neuron with one input learns, with the quadratic cost and with cross-entropy from the same start.

const start = JSON.parse(byId("network").textContent);
const MOST = 1000; // the largest size of a number that can be given
const MILLISECONDS = 20; // that an epoch takes while the page runs

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

const QUANTITIES = [
  ["a", "output a", ["", ""]],
  ["slope", "σ′(z)", ["", ""]],
  ["delta", "error δ", ["(a − y) σ′(z)", "a − y"]],
  ["cost", "cost C", ["½ (a − y)²", "−ln(1 − a)"]],
  ["w", "weight w", ["", ""]],
  ["b", "bias b", ["", ""]],
];
const PLOTS = [
  ["a", "output", [0, 1]],
  ["slope", "slope of the sigmoid", [0, 0.25]],
  ["delta", "error", [0, 1]],
];

const COMPARED = Object.values(COSTS);
const cells = new Map(); // from quantities to the cells of both costs
const rows = QUANTITIES.map(([name, text, formulas]) => {
  const values = COMPARED.map(() => make("span", { className: "value" }));
  cells.set(name, values);
  const data = values.map((value, k) => make("td", {}, value, make("span", { className: "note" }, formulas[k])));
  return make("tr", {}, make("th", { scope: "row" }, text), ...data);
});
const names = COMPARED.map(({ label }, k) => make("th", { scope: "col", className: `name${k}` }, label));
byId("state").append(make("tr", {}, make("td"), ...names), ...rows);

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
  for (const [name, text, ends] of PLOTS) {
    const lines = paths.map((path) => at.map((k) => (k <= epoch ? path[k][name] : NaN)));
    const now = paths.map((path, k) => `${format(path[epoch][name])} with ${COMPARED[k].label}`).join(", ");
    const label = `Curves of the ${text} up to epoch ${epoch}: now ${now}`;
    drawChart(
      byId(`plot-${name}`),
      at,
      lines,
      COMPARED.map((cost) => cost.label),
      epoch,
      label,
      { ends, isCount: true },
    );
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

const say = () => {
  const outputs = paths.map((path, k) => `${format(path[epoch].a)} with ${COMPARED[k].label}`);
  announce(`Epoch ${epoch}: the output is ${outputs.join(", ")}.`);
};

// Run, a while for each epoch, or at once for those who want no motion

let begun = null; // when epoch 0 was, or would have been, while the page runs

function run(now) {
  if (begun === null) return;
  epoch = Math.min(start.epochs, Math.max(0, Math.floor((now - begun) / MILLISECONDS)));
  show();
  if (epoch === start.epochs) stop();
  else requestAnimationFrame(run);
}

function stop() {
  begun = null;
  byId("run").textContent = "Run";
  say();
}

byId("run").addEventListener("click", () => {
  clearNote();
  if (begun !== null) return stop();
  if (epoch === start.epochs) epoch = 0;
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
    epoch = start.epochs;
    show();
    return stop();
  }
  byId("run").textContent = "Pause";
  begun = performance.now() - epoch * MILLISECONDS;
  requestAnimationFrame(run);
});

function goTo(wanted) {
  if (begun !== null) stop();
  clearNote();
  epoch = wanted;
  show();
  say();
}
byId("one").addEventListener("click", () => goTo(Math.min(epoch + 1, start.epochs)));

// Settings

const [LOWEST, HIGHEST] = [0.005, 10]; // ends of the slider of the learning rate
const toPlace = (lr) => Math.log10(Math.max(lr, LOWEST));

const slider = makeSlider({
  min: toPlace(LOWEST),
  max: toPlace(HIGHEST),
  value: toPlace(settings.lr),
  "aria-labelledby": "rate-label",
});
const showRate = () => {
  slider.value = toPlace(settings.lr);
  slider.setAttribute("aria-valuetext", shorten(settings.lr, 3));
};
slider.addEventListener("input", () => {
  settings.lr = round(10 ** slider.valueAsNumber, 2);
  fields.lr.show(settings.lr);
  slider.setAttribute("aria-valuetext", shorten(settings.lr, 3));
  retrain();
});

const LABELS = { w: "weight at the start", b: "bias at the start", lr: "learning rate" };

function addField(name, low) {
  const use = (value) => {
    settings[name] = value;
    if (name === "lr") showRate();
    retrain();
  };
  const field = makeField(LABELS[name], settings[name], use, { low, high: MOST });
  field.addEventListener("input", () => {
    const isBad = field.getAttribute("aria-invalid") === "true";
    const kept = shorten(settings[name]);
    const text = `The ${LABELS[name]} must be a number from ${shorten(low)} to ${MOST}; it stays ${kept}.`;
    byId("set-note").textContent = isBad ? text : "";
  });
  return field;
}

const fields = { w: addField("w", -MOST), b: addField("b", -MOST), lr: addField("lr", 0) };
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
byId("exactness").textContent = "Everything is computed in this page, in double precision. Nothing is loaded or sent.";
showRate();
retrain();
new ResizeObserver(() => show()).observe(byId("plot-a"));
