// The network: its parts, each with its value and its pullback, as in xpnet's core. All numbers are float64.

const sigmoid = (z) => {
  const e = Math.exp(Math.min(z, 88));
  return e / (1 + e);
};

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const averageOf = (items, numberOf) => items.reduce((total, item) => total + numberOf(item), 0) / items.length;

const softplus = (z) => Math.max(z, 0) + Math.log1p(Math.exp(-Math.abs(z)));

// The distribution function of the normal distribution; core/activations.py has the formula and these numbers
const TAIL = [
  -3.2894545994837916e-9, 7.997534951426974e-9, 1.9926066795800325e-8, -7.832087134386501e-8, -2.1902871043576377e-8,
  4.127943476101898e-7, -3.472560015119601e-7, -1.606199677646622e-6, 3.2945159613259524e-6, 5.363746660293245e-6,
  -2.159770229742667e-5, -1.9150916560726508e-5, 0.00013618812296753056, 0.0001271462867731381, -0.0009111717661670797,
  -0.0018503482350916377, 0.004973666459483434, 0.033157408202727064, 0.09012141996796257, 0.16158909030109744,
  0.2126903072674109,
];

function normalCdf(x) {
  const t = 3.5 / (3.5 + Math.abs(x));
  const q = TAIL.reduce((sum, coefficient) => sum * (2 * t - 1) + coefficient, 0);
  const tail = Math.exp(-0.5 * x * x) * t * q;
  return x < 0 ? tail : 1 - tail;
}

const geluTanh = (z) => Math.tanh(Math.sqrt(2 / Math.PI) * (z + 0.044715 * z ** 3));

// Activations of single numbers: value(z, ...numbers), and slope(z, a, ...numbers) = σ′(z)
const ACTIVATIONS = {
  sigmoid: { value: sigmoid, slope: (z, a) => a - a * a },
  tanh: { value: Math.tanh, slope: (z, a) => 1 - a * a },
  relu: { value: (z) => Math.max(z, 0), slope: (z) => (z > 0 ? 1 : 0) },
  identity: { value: (z) => z, slope: () => 1 },
  leaky_relu: { value: (z, slope) => Math.max(z, slope * z), slope: (z, a, slope) => (z > 0 ? 1 : slope) },
  elu: {
    value: (z, alpha, scale) => scale * (Math.max(z, 0) + alpha * Math.expm1(Math.min(z, 0))),
    slope: (z, a, alpha, scale) => scale * (z > 0 ? 1 : alpha * Math.exp(z)),
  },
  softplus: { value: softplus, slope: sigmoid },
  silu: { value: (z) => z * sigmoid(z), slope: (z, a) => sigmoid(z) + a * (1 - sigmoid(z)) },
  gelu: {
    value: (z) => z * normalCdf(z),
    slope: (z) => normalCdf(z) + (z * Math.exp(-0.5 * z * z)) / Math.sqrt(2 * Math.PI),
  },
  gelu_tanh: {
    value: (z) => 0.5 * z * (1 + geluTanh(z)),
    slope: (z) => {
      const t = geluTanh(z);
      return 0.5 * (1 + t + z * (1 - t * t) * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * z * z));
    },
  },
  exp: { value: Math.exp, slope: (z, a) => a },
};

// Activations that mix the units of a layer: value(z) and pullBack(g, z, a) = gᵀ ∂a/∂z
const MIXING = {
  softmax: {
    value(z) {
      const largest = z.reduce((most, number) => Math.max(most, number), -Infinity);
      const e = z.map((number) => Math.exp(number - largest));
      const total = sum(e);
      return e.map((number) => number / total);
    },
    pullBack(g, z, a) {
      const mean = sum(a.map((share, k) => share * g[k]));
      return a.map((share, k) => share * (g[k] - mean));
    },
  },
  mean_std: {
    // The first half of the units are means, the second half standard deviations
    value: (z) => z.map((number, k) => (2 * k < z.length ? number : Math.sqrt(softplus(number) + 1e-6))),
    pullBack: (g, z, a) => g.map((number, k) => (2 * k < z.length ? number : (number * 0.5 * sigmoid(z[k])) / a[k])),
  },
};

// What each kind of part does to its inputs x, and how it takes a gradient g back from its outputs y to its inputs
const PARTS = {
  scale: {
    value: (part, x) => x.map((number) => part.factor[0] * number),
    pullBack: (part, g) => g.map((number) => part.factor[0] * number),
  },
  standardize: {
    value: (part, x) => x.map((number, i) => (number - part.mean[i]) / part.std[i]),
    pullBack: (part, g) => g.map((number, i) => number / part.std[i]),
  },
  dense: {
    value({ w, b }, x) {
      let k = 0;
      return Float64Array.from(b, (bias) => {
        let total = 0;
        for (let i = 0; i < x.length; i++, k++) total += w[k] * x[i];
        return bias + total;
      });
    },
    pullBack({ w }, g, x) {
      const back = new Float64Array(x.length);
      g.forEach((own, j) => {
        if (own === 0) return; // as of half of the units with ReLU
        for (let i = 0, k = j * x.length; i < x.length; i++, k++) back[i] += own * w[k];
      });
      return back;
    },
  },
  activation: {
    value(part, z) {
      if (part.name in MIXING) return MIXING[part.name].value(z);
      const { value } = ACTIVATIONS[part.name];
      return z.map((number) => value(number, ...part.numbers));
    },
    pullBack(part, g, z, a) {
      if (part.name in MIXING) return MIXING[part.name].pullBack(g, z, a);
      const { slope } = ACTIVATIONS[part.name];
      return g.map((number, k) => number * slope(z[k], a[k], ...part.numbers));
    },
  },
  rescale: {
    value: (part, x) => x.map((number, k) => part.factor[k] * number + part.shift[k]),
    pullBack: (part, g) => g.map((number, k) => number * part.factor[k]),
  },
  sort: {
    value: (part, x) => Float64Array.from(orderOfQuantiles(part, x), (from) => x[from]),
    pullBack(part, g, x) {
      const back = new Float64Array(g.length);
      orderOfQuantiles(part, x).forEach((from, k) => (back[from] = g[k]));
      return back;
    },
  },
};

const EXACT = new Set(["standardize", "rescale"]); // parts whose numbers are float64 in every network

// For each sorted quantile, the output that it is: those of a target are every `targets`-th
function orderOfQuantiles(part, x) {
  const order = [];
  const targets = x.length / part.levels.length;
  for (let target = 0; target < targets; target++) {
    const own = Array.from(part.levels, (_, k) => k * targets + target).sort((j, k) => x[j] - x[k]);
    own.forEach((from, k) => (order[k * targets + target] = from));
  }
  return order;
}

// Read the arrays of a part, which the page holds as texts in base64
function readPart(part, dtype) {
  const Numbers = dtype === "float32" && !EXACT.has(part.kind) ? Float32Array : Float64Array;
  const read = (text) => new Numbers(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
  const arrays = Object.entries(part.arrays ?? {}).map(([name, text]) => [name, read(text)]);
  return { ...part, ...Object.fromEntries(arrays) };
}

// Compute what goes into each part, and, as the last of the list, the outputs
function forward(parts, x) {
  const steps = [Float64Array.from(x)];
  for (const part of parts) steps.push(PARTS[part.kind].value(part, steps.at(-1)));
  return steps;
}

// Take the gradient g with respect to the outputs back: to what goes into each part, and, as the first of the list, to
// the inputs
function pullBack(parts, steps, g) {
  const gradients = [g];
  for (let k = parts.length - 1; k >= 0; k--) {
    gradients.unshift(PARTS[parts[k].kind].pullBack(parts[k], gradients[0], steps[k], steps[k + 1]));
  }
  return gradients;
}

const isMeanStd = (part) => part.name === "mean_std"; // the first half of the outputs are means

// Run the members of an ensemble, or a network by itself: the steps of each, the mean of their outputs, and what is
// computed `after` it: the last activation, if probabilities are calibrated. Standard deviations are joined with the
// variance of the means.
function run({ members, after }, x) {
  const steps = members.map((parts) => forward(parts, x));
  const joined = steps[0].at(-1).map((_, k) => averageOf(steps, (own) => own.at(-1)[k]));
  if (members.length > 1 && members[0].some(isMeanStd)) {
    const targets = joined.length / 2;
    for (let k = targets; k < joined.length; k++) {
      const mean = joined[k - targets];
      joined[k] = Math.sqrt(averageOf(steps, (own) => own.at(-1)[k] ** 2 + (own.at(-1)[k - targets] - mean) ** 2));
    }
  }
  const last = forward(after, joined);
  return { steps, last, outputs: last.at(-1) };
}

// Derivatives of an output with respect to all inputs: a row of the Jacobian
function derivatives({ members, after }, { steps, last, outputs }, output) {
  const [g] = pullBack(after, last, outputs.map((_, k) => (k === output ? 1 : 0)));
  const mean = output - outputs.length / 2; // of a standard deviation
  const isJoined = members.length > 1 && members[0].some(isMeanStd) && mean >= 0;
  const rows = members.map((parts, m) => {
    const own = steps[m].at(-1);
    if (isJoined) {
      g[output] = own[output] / outputs[output];
      g[mean] = (own[mean] - outputs[mean]) / outputs[output];
    }
    return pullBack(parts, steps[m], g)[0];
  });
  return rows[0].map((_, i) => averageOf(rows, (row) => row[i]));
}
