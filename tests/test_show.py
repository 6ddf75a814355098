"""The page that shows a network, and lessons: files, what scripts compute, and what a learner does in a browser."""

import base64
import hashlib
import json
import re
import subprocess
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from browser import open_browser
from drawings import STROKES, draw, touch
from helpers import Place, run_command
from PIL import Image
from programs.exports import NODE, outputs_of

from xpnet import Ensemble, Network, OneCycle
from xpnet.activations import Activation
from xpnet.core.activations import ACTIVATIONS
from xpnet.export import make_page, write_lesson, write_page
from xpnet.pages._lessons import LESSONS, PLANES, make_examples
from xpnet.pages._page import describe_network
from xpnet.tables.columns import Bins, CategoryColumn, DateColumn, NumberColumn, name_inputs, to_plain

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

ROOT = Path(__file__).parents[1]
COLUMNS = (
    CategoryColumn("sex", ("f", "m"), True, False),
    NumberColumn("bill", 40.0, True),
    DateColumn("seen", 17500.0, False, Bins(1000.0, (14e3, 17e3, 18e3, 21e3)), waves=("year", "day")),
    NumberColumn("area", 30.0, True, Bins(12.0, (5.0, 20.0, 30.0, 80.0))),
)
PAGES = {
    "drawing": Network([784, 30, 10], seed=0),
    "small": Network([64, 5, 10], scale=1 / 16, seed=0),
    "sliders": Network([5, 6, 3], task="classification", seed=0),
    "band": Network([1, 8, 4], cost="gaussian", seed=0),
    "columns": Network([len(name_inputs(COLUMNS)), 8, 1], task="regression", seed=0),
}
PAGES["columns"].feature_names = name_inputs(COLUMNS)
PAGES["columns"].notes = {"columns": to_plain(COLUMNS), "importances": {"bill": [0.1, 0.2], "area": [0.5, 0.1]}}
SUBJECTS = ["drawing", "small", "sliders", *LESSONS]


def write(subject, path):
    """Write the page of a network, or of that name, and return its text."""
    if subject in LESSONS:
        write_lesson(subject, path)
    else:
        net = PAGES[subject] if isinstance(subject, str) else subject
        write_page(net, path, image=(8, 8) if net.sizes[0] == 64 else None)
    return path.read_text(encoding="utf-8")


def read_network(page):
    """The network in a page, as plain values."""
    return json.loads(re.search(r'id="network">(.*?)</script>', page, re.DOTALL)[1], parse_constant=pytest.fail)


# The file


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_page_is_one_small_file_that_asks_for_nothing_and_whose_policy_allows_its_own_script(subject, tmp_path):
    page = write(subject, tmp_path / "page.html")
    assert len(page) < 250_000
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name in ("script", "style"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    # the name of SVG is no address that anybody visits, and lines of Python are shown
    page = re.sub(r'http://www.w3.org/2000/svg|"(?:from [\w.]+ )?import [\w ]+"', "", page)
    assert re.findall(r"\b(?:src|href)=(\S+)", page) == ['"data:,">']
    assert not re.search(r"https?:|@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\b|\beval\(|Function\(| style=", page)


def test_names_cannot_end_the_script_or_begin_another():
    name = "</script><script>alert(1)</script><!-- {{script}} \u2028 \ud800"
    net = Network([2, 3], task="classification", seed=0)
    net.feature_names, net.notes = [name, "b"], {"labels": ["a", name, "c"]}
    page = make_page(net, title=name)
    assert page.count("<script") == page.count("</script") == 2
    assert "<!-- " not in page
    network = read_network(page)
    assert ([field["name"] for field in network["fields"]], network["labels"]) == ([name, "b"], ["a", name, "c"])
    assert unescape(re.search("<h1>(.*?)</h1>", page)[1]) == name


def test_a_page_is_the_same_wherever_the_network_is(place: Place, dtype):
    net = Network([4, 3, 2], standardize=True, task="regression", dtype=dtype, dropout=0.5, seed=0, **place._asdict())
    net.train(([[1, 2, 3, 4], [5, 7, 6, 9]], [[1, 2], [3, 5]]), epochs=1, progress=False)
    page = make_page(net)
    assert page == make_page(net.to("numpy"))
    w = np.frombuffer(base64.b64decode(read_network(page)["members"][0][1]["arrays"]["w"]), dtype)
    np.testing.assert_array_equal(w, net.backend.to_numpy(net.w[0]).ravel())


def standardized(n, x):
    """A network that has learnt the means and standard deviations of some inputs."""
    net = Network([n, 1], standardize=True, task="regression", seed=0)
    return net.train((x, np.arange(len(x))), epochs=1, progress=False) and net


def noted(n_out, notes, **arguments):
    net = Network([2, n_out], **arguments)
    net.notes = notes
    return net


PIXELS = np.random.default_rng(0).integers(0, 2, (20, 784))


@pytest.mark.parametrize(
    ("net", "options", "key", "expected"),
    [
        (Network([784, 10]), {}, "image", {"height": 28, "width": 28, "white": 1.0}),
        (Network([784, 10]), {"image": False}, "image", None),
        (Network([12, 10]), {"image": (3, 4), "white": 16}, "image", {"height": 3, "width": 4, "white": 16.0}),
        (Network([784, 10], scale=1 / 255), {}, "image", {"height": 28, "width": 28, "white": 255.0}),
        (standardized(784, PIXELS * 16), {}, "image", {"height": 28, "width": 28, "white": 16.0}),
        (standardized(784, PIXELS * 2 - 1), {}, "image", {"height": 28, "width": 28, "white": 1.0}),  # black is not 0
        (Network([2, 1], standardize=True), {}, "ranges", [[-3, 3], [-3, 3]]),  # nothing is learnt yet
        (standardized(2, [[1, 10], [3, 10]]), {}, "ranges", [[-1, 5], [7, 13]]),  # a constant's deviation is 1
        (Network([2, 1], scale=0.5), {}, "ranges", [[-6, 6], [-6, 6]]),
        (Network([2, 1], scale=1e-308, dtype="float64"), {}, "ranges", [[-1e307, 1e307]] * 2),  # JSON has no infinity
        (noted(3, {}), {}, "labels", ["0", "1", "2"]),
        (noted(2, {"labels": ["red", "round"]}, task="multilabel"), {}, "labels", ["red", "round"]),
        (noted(2, {"labels": ["only one"]}, task="classification"), {}, "labels", ["0", "1"]),
        (noted(1, {"labels": ["no", "yes"]}, task="binary"), {}, "labels", ["no", "yes"]),
        (noted(1, {"target": "price"}, task="regression"), {}, "labels", ["price"]),
        (noted(2, {"target": "price"}, task="regression"), {}, "labels", ["output 0", "output 1"]),
        (
            noted(2, {"target": "price"}, cost="gaussian"),
            {},
            "labels",
            ["mean of price", "standard deviation of price"],
        ),
        (
            noted(4, {}, cost="quantile(0.1, 0.9)"),
            *({}, "labels"),
            [f"quantile {level} of output {k}" for level in (0.1, 0.9) for k in (0, 1)],
        ),
    ],
)
def test_a_page_describes_inputs_and_outputs(net, options, key, expected):
    network = read_network(make_page(net, **options))
    network["ranges"] = [field["range"] for field in network.get("fields", [])]
    assert network.get(key) == expected


own = Activation("bump", lambda z, xp: z / (1.0 + z * z), lambda g, z, a, xp: g)
SIZE = r"image={} must be the height and the width of an image in pixels, as"


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (3, {}, "net must be a Network or an Ensemble, not of type int"),
        (Network([2, 1]), {"title": 3}, "title=3 must be a text"),
        (
            Network([3, 4, 2], activation=own),
            {},
            r"activation='bump' is your own, and a page cannot compute it; it has",
        ),
        (Network([3, 2]), {"image": (2, 2)}, r"image=\(2, 2\) has 4 pixels, but the network has 3 inputs; they must"),
        (Network([3, 2]), {"image": (3,)}, SIZE.format(r"\(3,\)")),
        (Network([3, 2]), {"image": True}, SIZE.format("True")),
        (Network([3, 2]), {"image": (-3, -1)}, SIZE.format(r"\(-3, -1\)")),
        (Network([3, 2]), {"image": (3, 1), "white": 0}, r"white=0 must be a finite number above 0; 1 is usual, and"),
        (Network([3, 2]), {"white": 255}, "white=255 is for images, but the inputs are not an image; leave it out, or"),
        ("stap", {}, r"lesson='stap' is unknown; choose from 'step', .* \(did you mean 'step'\?\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_file_stays(net, options, message, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises((TypeError, ValueError), match=message):
        (write_lesson if isinstance(net, str) else write_page)(net, path, **options)
    assert path.read_text() == "before"


@pytest.mark.slow
def test_a_network_of_many_weights_is_refused(tmp_path):
    with pytest.raises(ValueError, match="net has 134,381,600 bytes of weights, but a page holds at most 134,217,728;"):
        write_page(Network([4096, 8200], init="zeros"), tmp_path / "page.html")


def test_the_examples_of_the_plane_have_names():
    X, y = make_examples("exclusive_or")
    np.testing.assert_array_equal(X.prod(axis=1) < 0, y.ravel() == 1)
    with pytest.raises(ValueError, match=r"name='spirals' is unknown; .* \(did you mean 'spiral'\?\)"):
        make_examples("spirals")


def test_the_command_writes_pages(capsys, tmp_path):
    model, page = tmp_path / "digits.safetensors", tmp_path / "page.html"
    Network([784, 5, 10], seed=0).save(model)
    status, out, err = run_command(capsys, "show", model, "-o", page)
    assert (status, err) == (0, "")
    assert out == [
        f"Wrote {page}; open it in a browser",
        "Inputs are images of 28x28 pixels from 0 (black) to 1 (white; change it by --white)",
    ]
    assert "<h1>digits.safetensors</h1>" in page.read_text(encoding="utf-8")
    Ensemble([784, 5, 10], 3, seed=0).save(model)
    status, out, _ = run_command(capsys, "show", model, "--out", page, "--image", "56x14", "--white", "16")
    assert (status, "images of 56x14 pixels from 0 (black) to 16 (white;" in out[-1]) == (0, True)
    network = read_network(page.read_text(encoding="utf-8"))
    assert (len(network["members"]), network["image"]) == (3, {"height": 56, "width": 14, "white": 16.0})
    for name in LESSONS:
        assert run_command(capsys, "show", "--lesson", name, "-o", page)[1] == [f"Wrote {page}; open it in a browser"]
        assert page.read_text(encoding="utf-8") == write(name, tmp_path / "expected.html")
    for words, message in (
        (["show", model], "the following arguments are required: -o/--out"),
        (["show", model, "--lesson", "step", "-o", "p.html"], "show needs either MODEL, a file written by train"),
    ):
        status, out, err = run_command(capsys, *words)
        assert (status in (1, 2), out, len(err.splitlines()), message in err) == (True, [], 1, True), err


# What the scripts compute, without a browser. Each case has a page, a function in JavaScript that runs in its script,
# arguments, what it must return for each of them, and bounds on relative and absolute differences.

COMPUTE = """([network, rows, isSlope, unit = 1]) => {
  const members = network.members.map((parts) => parts.map((part) => readPart(part, network.dtype)));
  const read = { ...network, members };
  return rows.map((row) => {
    const pass = run(read, row);
    const numbers = Array.from(pass.outputs).map((output, k) => (isSlope ? [...derivatives(read, pass, k)] : output));
    return numbers.flat().map((number) => number / unit);
  });
}"""


def differentiate(f, x):
    """Derivatives by differences of the fourth order, to 1e-10 of the largest."""
    sides = [(f(x + h) - f(x - h), f(x + 2 * h) - f(x - 2 * h)) for h in 0.02 * np.eye(x.shape[1])]
    return np.stack([(8 * near - far) / 0.24 for near, far in sides], axis=2)


def networks():
    """Outputs and derivatives, as shares of the largest: of every task, and of ensembles."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(50, 10, (40, 5)), rng.integers(0, 2, (40, 2))
    models = [Network([5, 6, 2], activation="silu", scale=1 / 64, seed=1)]
    tasks = [({"cost": "gaussian"}, 4), ({"cost": "quantile(0.1, 0.5, 0.9)"}, 6)]
    for task, n_out in [*tasks, ({"task": "classification"}, 3), ({"task": "binary"}, 1)]:
        options = {"activation": "tanh", "standardize": True, "dtype": "float64", **task}
        members = [Network([5, 6, n_out], seed=k, **options) for k in range(3)]
        for k, net in enumerate(members):
            net.train((x[k::3], y[k::3, 0] if "task" in task else y[k::3]), epochs=1, progress=False)
        models += [members[0], Ensemble.of(members)]
        if "task" in task:
            models[-1].calibrate((x, y[:, 0]))
    large = models[-4].copy()  # z whose exponential is infinite
    large.b = [large.b[0], large.b[1] + 800]
    x, arguments, expected = x[:4], [], []
    for model in [*models, large]:
        net = model.to(dtype="float64")
        is_exact = isinstance(net, Network) and not net.value.model.cost.levels
        slopes = net.jacobian(x) if is_exact else differentiate(lambda x, net=net: outputs_of(net, x), x)
        for is_slope, right in enumerate((outputs_of(net, x), slopes.reshape(4, -1))):
            unit = np.abs(right).max() * (10 if is_slope and not is_exact else 1)
            arguments.append([describe_network(model, None), x.tolist(), is_slope, unit])
            expected.append(right / unit)
    return PAGES["sliders"], COMPUTE, arguments, expected, 0, 1e-11


def activations():
    """Values and slopes of large and small numbers."""
    z, arguments, expected = np.concatenate([np.linspace(-80, 80, 161), np.linspace(-1, 1, 41)])[:, None], [], []
    for name in [*ACTIVATIONS.keys() - {"softmax"}, "leaky_relu(0.1)", "elu(0.5, 1.5)"]:
        net = Network([1, 1], output_activation=name, dtype="float64", init="zeros")
        net.w = [[[1.0]]]
        arguments += [[describe_network(net, None), z.tolist(), is_slope] for is_slope in (False, True)]
        expected += [net.forward(z), net.jacobian(z)[:, 0]]
    return PAGES["sliders"], COMPUTE, arguments, expected, 1e-11, 1e-15


def columns():
    """Derivatives with respect to columns with waves and bins are those of differences of the page's outputs."""
    code = """(values) => [2, 3].map((k) => {
      const before = [0, 0, ...values].map((value) => ({ value, missing: false }));
      const outputOf = (move) => run(network, encode(change(before, k, before[k].value + move))).outputs[0];
      network.rounds = false;
      const row = derivativesOf(run(network, encode(before)), 0);
      return slopeOf(row, before, k) - (outputOf(1e-5) - outputOf(-1e-5)) / 2e-5;
    })"""
    return "columns", code, [[18500.25, 20.5], [17000.6, 33], [20000.1, 7]], np.zeros((3, 2)), 0, 1e-7


def move_strokes(strokes, size, left, top):
    return [[(left + size * x, top + size * y) for x, y in stroke] for stroke in strokes]


def drawings():
    """Strokes become images as MNIST's are: as large as 20 x 20 pixels, with the center of mass in the middle."""
    code = """(strokes) => {
      const [image, ink] = [prepare(strokes), Array.from({ length: 28 }, (_, k) => k)];
      const columns = ink.map((j) => sum(ink.map((i) => image[28 * i + j])));
      const lines = [ink.map((i) => sum(image.slice(28 * i, 28 * i + 28))), columns];
      const long = Math.max(...lines.map((line) => line.filter(Boolean).length));
      const far = lines.map((line) => Math.abs(sum(line.map((own, k) => own * k)) / sum(line) - 14));
      return [long >= 18 && long <= 20, Math.max(...far) <= 0.5 + 1e-9, Math.max(...image)].map(Number);
    }"""
    small = [move_strokes(strokes, 0.3, 0.6, 0.1) for strokes in STROKES.values()]
    return PAGES["drawing"], code, small, np.ones((10, 3)), 0, 1e-9


def small_drawings():
    """In any place, as much of an image is white as of scikit-learn's digits, and a slanted 1 is upright."""
    code = """(drawings) => {
      const images = drawings.map(prepare);
      const [first, last] = [0, 7].map((row) => images[1].slice(8 * row, 8 * row + 8).indexOf(Math.max(...images[1])));
      return [sum(images.map(sum)) / (640 * white), first - last];
    }"""
    places = [(1, 0, 0), (0.5, 0.4, 0.1)]
    drawn = [[move_strokes(strokes, *place) for strokes in STROKES.values()] for place in places]
    return "small", code, drawn, [[0.3, 0]] * 2, 0, 0.03


def random_numbers():
    """Of so many numbers, some are in the tails."""
    code = """([seed, n]) => {
      const { drawNormal, permute } = makeGenerator(start.seeds[seed].map(BigInt));
      return [...permute(7), ...Array.from({ length: n }, drawNormal), ...permute(n), ...permute(2)];
    }"""
    arguments = [[0, 15000], [9, 3000]]
    expected = []
    for seed, n in arguments:
        rng = np.random.default_rng(seed)
        expected.append([*rng.permutation(7), *rng.standard_normal(n), *rng.permutation(n), *rng.permutation(2)])
    return "plane", code, arguments, expected, 1e-12, 0


def planes():
    """Costs, weights and pictures after nine epochs, with each activation, cost, choice of inputs and depth."""
    code = """([data, activation, layers, cost, seed, inputs]) => {
      Object.assign(settings, { data, activation, cost, layers, seed, inputs });
      begin();
      trainEpochs(9);
      const pictures = computePictures().map((layer) => layer.map((one) => one.filter((_, p) => p % 97 === 0)));
      const parameters = parts.flatMap(({ w, b }) => (w ? [...w, ...b] : []));
      return [...costs, ...parameters, ...pictures.flat().flatMap((one) => [...one])];
    }"""
    arguments = [
        [name, activation, layers, cost, 3 * layers, inputs]
        for name in PLANES
        for activation in ("sigmoid", "tanh", "relu")
        for layers, cost, inputs in (
            (0, "cross_entropy", "squares"),
            (1, "quadratic", "plain"),
            (2, "cross_entropy", "product"),
            (3, "quadratic", "plain"),
        )
    ]
    more = {"plain": lambda X: X[:, :0], "squares": np.square, "product": lambda X: X.prod(axis=1)}
    expected = []
    for name, activation, layers, cost, seed, inputs in arguments:
        X, y = make_examples(name)
        row, column = np.divmod(np.arange(0, 3600, 97), 60)
        plane = np.stack([(column + 0.5) / 12 - 2.5, 2.5 - (row + 0.5) / 12], axis=1)
        X, x = (np.column_stack([points, more[inputs](points)]) for points in (X, plane))
        sizes = [X.shape[1], *[4] * layers, 1]
        net = Network(sizes, activation=activation, cost=cost, dtype="float64", seed=seed)
        history = net.train((X, y), epochs=9, batch_size=10, lr=0.3, progress=False)
        numbers = [array.ravel() for layer in net.layers for array in layer]
        numbers += [a.T.ravel() for a in net.activations(x)]
        expected.append(np.concatenate([history["cost"], *numbers]))
    return "plane", code, arguments, expected, 0, 1e-9


def addresses():
    """The settings in an address, as places among the choices; names and values that are none are ignored."""
    code = """(hash) => {
      location = { hash };
      const found = { ...FIRST, ...readSettings() };
      return [...Object.entries(CHOICES).map(([name, [, values]]) => values.indexOf(found[name])), {}.bad ?? 0];
    }"""
    first = [1, 0, 1, 3, 1, 1, 2, 1, 0, 0]
    cases = {
        "": first,
        "#compact&lr=0.1&seed=9": [1, 0, 1, 3, 1, 1, 1, 1, 9, 0],
        "#data=spiral&inputs=product&layers=0&units=8&activation=relu&cost=quadratic&lr=3&batch=120&seed=3": [
            *(3, 2, 0, 7, 2, 0, 4, 3, 3, 0)
        ],
        "#lr=1e3&layers=-1&units=&data=<script>&activation=constructor&__proto__=bad&bad=1&%": first,
        "#seed=2&seed=3&data=0&batch=40.0": [1, 0, 1, 3, 1, 1, 2, 1, 2, 0],
    }
    return "plane", code, list(cases), list(cases.values()), 0, 0


def neurons():
    """The path of a neuron over 300 epochs, with both costs."""
    code = """([w, b, lr]) => {
      Object.assign(settings, { w, b, lr });
      const names = ["w", "b", "a", "slope", "delta", "cost"];
      return COMPARED.map((cost) => train(cost).map((point) => names.map((name) => point[name]))).flat(2);
    }"""
    w, b, lr = arguments = [-1, 3.5, 2.5]
    x, y, numbers = np.array([[1.0]]), np.array([[0.0]]), []
    for cost in ("quadratic", "cross_entropy"):
        net = Network([1, 1], cost=cost, dtype="float64", seed=0)
        net.layers = [([[w]], [b])]
        for _ in range(301):
            a = net.forward(x).item()
            numbers += [net.w[0].item(), net.b[0].item(), a, a * (1 - a), net.deltas(x, y)[0].item(), net.cost((x, y))]
            net.minibatch_update((x, y), lr)
    return "neuron", code, [arguments], [numbers], 1e-11, 0


def steps():
    """Deltas, gradients, new weights and costs of ten steps; every line of every formula gives the value, as shown."""
    code = """([outputs, rows]) => {
      const signs = { "½": "0.5", "·": "*", "−": "-", "²": "**2", "e^": "Math.exp" };
      const calculate = (line) => Function(`return ${line.replace(/[½·−²]|e\\^/g, (sign) => signs[sign])}`)();
      const { layers, y } = start.networks[outputs];
      const state = structuredClone({ layers, x: start.x, y, lr: start.lr });
      const [all, wrong] = [[], []];
      for (let step = 0; step < 10; step++) {
        for (const phase of [1, 6]) {
          const { numbers, examples, gradients, updated, cost } = listNumbers(state, rows, phase);
          for (const [key, number] of numbers) {
            const { value, nudged } = number;
            const texts = writeFormula(numbers, number);
            const isWrong = (line) => shorten(calculate(line)) !== shorten(value);
            if (texts.slice(1).some(isWrong)) wrong.push(key);
            if (nudged && Math.abs(nudged[1]() - value) > 1e-7) wrong.push(key);
          }
          if (phase === 1) continue;
          const unitsOf = ({ z, a, delta }) => [1, 2].flatMap((l) => [...z[l], ...a[l], ...delta[l]]);
          all.push(cost, ...rows.flatMap((r) => unitsOf(examples[r])));
          all.push(...gradients.flatMap(({ w, b }) => [...w.flat(), ...b]));
          state.layers = updated;
        }
      }
      return [wrong.length, ...all];
    }"""
    x, expected, arguments = np.array([[1.0, 0.5], [-1.0, 2.0]]), [], [[0, [0, 1]], [1, [0, 1]], [1, [1]]]
    for outputs, rows in arguments:
        start = LESSONS["step"][1]()["networks"][outputs]
        net = Network([2, 2, 1 + outputs], dtype="float64", seed=0)
        net.layers = [(layer["w"], layer["b"]) for layer in start["layers"]]
        batch = x[rows], np.array(start["y"])[rows]
        values = [0]
        for _ in range(10):
            a, deltas = net.activations(batch[0]), net.deltas(*batch)
            values.append(net.cost(batch))
            for k in range(len(rows)):
                for l, (w, b) in enumerate(net.layers):
                    values += [*(w @ a[l][k] + b), *a[l + 1][k], *deltas[l][k]]
            values += [number for layer in net.backward(*batch) for array in layer for number in array.ravel()]
            net.minibatch_update(batch, 0.5)
        expected.append(values)
    return "step", code, arguments, expected, 1e-11, 0


@pytest.mark.skipif(NODE is None, reason="Node.js is not installed")
@pytest.mark.parametrize(
    "case",
    [
        *(networks, activations, columns, drawings, small_drawings, random_numbers, addresses, neurons, steps),
        pytest.param(planes, marks=pytest.mark.slow),
    ],
)
def test_scripts_compute_what_the_library_does(case, tmp_path):
    subject, code, arguments, expected, rtol, atol = case()
    write(subject, tmp_path / "page.html")
    (tmp_path / "arguments.json").write_text(json.dumps(arguments))
    files = [tmp_path / "page.html", tmp_path / "arguments.json"]
    done = subprocess.run([NODE, ROOT / "tests/programs/page.js", *files, code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for argument, computed, wanted in zip(arguments, json.loads(done.stdout), expected, strict=True):
        computed = np.asarray(computed, float)  # Python reads large numbers as whole ones
        np.testing.assert_allclose(computed, wanted, rtol=rtol, atol=atol, err_msg=str(argument)[:99])


# What a learner does in a browser. Each line is an action, or after "=" what must be true then, soon. Lines run in the
# page's script, with these functions: heights of a path of a chart, and whether two lists of numbers follow each other.

HELPERS = """() => Object.assign(window, {
  query: (selector) => document.querySelector(selector),
  keysOf: (name) => [...document.querySelectorAll(`.number.${name}`)].map((e) => e.dataset.key).sort().join(" "),
  heights: (selector) => query(selector).getAttribute("d").split(/[MLZ]/).filter(Boolean).map((p) => -p.split(" ")[1]),
  redOf: (id, channel = 0) => {
    const { width, height } = byId(id);
    const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    copy.drawImage(byId(id), 0, 0);
    return copy.getImageData(0, 0, width, height).data.filter((_, k) => k % 4 === channel);
  },
  follows: (a, b) => {
    const [u, v] = [a, b].map((list) => Array.from(list, (number) => number - averageOf(list, Number)));
    const product = (x, y) => sum(x.map((number, k) => number * y[k]));
    return u.length === v.length && product(u, v) / Math.sqrt(product(u, u) * product(v, v)) > 0.9999;
  },
})"""
RANGES = "#inputs input[type=range] >> nth=0"
NUMBERS = "#inputs input[type=number] >> nth=0"
ACTIONS = {
    "drawing": """
        click #examples button:nth-child(7)
        = byId("input-note").textContent === "An example from MNIST's test images." && byId("hint").hidden
        = redOf("input").every((gray, k) => Math.abs(gray - 255 * inputsOf()[k]) <= 0.51)
        = byId("layers").textContent.includes(`largest: unit ${largestOf(run(network, inputsOf()).steps[0][2])}`)
        click #clear
        do window.end = () => Number(document.querySelectorAll("#layers .legend span")[1].textContent)
        do window.first = end()
        = byId("input-note").textContent === "Nothing is drawn yet: all pixels are 0." && strokes.length === 0
        draw 8
        = query("#verdict strong").textContent === "8" && byId("brief").textContent === byId("verdict").textContent
        = end() >= first && 1.001 * end() >= Math.max(...run(network, inputsOf()).steps[0][2])
        click #clear
        = end() === first
        draw 2
        = query("#verdict strong").textContent === "2" && query("#outputs .chosen .label").textContent === "2"
        = query("#outputs .chosen .value").textContent === percent(run(network, inputsOf()).outputs[2])
        select_option #target | 3
        select_option #effect-kind | derivative
        do window.own = () => derivatives(network, run(network, inputsOf()), 3)
        do window.order = () => { const d = own(); return Array.from(d, (_, k) => k).sort((j, k) => d[j] - d[k]); }
        do window.reds = () => { const red = redOf("effect"); return order().map((p) => red[p]); }
        = reds().every((red, k, all) => k === 0 || red >= all[k - 1]) && reds().at(-1) > reds()[0]
        = getComputedStyle(byId("pad")).touchAction === "none"
        focus #pad
        press Delete ArrowUp ArrowUp ArrowUp ArrowUp ArrowUp Space ArrowDown ArrowDown ArrowDown Space ArrowUp
        = strokes.map((stroke) => stroke.length).join() === "4" && !drawing
        = byId("live").textContent.startsWith("The answer is ")
    """,
    "sliders": f"""
        fill {NUMBERS} | -300
        = encode(state)[0] === -300
        = query("#outputs .value").textContent === percent(run(network, encode(state)).outputs[0])
        do window.slopes = () => [...document.querySelectorAll("#inputs .value")].map((e) => e.textContent).join()
        do window.pass = () => run(network, encode(state))
        do window.expected = (k) => [...derivatives(network, pass(), k)].map((d) => format(d, 2)).join()
        = slopes() === expected(largestOf(pass().outputs))
        focus {RANGES}
        press ArrowRight
        = Math.abs(encode(state)[0] + 3 - 6 / 200) < 1e-9
        select_option #target | 1
        select_option #over | 4
        = slopes() === expected(1) && query("#curve-title").textContent === "probability of 1 over input 4"
        do window.passes = Array.from({{ length: 121 }}, (_, k) => run(network, encode(change(state, 4, -3 + k / 20))))
        = follows(heights("#curve path"), passes.map((pass) => pass.outputs[1]))
        = follows(heights("#slope path"), passes.map((pass) => derivatives(network, pass, 1)[4]))
        fill {NUMBERS} |
        = query("#inputs input[type=number]").ariaInvalid === "true" && encode(state)[0] < -2.9
        select_option #target | all
        = document.querySelectorAll("#curve path").length === 3 && document.querySelectorAll(".now").length === 2
        click #reset
        = encode(state).every((number) => number === 0)
    """,
    "band": """
        = query("#curve-title").textContent === "mean of output 0 over input 0"
        select_option #target | 1
        do window.at = Array.from({ length: 121 }, (_, k) => run(network, [-3 + k / 20]).outputs)
        do window.edge = (sign) => at.map((y) => y[1] + 2 * sign * y[3])
        = follows([...heights("#curve .curve"), ...heights("#curve .band")],
          [...at.map((y) => y[1]), ...edge(-1), ...edge(1).reverse()])
        = query("#curve .key").textContent.endsWith(" ± 2 standard deviations")
    """,
    "columns": f"""
        = state.map(({{ value }}) => value).join() === "0,0,17500,30"
        = query("#curve-title").textContent === "output over area"
        select_option #inputs select >> nth=0 | 1
        fill {NUMBERS} | 100.25
        = encode(state).join() === "0,1,0,100.25,0," + encode(state).slice(5).join()
        select_option #inputs select >> nth=1 | 1
        select_option #inputs select >> nth=0 | 3
        = encode(state).slice(0, 5).join() === "0,0,0,40,1" && query("#inputs .value").textContent === "0"
        fill {NUMBERS} | 3
        = query("#inputs div:nth-child(3) select").value === "0"
        do byId("inputs").append(...Array.from({{ length: 10 }}, () => query(".slider").cloneNode(true)))
        = byId("inputs").scrollHeight === byId("inputs").clientHeight
    """,
    "step": """
        select_option #outputs-count | 1
        click #next
        click #next
        click #next
        hover [data-key=d-1-1-0]
        = keysOf("chosen") === "d-1-1-0" && keysOf("used") === "a-1-1-0 d-2-0-0 d-2-1-0 w-2-0-1 w-2-1-1"
        = document.querySelectorAll(".edge.used").length === 2 && document.querySelectorAll(".edge").length === 10
        = byId("check").textContent.includes("through z²₁ and z²₂")
        = [...places].every(([key, e]) => e.disabled === shown.numbers.get(key).phase > 3)
        = [...places].every(([key, e]) => e.disabled || Number(e.dataset.value) === shown.numbers.get(key).value)
        = keysOf("fresh") === "d-1-0-0 d-1-0-1 d-1-1-0 d-1-1-1"
        click #phases button:last-child
        do window.costs = `${shorten(shown.cost)} to ${shorten(shown.newCost)}`
        = byId("words").textContent.startsWith(`The cost falls from ${costs}. `)
        focus [data-key=d-1-0-0]
        press ArrowRight ArrowDown ArrowLeft
        = document.activeElement.dataset.key === "d-1-0-1"
        press Home ArrowUp
        = document.activeElement.dataset.key === "a-0-0-0"
        press End
        = document.activeElement.dataset.key === "c-1"
        = byId("formula").textContent.startsWith("C of example 2= ½ · (")
        do window.bad = () => query("#parameters input").ariaInvalid; window.before = JSON.stringify(state)
        fill #parameters input >> nth=0 | 1001
        = bad() === "true"
        = byId("given-note").textContent === "w¹₁₁ must be a number from −1000 to 1000; it stays 0.5."
        = JSON.stringify(state) === before
        click #ten
        = byId("given-note").textContent === "" && byId("count").textContent === "Step 11"
        = follows(heights("#fall path"), [...past.map(({ cost }) => cost), shown.cost])
        do for (let k = 0; k < 60; k++) byId("back").click()
        = byId("count").textContent === "Step 1" && JSON.stringify(state) === before && past.length === 0
        fill #data input >> nth=0 | -0.5
        fill #rate input | 1.7
        = state.x[0][0] === -0.5 && state.lr === 1.7
        select_option #rows | 1
        = rows.join() === "1" && !shown.numbers.has("z-1-0-0")
    """,
    "neuron": """
        fill #start input >> nth=0 | -1
        = paths[0][0].w === -1 && query("#state tr:nth-child(6) .value").textContent === "−1.00"
        fill #rate-number input | -2
        = byId("set-note").textContent === "The learning rate must be a number from 0 to 1000; it stays 0.15."
        click #one
        = byId("epoch").textContent === "Epoch 1 of 300" && byId("set-note").textContent === ""
        = byId("live").textContent.startsWith("Epoch 1: the output is ")
        focus #rate input
        press ArrowRight ArrowRight
        = settings.lr > 0.15 && query("#rate-number input").value === String(settings.lr)
        click #run
        = epoch >= 3
        click #run
        = query("#plot-a path").getAttribute("d").split("L").length === epoch + 1 && byId("run").textContent === "Run"
        do goTo(298); byId("run").click()
        = epoch === 300 && byId("run").textContent === "Run"
        click #run
        = epoch < 300 && byId("run").textContent === "Pause"
        click #run
        still
        click #run
        = epoch === 300 && follows(heights("#plot-delta path"), paths[0].map(({ delta }) => delta))
        click #reset
        = epoch === 0 && Object.values(settings).join() === "2,2,0.15"
    """,
    "plane": """
        click #one
        = byId("count").textContent === "Epoch 0, step 1 of 12"
        do window.shares = computePictures().at(-1)[0].map((a) => 1.5 * a - 0.75); window.blue = redOf("plane", 2)
        = redOf("plane", 3).every((alpha, p) => Math.abs(alpha - 255 * Math.abs(shares[p])) <= 0.51)
        = redOf("plane").every((red, p) => Math.abs(shares[p]) < 0.1 || red > blue[p] === shares[p] < 0)
        click #epoch
        = byId("count").textContent === "Epoch 1"
        fill #example | 41
        = document.querySelectorAll("#stage .value").length === 2 + 3 * 5
        = query(".ring").getAttribute("cx") === String(x[40][0])
        = [...document.querySelectorAll("#stage .value")].at(-1).dataset.value === String(compute(40).delta[2][0])
        click #worst
        = compute(chosen).cost === Math.max(...x.map((_, r) => compute(r).cost))
        fill #example | 121
        = byId("example").ariaInvalid === "true" && document.querySelectorAll("#stage .value").length === 0
        click #tries button >> nth=2
        = settings.data === "exclusive_or" && byId("layers").value === "3"
        = location.hash.startsWith("#data=exclusive_or&inputs=plain&layers=3&")
        = byId("told").textContent.startsWith("Look at |δ|")
        = costs.length >= 3 && byId("run").textContent === "Pause"
        click #run
        = byId("count").textContent === `Epoch ${costs.length}` && byId("run").textContent === "Run"
        click #reset
        = costs.length === 0 && byId("told").textContent === ""
        do location.hash = "layers=1&units=3&inputs=squares&lr=none"
        = listSizes().join() === "4,3,1" && settings.data === "circles" && byId("lr").value === "0.3"
        click .column:nth-of-type(2) figure:nth-of-type(3) button
        = byId("hand-title").textContent === "Layer 1, unit 3: weights and bias" && sliders.length === 5
        do window.before = redOf("plane", 3).join()
        focus #weights label:nth-child(4) input
        press End
        = parts[0].w[11] === 10 && redOf("plane", 3).join() !== before
        = byId("code-note").textContent.includes("by hand")
        click #epoch
        = Math.abs(query("#weights label:last-child input").valueAsNumber - parts[0].b[2]) < 0.0501
        select_option #units | 2
        = byId("hand").hidden && !byId("code-note").textContent.includes("by hand")
        still
        select_option #layers | 2
        click #run
        = costs.length === 100 && byId("fall-note").textContent.includes(" of 120 examples are on the right side.")
        python
        select_option #activation | relu
        do settings.lr = 1e308; byId("epoch").click(); byId("epoch").click()
        = byId("told").textContent.includes("choose a smaller rate")
    """,
}


def open_page(tab, path):
    """Open a file, with the helpers; return a list, to which goes whatever it complains of or asks for."""
    complaints = []
    for event, describe in (("console", "text"), ("pageerror", "message"), ("request", "url")):
        tab.on(event, lambda what, describe=describe: complaints.append(getattr(what, describe)))
    tab.goto(path.as_uri())
    assert complaints == [path.as_uri()]
    tab.evaluate(HELPERS)
    return complaints


@pytest.fixture(scope="module")
def browser():
    with open_browser() as started:
        yield started


@pytest.fixture
def tab(browser):
    tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    yield tab
    tab.context.close()


@pytest.fixture(scope="module")
def trained(digits):
    """A network that has learnt the digits."""
    net = Network([784, 30, 10], activation="relu", task="classification", seed=0)
    net.train(digits[0], epochs=5, batch_size=32, lr=OneCycle(0.3), progress=False)
    return net


@pytest.mark.slow
@pytest.mark.needs("playwright", "chromium")
@pytest.mark.parametrize("name", ACTIONS)
def test_a_learner_sees_what_the_actions_lead_to(tab, name, trained, tmp_path):
    write(trained if name == "drawing" else name, tmp_path / "page.html")
    complaints = open_page(tab, tmp_path / "page.html")
    for line in re.sub(r"\n {10,}", " ", ACTIONS[name]).strip().splitlines():
        verb, _, rest = line.strip().partition(" ")
        if verb == "=":
            tab.wait_for_function(f"() => {rest}", timeout=5000)
        elif verb == "do":
            tab.evaluate(f"() => {{ {rest} }}")
        elif verb == "press":
            for key in rest.split(" "):
                tab.keyboard.press(key)
        elif verb == "draw":
            draw(tab, rest)
        elif verb == "still":
            tab.emulate_media(reduced_motion="reduce")
        elif verb == "python":
            names = {}
            exec(tab.inner_text("#code").replace("lr=", "progress=False, lr="), names)
            np.testing.assert_allclose(tab.evaluate("() => costs"), names["history"]["cost"], rtol=0, atol=1e-9)
        else:
            getattr(tab, verb)(*(argument.strip() for argument in rest.split("|")))
    assert complaints == [(tmp_path / "page.html").as_uri()]


# Boxes of a step that lie over each other, and what is wider than its place
LAYOUT = """() => {
  const boxes = [...document.querySelectorAll(".unit, .chip")].map((e) => e.getBoundingClientRect());
  const overlaps = boxes.filter((a, k) => boxes.slice(k + 1).some((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
  const wide = [document.documentElement, ...document.querySelectorAll("section, #inputs, .number")];
  const tooWide = wide.filter((e) => e.scrollWidth > e.clientWidth + 1);
  return [overlaps.length, ...tooWide.map((e) => e.dataset?.key || e.className || e.tagName)];
}"""
CONTROLS = "[...document.querySelectorAll('canvas[tabindex], button, select, input')]"
# What is in the first screen of a phone
FIRST = {"plane": "#run", "neuron": "#run", "step": "#next", "sliders": "#outputs"}
# In a frame: whether it has a width, is as high as its page, and nothing in it scrolls
FITS = """(width) => innerWidth === width && Math.ceil(document.body.getBoundingClientRect().height) === innerHeight
  && document.scrollingElement.scrollWidth === width && document.scrollingElement.scrollHeight === innerHeight"""


@pytest.mark.slow
@pytest.mark.needs("playwright", "chromium")
@pytest.mark.parametrize("name", SUBJECTS)
def test_pages_fit_and_the_keyboard_reaches_all_controls_each_with_a_name(tab, name, tmp_path):
    write(name, tmp_path / "page.html")
    open_page(tab, tmp_path / "page.html")
    if name == "step":
        tab.select_option("#outputs-count", "1")
        tab.fill("#parameters input >> nth=0", "-123.456")
        tab.click("#phases button:last-child")
    papers = []
    for scheme, width in (("light", 1280), ("light", 936), ("light", 740), ("light", 390), ("dark", 390)):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 844})
        tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
        assert (width, tab.evaluate(LAYOUT)) == (width, [0])
        papers.append(sum(Image.open(BytesIO(tab.screenshot())).convert("RGB").getpixel((1, 1))))
    assert min(papers[:-1]) > 700 > 100 > papers[-1]
    nodes = tab.context.new_cdp_session(tab).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "combobox", "slider", "spinbutton", "image", "img", "application", "group", "table"}
    named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(named) > 10
    assert [node["role"]["value"] for node in named if not node.get("name", {}).get("value")] == []
    controls = f"{CONTROLS}.filter((e) => e.tabIndex >= 0 && !e.disabled && e.offsetParent)"
    tab.evaluate("() => { document.body.tabIndex = -1; document.body.focus() }")
    for k in range(tab.evaluate(f"() => {controls}.length")):
        tab.keyboard.press("Tab")
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert tab.evaluate(f"() => [{controls}.indexOf(document.activeElement), {outline}]") == [k, "solid"]
    # In a frame of another page, as in the documentation
    script = (ROOT / "docs" / "frames.js").read_text()
    frame = "<iframe class=live src='page.html#compact&seed=1' style='border: 0; width: 100%; display: block'></iframe>"
    frame += "<p><a href='page.html'>whole</a></p>"
    (tmp_path / "around.html").write_text(f"<!doctype html><body style='margin: 0'>{frame}<script>{script}</script>")
    tab.goto((tmp_path / "around.html").as_uri())
    for width in (390, 356, 936):
        tab.set_viewport_size({"width": width, "height": 844})
        tab.frames[1].wait_for_function(FITS, arg=width, timeout=5000)
    assert not tab.frames[1].locator("h1").is_visible()
    if name == "plane":  # the link to the whole page has the settings that were chosen in the frame
        tab.frames[1].select_option("#data", "spiral")
        tab.wait_for_function("() => document.querySelector('a').hash.startsWith('#data=spiral&inputs=')", timeout=5000)


@pytest.mark.slow
@pytest.mark.needs("playwright", "chromium")
@pytest.mark.parametrize("place", ["", "#compact"])
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_phone_shows_answers_and_buttons_at_once_and_fingers_reach_them(browser, name, place, tmp_path):
    write(name, tmp_path / "page.html")
    context = browser.new_context(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    phone = context.new_page()
    phone.goto((tmp_path / "page.html").as_uri() + place)
    size = "({ width, height }) => Math.min(width, height)"
    sizes = f"{CONTROLS}.filter((e) => e.offsetParent).map((e) => e.getBoundingClientRect()).map({size})"
    assert (phone.evaluate(f"() => Math.min(...{sizes})") >= 24, phone.evaluate(LAYOUT)) == (True, [0])
    box = phone.locator(FIRST.get(name, "strong")).locator("visible=true").first.bounding_box()
    assert box["y"] + box["height"] < 450
    if name == "plane":  # what a question starts is seen at once
        phone.tap("#tries button:last-child")
        field = phone.locator("#field").bounding_box()
        assert 0 <= field["y"] <= 844 - field["height"]
        assert phone.evaluate("() => location.hash").startswith(place or "#data=spiral")
    if name == "drawing":  # drawing does not scroll the page, and a tap soon after it counts
        for digit in "189":
            touch(phone, digit)
            phone.wait_for_function(f"() => strokes.length === {len(STROKES[digit])} && scrollY === 0", timeout=5000)
            phone.tap("#clear")
            phone.wait_for_function("() => strokes.length === 0", timeout=5000)
    context.close()
