// For all lessons: what the page begins with, training, and the buttons and tables of a lesson.

const start = JSON.parse(byId("network").textContent);

const makeActivation = (name) => ({ kind: "activation", name, numbers: [] });
const sigmoidPart = makeActivation("sigmoid");

// Costs of an output of a sigmoid for the target y: value, and δ = ∂C/∂z, which is BP1
const COSTS = {
  quadratic: {
    label: "quadratic",
    value: (z, a, y) => 0.5 * (a - y) ** 2,
    delta: (z, a, y) => (a - y) * ACTIVATIONS.sigmoid.slope(z, a),
  },
  cross_entropy: { label: "cross-entropy", value: (z, a, y) => softplus(z) - y * z, delta: (z, a, y) => a - y },
};

// Forward, BP1 and BP2 for one example: z, a and δ of each layer, and its cost; a[0] are the inputs. The parts are
// those of network.js, a dense one and an activation for each layer.
function computeExample(parts, x, y, cost = COSTS.quadratic) {
  const steps = forward(parts, x);
  const inner = parts.slice(0, -1);
  const [z, a, delta] = [[null], [steps[0]], [null]];
  for (let l = 1; 2 * l < steps.length; l++) {
    z.push(steps[2 * l - 1]);
    a.push(steps[2 * l]);
  }
  const outputs = Array.from(a.at(-1), (own, k) => [z.at(-1)[k], own, y[k]]);
  const errors = outputs.map((output) => cost.delta(...output));
  const gradients = pullBack(inner, steps, errors);
  for (let l = 1; l < z.length; l++) delta.push(gradients[2 * l - 1]);
  return { z, a, delta, cost: sum(outputs.map((output) => cost.value(...output))) };
}

// The rows of a table, from its heads and lines of a name and cells, each of one element or a list of them
function makeTable(heads, lines) {
  const head = make("tr", {}, make("td"), ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = lines.map(([name, ...cells]) => {
    const data = cells.map((cell) => make("td", {}, ...[cell].flat()));
    return make("tr", {}, make("th", { scope: "row" }, name), ...data);
  });
  return [head, ...body];
}

// Let the button "run" run and pause: with each frame, `goOn` takes an epoch, as long as there `isMore`. `begin` comes
// before the first frame, `end` after the last one. For those who want no motion, `most` epochs come at once.
function makeRunner({ begin, goOn, isMore, most, end }) {
  const button = byId("run");
  const runner = { isRunning: false, stop };
  function show(isRunning) {
    runner.isRunning = isRunning;
    button.textContent = isRunning ? "Pause" : "Run";
  }
  function stop() {
    show(false);
    end();
  }
  function run() {
    if (!runner.isRunning) return;
    goOn(1);
    if (isMore()) requestAnimationFrame(run);
    else stop();
  }
  button.addEventListener("click", () => {
    if (runner.isRunning) return stop();
    begin?.();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      goOn(most);
      return stop();
    }
    show(true);
    requestAnimationFrame(run);
  });
  return runner;
}

// Draw a line from an element to another one on its right, or to one below it, and return its ends
function placeLine(line, from, to, isTall = false) {
  const { left, top } = line.ownerSVGElement.getBoundingClientRect();
  const [begin, end] = [from, to].map((element) => element.getBoundingClientRect());
  const ends = [[begin, "right", "bottom"], [end, "left", "top"]].map(([box, side, edge]) =>
    isTall
      ? [box.left + box.width / 2 - left, box[edge] - top]
      : [box[side] - left, box.top + box.height / 2 - top],
  );
  const [[x1, y1], [x2, y2]] = ends;
  setAttributes(line, { x1, y1, x2, y2 });
  return ends;
}

// Show a weight by the width and the color of a line
function showWeight(line, weight, least, most, isUsed = false) {
  const sign = weight < 0 ? "negative" : "positive";
  const width = least + Math.min(Math.abs(weight), most);
  setAttributes(line, { "stroke-width": width, class: `edge ${sign}${isUsed ? " used" : ""}` });
}
