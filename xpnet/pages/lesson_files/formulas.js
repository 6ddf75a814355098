// The numbers of a step of training, each with its formula. Layer 0 is the input; units and examples are counted from 0
// here, and from 1 where the reader sees them.

// From layers {w, b}, as rows of weights and as biases, to parts as network.js computes with them
const makeParts = (layers) => layers.flatMap(({ w, b }) => [{ kind: "dense", w: w.flat(), b }, sigmoidPart]);

const costOf = (layers, x, y, rows) => averageOf(rows, (r) => computeExample(makeParts(layers), x[r], y[r]).cost);

// A step on the examples `rows`: what is computed for each, the gradients, which are means over them, the new layers, and
// the costs of both
function computeStep({ layers, x, y, lr }, rows) {
  const examples = Object.fromEntries(rows.map((r) => [r, computeExample(makeParts(layers), x[r], y[r])]));
  const meanOf = (value) => averageOf(rows, (r) => value(examples[r]));
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

const NUDGE = 1e-5;

// The derivative of the cost, found by moving a weight or a bias a little to both sides, and forward passes alone.
// `find` finds the list that the number is in, and its place there.
function nudge({ layers, x, y }, rows, find) {
  const [up, down] = [NUDGE, -NUDGE].map((size) => {
    const moved = structuredClone(layers);
    const [list, place] = find(moved);
    list[place] += size;
    return costOf(moved, x, y, rows);
  });
  return (up - down) / (2 * NUDGE);
}

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

const DIGITS = 8; // of the numbers in a formula, as a pocket calculator has

// The lines of a formula and its value, which has fewer digits, so that each line leads to it
function writeFormula({ value, write }) {
  const lines = write((number) => (number < 0 ? `(${shorten(number, DIGITS)})` : shorten(number, DIGITS)));
  return [...lines, shorten(value)];
}

const PHASES = ["Start", "Forward", "BP1", "BP2", "BP3", "BP4", "Update"];

// List the numbers of a step by key. Each has the phase that computes it, its value, its symbol, a name in words, and
// the keys of the numbers that it is made of. `write(n)` writes its formula as lines: the first has symbols, the others
// numbers, which n writes. A derivative has the symbol of what is nudged to find it too, and a function that does so.
// After the update, weights and biases are the new ones.
function listNumbers(state, rows, phase) {
  const { layers, x, y, lr } = state;
  const step = computeStep(state, rows);
  const { examples, gradients, updated, cost } = step;
  const [last, numbers] = [layers.length, new Map()];
  const add = (key, phase, value, symbol, name, write = () => [], uses = [], others = {}) =>
    numbers.set(key, { phase, value, symbol, name, write, uses, ...others });

  // A mean over the examples of what `write` writes for each, in symbols and in numbers
  const isMean = rows.length > 1;
  const writeMean = (write) => (isMean ? `½ · (${join(rows.map(write))})` : write(rows[0]));
  const nameMean = (name) => writeMean((r) => name + (isMean ? ` of example ${r + 1}` : ""));
  const forExample = (r) => (isMean ? ` for example ${r + 1}` : "");

  function addExample(r) {
    x[r].forEach((value, i) => add(`a-0-${i}-${r}`, 0, value, nameOfA(0, i), `input ${i + 1}${forExample(r)}`));
    y[r].forEach((value, k) => add(`y-${k}-${r}`, 0, value, `y${BELOW[k]}`, `target ${k + 1}${forExample(r)}`));
    const outputs = Array.from(examples[r].a[last]);
    const symbols = outputs.map((_, k) => `(${nameOf("a", last, k)} − y${BELOW[k]})²`);
    const write = (n) => [
      `½ · ${group(symbols)}`,
      `½ · ${group(outputs.map((output, k) => `(${n(output)} − ${n(y[r][k])})²`))}`,
    ];
    const uses = outputs.flatMap((_, k) => [`a-${last}-${k}-${r}`, `y-${k}-${r}`]);
    const symbol = isMean ? `C of example ${r + 1}` : "C";
    add(`c-${r}`, 1, examples[r].cost, symbol, `cost of example ${r + 1}`, write, uses);
  }

  // A weight or a bias, and the derivative with respect to it, which phase `own` computes
  function addParameter(key, symbol, name, find, own, write, uses) {
    const [old, gradient, next] = [layers, gradients, updated].map(find).map(([list, place]) => list[place]);
    const writeNew = (n) => [`${symbol} − η ∂C/∂${symbol}`, `${n(old)} − ${n(lr)} · ${n(gradient)}`];
    if (phase < 6) add(key, 0, old, symbol, name);
    else add(key, 6, next, `new ${symbol}`, `new ${name}`, writeNew, [`g${key}`]);
    const nudged = [symbol, () => nudge(state, rows, find)];
    add(`g${key}`, own, gradient, `∂C/∂${symbol}`, `derivative with respect to the ${name}`, write, uses, { nudged });
  }

  // z, a and δ of a unit
  function addUnit(l, j, r) {
    const [{ w, b }, { z, a, delta }] = [layers[l - 1], examples[r]];
    const [unit, symbol, own, before] = [`${l}-${j}`, nameOf("z", l, j), a[l][j], a[l - 1]];
    const name = `${nameOfUnit(l, j)}${forExample(r)}`;
    const writeZ = (n) => [
      join([...w[j].map((_, i) => `${nameOf("w", l, j, i)} ${nameOfA(l - 1, i)}`), nameOf("b", l, j)]),
      join([...w[j].map((weight, i) => `${n(weight)} · ${n(before[i])}`), n(b[j])]),
    ];
    const usesOfZ = w[j].flatMap((_, i) => [`w-${unit}-${i}`, `a-${l - 1}-${i}-${r}`]);
    add(`z-${unit}-${r}`, 1, z[l][j], symbol, `weighted input of ${name}`, writeZ, [...usesOfZ, `b-${unit}`]);
    const writeA = (n) => [`σ(${symbol})`, `1 / (1 + e^(−${n(z[l][j])}))`];
    add(`a-${unit}-${r}`, 1, own, nameOf("a", l, j), `activation of ${name}`, writeA, [`z-${unit}-${r}`]);
    // A move of the bias moves z as much
    const nudged = [symbol, () => nudge(state, [r], (where) => [where[l - 1].b, j])];
    const addDelta = (phase, write, uses, paths) =>
      add(`d-${unit}-${r}`, phase, delta[l][j], nameOf("δ", l, j), `error of ${name}`, write, uses, { nudged, paths });
    if (l === last) {
      const writeBP1 = (n) => [
        `(${nameOf("a", l, j)} − y${BELOW[j]}) · σ′(${symbol})`,
        `(${n(own)} − ${n(y[r][j])}) · ${writeSlope(own, n)}`,
        `${n(own - y[r][j])} · ${n(own - own * own)}`,
      ];
      return addDelta(2, writeBP1, [`a-${unit}-${r}`, `y-${j}-${r}`]);
    }
    // The sum has a term for each path that leaves the unit: through a weight to a unit of the next layer
    const [next, weights] = [delta[l + 1], layers[l].w.map((row) => row[j])];
    const terms = weights.map((_, k) => `${nameOf("w", l + 1, k, j)} ${nameOf("δ", l + 1, k)}`);
    const writeBP2 = (n) => [
      `(${join(terms)}) · σ′(${symbol})`,
      `(${join(weights.map((weight, k) => `${n(weight)} · ${n(next[k])}`))}) · ${writeSlope(own, n)}`,
      `${group(weights.map((weight, k) => n(weight * next[k])))} · ${n(own - own * own)}`,
    ];
    const uses = weights.flatMap((_, k) => [`w-${l + 1}-${k}-${j}`, `d-${l + 1}-${k}-${r}`]);
    addDelta(3, writeBP2, [...uses, `a-${unit}-${r}`], weights.map((_, k) => nameOf("z", l + 1, k)));
  }

  rows.forEach(addExample);
  const writeCost = (n) => [nameMean("C"), writeMean((r) => n(examples[r].cost))];
  add("cost", 1, cost, "C", "cost, the mean over both examples", writeCost, rows.map((r) => `c-${r}`));
  layers.forEach(({ w }, k) =>
    w.forEach((row, j) => {
      const [l, delta] = [k + 1, nameOf("δ", k + 1, j)];
      const errorOf = (r) => examples[r].delta[l][j];
      rows.forEach((r) => addUnit(l, j, r));
      const writeBP3 = (n) => [nameMean(delta), writeMean((r) => n(errorOf(r)))];
      const errors = rows.map((r) => `d-${l}-${j}-${r}`);
      const bias = `bias of ${nameOfUnit(l, j)}`;
      addParameter(`b-${l}-${j}`, nameOf("b", l, j), bias, (where) => [where[k].b, j], 4, writeBP3, errors);
      row.forEach((_, i) => {
        const writeBP4 = (n) => [
          nameMean(`${delta} ${nameOfA(k, i)}`),
          writeMean((r) => `${n(errorOf(r))} · ${n(examples[r].a[k][i])}`),
        ];
        const uses = rows.flatMap((r) => [`d-${l}-${j}-${r}`, `a-${k}-${i}-${r}`]);
        const name = `weight from ${nameOfUnit(k, i)} to ${nameOfUnit(l, j)}`;
        const find = (where) => [where[k].w[j], i];
        addParameter(`w-${l}-${j}-${i}`, nameOf("w", l, j, i), name, find, 5, writeBP4, uses);
      });
    }),
  );
  return { numbers, ...step };
}
