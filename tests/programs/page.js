// Run the script of a page without a browser: whatever it asks of the document answers everything.
//
// node page.js PAGE STATES [CODE]: for each state in a JSON file, prints what a function returns that runs in the page's
// script. Without one, a state is a row of inputs, or what is set for each column of a table, and printed are the inputs,
// the outputs and their derivatives.

const { readFileSync } = require("fs");

const [page, states] = process.argv.slice(2, 4).map((path) => readFileSync(path, "utf8"));
const [, network] = page.match(/<script type="application\/json" id="network">(.*?)<\/script>/s);
const [, script] = page.match(/<script>(.*?)<\/script>/s);

const SYMBOLS = { [Symbol.toPrimitive]: () => "", [Symbol.iterator]: () => [][Symbol.iterator]() };
const anything = new Proxy(function () {}, {
  get: (_, name) => (typeof name === "symbol" ? SYMBOLS[name] : name !== "disabled" && anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});
const getElementById = (id) => (id === "network" ? { textContent: network } : anything);
const document = new Proxy({ getElementById }, { get: (own, name) => own[name] ?? anything });
const GLOBALS = ["window", "parent", "location", "matchMedia", "addEventListener", "requestAnimationFrame", "getComputedStyle"];
const CLASSES = ["ResizeObserver", "Option", "ImageData"];

const ask = `(state) => {
  const x = typeof state[0] === "number" ? state : Array.from(encode(state));
  const pass = run(network, x);
  const outputs = Array.from(pass.outputs);
  return [x, outputs, outputs.map((_, k) => Array.from(derivatives(network, pass, k)))];
}`;
const names = [...GLOBALS, ...CLASSES];
const answer = new Function("document", ...names, `${script}\nreturn ${process.argv[4] ?? ask};`)(document, ...names.map(() => anything));
console.log(JSON.stringify(JSON.parse(states).map(answer)));
