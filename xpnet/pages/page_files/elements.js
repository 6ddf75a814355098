// For all pages: elements, numbers, fields, and announcements to screen readers.

const byId = (id) => document.getElementById(id);

// Make an element with properties, attributes that have a hyphen, and children
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

// What the address asks for, after "#"
const readAddress = () => new URLSearchParams(location.hash.slice(1));

// For a frame in another page, page.html#compact leaves out some parts, as page.css says, and tells the other page how
// high it is, so that nothing has to scroll in the frame. The other page may answer with a theme: light, dark or auto.
const isCompact = readAddress().has("compact");
if (isCompact) {
  document.documentElement.classList.add("compact");
  const tellHeight = () => {
    const height = Math.ceil(document.body.getBoundingClientRect().height);
    if (height !== innerHeight) parent.postMessage({ height }, "*");
  };
  new ResizeObserver(tellHeight).observe(document.body);
  addEventListener("message", ({ source, data }) => {
    if (source !== parent || !data.theme) return;
    document.documentElement.dataset.theme = data.theme;
    tellHeight(); // again, as the other page may have begun to listen after the first time
  });
}

// Numbers

function format(number, digits = 3) {
  if (!Number.isFinite(number)) return Number.isNaN(number) ? "not a number" : number > 0 ? "∞" : "−∞";
  const size = Math.abs(number);
  if (size === 0) return "0";
  if (size < 1e-4 || size >= 1e7) return number.toExponential(digits - 1).replaceAll("-", "−");
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return number.toFixed(Math.min(places, 8)).replace("-", "−");
}

// As a power of ten, in few characters
const writePower = (number, places) => number.toExponential(places).replace("+", "").replaceAll("-", "−");

const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;
const thousands = (number) => number.toLocaleString("en");
const plural = (number, word) => `${thousands(number)} ${word}${number === 1 ? "" : "s"}`;

// Few digits, as the number is in a small field; the number itself stays exact
function round(number, digits = 4) {
  return Number(number.toPrecision(digits));
}

// A number with few digits, and without zeros at its end
function shorten(number, digits = 4) {
  const [size, rounded] = [Math.abs(number), round(number, digits)];
  return size !== 0 && (size < 1e-4 || !(size < 1e7)) ? format(number, digits) : String(rounded).replace("-", "−");
}

// A field for a number, used while it is typed. A text, nothing, or a number beyond the ends is marked, and the element
// `note`, if there is one, says so of what has that `name`; the number from before stays in force.
function makeField(label, value, use, { digits = 4, note = null, name = label, ...ends } = {}) {
  const shown = { "aria-label": label, value: round(value, digits) };
  const field = make("input", { type: "number", step: "any", ...ends, ...shown });
  let [kept, used] = [value, value];
  const isGood = () => field.validity.valid && field.value !== "";
  const mark = (isBad) => field.setAttribute("aria-invalid", String(isBad));
  const apply = (number) => {
    if (number !== used) use((used = number));
  };
  field.addEventListener("input", () => {
    mark(!isGood());
    apply(isGood() ? field.valueAsNumber : kept);
    if (!note) return;
    const text = () => `${name} must be a number from ${shorten(ends.min)} to ${ends.max}; it stays ${shorten(kept)}.`;
    note.textContent = isGood() ? "" : text();
  });
  // Show a number that was not typed here
  field.show = (number) => {
    kept = used = number;
    field.value = round(number, digits);
    mark(false);
  };
  field.addEventListener("change", () => {
    if (isGood()) kept = used;
    else field.show(kept);
  });
  return field;
}

// A slider whose arrow keys move it by a small part of its length
function makeSlider({ min, max, ...others }) {
  return make("input", { type: "range", min, max, step: (max - min) / 200, ...others });
}

// Run a function once when the next frame is drawn, however often it is requested
function onceAFrame(run) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      run();
    });
  };
}

// Announce a text to screen readers, once the input has not changed for a while
let waiting = null;
function announce(text) {
  clearTimeout(waiting);
  waiting = setTimeout(() => (byId("live").textContent = text), 700);
}
