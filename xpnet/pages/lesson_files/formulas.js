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

// A sum
const join = (terms) => terms.join(" + ");
const group = (terms) => (terms.length > 1 ? `(${join(terms)})` : terms[0]);

// A formula is a text that has the keys of numbers in braces. Where numbers stand for them, not symbols, two side by side
// get a sign between them, and σ and σ′(z) = a (1 − a) are written out.
const toNumbers = (formula) =>
  formula
    .replaceAll(/ of example \d/g, "")
    .replaceAll("} {", "} · {")
    .replaceAll(/σ′\({z(.*?)}\)/g, "{a$1} · (1\u00a0−\u00a0{a$1})")
    .replaceAll(/σ\((.*?)\)/g, "1 / (1 + e^(−$1))");
const KEY = /{(.*?)}/g;

// The keys of the numbers that a number is made of
const usesOf = ({ formula }) => Array.from(toNumbers(formula).matchAll(KEY), ([, key]) => key);

const DIGITS = 8; // of the numbers in a formula, as a pocket calculator has

// The lines of a formula: with symbols, with numbers, with products of them, if it has any; and its value, which has
// fewer digits, so that each line leads to it. Negative numbers are in brackets.
function writeFormula(numbers, { value, formula, multiply }) {
  const write = (number) => (number < 0 ? `(${shorten(number, DIGITS)})` : shorten(number, DIGITS));
  const fill = (text, show) => text.replaceAll(KEY, (_, key) => show(numbers.get(key).old ?? numbers.get(key)));
  const symbols = fill(formula, ({ symbol }) => symbol);
  const lines = [symbols, fill(toNumbers(formula), ({ value }) => write(value)), multiply?.(write), shorten(value)];
  return lines.filter(Boolean);
}

const PHASES = ["Start", "Forward", "BP1", "BP2", "BP3", "BP4", "Update"];

// List the numbers of a step by key. Each has the phase that computes it, its value, its symbol, a name in words, and its
// formula. A derivative has the symbol of what is nudged to find it too, and a function that does so. After the update,
// weights and biases are the new ones, and have the `old` ones for the formulas.
function listNumbers(state, rows, phase) {
  const { layers, x, y, lr } = state;
  const step = computeStep(state, rows);
  const { examples, gradients, updated, cost } = step;
  const [last, numbers] = [layers.length, new Map()];
  const add = (key, phase, value, symbol, name, formula = "", others = {}) =>
    numbers.set(key, { phase, value, symbol, name, formula, ...others });

  // A mean over the examples of what `write` writes for each
  const isMean = rows.length > 1;
  const writeMean = (write) => (isMean ? `½ · (${join(rows.map(write))})` : write(rows[0]));
  const [ofExample, forExample] = ["of", "for"].map((word) => (r) => (isMean ? ` ${word} example ${r + 1}` : ""));

  function addExample(r) {
    x[r].forEach((value, i) => add(`a-0-${i}-${r}`, 0, value, nameOfA(0, i), `input ${i + 1}${forExample(r)}`));
    y[r].forEach((value, k) => add(`y-${k}-${r}`, 0, value, `y${BELOW[k]}`, `target ${k + 1}${forExample(r)}`));
    const squares = y[r].map((_, k) => `({a-${last}-${k}-${r}} − {y-${k}-${r}})²`);
    add(`c-${r}`, 1, examples[r].cost, `C${ofExample(r)}`, `cost of example ${r + 1}`, `½ · ${group(squares)}`);
  }

  // A weight or a bias, and the derivative with respect to it, which phase `own` computes
  function addParameter(key, symbol, name, find, own, formula) {
    const [value, gradient, next] = [layers, gradients, updated].map(find).map(([list, place]) => list[place]);
    if (phase < 6) add(key, 0, value, symbol, name);
    else add(key, 6, next, `new ${symbol}`, `new ${name}`, `{${key}} − {η} {g${key}}`, { old: { value, symbol } });
    const nudged = [symbol, () => nudge(state, rows, find)];
    add(`g${key}`, own, gradient, `∂C/∂${symbol}`, `derivative with respect to the ${name}`, formula, { nudged });
  }

  // z, a and δ of a unit
  function addUnit(l, j, r) {
    const [{ w }, next, { z, a, delta }] = [layers[l - 1], layers[l], examples[r]];
    const [unit, symbol, own] = [`${l}-${j}`, nameOf("z", l, j), a[l][j]];
    const name = `${nameOfUnit(l, j)}${forExample(r)}`;
    const products = w[j].map((_, i) => `{w-${unit}-${i}} {a-${l - 1}-${i}-${r}}`);
    add(`z-${unit}-${r}`, 1, z[l][j], symbol, `weighted input of ${name}`, join([...products, `{b-${unit}}`]));
    add(`a-${unit}-${r}`, 1, own, nameOf("a", l, j), `activation of ${name}`, `σ({z-${unit}-${r}})`);
    // BP1; or BP2, whose sum has a term for each path that leaves the unit: through a weight to a unit of the next layer
    const terms = next
      ? next.w.map((_, k) => `{w-${l + 1}-${k}-${j}} {d-${l + 1}-${k}-${r}}`)
      : [`{a-${unit}-${r}} − {y-${j}-${r}}`];
    const values = next ? next.w.map((row, k) => row[j] * delta[l + 1][k]) : [own - y[r][j]];
    const others = {
      multiply: (write) => `${group(values.map(write))} · ${write(own - own * own)}`,
      nudged: [symbol, () => nudge(state, [r], (where) => [where[l - 1].b, j])], // a move of the bias moves z as much
      paths: next?.b.map((_, k) => nameOf("z", l + 1, k)),
    };
    const formula = `(${join(terms)}) · σ′({z-${unit}-${r}})`;
    add(`d-${unit}-${r}`, next ? 3 : 2, delta[l][j], nameOf("δ", l, j), `error of ${name}`, formula, others);
  }

  add("η", 0, lr, "η", "learning rate");
  rows.forEach(addExample);
  add("cost", 1, cost, "C", "cost, the mean over both examples", writeMean((r) => `{c-${r}}`));
  layers.forEach(({ w }, k) =>
    w.forEach((row, j) => {
      const [l, unit] = [k + 1, `${k + 1}-${j}`];
      rows.forEach((r) => addUnit(l, j, r));
      const bias = `bias of ${nameOfUnit(l, j)}`;
      const errors = writeMean((r) => `{d-${unit}-${r}}${ofExample(r)}`);
      addParameter(`b-${unit}`, nameOf("b", l, j), bias, (where) => [where[k].b, j], 4, errors);
      row.forEach((_, i) => {
        const name = `weight from ${nameOfUnit(k, i)} to ${nameOfUnit(l, j)}`;
        const products = writeMean((r) => `{d-${unit}-${r}} {a-${k}-${i}-${r}}${ofExample(r)}`);
        addParameter(`w-${unit}-${i}`, nameOf("w", l, j, i), name, (where) => [where[k].w[j], i], 5, products);
      });
    }),
  );
  return { numbers, ...step };
}
