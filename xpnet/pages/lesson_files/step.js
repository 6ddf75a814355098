// A page that takes steps of training on a small network, phase by phase, and shows how each number comes about.

const MOST = 1000; // the largest size of a number that can be given
const REACH = { min: 0, max: 1 }; // the outputs of a sigmoid, so that targets lie there too

let state; // what goes into the present step: layers, x, y, lr
let rows = [0, 1]; // the examples in the minibatch
let phase = 0;
let past = []; // the layers and the cost before each earlier step
let selected = null; // the key of the number whose formula is shown
let shown; // the numbers of the present step, as listNumbers returns them

// Begin anew with the numbers that the page came with
function load() {
  const { layers, y } = start.networks[Number(byId("outputs-count").value)];
  state = structuredClone({ layers, x: start.x, y, lr: start.lr });
  past = [];
  build();
}

// What each phase does: its name, its equation for one example, and why. `forMean` returns its argument where a mean over
// examples is taken.
const TEXTS = [
  ["Before the step", "", () => "The weights and biases are given, and so are examples with their targets. Press Next."],
  [
    "Forward: from the inputs to the cost",
    "zˡ = wˡ aˡ⁻¹ + bˡ,  aˡ = σ(zˡ)",
    () => "Every z and a is kept: the four equations need them again.",
  ],
  [
    "BP1: the error of the outputs",
    "δᴸ = ∇ₐC ⊙ σ′(zᴸ)",
    (forMean) =>
      "δ says how fast the cost of the example changes with z. For the sigmoid, σ′(z) = a (1 − a), which is near 0 " +
      "where a is near 0 or 1." +
      forMean(" The mean comes later; xpnet's code divides δ by the number of examples here already, and calls it Δ."),
  ],
  [
    "BP2: the error of the previous layer",
    "δˡ = (wˡ⁺¹)ᵀ δˡ⁺¹ ⊙ σ′(zˡ),\nδˡⱼ = (Σₖ wˡ⁺¹ₖⱼ δˡ⁺¹ₖ) · σ′(zˡⱼ)",
    () =>
      "A change of z reaches the cost through every weight that leaves the unit, so the sum has a term for each: " +
      (state.y[0].length > 1 ? "two here." : "with one output a single one. Choose two outputs to see a sum."),
  ],
  [
    "BP3: the gradient of the biases",
    "∂C/∂bˡ = δˡ",
    (forMean) =>
      "z grows as much as b does, so the derivatives with respect to both are the same." +
      forMean(" Here is the mean over the examples, which Δ in xpnet's code holds already."),
  ],
  [
    "BP4: the gradient of the weights",
    "∂C/∂wˡ = δˡ (aˡ⁻¹)ᵀ",
    (forMean) =>
      "When a weight grows by 1, z grows by the activation a that it multiplies. Where that is near 0, the weight " +
      `learns slowly.${forMean(" Here is the mean over the examples, too.")}`,
  ],
  [
    "Update: one step downhill",
    "w ← w − η ∂C/∂w,  b ← b − η ∂C/∂b",
    () =>
      `The cost ${shown.newCost < shown.cost ? "falls" : "goes"} from ${shorten(shown.cost)} to ` +
      `${shorten(shown.newCost)}. The drawing has the new weights and biases; z, a and δ are of the old ones until Next ` +
      "begins another step.",
  ],
];

// The number that a phase shows first: the one that says most about it
const FIRST = [null, "z-1-0", "d-2-0", "d-1-0", "gb-2-0", "gw-2-0-0", "w-2-0-0"];
const firstOf = () => (phase === 0 ? null : FIRST[phase] + (phase < 4 ? `-${rows[0]}` : ""));

// The drawing: units as small tables with a column for each example, over the lines of the weights

const stage = byId("stage");
let places = new Map(); // from keys of numbers to their buttons, in the order of the keyboard
let links = []; // lines between units: each has the weight on it, its key, and where on the line it is

// In at most seven characters: with four decimals, or five digits of a large number; with a power of ten, if it is
// small. A number that is given has three digits, as its field has.
function writeBriefly(value, isGiven) {
  const size = Math.abs(round(value, 5));
  if (size === 0 || !Number.isFinite(value)) return shorten(value);
  if (size >= 1e-3 && size < 1e5) {
    if (isGiven) return shorten(value, size < 1e-2 ? 2 : 3);
    return value.toFixed(4 - Math.max(0, Math.floor(Math.log10(size)))).replace("-", "−");
  }
  return writePower(value, size < 1e-9 ? 0 : 1);
}

const makeSymbol = (text) => make("i", {}, text);

function makeNumber(key) {
  const names = { className: "number", "data-key": key, "aria-describedby": "formula" };
  const button = make("button", { type: "button", tabIndex: -1, ...names });
  places.set(key, button);
  return button;
}

// A weight or a bias, and the derivative with respect to it
const makeParameter = (symbol, key) => [makeSymbol(symbol), makeNumber(key), makeSymbol("∂"), makeNumber(`g${key}`)];

function makeBox(kind, title, entries, foot) {
  const head = [make("span", { className: "name" }, title), ...rows.map((r) => make("span", {}, `ex. ${r + 1}`))];
  const body = entries.flatMap(([symbol, key]) => [makeSymbol(symbol), ...rows.map((r) => makeNumber(`${key}-${r}`))]);
  const cells = make("div", { className: "cells" }, ...head, ...body);
  const box = make("div", { className: `unit ${kind} of${rows.length}` }, cells);
  if (foot) box.append(make("div", { className: "foot" }, ...foot));
  return box;
}

function makeUnit(l, j) {
  if (l === 0) return makeBox("short", `input ${j + 1}`, [[nameOfA(0, j), `a-0-${j}`]]);
  const entries = ["z", "a", "δ"].map((letter) => [nameOf(letter, l, j), `${letter === "δ" ? "d" : letter}-${l}-${j}`]);
  const bias = makeParameter(nameOf("b", l, j), `b-${l}-${j}`);
  return makeBox("", `${l === 1 ? "hidden" : "output"} ${j + 1}`, entries, bias);
}

function build() {
  [places, links, selected] = [new Map(), [], firstOf()];
  const { layers, x, y } = state;
  const boxes = [x[0].map((_, i) => makeUnit(0, i))];
  const link = (from, to, others) => links.push({ from, to, line: draw("line", { class: "edge" }), ...others });
  layers.forEach(({ w }, k) => {
    const l = k + 1;
    const chips = w.map((row, j) => row.map((_, i) => makeParameter(nameOf("w", l, j, i), `w-${l}-${j}-${i}`)));
    boxes.push(w.map((_, j) => makeUnit(l, j)));
    chips.forEach((row, j) =>
      row.forEach((parameter, i) => {
        // On lines that cross another one, and on others: where layers are side by side, and below each other
        const shares = w.length > 1 && i !== j ? [0.36, 0.2] : [0.5, w.length > 1 ? 0.73 : 0.36];
        const chip = make("div", { className: "chip" }, ...parameter);
        link(boxes[k][i], boxes[l][j], { key: `w-${l}-${j}-${i}`, chip, shares });
      }),
    );
  });
  const targets = y[0].map((_, k) => [`y${BELOW[k]}`, `y-${k}`]);
  const mean = rows.length > 1 ? [makeSymbol("mean"), makeNumber("cost")] : null;
  const cost = makeBox("", "cost", [...targets, ["C", "c"]], mean);
  for (const box of boxes.at(-1)) link(box, cost);
  const columns = [...boxes, [cost]].map((layer) => make("div", { className: "layer" }, ...layer));
  const svg = draw("svg", { "aria-hidden": "true" }, ...links.map(({ line }) => line));
  stage.replaceChildren(svg, ...columns, ...links.flatMap(({ chip }) => chip ?? []));
  listFields();
  update();
  place();
}

// Put lines and weights between the boxes
function place() {
  const isTall = getComputedStyle(stage).flexDirection === "column";
  for (const { line, from, to, chip, shares } of links) {
    const [[x1, y1], [x2, y2]] = placeLine(line, from, to, isTall);
    if (!chip) continue;
    const share = shares[Number(isTall)];
    chip.style.left = `${x1 + share * (x2 - x1)}px`;
    chip.style.top = `${y1 + share * (y2 - y1)}px`;
  }
}

// Show the present numbers, and the formula of the selected one

function update() {
  shown = listNumbers(state, rows, phase);
  for (const [key, button] of places) {
    const { phase: own, value, symbol, name } = shown.numbers.get(key);
    const isKnown = own <= phase;
    button.disabled = !isKnown;
    button.textContent = isKnown ? writeBriefly(value, own === 0) : "·";
    button.dataset.value = isKnown ? value : "";
    button.classList.toggle("fresh", isKnown && own === phase && phase > 0);
    button.setAttribute("aria-label", isKnown ? `${name}, ${symbol} = ${shorten(value)}` : `${name}, not computed yet`);
  }
  const [title, equation, explain] = TEXTS[phase];
  byId("phase-title").textContent = title;
  byId("equation").textContent = equation;
  byId("words").textContent = explain((text) => (rows.length > 1 ? text : ""));
  byId("count").textContent = `Step ${past.length + 1}`;
  [...byId("phases").children].forEach((button, k) => (button.ariaCurrent = k + 1 === phase ? "step" : null));
  byId("back").disabled = phase === 0;
  byId("formula").closest(".walk").classList.toggle("begun", phase > 0);
  for (const id of ["given-note", "data-note"]) byId(id).textContent = ""; // of an entry before this change
  showSelected();
  showFall();
}

function showSelected() {
  const number = shown.numbers.get(selected);
  const isShown = number && number.phase <= phase;
  const uses = new Set(isShown ? usesOf(number) : []);
  for (const [key, button] of places) {
    button.classList.toggle("chosen", key === selected && Boolean(isShown));
    button.classList.toggle("used", uses.has(key) && key !== selected);
    button.tabIndex = -1;
  }
  const stop = isShown ? places.get(selected) : [...places.values()].find((button) => !button.disabled);
  stop.tabIndex = 0;
  for (const { key, line } of links) {
    if (!key) continue;
    const isUsed = isShown && (uses.has(key) || [key, `g${key}`].includes(selected));
    showWeight(line, shown.numbers.get(key).value, 1, 3, isUsed);
  }
  byId("formula-name").textContent = isShown ? number.name : "Each number shows here how it is computed.";
  const texts = isShown ? writeFormula(shown.numbers, number) : [];
  byId("formula").replaceChildren(
    ...texts.map((text, k) => make("p", {}, make("span", {}, k ? "" : number.symbol), make("span", {}, `= ${text}`))),
  );
  byId("check").textContent = isShown ? describeCheck(number) : "";
  keepInSight();
}

// A frame is as high as its page, so that nothing sticks to its edge: the page around says how much of it is hidden
let hidden = 0; // pixels above what is seen

addEventListener("message", ({ source, data }) => {
  if (source !== parent || !(data.above >= 0)) return;
  hidden = data.above;
  keepInSight();
});

// Move the formula down from its place, over the drawing; lessons.css allows it where it stands above the drawing
function keepInSight() {
  if (parent === window) return;
  const card = byId("card");
  card.style.top = "0";
  const most = stage.getBoundingClientRect().bottom - card.getBoundingClientRect().bottom;
  card.style.top = `${Math.max(0, Math.min(hidden - card.getBoundingClientRect().top, most))}px`;
}

function describeCheck({ nudged, paths }) {
  if (!nudged) return "";
  const through = paths ? `Paths to the cost: through ${paths.join(" and ")}. ` : "";
  const [symbol, find] = nudged;
  const check = `Check by two forward passes, with ${symbol} ± 0.00001: the cost changes at the rate `;
  return through + check + shorten(find());
}

for (const name of ["pointerover", "focusin", "click"]) {
  stage.addEventListener(name, ({ target }) => {
    const button = target.closest("button.number");
    if (!button || button.disabled || button.dataset.key === selected) return;
    selected = button.dataset.key;
    showSelected();
  });
}

// Arrow keys lead to the next number or the one before, layer by layer
stage.addEventListener("keydown", (event) => {
  const buttons = [...places.values()].filter((button) => !button.disabled);
  const here = buttons.indexOf(event.target);
  const [before, after] = [Math.max(here - 1, 0), Math.min(here + 1, buttons.length - 1)];
  const [ArrowLeft, ArrowUp, ArrowRight, ArrowDown] = [before, before, after, after];
  const next = { ArrowLeft, ArrowUp, ArrowRight, ArrowDown, Home: 0, End: buttons.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault(); // the page would scroll
  buttons[next].focus();
});

// From phase to phase

function go(to) {
  phase = to;
  selected = firstOf();
  update();
  const formula = [...byId("formula").children].map((line) => line.textContent).join(" ");
  announce(`${byId("phase-title").textContent}. ${byId("words").textContent} ${formula}`);
}

function takeStep() {
  const { updated, cost } = computeStep(state, rows);
  past.push({ layers: state.layers, cost });
  state.layers = updated;
}

// Begin with other weights than before
function goToStep(phase) {
  showFields();
  go(phase);
}

function goBack() {
  if (phase !== 1 || !past.length) return go(Math.max(phase - 1, 0));
  state.layers = past.pop().layers;
  goToStep(6);
}

function goOn() {
  if (phase < 6) return go(phase + 1);
  takeStep();
  goToStep(1);
}

function takeTen() {
  for (let k = 0; k < 10; k++) takeStep();
  goToStep(1);
}

byId("phases").append(
  ...PHASES.slice(1).map((name, k) => make("button", { type: "button", onclick: () => go(k + 1) }, name)),
);
byId("next").addEventListener("click", goOn);
byId("back").addEventListener("click", goBack);
byId("ten").addEventListener("click", takeTen);
byId("reset").addEventListener("click", () => {
  phase = 0;
  load();
});
byId("outputs-count").addEventListener("change", load);
byId("rows").addEventListener("change", () => {
  rows = byId("rows").value.split(",").map(Number);
  past = [];
  build();
});

// The costs of the steps so far

function showFall() {
  const costs = [
    ...past.map(({ cost }) => cost),
    ...(phase >= 1 ? [shown.cost] : []),
    ...(phase === 6 ? [shown.newCost] : []),
  ];
  const text = (k) => shorten(costs.at(k));
  byId("fall").hidden = costs.length < 2;
  byId("fall-note").textContent = "After an update, the costs before and after it are drawn here.";
  if (costs.length < 2) return;
  byId("fall-note").textContent = `From ${text(0)} to ${text(-1)}`;
  const at = costs.map((_, k) => k);
  const label = `Curve of the cost over ${plural(costs.length - 1, "step")}: from ${text(0)} to ${text(-1)}`;
  drawChart(byId("fall"), at, [costs], [""], costs.length - 1, label, { isCount: true });
}

// Fields for what goes into the step. Another weight or example begins anew from here.

let fields = [];

// A field for the number at a place of a list or an object. `find` finds this list, which another step may replace.
function addField(label, find, place, note, { isNew = true, ...ends } = {}) {
  const use = (value) => {
    find()[place] = value;
    if (isNew) past = [];
    update();
  };
  const options = { min: -MOST, max: MOST, digits: 3, note: byId(note), ...ends };
  const field = makeField(label, find()[place], use, options);
  fields.push({ field, find: () => find()[place] });
  return field;
}

const showFields = () => fields.forEach(({ field, find }) => field.show(find()));

function listFields() {
  fields = [];
  const units = state.layers.flatMap(({ w, b }, k) =>
    b.map((_, j) => {
      const find = () => state.layers[k];
      const weights = w[j].map((_, i) => addField(nameOf("w", k + 1, j, i), () => find().w[j], i, "given-note"));
      const bias = addField(nameOf("b", k + 1, j), () => find().b, j, "given-note");
      return [`${k ? "output" : "hidden"} ${j + 1}`, ...weights, bias];
    }),
  );
  byId("parameters").replaceChildren(...makeTable(["from 1", "from 2", "bias"], units));
  const [inputs, targets] = [state.x[0].map((_, i) => nameOfA(0, i)), state.y[0].map((_, k) => `y${BELOW[k]}`)];
  const examples = state.x.map((_, r) => {
    const addOne = (symbol, list, k, ends) =>
      addField(`${symbol} of example ${r + 1}`, () => list[r], k, "data-note", ends);
    return [
      `ex. ${r + 1}`,
      ...inputs.map((symbol, i) => addOne(symbol, state.x, i)),
      ...targets.map((symbol, k) => addOne(symbol, state.y, k, REACH)),
    ];
  });
  byId("data").replaceChildren(...makeTable([...inputs, ...targets], examples));
  byId("rate").replaceChildren(addField("η", () => state, "lr", "data-note", { isNew: false, min: 0 }));
}

byId("summary").textContent =
  "Two inputs, two hidden units and one output or two; sigmoid everywhere, and the quadratic cost.";
new ResizeObserver(() => {
  place();
  showFall();
}).observe(stage);
load();
