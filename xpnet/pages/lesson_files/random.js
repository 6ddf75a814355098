// Random numbers as NumPy's default_rng draws them, so that a seed gives the network and the minibatches of xpnet.

const [LOW, WHOLE] = [(1n << 64n) - 1n, (1n << 128n) - 1n];
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;

// The generator PCG64 (O'Neill 2014), from its state and increment. NumPy makes those of a seed.
function makeGenerator([state, increment]) {
  let kept = null; // the upper half of the last number that only the lower half was needed of

  // A whole number of 64 bits
  function draw64() {
    state = (state * MULTIPLIER + increment) & WHOLE;
    const [folded, turn] = [(state >> 64n) ^ (state & LOW), state >> 122n];
    return ((folded >> turn) | (folded << (64n - turn))) & LOW;
  }

  function draw32() {
    const number = kept === null ? draw64() : kept;
    kept = kept === null ? number >> 32n : null;
    return Number(number & 0xffffffffn);
  }

  const drawShare = () => Number(draw64() >> 11n) / 2 ** 53; // in [0, 1)

  // A number of N(0, 1), by the ziggurat (Marsaglia and Tsang 2000): a random place in a random one of its layers
  function drawNormal() {
    for (;;) {
      const bits = draw64();
      const [layer, sign] = [Number(bits & 255n), bits & 256n ? -1 : 1];
      const place = (bits >> 9n) & ((1n << 52n) - 1n);
      const x = (Number(place) / 2 ** 52) * WIDTHS[layer];
      if (x < (layer ? WIDTHS[layer - 1] : EDGE) && layer !== 1) return sign * x; // below the curve in any case
      if (layer === 0) return (place & 256n ? -1 : 1) * drawTail();
      const [low, high] = [bell(WIDTHS[layer]), layer === 1 ? 1 : bell(WIDTHS[layer - 1])];
      if (low + (high - low) * drawShare() < bell(x)) return sign * x;
    }
  }

  function drawTail() {
    for (;;) {
      const [beyond, height] = [-Math.log1p(-drawShare()) / EDGE, -Math.log1p(-drawShare())];
      if (2 * height > beyond * beyond) return EDGE + beyond;
    }
  }

  // The numbers from 0 to n − 1 in random order
  function permute(n) {
    const order = Array.from({ length: n }, (_, k) => k);
    for (let k = n - 1; k > 0; k--) {
      const mask = 2 ** (32 - Math.clz32(k)) - 1;
      let other = draw32() & mask;
      while (other > k) other = draw32() & mask;
      [order[k], order[other]] = [order[other], order[k]];
    }
    return order;
  }

  return { drawNormal, permute };
}

// The ziggurat: layers of the same area below the bell curve. The lowest one, 0, has the tail beyond the edge as well.
const EDGE = 3.6541528853610088;
const AREA = 0.00492867323397466;
const bell = (x) => Math.exp(-0.5 * x * x);
const WIDTHS = Array(256).fill(AREA / bell(EDGE));
WIDTHS[255] = EDGE;
for (let k = 255; k > 1; k--) WIDTHS[k - 1] = Math.sqrt(-2 * Math.log(AREA / WIDTHS[k] + bell(WIDTHS[k])));
