// A page for a network whose inputs are an image: the drawing area, and pictures of derivatives and weights.

const { height, width, white } = network.image;

// From strokes to pixels. A stroke is a list of points [x, y], from 0 to 1 across the drawing area.

// With these two, strokes are as thick and as soft as MNIST's: 8 % of all pixels are white, and 11 % gray
const PEN = 1.45; // half the width of a stroke, in pixels of an image of 28 × 28
const SOFT = 0.65; // pixels over which the edge of a stroke fades to either side
const BOX = 20; // MNIST's digits fit in a box of this size
const LARGEST_SCALE = 3; // of small drawings: a dot stays a dot

// With these two, as much of the image is white as of scikit-learn's digits, 30 %
const THICK = 0.65 / 8; // half the width of a stroke, as a share of the height or width of other images
const AREA_SOFT = 0.5; // so that a pixel is about as gray as the stroke covers of it

// The distance of a point from a line between two points
function distance(x, y, [x0, y0], [x1, y1]) {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const length = dx * dx + dy * dy;
  const along = length === 0 ? 0 : Math.min(Math.max(((x - x0) * dx + (y - y0) * dy) / length, 0), 1);
  return Math.hypot(x - x0 - along * dx, y - y0 - along * dy);
}

// Draw strokes, in pixels, as rows of numbers from 0 to 1 that fade at the edges
function render(strokes, rows, columns, pen, soft) {
  const pixels = new Float64Array(rows * columns);
  const reach = pen + soft;
  for (const stroke of strokes) {
    stroke.forEach((end, k) => {
      const start = stroke[Math.max(k - 1, 0)];
      const [left, right] = [Math.min(start[0], end[0]) - reach, Math.max(start[0], end[0]) + reach];
      const [top, bottom] = [Math.min(start[1], end[1]) - reach, Math.max(start[1], end[1]) + reach];
      for (let i = Math.max(0, Math.floor(top)); i < Math.min(rows, bottom); i++) {
        for (let j = Math.max(0, Math.floor(left)); j < Math.min(columns, right); j++) {
          const ink = (reach - distance(j + 0.5, i + 0.5, start, end)) / (2 * soft);
          pixels[i * columns + j] = Math.max(pixels[i * columns + j], Math.min(ink, 1));
        }
      }
    });
  }
  return pixels;
}

// The ends of the strokes: left, right, top, bottom
function findEnds(strokes) {
  const [xs, ys] = [strokes.flat().map(([x]) => x), strokes.flat().map(([, y]) => y)];
  return [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
}

// Move and scale strokes to fill a box with a margin for the pen, keeping their proportions
function fillBox(strokes, rows, columns, margin) {
  const [left, right, top, bottom] = findEnds(strokes);
  const scales = [(columns - 2 * margin) / (right - left), (rows - 2 * margin) / (bottom - top), LARGEST_SCALE];
  const scale = Math.min(...scales);
  const place = ([x, y]) => [columns / 2 + scale * (x - (left + right) / 2), rows / 2 + scale * (y - (top + bottom) / 2)];
  return strokes.map((stroke) => stroke.map(place));
}

// Draw strokes as MNIST prepared its digits: as large as fits in a box of 20 × 20 pixels, with their center of mass at
// the middle of the image. The pen has the same width whatever the size of the drawing.
function renderAsMnist(strokes) {
  const box = render(fillBox(strokes, BOX, BOX, PEN + SOFT), BOX, BOX, PEN, SOFT);
  let [mass, row, column] = [0, 0, 0];
  box.forEach((ink, k) => {
    mass += ink;
    row += ink * Math.floor(k / BOX);
    column += ink * (k % BOX);
  });
  // MNIST's images have their center of mass at the pixel (14, 14), counted from 0
  const shift = (sum) => Math.min(Math.max(Math.round(14 - sum / mass), 0), 28 - BOX);
  const [down, along] = [shift(row), shift(column)];
  const pixels = new Float64Array(28 * 28);
  box.forEach((ink, k) => (pixels[(down + Math.floor(k / BOX)) * 28 + along + (k % BOX)] = ink));
  return pixels;
}

// Slant strokes so that their leftmost points at the top and at the bottom are in one column, as in scikit-learn's
// digits, which NIST's programs prepared
function straighten(strokes) {
  const [, , top, bottom] = findEnds(strokes);
  const nearEdge = 0.06 * (bottom - top);
  const leftmost = (isNear) => Math.min(...strokes.flat().flatMap(([x, y]) => (isNear(y) ? [x] : [])));
  const lean = leftmost((y) => y >= bottom - nearEdge) - leftmost((y) => y <= top + nearEdge);
  const slope = Math.min(Math.max(lean / (bottom - top) || 0, -1), 1); // a dash has no height, and stays as it is
  return strokes.map((stroke) => stroke.map(([x, y]) => [x - slope * (y - top), y]));
}

// Draw strokes as scikit-learn's digits are: upright, and as high as the image, or as wide as 6 of its 8 pixels
function renderAsSmallDigit(strokes) {
  const inBox = fillBox(straighten(strokes), 8, 6, 8 * THICK);
  const centered = inBox.map((stroke) => stroke.map(([x, y]) => [x + 1, y]));
  return render(centered, 8, 8, 8 * THICK, AREA_SOFT);
}

// Draw strokes so that they fill the image
function renderLarge(strokes) {
  const size = Math.min(height, width);
  const pen = Math.min(Math.max(THICK * size, 0.5), size / 4); // at least half a pixel, even in tiny images
  return render(fillBox(strokes, height, width, pen), height, width, pen, AREA_SOFT);
}

// How drawings are prepared: as well-known images of this size were, if there are any
const [renderStrokes, howPrepared] = {
  "28 × 28": [renderAsMnist, "scaled and centered as MNIST's digits are"],
  "8 × 8": [renderAsSmallDigit, "scaled and slanted as scikit-learn's digits are"],
}[`${height} × ${width}`] ?? [renderLarge, "scaled to fill the image"];

// Turn strokes into the inputs of the network
function prepare(strokes) {
  if (strokes.length === 0) return new Float64Array(height * width);
  const inPixels = strokes.map((stroke) => stroke.map(([x, y]) => [x * width, y * height]));
  return renderStrokes(inPixels).map((ink) => white * ink);
}

// The drawing area

const pad = byId("pad");
const context = pad.getContext("2d");
pad.height = Math.round((pad.width * height) / width);
let strokes = [];
let example = null; // the pixels of an example, from 0 to 1, that takes the place of a drawing
let drawing = false; // whether the pointer or the keyboard is drawing the last stroke
let cursor = null; // where the pen of the keyboard is

function drawPad() {
  context.fillStyle = "#000";
  context.fillRect(0, 0, pad.width, pad.height);
  if (example) {
    const small = document.createElement("canvas");
    paint(small, example, height, width, 0, 1, GRAYS);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, 0, 0, pad.width, pad.height);
  }
  context.lineWidth = (2 * PEN * pad.width) / 28;
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  for (const stroke of strokes) {
    context.beginPath();
    for (const [x, y] of stroke) context.lineTo(x * pad.width, y * pad.height);
    if (stroke.length === 1) context.lineTo(stroke[0][0] * pad.width, stroke[0][1] * pad.height);
    context.stroke();
  }
  if (cursor) {
    context.beginPath();
    context.arc(cursor[0] * pad.width, cursor[1] * pad.height, context.lineWidth / 2, 0, 2 * Math.PI);
    context.lineWidth = 4;
    context.strokeStyle = drawing ? "#fee838" : "#8ab4f8";
    context.stroke();
  }
  byId("hint").hidden = strokes.length > 0 || example !== null || cursor !== null;
}

function startStroke(point) {
  if (example) [example, strokes] = [null, []];
  if (strokes.length === 0) beginImage();
  strokes.push([point]);
  drawing = true;
  update();
}

// The colors of the layers do not jump while one draws: they depend on the examples, and on this image
function beginImage() {
  if (examples.length) restartColors();
}

// Begin with the pixels of an example, or with nothing drawn
function showExample(pixels = null) {
  beginImage();
  [strokes, drawing, example] = [[], false, pixels];
  update();
}
const clip = (share, margin = 0) => Math.min(Math.max(share, margin), 1 - margin);

function placeOf(event) {
  const area = pad.getBoundingClientRect();
  return [clip((event.clientX - area.left) / area.width), clip((event.clientY - area.top) / area.height)];
}

pad.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  pad.setPointerCapture(event.pointerId);
  cursor = null;
  startStroke(placeOf(event));
});
pad.addEventListener("pointermove", (event) => {
  if (!drawing || cursor || !event.isPrimary) return;
  const events = event.getCoalescedEvents?.() ?? [];
  for (const each of events.length ? events : [event]) strokes.at(-1).push(placeOf(each));
  update();
});
pad.addEventListener("touchstart", (event) => event.preventDefault()); // no fling, in which a tap on Clear would be lost
pad.addEventListener("lostpointercapture", () => (drawing &&= cursor !== null));

// The keyboard: arrows move the pen, space lowers and lifts it

const STEP = 1 / 28;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

pad.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in ARROWS) {
    const [dx, dy] = ARROWS[event.key];
    cursor = cursor ? [clip(cursor[0] + dx * STEP, STEP), clip(cursor[1] + dy * STEP, STEP)] : [0.5, 0.5];
    if (drawing) strokes.at(-1).push(cursor);
    update();
  } else if (event.key === " ") {
    cursor ??= [0.5, 0.5];
    if (drawing) drawing = false;
    else startStroke(cursor);
    announce(drawing ? "Pen down." : "Pen up.");
    drawPad();
  } else if (event.key === "Delete" || event.key === "Backspace") showExample();
  else return;
  event.preventDefault(); // the page would scroll
});
pad.addEventListener("blur", () => {
  if (cursor) [cursor, drawing] = [null, false];
  drawPad();
});
byId("clear").addEventListener("click", () => showExample());

// Examples

const examples = network.examples.map(({ name, pixels }) => {
  const numbers = Float64Array.from(atob(pixels), (character) => character.charCodeAt(0) / 255);
  const picture = make("canvas", { className: "pixels" });
  paint(picture, numbers, height, width, 0, 1, GRAYS);
  const onclick = () => showExample(numbers);
  const properties = { type: "button", className: "example", "aria-label": `Example: ${name}`, onclick };
  byId("examples").append(make("button", properties, picture));
  return numbers;
});
byId("examples").hidden = examples.length === 0;

// The pictures

function describeInput() {
  if (example) return "An example from MNIST's test images.";
  if (strokes.length === 0) return "Nothing is drawn yet: all pixels are 0.";
  return `Your drawing, ${howPrepared}.`;
}

function showEffect(x, pass) {
  const label = chosenLabel(pass.outputs);
  const isProduct = byId("effect-kind").value === "product";
  const values = derivativesOf(pass, label).map((number, i) => (isProduct ? number * x[i] : number));
  const most = sizeOf(values);
  paint(byId("effect"), values, height, width, -(most || 1), most || 1);
  byId("effect-low").textContent = format(-most, 2);
  byId("effect-high").textContent = format(most, 2);
  const name = network.labels[label];
  const [kind, meaning] = isProduct
    ? ["Derivative times pixel", "times the pixel: how much the pixel adds, to first order. Black pixels add nothing."]
    : ["Derivative", "as net.jacobian() computes it: how much a slightly lighter pixel changes the output."];
  byId("effect").setAttribute("aria-label", `${kind} of output ${name}, as an image`);
  byId("effect-note").textContent = `The derivative of output ${name} with respect to each pixel, ${meaning}`;
}

// The weights of the first layer, an image for each hidden unit. The frames show the activations.

const FEW = 60;
const firstLayer = inside.find((part) => part.kind === "dense");
const units = network.sizes[1];
const tiles = [];

const sizes = Float64Array.from(firstLayer.w, Math.abs).sort();
const range = sizes[Math.floor(0.995 * (sizes.length - 1))] || 1;

function makeTiles(upTo) {
  for (let unit = tiles.length; unit < upTo; unit++) {
    const canvas = make("canvas", { className: "pixels", role: "img", "aria-label": `Weights of unit ${unit}` });
    const weights = firstLayer.w.subarray(unit * height * width, (unit + 1) * height * width);
    paint(canvas, weights, height, width, -range, range);
    byId("tiles").append(make("figure", { className: "tile" }, canvas, make("figcaption", {}, String(unit))));
    tiles.push(canvas);
  }
  byId("more").hidden = upTo === units;
  byId("more").textContent = `Show all ${thousands(units)}`;
}

makeTiles(Math.min(units, FEW));
byId("more").addEventListener("click", () => {
  makeTiles(units);
  update();
});
byId("weights-low").textContent = format(-range, 2);
byId("weights-high").textContent = format(range, 2);
byId("weights-note").textContent =
  `One image for each ${layers.length ? "hidden unit" : "output"}: light pixels excite it, dark ones inhibit it. ` +
  "The brighter the frame, the stronger the activation. " +
  `Weights beyond ±${format(range, 2)}, 0.5\u00a0% of them, have the colors of the ends.`;

function showFrames({ steps: [steps], outputs }) {
  const activations = steps[activationParts[0] + 1] ?? outputs;
  const most = sizeOf(activations) || 1;
  tiles.forEach((tile, unit) => {
    tile.style.borderColor = `rgb(${pickColor(COLORS, Math.max(activations[unit] / most, 0))})`;
  });
}

// All together

const scale = (pixels) => pixels.map((pixel) => white * pixel);
const inputsOf = () => (example ? scale(example) : prepare(strokes));

function updateNow() {
  const x = inputsOf();
  drawPad();
  paint(byId("input"), x, height, width, 0, white, GRAYS);
  byId("input-note").textContent = describeInput();
  byId("input").setAttribute("aria-label", `The image that the network sees. ${describeInput()}`);
  const pass = showNetwork(x);
  showEffect(x, pass);
  showFrames(pass);
}
const update = onceAFrame(updateNow);

byId("input-size").textContent = `${height} × ${width} pixels, from 0 (black) to ${Number(white.toPrecision(6))} (white)`;
for (const id of ["target", "effect-kind"]) byId(id).addEventListener("change", update);
const stepsOfExamples = examples.map((pixels) => forward(inside, scale(pixels)));
for (const { place, setUsual } of layers) setUsual(stepsOfExamples.map((steps) => steps[place + 1]));
if (examples.length) showExample(examples[3]);
else update();
