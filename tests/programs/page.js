// Run the script of a page without a browser: whatever it asks of the document answers everything.
//
// node page.js PAGE STATES: for each state in a JSON file, which is a row of inputs, or what is set for each column of a
// table, prints the inputs, the outputs and their derivatives.

const { readFileSync } = require("fs");

const [page, states] = process.argv.slice(2).map((path) => readFileSync(path, "utf8"));
const [, network] = page.match(/<script type="application\/json" id="network">(.*?)<\/script>/s);
const [, script] = page.match(/<script>(.*?)<\/script>/s);

const SYMBOLS = { [Symbol.toPrimitive]: () => "", [Symbol.iterator]: () => [][Symbol.iterator]() };
const anything = new Proxy(function () {}, {
  get: (_, name) => (typeof name === "symbol" ? SYMBOLS[name] : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});
const getElementById = (id) => (id === "network" ? { textContent: network } : anything);
const document = new Proxy({ getElementById }, { get: (own, name) => own[name] ?? anything });
const GLOBALS = ["window", "parent", "location", "matchMedia", "addEventListener", "requestAnimationFrame"];
const CLASSES = ["ResizeObserver", "Option", "ImageData"];

const ask = `return (state) => {
  const x = typeof state[0] === "number" ? state : Array.from(encode(state));
  const pass = run(network, x);
  const outputs = Array.from(pass.outputs);
  return [x, outputs, outputs.map((_, k) => Array.from(derivatives(network, pass, k)))];
};`;
const names = [...GLOBALS, ...CLASSES];
const answer = new Function("document", ...names, `${script}\n${ask}`)(document, ...names.map(() => anything));
console.log(JSON.stringify(JSON.parse(states).map(answer)));
