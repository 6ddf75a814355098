// A page on which a network with two inputs learns to tell two classes apart: the plane, colored by its output and by
// each of its units. The same seed gives the same training as `Network.train`.

const MOST = 3000; // epochs: a page that is forgotten stops
const AT_ONCE = 100; // epochs of a run, for those who want no motion
const GRID = 60; // pixels of a picture, in both directions
const REACH = 2.5; // the pictures go from −REACH to REACH

// Inputs: symbols, and functions of the two coordinates. There may be more than these; a line makes those in Python.
const COORDINATES = [["x₁", (u) => u], ["x₂", (u, v) => v]];
const SQUARES = [["x₁²", (u) => u * u], ["x₂²", (u, v) => v * v]];
const INPUTS = {
  plain: { label: "x₁, x₂", more: [], python: [] },
  squares: { label: "and x₁², x₂²", more: SQUARES, python: ["X = np.column_stack([X, X**2])"] },
  product: {
    label: "and x₁x₂",
    more: [["x₁x₂", (u, v) => u * v]],
    python: ["X = np.column_stack([X, X[:, 0] * X[:, 1]])"],
  },
};

// What can be chosen: values, their texts, and the first choice
const CHOICES = {
  data: ["examples", Object.keys(start.data), "circles", start.labels],
  inputs: ["inputs", Object.keys(INPUTS), "plain", Object.values(INPUTS).map(({ label }) => label)],
  layers: ["hidden layers", [0, 1, 2, 3], 1],
  units: ["units in each", [1, 2, 3, 4, 5, 6, 7, 8], 4],
  activation: ["activation", ["sigmoid", "tanh", "relu"], "tanh"],
  cost: ["cost", Object.keys(COSTS), "cross_entropy", Object.values(COSTS).map(({ label }) => label)],
  lr: ["rate η", [0.03, 0.1, 0.3, 1, 3], 0.3],
  batch: ["minibatch", [1, 10, 40, start.count], 10, ["1", "10", "40", "all"]],
  seed: ["seed", start.seeds.map((_, k) => k), 0],
};
const FIRST = Object.fromEntries(Object.entries(CHOICES).map(([name, [, , first]]) => [name, first]));
const settings = { ...FIRST };

// Questions, the settings that answer them where they are not the first choices, and what to look at
const TRIES = [
  [
    "Can two units close a circle?",
    { units: 2, seed: 1 },
    "Each hidden unit draws one straight edge, and the output adds them up. Two edges leave a gap, so some examples " +
      "stay wrong, however long it trains. Then choose 3 units: three edges can close.",
  ],
  [
    "Is a hidden layer needed?",
    { inputs: "squares", layers: 0 },
    "Not with x₁² and x₂² among the inputs: the circle x₁² + x₂² = r² is a straight edge in these two, and the output " +
      "alone draws it. Then choose exclusive or and the input x₁x₂, whose sign is the class.",
  ],
  [
    "Do more layers always help?",
    { data: "exclusive_or", layers: 3, activation: "sigmoid", cost: "quadratic" },
    "Look at |δ| above the layers: BP2 multiplies by σ′, at most ¼, in every layer on the way back. So the first one " +
      "hardly learns, and the cost stays flat. Then choose 1 hidden layer, or tanh, whose slope reaches 1.",
  ],
  [
    "Why is the spiral hard?",
    { data: "spiral", layers: 2, units: 8, lr: 0.1 },
    "The first layer can only cut the plane straight; the second bends what these cuts leave. For some 150 epochs " +
      "little happens, then the arms come apart. Then choose the rate 0.3: the arms come apart sooner, but later the " +
      "step on a single minibatch can be too long, and the cost jumps.",
  ],
];

// The examples, and the training: a permutation of the examples for each epoch, cut into minibatches

let x, y; // of all examples
let parts; // of the network
let isMoved; // whether weights were moved by hand
let random; // where the weights came from, and the order of each epoch comes from
let order; // the examples that are still to come in this epoch
let total; // the sum of the costs in this epoch
let costs; // the mean cost of each whole epoch, as in xpnet's history

function drawLayer(inputs, outputs, activation) {
  const isRelu = activation === "relu";
  const scale = Math.sqrt((isRelu ? 2 : 1) / inputs);
  const w = Float64Array.from({ length: inputs * outputs }, () => random.drawNormal() * scale);
  const b = Float64Array.from({ length: outputs }, () => (isRelu ? 0 : random.drawNormal()));
  return [{ kind: "dense", w, b }, makeActivation(activation)];
}

function begin() {
  x = start.data[settings.data].map((point) => findInputs(...point.map((number) => number / 100)));
  y = x.map((_, r) => [r % 2]);
  random = makeGenerator(start.seeds[settings.seed].map(BigInt));
  const [n, ...sizes] = listSizes();
  const activationOf = (k) => (k < settings.layers ? settings.activation : "sigmoid");
  parts = sizes.flatMap((size, k) => drawLayer(sizes[k - 1] ?? n, size, activationOf(k)));
  [order, total, costs, isMoved] = [[], 0, [], false];
}

const listInputs = () => [...COORDINATES, ...INPUTS[settings.inputs].more];
const findInputs = (u, v) => listInputs().map(([, find]) => find(u, v));
const listSizes = () => [listInputs().length, ...Array(settings.layers).fill(settings.units), 1];
const compute = (r) => computeExample(parts, x[r], y[r], COSTS[settings.cost]);

// A step of stochastic gradient descent
function takeStep() {
  if (!order.length) order = random.permute(x.length);
  const examples = order.splice(0, settings.batch).map(compute);
  const rate = settings.lr / examples.length; // of the mean over the minibatch
  for (const { delta, a, cost } of examples) {
    total += cost;
    for (let l = 1; l < delta.length; l++) {
      const { w, b } = parts[2 * l - 2];
      delta[l].forEach((own, j) => {
        b[j] -= rate * own; // BP3
        a[l - 1].forEach((activation, i) => (w[j * a[l - 1].length + i] -= rate * own * activation)); // BP4
      });
    }
  }
  if (order.length) return;
  costs.push(total / x.length);
  total = 0;
}

function trainEpochs(epochs) {
  for (let k = 0; k < epochs && isSound(); k++) {
    do takeStep();
    while (order.length);
  }
}

const isSound = () => Number.isFinite(total) && (costs.at(-1) ?? 0) < Infinity;

// Pictures: the share of a color in each pixel is from −1, orange, to 1, blue

const [ORANGE, BLUE] = [[214, 116, 16], [40, 108, 214]];

function paint(canvas, values, toShare) {
  const image = new ImageData(GRID, GRID);
  values.forEach((value, p) => {
    const share = toShare(value);
    image.data.set([...(share < 0 ? ORANGE : BLUE), 255 * Math.abs(share)], 4 * p); // the paper is below it
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

const toPlace = (k) => ((k + 0.5) / GRID) * 2 * REACH - REACH;
const PLANE = [(p) => toPlace(p % GRID), (p) => -toPlace(Math.floor(p / GRID))].map((find) =>
  Float64Array.from({ length: GRID * GRID }, (_, p) => find(p)),
);

// The activations of each unit over the plane: layer by layer for all pixels, which takes half the time
function computePictures() {
  const [us, vs] = PLANE;
  const pictures = [listInputs().map(([, find]) => us.map((u, p) => find(u, vs[p])))];
  for (let k = 0; k < parts.length; k += 2) {
    const [{ w, b }, { value }, before] = [parts[k], ACTIVATIONS[parts[k + 1].name], pictures.at(-1)];
    const after = Array.from(b, (bias, j) => {
      const picture = new Float64Array(GRID * GRID).fill(bias);
      before.forEach((other, i) => {
        const weight = w[j * before.length + i];
        for (let p = 0; p < picture.length; p++) picture[p] += weight * other[p];
      });
      for (let p = 0; p < picture.length; p++) picture[p] = value(picture[p]);
      return picture;
    });
    pictures.push(after);
  }
  return pictures;
}

const SHARES = {
  sigmoid: () => (a) => 2 * a - 1,
  tanh: () => (a) => a,
  relu(values) {
    const most = values.reduce((largest, a) => Math.max(largest, Math.abs(a)), 1e-9);
    return (a) => a / most;
  },
};

// The drawing: for each layer a column with a picture for each unit, over the lines of the weights

const stage = byId("stage");
let tiles = []; // of each layer
let heads = []; // of each layer
let lines = []; // of each weight

const isOutput = (l) => l === settings.layers + 1;

// The names of a layer and of a unit in it
function nameLayer(l, j) {
  if (l === 0) return ["inputs", `Input ${listInputs()[j]?.[0]}`];
  return isOutput(l) ? ["output", "Output"] : [`layer ${l}`, `Layer ${l}, unit ${j + 1}`];
}

function makeTile(l, j) {
  const label = `${nameLayer(l, j)[1]}: its activation over the plane`;
  const canvas = make("canvas", { width: GRID, height: GRID, role: "img", "aria-label": label });
  const picture = l ? make("button", { type: "button", onclick: () => takeInHand(l, j) }, canvas) : canvas;
  const caption = make("figcaption");
  return { canvas, picture, caption, figure: make("figure", { className: "tile" }, picture, caption) };
}

function build() {
  tiles = listSizes().map((size, l) => Array.from({ length: size }, (_, j) => makeTile(l, j)));
  heads = tiles.map(() => make("span"));
  const columns = tiles.map((column, l) => {
    const head = make("p", {}, nameLayer(l)[0], heads[l]);
    return make("div", { className: "column" }, head, ...column.map(({ figure }) => figure));
  });
  const connect = (l, i, j) => {
    const find = () => parts[2 * l].w[j * tiles[l].length + i];
    return { line: draw("line", {}), from: tiles[l][i], to: tiles[l + 1][j], find };
  };
  lines = tiles.slice(1).flatMap((column, l) => column.flatMap((_, j) => tiles[l].map((_, i) => connect(l, i, j))));
  const svg = draw("svg", { "aria-hidden": "true" }, ...lines.map(({ line }) => line));
  stage.classList.toggle("few", settings.units < 5 && settings.layers < 3);
  stage.replaceChildren(svg, ...columns);
}

function placeLines() {
  for (const { line, from, to } of lines) placeLine(line, from.canvas, to.canvas);
}

// The unit whose weights a learner moves: for each weight and the bias, a slider

const FARTHEST = 10; // ends of the sliders
let inHand = null; // the layer and the number of the unit
let sliders = [];

function makeWeight(name, list, place) {
  const [slider, value] = [makeSlider({ min: -FARTHEST, max: FARTHEST }), make("span", { className: "value" })];
  slider.addEventListener("input", () => {
    list[place] = slider.valueAsNumber;
    isMoved = true;
    show();
  });
  const showValue = () => {
    slider.value = list[place];
    value.textContent = writeBriefly(list[place]);
  };
  return { row: make("label", {}, make("span", {}, name), slider, value), showValue };
}

// Take a unit in hand, or let it go
function takeInHand(l, j) {
  inHand = inHand?.join() === `${l},${j}` ? null : [l, j];
  buildSliders();
  show();
  placeLines();
}

function buildSliders() {
  const [l, j] = inHand ?? [];
  const tile = tiles[l]?.[j];
  for (const other of tiles.slice(1).flat()) other.picture.setAttribute("aria-pressed", other === tile);
  byId("hand").hidden = !tile;
  if (!tile) return ([inHand, sliders] = [null, []]);
  const { w, b } = parts[2 * l - 2];
  const names = tiles[l - 1].map((_, i) => (l > 1 ? `unit ${i + 1}` : listInputs()[i][0]));
  sliders = names.map((name, i) => makeWeight(`from ${name}`, w, j * names.length + i));
  sliders.push(makeWeight("bias", b, j));
  byId("hand-title").textContent = `${nameLayer(l, j)[1]}: weights and bias`;
  byId("weights").replaceChildren(...sliders.map(({ row }) => row));
}

// The examples on the plane: discs for the target 1, diamonds for 0

byId("plane").width = byId("plane").height = GRID;
const scatter = draw("svg", { role: "img", viewBox: `${-REACH} ${-REACH} ${2 * REACH} ${2 * REACH}` });
byId("field").append(scatter);
let chosen = null; // the number of an example

function drawExamples() {
  const ring = draw("circle", { class: "ring", r: 0.15 });
  const marks = x.map(([u, v], r) => {
    if (y[r][0]) return draw("circle", { class: "mark one", cx: u, cy: -v, r: 0.055 });
    return draw("path", { class: "mark zero", d: `M${u - 0.075} ${-v}l.075 -.075 .075 .075 -.075 .075Z` });
  });
  scatter.replaceChildren(...marks, ring);
}

function choose(r) {
  chosen = r;
  show();
  placeLines();
}

function pick(r) {
  byId("example").value = r + 1;
  choose(r);
}

scatter.addEventListener("click", ({ clientX, clientY }) => {
  const { left, top, width } = scatter.getBoundingClientRect();
  const [u, v] = [clientX - left, clientY - top].map((pixels) => (pixels / width) * 2 * REACH - REACH);
  const distances = x.map((point) => Math.hypot(point[0] - u, point[1] + v));
  pick(distances.indexOf(Math.min(...distances)));
});
byId("example").max = start.count;
byId("example").addEventListener("input", ({ target: field }) => {
  field.setAttribute("aria-invalid", String(!field.validity.valid)); // nothing is no bad entry
  choose(field.validity.valid && field.value ? field.valueAsNumber - 1 : null);
});
byId("worst").addEventListener("click", () => {
  const each = x.map((_, r) => compute(r).cost);
  pick(each.indexOf(Math.max(...each)));
  announce(byId("example-note").textContent);
});

// Show the present network

function showPictures() {
  const values = computePictures();
  tiles.forEach((column, l) =>
    column.forEach(({ canvas }, j) => {
      const find = SHARES[l === 0 ? "relu" : isOutput(l) ? "sigmoid" : settings.activation];
      paint(canvas, values[l][j], find(values[l][j]));
    }),
  );
  paint(byId("plane"), values.at(-1)[0], (a) => 1.5 * a - 0.75); // paler, for the examples on it
  for (const { line, find } of lines) showWeight(line, find(), 0.8, 4);
  for (const { showValue } of sliders) showValue();
}

// In at most six characters
function writeBriefly(value) {
  const size = Math.abs(value);
  if (size > 0 && (size < 1e-3 || size >= 1000)) return writePower(value, 0);
  return shorten(Number(value.toFixed(3)), 3);
}

function write(symbol, value) {
  const number = make("span", { className: "value", "data-value": value }, writeBriefly(value));
  return make("span", {}, make("i", {}, symbol), number);
}

// z, a and δ of the chosen example at every unit
function showChosen() {
  stage.classList.toggle("numbered", chosen !== null);
  const ring = scatter.querySelector(".ring");
  ring.setAttribute("visibility", chosen === null ? "hidden" : "visible");
  if (chosen === null) return tiles.flat().forEach(({ caption }) => caption.replaceChildren());
  const { z, a, delta, cost } = compute(chosen);
  tiles.forEach((column, l) =>
    column.forEach(({ caption }, j) => {
      const numbers = l === 0 ? [[listInputs()[j][0], a[0][j]]] : [["z", z[l][j]], ["a", a[l][j]], ["δ", delta[l][j]]];
      caption.replaceChildren(...numbers.map(([symbol, value]) => write(symbol, value)));
    }),
  );
  setAttributes(ring, { cx: x[chosen][0], cy: -x[chosen][1] });
  byId("example-note").textContent =
    `Example ${chosen + 1}: the target is ${y[chosen][0]}, the output ${format(a.at(-1)[0])}, the cost ` +
    `${format(cost)}. δ = ∂C/∂z says how fast this cost changes with the z of a unit.`;
}

function showNumbers() {
  const all = x.map((_, r) => compute(r));
  heads.forEach((head, l) => {
    if (l > 0) head.textContent = `|δ| ${format(averageOf(all.flatMap(({ delta }) => [...delta[l]]), Math.abs), 2)}`;
  });
  const right = all.filter(({ a }, r) => a.at(-1)[0] > 0.5 === Boolean(y[r][0])).length;
  const cost = averageOf(all, (example) => example.cost);
  const steps = Math.ceil(x.length / settings.batch);
  const done = order.length ? steps - Math.ceil(order.length / settings.batch) : 0;
  byId("count").textContent = `Epoch ${costs.length}${done ? `, step ${done} of ${steps}` : ""}`;
  const score = `${right} of ${x.length} examples are on the right side.`;
  scatter.setAttribute("aria-label", `The plane, colored by the output: ${score}`);
  byId("fall-note").textContent = `Now ${format(cost)}; ${score}`;
  return cost;
}

let first; // the cost before training

function showCurve() {
  const values = [first, ...costs];
  const at = values.map((_, k) => k);
  if (at.length === 1) at.push(1);
  const label = `Curve of the mean cost over ${plural(costs.length, "epoch")}: now ${format(values.at(-1))}`;
  drawChart(byId("fall"), at, [values], [""], at.at(-1), label, {
    ends: [0, Math.max(...values.filter(Number.isFinite))],
    isCount: true,
  });
}

function showCode() {
  const { data, inputs, activation, cost, lr, batch, seed } = settings;
  const { python } = INPUTS[inputs];
  const epochs = Math.max(costs.length, 1);
  byId("code").textContent = [
    ...(python.length ? ["import numpy as np", ""] : []),
    "from xpnet import Network",
    "from xpnet.pages import make_examples",
    "",
    `X, y = make_examples("${data}")`,
    ...python,
    `sizes, seed = [${listSizes().join(", ")}], ${seed}`,
    `net = Network(sizes, activation="${activation}", cost="${cost}", dtype="float64", seed=seed)`,
    `history = net.train((X, y), epochs=${epochs}, batch_size=${batch}, lr=${lr})`,
    'print(history["cost"][-1])',
  ].join("\n");
  const seen = `In this page, the cost of epoch ${costs.length} is ${costs.at(-1)}.`;
  const why = isMoved ? "Weights were moved by hand, not in Python." : "Rounding errors grow over many steps, or large ones.";
  byId("code-note").textContent = `${costs.length ? seen : ""} ${why}`;
}

function show() {
  const cost = showNumbers();
  if (!costs.length && !order.length) first = cost;
  showPictures();
  showChosen();
  showCurve();
  showCode();
}

// Run, an epoch with each frame

function goOn(epochs) {
  trainEpochs(epochs);
  show();
}

const runner = makeRunner({
  goOn,
  isMore: () => isSound() && costs.length < MOST,
  most: AT_ONCE,
  end() {
    announce(isSound() ? `Epoch ${costs.length}. ${byId("fall-note").textContent}` : "");
    if (!isSound()) byId("told").textContent = "The weights have grown beyond all numbers: choose a smaller rate.";
  },
});

byId("one").addEventListener("click", () => {
  if (isSound()) takeStep();
  show();
  runner.stop();
});
byId("epoch").addEventListener("click", () => {
  goOn(1);
  runner.stop();
});

// Begin anew with the present settings
function restart() {
  begin();
  build();
  buildSliders();
  drawExamples();
  show();
  placeLines();
}

byId("reset").addEventListener("click", () => {
  if (runner.isRunning) runner.stop();
  byId("told").textContent = "";
  restart();
});

// Begin anew with other settings
function set(wanted) {
  Object.assign(settings, wanted);
  for (const [name, value] of Object.entries(settings)) byId(name).value = value;
  restart();
}

// Let the address hold the settings, and tell them the page around a frame
function writeAddress() {
  const words = String(new URLSearchParams(settings));
  history.replaceState(null, "", `#${isCompact ? "compact&" : ""}${words}`);
  if (isCompact) parent.postMessage({ height: innerHeight, settings: words }, "*");
}

// The settings in the address; it may have other names and values, which are ignored
function readSettings() {
  const address = readAddress();
  const known = Object.entries(CHOICES).flatMap(([name, [, values]]) => {
    const value = values.find((one) => String(one) === address.get(name));
    return value === undefined ? [] : [[name, value]];
  });
  return Object.fromEntries(known);
}

for (const [name, [label, values, , texts = values]] of Object.entries(CHOICES)) {
  const options = values.map((value, k) => new Option(texts[k], value));
  const select = make("select", { autocomplete: "off", id: name }, ...options);
  select.onchange = () => {
    set({ [name]: values[select.selectedIndex] });
    writeAddress();
  };
  byId("choices").append(make("label", {}, label, select));
}

for (const [question, wanted, answer] of TRIES) {
  const onclick = () => {
    byId("told").textContent = answer;
    set({ ...FIRST, ...wanted });
    writeAddress();
    if (!runner.isRunning) byId("run").click();
    byId("field").scrollIntoView({ block: "nearest" }); // on a phone, the button is below it
  };
  byId("tries").append(make("button", { type: "button", onclick }, question));
}

byId("summary").textContent =
  "How do a few units, each of which only draws a straight edge, learn the shape of a ring or a spiral? Press Run.";
byId("exactness").append(" With the same seed, xpnet computes the same.");
set(readSettings());
addEventListener("hashchange", () => set({ ...FIRST, ...readSettings() }));
new ResizeObserver(() => {
  placeLines();
  showCurve();
}).observe(stage);
