// The numbers of a step of training, each with its formula. Layer 0 is the input; units and examples are counted from 0
// here, and from 1 where the reader sees them.

// From layers {w, b}, as rows of weights and as biases, to parts as network.js computes with them
function makeParts(layers) {
  return layers.flatMap(({ w, b }) => [{ kind: "dense", w: w.flat(), b }, sigmoidPart]);
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const mean = (numbers) => sum(numbers) / numbers.length;

const costOf = (layers, x, y, rows) => mean(rows.map((r) => computeExample(makeParts(layers), x[r], y[r]).cost));

// A step on the examples `rows`: what is computed for each, the gradients, which are means over them, the new layers, and
// the costs of both
function computeStep({ layers, x, y, lr }, rows) {
  const examples = Object.fromEntries(rows.map((r) => [r, computeExample(makeParts(layers), x[r], y[r])]));
  const meanOf = (value) => mean(rows.map((r) => value(examples[r])));
  const gradients = layers.map(({ w, b }, k) => ({
    w: w.map((row, j) => row.map((_, i) => meanOf(({ delta, a }) => delta[k + 1][j] * a[k][i]))), // BP4
    b: b.map((_, j) => meanOf(({ delta }) => delta[k + 1][j])), // BP3
  }));
  const updated = layers.map(({ w, b }, k) => ({
    w: w.map((row, j) => row.map((weight, i) => weight - lr * gradients[k].w[j][i])),
    b: b.map((bias, j) => bias - lr * gradients[k].b[j]),
  }));
  return { examples, gradients, updated, cost: meanOf(({ cost }) => cost), newCost: costOf(updated, x, y, rows) };
}

// The derivative of the cost, found by moving a weight or a bias a little to both sides, and forward passes alone
function nudge(layers, x, y, rows, move) {
  const [up, down] = [NUDGE, -NUDGE].map((size) => {
    const moved = structuredClone(layers);
    move(moved, size);
    return costOf(moved, x, y, rows);
  });
  return (up - down) / (2 * NUDGE);
}
const NUDGE = 1e-5;

// Symbols, with the layer above and the unit below

const ABOVE = "⁰¹²";
const BELOW = "₁₂";

const nameOf = (letter, l, ...units) => letter + ABOVE[l] + units.map((k) => BELOW[k]).join("");
const nameOfA = (l, k) => (l ? nameOf("a", l, k) : `x${BELOW[k]}`);
const nameOfUnit = (l, k) => `${["input", "hidden unit", "output"][l]} ${k + 1}`;

// σ′(z) = a (1 − a), not broken between lines
const writeSlope = (a, n) => `${n(a)} · (1\u00a0−\u00a0${n(a)})`;

// A sum; terms that are negative numbers are in brackets already
const join = (terms) => terms.join(" + ");
const group = (terms) => (terms.length > 1 ? `(${join(terms)})` : terms[0]);

// Work out a line of numbers from what is written in it, as a pocket calculator does
function workOut(line) {
  const words = line.replaceAll("\u2212", "-").match(/\d+(\.\d+)?(e[+-]?\d+)?|e\^|[-+·/()½²]/g);
  const isNext = (...choices) => choices.includes(words[0]);
  const readSum = () => {
    let total = isNext("-") ? 0 : readProduct();
    while (isNext("+", "-")) total += words.shift() === "+" ? readProduct() : -readProduct();
    return total;
  };
  const readProduct = () => {
    let product = readPower();
    while (isNext("·", "/")) product = words.shift() === "·" ? product * readPower() : product / readPower();
    return product;
  };
  const readPower = () => {
    const base = readFactor();
    return isNext("²") && words.shift() ? base ** 2 : base;
  };
  const readFactor = () => {
    const word = words.shift();
    if (word === "½") return 0.5;
    if (word === "e^") return Math.exp(readFactor());
    if (word !== "(") return Number(word);
    const inner = readSum();
    words.shift(); // the bracket that closes
    return inner;
  };
  return readSum();
}

// The value of a formula, with five decimals or four digits, whichever are more, and at most six digits
function writeResult(value) {
  const size = Math.floor(Math.log10(Math.abs(value))); // of the first digit
  return shorten(value, Math.min(Math.max(4, size + 6), 6));
}

// The lines of a formula and its value. The numbers in it have as many digits, at least five, as lead to this value.
function writeFormula({ value, write }) {
  const result = writeResult(value);
  const writeWith = (digits) =>
    write((number) => (number < 0 ? `(${shorten(number, digits)})` : shorten(number, digits)));
  const isRight = (digits) => writeWith(digits).slice(1).every((line) => writeResult(workOut(line)) === result);
  return [...writeWith([5, 6, 7, 8, 9, 10, 12, 14].find(isRight) ?? 6), result];
}

const PHASES = ["Start", "Forward", "BP1", "BP2", "BP3", "BP4", "Update"];

// List the numbers of a step by key. Each has the phase that computes it, its value, its symbol, a name in words, and
// the keys of the numbers that it is made of. `write(n)` writes its formula as lines: the first has symbols, the others
// numbers, which n writes. A derivative has the symbol of what is nudged to find it too, and a function that does so.
// After the update, weights and biases are the new ones.
function listNumbers(state, rows, phase) {
  const step = computeStep(state, rows);
  const about = { ...state, rows, ...step, isUpdated: phase === 6, last: state.layers.length };
  const numbers = new Map();
  const add = (key, number) => numbers.set(key, { uses: [], write: () => [], ...number });
  for (const r of rows) {
    state.x[r].forEach((value, i) =>
      add(`a-0-${i}-${r}`, describeGiven(about, value, nameOfA(0, i), `input ${i + 1}`, r)),
    );
    state.y[r].forEach((value, k) =>
      add(`y-${k}-${r}`, describeGiven(about, value, `y${BELOW[k]}`, `target ${k + 1}`, r)),
    );
    add(`c-${r}`, describeCost(about, r));
  }
  add("cost", describeMeanCost(about));
  state.layers.forEach(({ w }, k) => {
    w.forEach((row, j) => {
      const unit = [k + 1, j];
      add(`b-${unit.join("-")}`, describeBias(about, ...unit));
      add(`gb-${unit.join("-")}`, describeBP3(about, ...unit));
      row.forEach((_, i) => {
        add(`w-${unit.join("-")}-${i}`, describeWeight(about, ...unit, i));
        add(`gw-${unit.join("-")}-${i}`, describeBP4(about, ...unit, i));
      });
      for (const r of rows) {
        add(`z-${unit.join("-")}-${r}`, describeZ(about, ...unit, r));
        add(`a-${unit.join("-")}-${r}`, describeA(about, ...unit, r));
        add(`d-${unit.join("-")}-${r}`, (k + 1 === about.last ? describeBP1 : describeBP2)(about, ...unit, r));
      }
    });
  });
  return { numbers, ...step };
}

const ofExample = (rows, r) => (rows.length > 1 ? ` for example ${r + 1}` : "");

// A mean over the examples of what `write` writes for each, in symbols and in numbers
const writeMean = (rows, write) => (rows.length > 1 ? `½ · (${join(rows.map(write))})` : write(rows[0]));
const nameMean = (rows, name) => writeMean(rows, (r) => name + (rows.length > 1 ? ` of example ${r + 1}` : ""));

function describeGiven({ rows }, value, symbol, name, r) {
  return { phase: 0, value, symbol, name: name + ofExample(rows, r) };
}

// Forward

function describeZ({ layers, rows, examples }, l, j, r) {
  const [row, bias, before] = [layers[l - 1].w[j], layers[l - 1].b[j], examples[r].a[l - 1]];
  return {
    phase: 1,
    value: examples[r].z[l][j],
    symbol: nameOf("z", l, j),
    name: `weighted input of ${nameOfUnit(l, j)}${ofExample(rows, r)}`,
    write: (n) => [
      join([...row.map((_, i) => `${nameOf("w", l, j, i)} ${nameOfA(l - 1, i)}`), nameOf("b", l, j)]),
      join([...row.map((w, i) => `${n(w)} · ${n(before[i])}`), n(bias)]),
    ],
    uses: [...row.flatMap((_, i) => [`w-${l}-${j}-${i}`, `a-${l - 1}-${i}-${r}`]), `b-${l}-${j}`],
  };
}

function describeA({ rows, examples }, l, j, r) {
  return {
    phase: 1,
    value: examples[r].a[l][j],
    symbol: nameOf("a", l, j),
    name: `activation of ${nameOfUnit(l, j)}${ofExample(rows, r)}`,
    write: (n) => [`σ(${nameOf("z", l, j)})`, `1 / (1 + e^(−${n(examples[r].z[l][j])}))`],
    uses: [`z-${l}-${j}-${r}`],
  };
}

function describeCost({ y, rows, examples, last }, r) {
  const outputs = Array.from(examples[r].a[last]);
  return {
    phase: 1,
    value: examples[r].cost,
    symbol: rows.length > 1 ? `C of example ${r + 1}` : "C",
    name: `cost of example ${r + 1}`,
    write: (n) => [
      `½ · ${group(outputs.map((_, k) => `(${nameOf("a", last, k)} − y${BELOW[k]})²`))}`,
      `½ · ${group(outputs.map((output, k) => `(${n(output)} − ${n(y[r][k])})²`))}`,
    ],
    uses: outputs.flatMap((_, k) => [`a-${last}-${k}-${r}`, `y-${k}-${r}`]),
  };
}

function describeMeanCost(about) {
  const { rows, examples, cost } = about;
  if (rows.length === 1) return describeCost(about, rows[0]);
  return {
    phase: 1,
    value: cost,
    symbol: "C",
    name: "cost, the mean over both examples",
    write: (n) => [nameMean(rows, "C"), writeMean(rows, (r) => n(examples[r].cost))],
    uses: rows.map((r) => `c-${r}`),
  };
}

// Backward

// A move of the bias moves z as much
const nudgeZ = ({ layers, x, y }, l, j, r) => nudge(layers, x, y, [r], (moved, size) => (moved[l - 1].b[j] += size));

function describeBP1(about, l, j, r) {
  const { y, rows, examples } = about;
  const [a, target] = [examples[r].a[l][j], y[r][j]];
  return {
    phase: 2,
    value: examples[r].delta[l][j],
    symbol: nameOf("δ", l, j),
    name: `error of ${nameOfUnit(l, j)}${ofExample(rows, r)}`,
    write: (n) => [
      `(${nameOf("a", l, j)} − y${BELOW[j]}) · σ′(${nameOf("z", l, j)})`,
      `(${n(a)} − ${n(target)}) · ${writeSlope(a, n)}`,
      `${n(a - target)} · ${n(a - a * a)}`,
    ],
    uses: [`a-${l}-${j}-${r}`, `y-${j}-${r}`],
    nudged: [nameOf("z", l, j), () => nudgeZ(about, l, j, r)],
  };
}

// The sum has a term for each path that leaves the unit: through a weight to a unit of the next layer
function describeBP2(about, l, j, r) {
  const { layers, rows, examples } = about;
  const [a, next, weights] = [examples[r].a[l][j], examples[r].delta[l + 1], layers[l].w.map((row) => row[j])];
  const terms = weights.map((_, k) => `${nameOf("w", l + 1, k, j)} ${nameOf("δ", l + 1, k)}`);
  return {
    phase: 3,
    value: examples[r].delta[l][j],
    symbol: nameOf("δ", l, j),
    name: `error of ${nameOfUnit(l, j)}${ofExample(rows, r)}`,
    write: (n) => [
      `(${join(terms)}) · σ′(${nameOf("z", l, j)})`,
      `(${join(weights.map((w, k) => `${n(w)} · ${n(next[k])}`))}) · ${writeSlope(a, n)}`,
      `${group(weights.map((w, k) => n(w * next[k])))} · ${n(a - a * a)}`,
    ],
    uses: [...weights.flatMap((_, k) => [`w-${l + 1}-${k}-${j}`, `d-${l + 1}-${k}-${r}`]), `a-${l}-${j}-${r}`],
    nudged: [nameOf("z", l, j), () => nudgeZ(about, l, j, r)],
    paths: weights.map((_, k) => nameOf("z", l + 1, k)),
  };
}

function describeBP3({ layers, x, y, rows, examples, gradients }, l, j) {
  return {
    phase: 4,
    value: gradients[l - 1].b[j],
    symbol: `∂C/∂${nameOf("b", l, j)}`,
    name: `derivative with respect to the bias of ${nameOfUnit(l, j)}`,
    write: (n) => [nameMean(rows, nameOf("δ", l, j)), writeMean(rows, (r) => n(examples[r].delta[l][j]))],
    uses: rows.map((r) => `d-${l}-${j}-${r}`),
    nudged: [nameOf("b", l, j), () => nudge(layers, x, y, rows, (moved, size) => (moved[l - 1].b[j] += size))],
  };
}

const nameOfWeight = (l, j, i) => `weight from ${nameOfUnit(l - 1, i)} to ${nameOfUnit(l, j)}`;

function describeBP4({ layers, x, y, rows, examples, gradients }, l, j, i) {
  const factorsOf = (r) => [examples[r].delta[l][j], examples[r].a[l - 1][i]];
  return {
    phase: 5,
    value: gradients[l - 1].w[j][i],
    symbol: `∂C/∂${nameOf("w", l, j, i)}`,
    name: `derivative with respect to the ${nameOfWeight(l, j, i)}`,
    write: (n) => [
      nameMean(rows, `${nameOf("δ", l, j)} ${nameOfA(l - 1, i)}`),
      writeMean(rows, (r) => factorsOf(r).map(n).join(" · ")),
    ],
    uses: rows.flatMap((r) => [`d-${l}-${j}-${r}`, `a-${l - 1}-${i}-${r}`]),
    nudged: [nameOf("w", l, j, i), () => nudge(layers, x, y, rows, (moved, size) => (moved[l - 1].w[j][i] += size))],
  };
}

// Weights and biases: given, or new

const describeWeight = (about, l, j, i) =>
  describeParameter(
    about,
    nameOf("w", l, j, i),
    nameOfWeight(l, j, i),
    `gw-${l}-${j}-${i}`,
    (layers) => layers[l - 1].w[j][i],
  );

const describeBias = (about, l, j) =>
  describeParameter(
    about,
    nameOf("b", l, j),
    `bias of ${nameOfUnit(l, j)}`,
    `gb-${l}-${j}`,
    (layers) => layers[l - 1].b[j],
  );

function describeParameter({ layers, lr, gradients, updated, isUpdated }, symbol, name, gradient, find) {
  if (!isUpdated) return { phase: 0, value: find(layers), symbol, name };
  return {
    phase: 6,
    value: find(updated),
    symbol: `new ${symbol}`,
    name: `new ${name}`,
    write: (n) => [`${symbol} − η ∂C/∂${symbol}`, `${n(find(layers))} − ${n(lr)} · ${n(find(gradients))}`],
    uses: [gradient],
  };
}
