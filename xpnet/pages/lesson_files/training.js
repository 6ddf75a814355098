// Training, for the lessons: costs of an output, and forward, BP1 and BP2 for one example.

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
  return { z, a, delta, cost: outputs.reduce((sum, output) => sum + cost.value(...output), 0) };
}
