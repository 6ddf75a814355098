// For both kinds of page that show a network: its layers as cells, and its outputs.

const network = JSON.parse(byId("network").textContent);
network.members = network.members.map((parts) => parts.map((part) => readPart(part, network.dtype)));
const inside = [...network.members[0], ...network.after]; // the parts of the member whose layers are shown

// Colors: cividis, which becomes lighter from end to end, in gray and for all kinds of color vision too

const COLORS = [[0, 34, 78], [65, 77, 107], [124, 123, 120], [188, 175, 111], [254, 232, 56]];
const GRAYS = [[0, 0, 0], [255, 255, 255]];

function pickColor(colors, share) {
  const place = Math.min(Math.max(share, 0), 1) * (colors.length - 1);
  const k = Math.min(Math.floor(place), colors.length - 2);
  return colors[k].map((channel, c) => channel + (place - k) * (colors[k + 1][c] - channel));
}

// Draw numbers as an image on a canvas, a pixel for each, from `low` to `high`
function paint(canvas, values, height, width, low, high, colors = COLORS) {
  canvas.height = height;
  canvas.width = width;
  const image = new ImageData(width, height);
  values.forEach((value, k) => image.data.set([...pickColor(colors, (value - low) / (high - low)), 255], 4 * k));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// The layers

const activationParts = inside.flatMap((part, k) => (part.kind === "activation" ? [k] : []));

const largestOf = (values) => values.reduce((best, value, k) => (value > values[best] ? k : best), 0);
const sizeOf = (numbers) => numbers.reduce((size, value) => Math.max(size, Math.abs(value) || 0), 0);

// Round a size up to one of a few round numbers
function roundUp(size) {
  const power = 10 ** Math.floor(Math.log10(size));
  const ends = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((factor) => factor * power);
  return ends.find((end) => end >= size * (1 - 1e-9)) ?? size;
}

// Cells for a layer of hidden units: an element, and functions that show activations and set the ends of the colors
function makeLayer(number, part, units) {
  const canvas = make("canvas", { className: "cells", role: "img" });
  const [low, high] = [make("span"), make("span")];
  const readout = make("p", { className: "note readout" });
  const detail = make("span", {}, `${plural(units, "unit")}, ${part.label}`);
  const caption = make("figcaption", {}, `Hidden layer ${number} `, detail);
  const legend = make("div", { className: "legend" }, low, make("i"), high);
  const figure = make("figure", {}, caption, canvas, legend, readout);
  let [usual, most, isSigned, shown, hovered] = [0, 0, false, [], null];
  let [start, end] = [0, 1]; // of the colors
  let [columns, cell] = [1, 1]; // of cells, and the pixels of one

  function hover(unit) {
    hovered = unit < units ? unit : null; // beyond the last one, there is none
    const named = hovered ?? largestOf(shown);
    const text = hovered === null ? `largest: unit ${named},` : `unit ${named}:`;
    readout.textContent = `${text} ${format(shown[named])}`;
  }

  // As wide as the page, with cells that are squares of whole pixels
  function draw() {
    const available = canvas.parentElement.clientWidth || 300;
    cell = Math.max(3, Math.min(26, Math.floor(Math.sqrt((available * 110) / units))));
    columns = Math.min(units, Math.max(1, Math.floor(available / cell)));
    const ratio = window.devicePixelRatio || 1;
    for (const [side, cells] of [["width", columns], ["height", Math.ceil(units / columns)]]) {
      canvas[side] = cells * cell * ratio;
      canvas.style[side] = `${cells * cell}px`;
    }
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    const size = cell > 5 ? cell - 1 : cell; // with a gap
    shown.forEach((value, k) => {
      context.fillStyle = `rgb(${pickColor(COLORS, (value - start) / (end - start))})`;
      context.fillRect((k % columns) * cell, Math.floor(k / columns) * cell, size, size);
    });
  }

  canvas.addEventListener("pointermove", ({ offsetX, offsetY }) => {
    hover(Math.floor(offsetY / cell) * columns + Math.min(Math.floor(offsetX / cell), columns - 1));
  });
  canvas.addEventListener("pointerleave", () => hover(Infinity));
  new ResizeObserver(draw).observe(figure);

  // Set the usual end of the colors: the median over examples of their largest activation. With the largest of all,
  // most examples would be dark.
  function setUsual(examples) {
    const sizes = examples.map(sizeOf).sort((a, b) => a - b);
    usual = sizes[Math.ceil(sizes.length / 2) - 1] ?? 0;
    isSigned ||= examples.some((activations) => activations.some((value) => value < 0));
  }

  // Forget the activations of other inputs
  const restart = () => (most = usual);

  // The colors end at a round number, which grows when an activation exceeds it; 0 is their start, or in the middle
  function show(activations) {
    shown = Array.from(activations, (value) => (Number.isFinite(value) ? value : 0));
    most = Math.max(most, sizeOf(shown));
    isSigned ||= shown.some((value) => value < 0);
    end = most > 0 && Number.isFinite(most) ? roundUp(most) : 1;
    start = isSigned ? -end : 0;
    low.textContent = format(start, 2);
    high.textContent = format(end, 2);
    draw();
    hover(hovered ?? Infinity);
    canvas.setAttribute("aria-label", `Activations of hidden layer ${number}; ${readout.textContent}`);
  }

  byId("layers").append(figure);
  return { show, setUsual, restart };
}

const layers = activationParts
  .slice(0, -1)
  .map((place, l) => ({ place, ...makeLayer(l + 1, inside[place], network.sizes[l + 1]) }));

const restartColors = () => layers.forEach(({ restart }) => restart());

// The outputs

const isRegression = network.task === "regression";
const MOST_ROWS = 100;

// The values beside the labels: for a binary task, the probability of each of the two classes
const valuesOf = (outputs) => (network.task === "binary" ? [1 - outputs[0], outputs[0]] : Array.from(outputs));

// The number of the answer among the labels, as Network.predict has it; null if there is no single one
function answerOf(values) {
  if (network.task === "classification") return largestOf(values);
  return network.task === "binary" ? Number(values[1] > 0.5) : null;
}

const isShare = (network.task !== "classification" || network.adds_to_one) && !isRegression;
const show = (value) => (isShare ? percent(value) : format(value, isRegression ? 4 : 2));

// The answer in a few words, for the large line and for screen readers
function summarize(values) {
  const answer = answerOf(values);
  if (answer !== null) return [network.labels[answer], `${isShare ? "probability" : "output"} ${show(values[answer])}`];
  if (network.task === "multilabel") {
    return [network.labels.filter((_, k) => values[k] > 0.5).join(", ") || "none", "with a probability above 50 %"];
  }
  return values.length === 1 ? [show(values[0]), network.labels[0]] : ["", ""];
}

const rows = network.labels.slice(0, MOST_ROWS).map((label) => {
  const bar = make("b", { className: "bar" });
  const value = make("span", { className: "value" });
  const track = make("span", { className: "track" }, bar);
  const row = make("li", {}, make("span", { className: "label" }, label), track, value);
  return { row, bar, value };
});
byId("outputs").append(...rows.map(({ row }) => row));
byId("outputs").classList.toggle("numbers", isRegression);
byId("outputs").hidden = isRegression && network.labels.length === 1;

function showOutputs(outputs) {
  const values = valuesOf(outputs);
  const answer = answerOf(values);
  const [word, detail] = summarize(values);
  for (const id of ["verdict", "brief"]) byId(id)?.replaceChildren(make("strong", {}, word), ` ${detail}`);
  rows.forEach(({ row, bar, value }, k) => {
    row.classList.toggle("chosen", k === answer || (network.task === "multilabel" && values[k] > 0.5));
    bar.style.width = `${100 * Math.min(Math.max(values[k], 0), 1)}%`;
    value.textContent = show(values[k]);
  });
  if (word) announce(`The ${isRegression ? "output" : "answer"} is ${word}, ${detail}.`);
  else announce(`The outputs are ${values.slice(0, MOST_ROWS).map(show).join(", ")}.`);
}

// The output whose derivatives are shown: one that is chosen, or the answer

const target = byId("target");
if (answerOf(valuesOf(new Float64Array(network.sizes.at(-1)))) !== null) target.add(new Option("the answer", "answer"));
network.labels.forEach((label, k) => target.add(new Option(label, k)));

const chosenLabel = (outputs) => (target.value === "answer" ? answerOf(valuesOf(outputs)) : Number(target.value));

// Derivatives of the number beside a label with respect to the inputs
function derivativesOf(pass, label) {
  if (network.task !== "binary") return derivatives(network, pass, label);
  const row = derivatives(network, pass, 0);
  return label === 1 ? row : row.map((number) => -number);
}

// Compute the outputs for inputs, and show the layers; the page shows the rest
function showNetwork(x) {
  const pass = run(network, x);
  for (const { place, show } of layers) show(pass.steps[0][place + 1]);
  showOutputs(pass.outputs);
  return pass;
}

// A layer in a few words, such as "30 relu"
function describeLayer(part, units) {
  if (!isMeanStd(part)) return `${thousands(units)} ${part.label}`;
  if (units === 2) return "mean and standard deviation";
  return `${plural(units / 2, "mean")} and ${plural(units / 2, "standard deviation")}`;
}

const shape = activationParts.map((place, l) => describeLayer(inside[place], network.sizes[l + 1]));
shape.unshift(plural(network.sizes[0], "input"));
const members = network.members.length;
const each = members > 1 ? `${members} members, each ` : "";
byId("summary").textContent = `${each}${shape.join(" → ")} · ${thousands(network.parameters)} weights and biases`;
byId("inside-note").textContent = `These are the layers of the first of ${members} members.`;
byId("inside-note").hidden = members === 1;
byId("exactness").textContent =
  `Everything is computed in this page, with the weights of ${each ? "all members" : "the network"} (${network.dtype}) and in double precision. ` +
  "Nothing is loaded or sent." +
  (network.examples?.length ? " The examples are from MNIST, by LeCun, Cortes and Burges (CC BY-SA 3.0)." : "");
const notes = [
  [!isShare && !isRegression, "The largest output is the answer. The outputs need not add up to 1."],
  [network.task === "multilabel", "Labels are independent."],
  [members > 1, `The ${network.after.length ? "geometric mean" : "mean"} of ${members} members.`],
  [network.labels.length > MOST_ROWS, `The first ${MOST_ROWS} of ${thousands(network.labels.length)} are listed.`],
];
byId("outputs-note").textContent = notes.flatMap(([applies, text]) => (applies ? [text] : [])).join(" ");
