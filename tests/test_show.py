"""The page that shows a network: what the file holds, and, in a browser, that it computes what the library does."""

import base64
import hashlib
import json
import re
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from browser import open_browser
from drawings import STROKES, draw
from helpers import Place, run_command
from PIL import Image
from test_export import CASES, NAMES, TASKS, find_order, make_chain, same_numbers, train  # noqa: F401

from xpnet import Callback, Ensemble, Network, OneCycle
from xpnet.activations import Activation
from xpnet.core.activations import ACTIVATIONS
from xpnet.export import make_page, write_lesson, write_page
from xpnet.pages._lessons import LESSONS, PLANES, make_examples
from xpnet.pages._page import describe_network

# JAX compiles programs for each of these tests, so that only what it could get wrong alone runs there
pytestmark = pytest.mark.not_on("jax")

ROOT = Path(__file__).parents[1]


def read_network(page):
    """The network in a page, as plain values."""
    return json.loads(re.search(r'<script type="application/json" id="network">(.*?)</script>', page, re.DOTALL)[1])


def decode(text, dtype):
    return np.frombuffer(base64.b64decode(text), np.dtype(dtype).newbyteorder("<"))


# The file


def write(subject, path, **options):
    """Write the page of a network, or of the lesson of that name, and return its text."""
    if isinstance(subject, str):
        write_lesson(subject, path)
    else:
        write_page(subject, path, **options)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("subject", [Network([784, 5, 10], seed=0), Network([4, 3, 1], seed=0), *LESSONS], ids=str)
def test_a_page_is_one_file_that_asks_for_nothing(subject, tmp_path):
    page = write(subject, tmp_path / "page.html")
    # the name of SVG is no address that anybody visits
    assert re.findall(r"https?:", page.replace("http://www.w3.org/2000/svg", "")) == []
    assert re.findall(r"\b(?:src|href)=(\S+)", page) == ['"data:,">']
    page = re.sub(r'"from [\w.]+ import \w+"', "", page)  # a line of Python, which is shown
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|\bimport\b|\beval\(|Function\(", page)


@pytest.mark.parametrize("subject", [Network([784, 5, 10], seed=0), "step"], ids=str)
def test_the_policy_allows_the_script_and_the_style_and_no_other(subject, tmp_path):
    page = write(subject, tmp_path / "page.html")
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', page)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for name, text in (
        ("script-src", re.findall(r"<script>(.*?)</script>", page, re.DOTALL)),
        ("style-src", re.findall(r"<style>(.*?)</style>", page, re.DOTALL)),
    ):
        digest = base64.b64encode(hashlib.sha256(text[0].encode()).digest()).decode()
        assert (len(text), rules[name]) == (1, f"'sha256-{digest}'")
    assert "style=" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)


def test_names_cannot_end_the_script_or_begin_another():
    name = "</script><script>alert(1)</script><!-- {{script}} \u2028 \ud800"
    net = Network([2, 3], task="classification", seed=0)
    net.feature_names, net.notes = [name, "b"], {"labels": ["a", name, "c"]}
    page = make_page(net, title=name)
    assert page.count("<script") == page.count("</script") == 2
    assert "<!-- " not in page
    network = read_network(page)
    assert (network["features"], network["labels"]) == ([name, "b"], ["a", name, "c"])
    assert unescape(re.search("<h1>(.*?)</h1>", page)[1]) == name


def test_a_page_holds_the_weights_bit_for_bit(place: Place, dtype):
    net = Network([4, 3, 2], standardize=True, task="regression", dtype=dtype, dropout=0.5, seed=0, **place._asdict())
    net.train(([[1, 2, 3, 4], [5, 7, 6, 9]], [[1, 2], [3, 5]]), epochs=1, progress=False)
    network = read_network(make_page(net))
    kinds = ["standardize", "dense", "activation", "dense", "activation", "rescale"]
    assert [part["kind"] for part in network["members"][0]] == kinds
    dense = [part["arrays"] for part in network["members"][0] if part["kind"] == "dense"]
    for arrays, w, b in zip(dense, net.w, net.b, strict=True):
        for name, values in (("w", w), ("b", b)):
            expected = net.backend.to_numpy(values)
            assert expected.dtype == dtype
            np.testing.assert_array_equal(decode(arrays[name], dtype), expected.ravel())
    assert network["dtype"] == dtype


def test_a_page_of_a_small_network_is_small():
    assert len(make_page(Network([784, 30, 10], seed=0))) < 250_000


def test_the_examples_are_test_images(digits):
    _, (images, labels) = digits
    examples = read_network(make_page(Network([784, 10], seed=0)))["examples"]
    assert [example["name"] for example in examples] == list("0123456789")
    for k, example in enumerate(examples):
        image = decode(example["pixels"], np.uint8) / np.float32(255)
        assert (np.abs(images[labels == k] - image).max(axis=1) < 1e-6).any()


def test_inputs_are_an_image_or_numbers():
    assert read_network(make_page(Network([784, 10])))["image"] == {"height": 28, "width": 28, "white": 1.0}
    assert "image" not in read_network(make_page(Network([784, 10]), image=False))
    assert "image" not in read_network(make_page(Network([64, 10])))
    network = read_network(make_page(Network([12, 10]), image=(3, 4), white=16))
    assert network["image"] == {"height": 3, "width": 4, "white": 16.0}
    assert network["examples"] == []


def test_white_is_found_by_the_scaling_of_the_inputs():
    assert read_network(make_page(Network([784, 10], scale=1 / 255)))["image"]["white"] == 255
    pixels = np.random.default_rng(0).integers(0, 256, (20, 784))
    for white in (1, 16, 255):
        net = Network([784, 10], standardize=True, seed=0)
        net.train((pixels / 255 * white, np.arange(20) % 10), epochs=1, progress=False)
        assert read_network(make_page(net))["image"]["white"] == white
    assert read_network(make_page(Network([784, 10], standardize=True)))["image"]["white"] == 1  # nothing is learnt yet
    net = Network([784, 10], standardize=True, seed=0)
    net.train((pixels / 127.5 - 1, np.arange(20) % 10), epochs=1, progress=False)
    assert read_network(make_page(net))["image"]["white"] == 1  # black is not 0


def test_sliders_span_three_standard_deviations():
    net = Network([2, 1], standardize=True, task="regression", seed=0)
    assert read_network(make_page(net))["ranges"] == [[-3, 3], [-3, 3]]  # nothing is learnt yet
    net.train(([[1, 10], [3, 10]], [0, 1]), epochs=1, progress=False)
    assert read_network(make_page(net))["ranges"] == [[-1, 5], [7, 13]]  # a constant has the standard deviation 1
    assert read_network(make_page(Network([2, 1], scale=0.5)))["ranges"] == [[-6, 6], [-6, 6]]


def test_the_ends_of_sliders_are_finite(tmp_path):
    """JSON has no infinity, and a browser would show nothing."""
    page = make_page(Network([2, 1], scale=1e-308, dtype="float64", seed=0))
    network = re.search(r'\{"sizes":.*\}', page)
    assert network is not None
    assert json.loads(network[0], parse_constant=pytest.fail)["ranges"] == [[-1e307, 1e307]] * 2


@pytest.mark.parametrize(
    ("n_out", "arguments", "notes", "labels"),
    [
        (3, {}, {}, ["0", "1", "2"]),
        (2, {"task": "multilabel"}, {"labels": ["red", "round"]}, ["red", "round"]),
        (2, {"task": "classification"}, {"labels": ["only one"]}, ["0", "1"]),
        (2, {"task": "classification"}, {"labels": 7}, ["0", "1"]),
        (1, {"task": "binary"}, {"labels": ["no", "yes"]}, ["no", "yes"]),
        (1, {"task": "binary"}, {}, ["0", "1"]),
        (1, {"task": "regression"}, {"target": "price"}, ["price"]),
        (1, {"task": "regression"}, {}, ["output"]),
        (2, {"task": "regression"}, {"target": "price"}, ["output 0", "output 1"]),
        (2, {"cost": "gaussian"}, {"target": "price"}, ["mean of price", "standard deviation of price"]),
        (
            4,
            {"cost": "quantile(0.1, 0.9)"},
            {},
            [
                "quantile 0.1 of output 0",
                "quantile 0.1 of output 1",
                "quantile 0.9 of output 0",
                "quantile 0.9 of output 1",
            ],
        ),
    ],
)
def test_outputs_have_names(n_out, arguments, notes, labels):
    net = Network([2, n_out], **arguments)
    net.notes = notes
    assert read_network(make_page(net))["labels"] == labels


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_can_be_shown(name):
    part = describe_network(make_chain(name, "float32"), None)["members"][0][-1]
    script = make_page(Network([2, 1]))
    assert re.search(rf"^  {part['name']}: {{", script, re.MULTILINE)
    assert part["label"] == name


# What is refused

own = Activation("bump", lambda z, xp: z / (1.0 + z * z), lambda g, z, a, xp: g)


@pytest.mark.parametrize(
    ("net", "options", "message"),
    [
        (
            Network([3, 4, 2], activation=own),
            {},
            r"activation='bump' is your own, and a page cannot compute it; it has 'elu', .*'tanh'\. For a network",
        ),
        (Network([3, 2]), {"image": (2, 2)}, r"image=\(2, 2\) has 4 pixels, but the network has 3 inputs; they must"),
        (Network([3, 2]), {"image": (3,)}, r"image=\(3,\) must be the height and the width of an image in pixels, as"),
        (Network([3, 2]), {"image": "3x1"}, r"image='3x1' must be the height and the width of an image"),
        (Network([3, 2]), {"image": True}, r"image=True must be the height and the width of an image"),
        (Network([3, 2]), {"image": (-3, -1)}, r"image=\(-3, -1\) must be the height and the width of an image"),
        (Network([3, 2]), {"image": (3, 1), "white": 0}, r"white=0 must be a finite number above 0; 1 is usual, and"),
        (
            Network([3, 2]),
            {"white": 255},
            r"white=255 is for images, but the inputs are not an image; leave it out, or give",
        ),
    ],
)
def test_what_does_not_fit_is_refused_and_the_file_stays(net, options, message, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(ValueError, match=message):
        write_page(net, path, **options)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr("xpnet.pages._page.MOST_BYTES", 100)
    with pytest.raises(ValueError, match=r"net has 1,640 bytes of weights, but a page holds at most 100; show a small"):
        make_page(Network([40, 10]))


def test_other_objects_than_networks_are_refused():
    with pytest.raises(TypeError, match="net must be a Network or an Ensemble, not of type int; give a Network or an"):
        make_page(3)
    with pytest.raises(TypeError, match="title=3 must be a text"):
        make_page(Network([2, 1]), title=3)


def test_an_existing_file_is_replaced_and_a_missing_folder_named(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    write_page(Network([2, 1], seed=0), path)
    assert path.read_text(encoding="utf-8") == make_page(Network([2, 1], seed=0))
    with pytest.raises(FileNotFoundError, match=r"page.html: there is no folder .*nowhere"):
        write_page(Network([2, 1]), tmp_path / "nowhere" / "page.html")


def test_an_unknown_lesson_is_refused(tmp_path):
    message = r"lesson='stap' is unknown; choose from 'step', 'neuron', 'plane' \(did you mean 'step'\?\)"
    with pytest.raises(ValueError, match=message):
        write_lesson("stap", tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", PLANES)
def test_the_examples_of_the_plane_are_two_classes_in_turn(name):
    X, y = make_examples(name)
    assert (X.shape, X.dtype, y.ravel().tolist()) == ((120, 2), "float64", [0.0, 1.0] * 60)
    assert abs(X).max() < 2.5
    np.testing.assert_array_equal(X, np.round(X * 100) / 100)  # as a page computes them
    if name == "exclusive_or":
        np.testing.assert_array_equal(X.prod(axis=1) < 0, y.ravel() == 1)
    with pytest.raises(ValueError, match=r"name='spirals' is unknown; .* \(did you mean 'spiral'\?\)"):
        make_examples("spirals")


# The command


def test_the_command_writes_a_page(capsys, tmp_path):
    model, page = tmp_path / "digits.safetensors", tmp_path / "page.html"
    Network([784, 5, 10], seed=0).save(model)
    status, out, err = run_command(capsys, "show", model, "-o", page)
    assert (status, err) == (0, "")
    assert out == [
        f"Wrote {page}, {page.stat().st_size / 1000:,.0f} kB; open it in a browser",
        f"{page}: inputs are images of 28x28 pixels from 0 (black) to 1 (white; change it by --white)",
    ]
    text = page.read_text(encoding="utf-8")
    assert "<h1>digits.safetensors</h1>" in text
    assert read_network(text)["image"]["height"] == 28
    status, out, _ = run_command(capsys, "show", model, "-o", page, "--no-image", "--title", "Mine")
    assert (status, len(out)) == (0, 1)
    assert "<h1>Mine</h1>" in page.read_text(encoding="utf-8")
    assert "image" not in read_network(page.read_text(encoding="utf-8"))
    Ensemble([784, 5, 10], 3, seed=0).save(model)
    assert run_command(capsys, "show", model, "-o", page)[0] == 0
    assert len(read_network(page.read_text(encoding="utf-8"))["members"]) == 3
    status, out, _ = run_command(capsys, "show", model, "--out", page, "--image", "56x14", "--white", "16")
    assert (status, "images of 56x14 pixels from 0 (black) to 16 (white;" in out[-1]) == (0, True)
    assert read_network(page.read_text(encoding="utf-8"))["image"] == {"height": 56, "width": 14, "white": 16.0}


@pytest.mark.parametrize("name", LESSONS)
def test_the_command_writes_a_lesson(capsys, tmp_path, name):
    page = tmp_path / "page.html"
    assert run_command(capsys, "show", "--lesson", name, "-o", page) == (0, [f"Wrote {page}; open it in a browser"], "")
    write_lesson(name, tmp_path / "expected.html")
    assert page.read_bytes() == (tmp_path / "expected.html").read_bytes()


def test_wrong_options_of_the_command_end_with_one_clear_line(capsys, tmp_path):
    model = tmp_path / "net.safetensors"
    Network([3, 2], seed=0).save(model)
    content = model.read_bytes()
    for words, message in (
        (["show", model], "the following arguments are required: -o/--out"),
        (["show", "-o", "p.html"], "one of the arguments MODEL --lesson is required"),
        (["show", model, "--lesson", "step", "-o", "p.html"], "argument --lesson: not allowed with argument MODEL"),
        (["show", "--lesson", "stap", "-o", "p.html"], "argument --lesson: invalid choice: 'stap'"),
        (["show", "--lesson", "step", "-o", "p.html", "--white", "2"], "--white is for the page of a MODEL; leave it"),
        (["show", model, "-o", tmp_path], f"--out {tmp_path} is a folder; name a file in it"),
        (["show", model, "-o", tmp_path / "no" / "page.html"], "there is no folder"),
        (["show", model, "-o", "p.html", "--image", "28"], "'28' must be a height and a width in pixels, as in 28x28"),
        (["show", model, "-o", "p.html", "--image", "28x28"], "--image (28, 28) has 784 pixels, but the network has 3"),
        (["show", model, "-o", "p.html", "--image", "1x3", "--no-image"], "not allowed with argument --image"),
        (["show", model, "-o", "p.html", "--white", "2"], "--white 2.0 is for images, but the inputs are not an image"),
        (["show", __file__, "-o", "p.html"], "does not hold an xpnet network"),
        (["show", "nothing", "-o", "p.html"], "MODEL nothing cannot be read (No such file or directory); give"),
    ):
        status, out, err = run_command(capsys, *words)
        assert (status in (1, 2), out) == (True, [])
        assert len(err.splitlines()) == 1, err
        assert message in err
    assert model.read_bytes() == content


# In a browser

in_browser = [pytest.mark.slow, pytest.mark.needs("playwright", "chromium")]


class Window:
    """A page in a browser, with everything that it complains about or asks for."""

    def __init__(self, page, path):
        self.page, self.complaints = page, []
        self.listeners = {
            "console": lambda message: self.complaints.append(message.text),
            "pageerror": lambda error: self.complaints.append(str(error)),
            "request": lambda request: self.complaints.append(request.url),
        }
        for event, listener in self.listeners.items():
            page.on(event, listener)
        page.goto(path.as_uri())
        assert self.complaints.pop(0) == path.as_uri()
        self.wait()

    def leave(self):
        """Listen no longer: the page goes on with another network."""
        while self.listeners:
            self.page.remove_listener(*self.listeners.popitem())

    def wait(self):
        """Wait until the page has shown its present state."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")

    def image(self, selector):
        """The pixels of a canvas, (height, width, 3)."""
        address = self.page.eval_on_selector(selector, "(canvas) => canvas.toDataURL()")
        return np.asarray(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"))

    def text(self, selector):
        return self.page.locator(selector).inner_text().replace("\xa0", " ").replace("−", "-")

    def texts(self, selector):
        return [text.replace("\xa0", " ").replace("−", "-") for text in self.page.locator(selector).all_inner_texts()]


@pytest.fixture(scope="module")
def browser():
    with open_browser() as started:
        yield started


@pytest.fixture(scope="module")
def tab(browser):
    """The tab of all tests: to go on with it costs a third of opening another."""
    return browser.new_context().new_page()


@pytest.fixture
def show(tab, tmp_path):
    """A function that opens the page of a network or a lesson; no page must have complained or asked for anything.

    It leaves the page that it opened before.
    """
    windows = []

    def open_window(subject, options=None):
        path = tmp_path / f"{len(windows)}.html"
        write(subject, path, **(options or {}))
        for window in windows:
            window.leave()
        tab.set_viewport_size({"width": 1280, "height": 900})
        tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
        windows.append(Window(tab, path))
        return windows[-1]

    yield open_window
    complaints = [complaint for window in windows for complaint in window.complaints]
    for window in windows:
        window.leave()
    assert complaints == []


# Asked in a frame: whether it has a width, and the height of its page
FITS = "(width) => innerWidth === width && Math.ceil(document.body.getBoundingClientRect().height) === innerHeight"


@pytest.fixture
def frame(tab, tmp_path):
    """A function that opens a page with the compact page of a network or a lesson in a frame, and returns both."""

    def open_frame(subject, width, page=tab):
        write(subject, tmp_path / "net.html")
        script = (ROOT / "docs" / "frames.js").read_text()
        style = "body { margin: 0 } iframe { border: 0; width: 100%; height: 200px; display: block }"
        (tmp_path / "page.html").write_text(
            f"<!doctype html><meta name=viewport content='width=device-width'><style>{style}</style>"
            f"<div style='height: 400px'></div><iframe class=live src='net.html#compact'></iframe>"
            f"<div style='height: 2000px'></div><script>{script}</script>"
        )
        page.set_viewport_size({"width": width, "height": 844})
        page.emulate_media(color_scheme="light", reduced_motion="no-preference")
        page.goto((tmp_path / "page.html").as_uri())
        return page, page.frames[1]

    return open_frame


def swipe(page, x, y, distance):
    """Move a finger vertically."""
    session = page.context.new_cdp_session(page)
    for k in range(16):
        kind = "touchMove" if k else "touchStart"
        points = [{"x": x, "y": y + distance * k / 15}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.wait_for_timeout(100)


@pytest.fixture(scope="module")
def trained(digits):
    """A network that has learnt the digits."""
    net = Network([784, 30, 10], activation="relu", task="classification", seed=0)
    net.train(digits[0], epochs=5, batch_size=32, lr=OneCycle(0.3), progress=False)
    return net


# Computes outputs and Jacobians of any network with the functions of a page
COMPUTE = """
([network, dtype, rows]) => {
  const read = {...network, members: network.members.map((parts) => parts.map((part) => readPart(part, dtype)))};
  return rows.map((row) => {
    const pass = run(read, row);
    const outputs = Array.from(pass.outputs);
    return [outputs, outputs.map((_, k) => Array.from(derivatives(read, pass, k)))];
  });
}
"""


def assert_computes(window, net, x):
    """Outputs and Jacobians are the library's, to 1e-5 of the largest in float32 and 1e-11 in float64."""
    rows = window.page.evaluate(COMPUTE, [describe_network(net, None), net.dtype, x.tolist()])
    outputs = net.backend.to_numpy(net.forward(x))
    order = find_order(net, outputs)
    for k, compute in enumerate((net.forward, net.jacobian)):
        expected = net.backend.to_numpy(compute(x))
        expected = np.take_along_axis(expected, order if k == 0 else order[:, :, None], axis=1)
        computed = np.array([row[k] for row in rows])
        assert computed.shape == expected.shape
        assert np.isfinite(expected).all()
        tolerance = 1e-5 if net.dtype == "float32" else 1e-11
        assert np.abs(computed - expected).max() <= tolerance * np.abs(expected).max(), compute.__name__


# Pairs of units and weights in the drawing of a step that lie over each other, or beyond its edges
OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll(".unit, .chip")].map((e) => [e, e.getBoundingClientRect()]);
  const stage = document.querySelector("#stage")?.getBoundingClientRect();
  const name = (e) => e.className + " " + e.querySelector(".number").dataset.key;
  const out = boxes.filter(([, a]) => a.left < stage.left - 1 || a.right > stage.right + 1 || a.top < stage.top - 1 ||
    a.bottom > stage.bottom + 1);
  const over = boxes.flatMap(([e, a], k) => boxes.slice(k + 1).filter(([, b]) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom).map(([f]) => [name(e), name(f)]));
  return [...out.map(([e]) => name(e)), ...over];
}"""


class TestInBrowser:
    pytestmark = in_browser

    def test_the_outputs_of_100_digits_are_the_librarys(self, show, trained, digits):
        images = digits[1][0][:100]
        window = show(trained)
        outputs = window.page.evaluate(
            """(text) => {
              const { images } = readPart({ arrays: { images: text } }, "float32");
              const row = (k) => images.subarray(784 * k, 784 * (k + 1));
              return Array.from({ length: 100 }, (_, k) => Array.from(forward(inside, row(k)).at(-1)));
            }""",
            base64.b64encode(images.astype("<f4").tobytes()).decode(),
        )
        assert np.abs(np.array(outputs) - trained.forward(images)).max() < 1e-5
        # In float64, where the library rounds as little as the page does
        assert np.abs(np.array(outputs) - trained.to(dtype="float64").forward(images)).max() < 1e-12
        np.testing.assert_array_equal(np.argmax(outputs, axis=1), trained.predict(images))

    def test_every_activation_task_and_scaling_is_the_librarys(self, show):
        window, rng = show(Network([2, 1], seed=0)), np.random.default_rng(0)
        chains, networks = rng.normal(0, 3, (8, 5)), rng.normal(50, 10, (8, 5))
        for dtype in ("float32", "float64"):
            for name in NAMES:
                assert_computes(window, make_chain(name, dtype), chains.astype(dtype))
            x, options = networks.astype(dtype), {"activation": "tanh", "dtype": dtype, "seed": 0}
            for task, standardize in CASES:
                n_out, arguments = TASKS[task]
                net = Network([5, 6, n_out], standardize=standardize, **options, **arguments)
                assert_computes(window, train(net, x), x)
            assert_computes(window, Network([5, 3, 2], scale=1 / 64, **options), x)
        # Large and small inputs of activations, each by itself
        z = np.concatenate([np.linspace(-80, 80, 161), np.linspace(-1, 1, 41)])[:, None]
        for name in set(ACTIVATIONS) - {"softmax"}:
            net = Network([1, 1], output_activation=name, dtype="float64", init="zeros")
            net.w = [[[1.0]]]
            rows = window.page.evaluate(COMPUTE, [describe_network(net, None), "float64", z.tolist()])
            for k, expected in enumerate((net.forward(z), net.jacobian(z))):
                computed = np.array([row[k] for row in rows], float)
                np.testing.assert_allclose(computed, expected, rtol=1e-11, atol=1e-15, err_msg=name)

    def test_of_an_ensemble_the_mean_is_shown_and_of_calibrated_probabilities_the_geometric_one(self, show):
        window, rng = show(Network([2, 1], seed=0)), np.random.default_rng(0)
        x = rng.normal(50, 10, (100, 5))
        for task in TASKS:
            n_out, arguments = TASKS[task]
            options = {"activation": "tanh", "standardize": task != "poisson", "dtype": "float64", **arguments}
            ensemble = Ensemble.of([train(Network([5, 6, n_out], seed=k, **options), x[k::3]) for k in range(3)])
            if task in ("classification", "binary"):
                ensemble.calibrate((x, rng.integers(0, max(n_out, 2), 100)))
                assert ensemble.temperature != 1
            rows = window.page.evaluate(COMPUTE, [describe_network(ensemble, None), "float64", x[:5].tolist()])
            if task == "gaussian":
                expected = np.concatenate(ensemble.predict(x[:5], return_std=True), axis=1)
                slopes = np.concatenate(ensemble.predict_jacobian(x[:5], return_std=True), axis=1)
                np.testing.assert_allclose([row[1] for row in rows], slopes, rtol=1e-8, atol=1e-12)
            elif ensemble[0].task == "regression":
                expected = ensemble.predict(x[:5])
                expected = expected.transpose(0, 2, 1).reshape(5, -1) if expected.ndim == 3 else expected
            else:
                expected = ensemble.predict_proba(x[:5])
            np.testing.assert_allclose([row[0] for row in rows], expected, rtol=1e-10, err_msg=task)
            if ensemble.temperature is not None:
                for i, step in enumerate(1e-4 * np.eye(5)):
                    slope = (ensemble.predict_proba(x[:5] + step) - ensemble.predict_proba(x[:5] - step)) / 2e-4
                    np.testing.assert_allclose([np.array(row[1])[:, i] for row in rows], slope, rtol=1e-5, atol=1e-9)
        window = show(ensemble)
        assert window.text("#summary").startswith("3 members, each 5 inputs → 6 tanh → 6 identity · ")
        assert window.text("#inside-note") == "These are the layers of the first of 3 members."
        activations = ensemble[0].activations(np.array([window.page.evaluate("() => Array.from(encode(state))")]))
        assert window.text("#layers .readout").endswith(f", {activations[1].max():.3g}")

    # Drawing

    def test_drawings_are_classified_right(self, show, trained):
        window = show(trained)
        drawn = window.page.evaluate("(all) => all.map((strokes) => Array.from(prepare(strokes)))", [*STROKES.values()])
        assert trained.predict(drawn).tolist() == [int(digit) for digit in STROKES]
        for digit, place in (("2", (1.0, 0.0, 0.0)), ("7", (0.55, 0.4, 0.05))):  # by the mouse
            window.page.click("#clear")
            draw(window.page, digit, *place)
            window.wait()
            assert window.text("#verdict strong") == digit
            x = np.array(window.page.evaluate("() => Array.from(inputsOf())"))
            assert trained.predict(x) == int(digit)
            probability = float(trained.forward(x).max())
            assert f"{100 * probability:.1f} %" in window.texts("#outputs .value")

    def test_drawings_are_scaled_and_centred_as_mnist(self, show):
        window = show(Network([784, 10], seed=0))
        for strokes in STROKES.values():
            for size, left, top in ((1.0, 0.0, 0.0), (0.3, 0.6, 0.1)):
                points = [[(left + size * x, top + size * y) for x, y in stroke] for stroke in strokes]
                pixels = window.page.evaluate("(strokes) => Array.from(prepare(strokes))", points)
                image = np.array(pixels).reshape(28, 28)
                assert (image.min(), image.max()) == (0, 1)
                rows, columns = np.nonzero(image)
                assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20
                grid, total = np.arange(28), image.sum()
                centre = np.array([image.sum(axis=1) @ grid, image.sum(axis=0) @ grid]) / total
                at_edge = min(rows.min(), columns.min()) == 0 or max(rows.max(), columns.max()) == 27
                assert (np.abs(centre - 14) <= 0.5 + 1e-9).all() or at_edge

    @pytest.mark.needs("sklearn")
    def test_drawings_of_scikit_learns_digits_are_classified_right(self, show):
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        digits = np.array([int(digit) for digit in STROKES])
        nets = []
        for standardize, white in ((True, 16), (False, 1)):
            net = Network([64, 30, 10], activation="relu", task="classification", standardize=standardize, seed=0)
            net.train((x / 16 * white, y), epochs=8, batch_size=32, lr=0.2, progress=False)
            nets.append((net, white))
        window = show(nets[0][0], {"image": (8, 8)})
        for size, left, top in ((1.0, 0.0, 0.0), (0.5, 0.4, 0.1)):
            places = [
                [[(left + size * x, top + size * y) for x, y in stroke] for stroke in strokes]
                for strokes in STROKES.values()
            ]
            drawn = window.page.evaluate(
                "(drawings) => drawings.map((strokes) => Array.from(prepare(strokes)))", places
            )
            images = np.array(drawn) / 16
            assert 0.27 < images.mean() < 0.33  # as of the digits
            for net, white in nets:
                right = int((net.predict(white * images) == digits).sum())
                assert right >= 8, (size, white, right)
        draw(window.page, "2")
        window.wait()
        assert window.text("#verdict strong") == "2"
        assert window.text("#input-note") == "Your drawing, scaled and slanted as scikit-learn's digits are."

    def test_what_is_seen_is_what_the_network_gets(self, show, trained, digits):
        window = show(trained)
        window.page.click("#examples button:nth-child(7)")
        window.wait()
        x = np.array(window.page.evaluate("() => Array.from(inputsOf())"))
        np.testing.assert_allclose(window.image("#input")[..., 0].ravel(), 255 * x, atol=0.51)
        activations = trained.activations(x.astype("float32"))
        unit = int(np.argmax(activations[1]))
        assert window.text("#layers .readout") == f"largest: unit {unit}, {activations[1][unit]:.2f}"

    def test_colours_of_layers_end_just_above_the_largest_activation(self, show, trained):
        window = show(trained)

        def find_end():
            window.wait()
            return float(window.texts("#layers .legend")[0].split()[-1])

        images = [np.array(pixels) for pixels in window.page.evaluate("() => examples.map((each) => Array.from(each))")]
        largest = trained.activations(np.array(images, "float32"))[1].max(axis=1)
        median = np.sort(largest)[4]
        for k in (largest.argmax(), largest.argmin()):
            window.page.click(f"#examples button:nth-child({k + 1})")
            least = max(largest[k], median)
            assert least * 0.999 <= find_end() <= least * 1.35
        # While one draws, the end grows where it must and never comes back; after that it does
        window.page.click("#clear")
        ends = [find_end()]
        assert median * 0.999 <= ends[0] <= median * 1.35
        add = "(points) => { startStroke(points[0]); strokes.at(-1).push(...points.slice(1)); update(); }"
        for stroke in (stroke for digit in "830" for stroke in STROKES[digit]):
            window.page.evaluate(add, stroke)
            ends.append(find_end())
            activations = trained.activations(np.array(window.page.evaluate("() => Array.from(inputsOf())"), "f4"))[1]
            assert activations.max() <= ends[-1] * 1.001
        assert ends == sorted(ends)
        assert ends[0] < ends[-1]
        window.page.click("#clear")
        assert find_end() == ends[0]

    def test_the_picture_of_the_derivative_is_the_jacobian(self, show, trained):
        window = show(trained)
        window.page.click("#examples button:nth-child(9)")
        x = np.array(window.page.evaluate("() => Array.from(inputsOf())"))
        row = trained.to(dtype="float64").jacobian(x)[3]
        for kind, expected in (("derivative", row), ("product", row * x)):
            window.page.select_option("#target", "3")
            window.page.select_option("#effect-kind", kind)
            window.wait()
            light = window.image("#effect")[..., 0].ravel().astype(float)  # red grows from end to end of the colours
            order = np.argsort(expected)
            assert (np.diff(light[order]) >= 0).all()
            assert light[order[-1]] > light[order[0]]
            assert float(window.text("#effect-high")) == pytest.approx(np.abs(expected).max(), rel=0.06)
            assert "3" in window.page.get_attribute("#effect", "aria-label")

    def test_the_keyboard_draws_and_the_answer_is_said(self, show, trained):
        window = show(trained)
        window.page.focus("#pad")
        for key, times in (("ArrowUp", 5), (" ", 1), ("ArrowDown", 8), (" ", 1), ("ArrowUp", 2)):
            for _ in range(times):
                window.page.keyboard.press(key)
        assert window.page.evaluate("() => strokes.map((stroke) => stroke.length)") == [9]
        window.page.wait_for_function("() => byId('live').textContent.startsWith('The answer is 1, probability ')")
        window.page.keyboard.press("Delete")
        window.wait()
        assert window.page.evaluate("() => strokes.length + inputsOf().reduce((sum, pixel) => sum + pixel, 0)") == 0

    # Sliders

    def test_sliders_and_numbers_give_the_librarys_outputs(self, show):
        rng = np.random.default_rng(0)
        x = rng.uniform(0, 100, (200, 3))
        net = Network([3, 10, 2], activation="tanh", task="regression", standardize=True, dtype="float64", seed=0)
        net.train((x, np.stack([x[:, 0] + x[:, 1], x[:, 2] ** 2], axis=1)), epochs=2, progress=False)
        net.feature_names = ["warm", "wide", "long"]
        window = show(net)
        assert window.texts("#inputs .label") == ["warm", "wide", "long"]
        numbers = window.page.locator("#inputs input[type=number]")
        for i, value in enumerate((12.5, -300, 77)):  # one beyond the end of its slider
            numbers.nth(i).fill(str(value))
        window.wait()
        point = np.array([12.5, -300, 77])
        shown = [float(text) for text in window.texts("#outputs .value")]
        np.testing.assert_allclose(shown, net.forward(point), rtol=1e-3)
        slopes = [float(text) for text in window.texts("#inputs .value")]
        np.testing.assert_allclose(slopes, net.jacobian(point)[0], rtol=0.06)
        window.page.select_option("#target", "1")
        window.wait()
        slopes = [float(text) for text in window.texts("#inputs .value")]
        np.testing.assert_allclose(slopes, net.jacobian(point)[1], rtol=0.06)
        window.page.locator("#inputs input[type=range]").nth(0).focus()
        window.page.keyboard.press("ArrowRight")
        window.wait()
        step = 6 * float(net.scaling.x_std[0, 0]) / 200
        assert window.page.evaluate("() => encode(state)[0]") == pytest.approx(12.5 + step)
        numbers.nth(0).fill("")
        assert numbers.nth(0).get_attribute("aria-invalid") == "true"
        window.page.click("#reset")
        window.wait()
        np.testing.assert_allclose(window.page.evaluate("() => Array.from(encode(state))"), net.scaling.x_mean[0])

    def test_the_columns_of_a_table_have_lists_and_dates_their_waves(self, show):
        from xpnet.tables.columns import CategoryColumn, DateColumn, NumberColumn, name_inputs, to_plain

        columns = (
            CategoryColumn("sex", ("f", "m"), True, False),
            NumberColumn("bill", 40.0, True),
            DateColumn("seen", 14000.0, False, "", False, ("year", "day")),
        )
        names = name_inputs(columns)
        net = Network([len(names), 8, 1], activation="tanh", task="regression", dtype="float64", seed=0)
        net.feature_names, net.notes = names, {"columns": to_plain(columns)}
        window = show(net)
        assert window.texts("#inputs .label") == ["sex", "bill", "bill is missing", "seen (days since 1970)"]
        selects, numbers = window.page.locator("#inputs select"), window.page.locator("#inputs input[type=number]")
        selects.nth(0).select_option("m")
        numbers.nth(1).fill("100.25")
        window.wait()
        x = [0, 1, 0, 0, 0, 100.25]
        x += [wave(2 * np.pi * 100.25 / period) for period in (365.2425, 1) for wave in (np.sin, np.cos)]
        np.testing.assert_allclose(window.page.evaluate("() => Array.from(encode(state))"), x, atol=1e-12)

        def output(t):
            waves = [wave(2 * np.pi * t / period) for period in (365.2425, 1) for wave in (np.sin, np.cos)]
            return float(net.predict(np.array([[0, 1, 0, 0, 0, t, *waves]]))[0])

        slope = float(window.texts("#inputs .value")[1].replace("−", "-"))
        assert slope == pytest.approx((output(100.2501) - output(100.2499)) / 2e-4, rel=0.06)
        selects.nth(1).select_option("yes")
        selects.nth(0).select_option("another")
        window.wait()
        assert window.page.evaluate("() => Array.from(encode(state)).slice(0, 5)") == [0, 0, 0, 40, 1]

    @pytest.mark.needs("pandas")
    @pytest.mark.filterwarnings("ignore:X has values that training did not have")
    def test_the_columns_of_a_table_are_encoded_in_bins(self, show):
        """Also beyond the first and last edge; what is missing, rare or unknown is set too."""
        import pandas

        from xpnet.estimators import TableEncoder

        rng = np.random.default_rng(0)
        table = pandas.DataFrame(
            {
                "area": rng.lognormal(3, 1, 200),
                "sold": pandas.Timestamp(2020, 1, 1) + pandas.to_timedelta(rng.integers(0, 24 * 999, 200), "h"),
                "side": rng.choice(["north", "south", "west", None], 200, p=[0.5, 0.4, 0.02, 0.08]),
                "garden": rng.choice(["no", "yes"], 200, p=[0.3, 0.7]),
            }
        )
        table.loc[:20, "area"] = np.nan
        encoder = TableEncoder(bins=8).fit(table)
        x = encoder.transform(table)
        net = Network(
            [x.shape[1], 8, 1], activation="tanh", task="regression", standardize=True, dtype="float64", seed=0
        )
        net.train((x, rng.normal(size=200)), epochs=3, progress=False)
        net.feature_names, net.notes = encoder.get_feature_names_out(), {"columns": encoder.columns_}
        window = show(net)
        assert window.texts("#inputs .label") == ["area", "area is missing", "sold (days since 1970)", "side", "garden"]
        selects, numbers = window.page.locator("#inputs select"), window.page.locator("#inputs input[type=number]")
        assert [selects.nth(k).locator("option").all_inner_texts() for k in (1, 2)] == [
            ["north", "south", "missing", "rare or unknown"],
            ["no", "yes", "another"],
        ]
        most = [["north", "south"].index(table["side"].mode()[0]), ["no", "yes"].index(table["garden"].mode()[0])]
        assert window.page.evaluate("() => state.slice(2).map(({ value }) => value)") == most
        assert "at their edges the derivative jumps" in window.text("#slopes-note")

        def predict(area, day, side, garden):
            seen = pandas.Timestamp(1970, 1, 1) + pandas.Timedelta(days=day)
            row = pandas.DataFrame({"area": [area], "sold": [seen], "side": [side], "garden": [garden]})
            return encoder.transform(row)[0], float(net.predict(encoder.transform(row))[0])

        for area, day, side, garden in (
            (20.5, 18500.25, "south", "no"),
            (-40, 17000, "west", "so"),
            (1e4, 2e4, None, "yes"),
        ):
            numbers.nth(0).fill(str(area))
            numbers.nth(1).fill(str(day))
            selects.nth(1).select_option({"west": "rare or unknown", None: "missing"}.get(side, side))
            selects.nth(2).select_option("another" if garden == "so" else garden)
            window.wait()
            x, output = predict(area, day, side, garden)
            np.testing.assert_allclose(window.page.evaluate("() => Array.from(encode(state))"), x, atol=1e-6)
            assert float(window.text("#verdict strong")) == pytest.approx(output, abs=1e-3)
            slope = (predict(area + 0.01, day, side, garden)[1] - predict(area - 0.01, day, side, garden)[1]) / 0.02
            assert float(window.texts("#inputs .value")[0]) == pytest.approx(slope, rel=0.1, abs=1e-3)
        selects.nth(0).select_option("yes")
        window.wait()
        x, _ = predict(np.nan, day, side, garden)
        np.testing.assert_allclose(window.page.evaluate("() => Array.from(encode(state))"), x, atol=1e-6)
        assert window.texts("#inputs .value")[0] == "0"
        numbers.nth(0).fill("3")  # so it is not missing
        assert selects.nth(0).input_value() == "0"

    def test_curves_are_the_outputs_and_their_derivatives(self, show):
        net = Network([2, 8, 1], activation="tanh", task="regression", dtype="float64", seed=0)
        window = show(net)
        window.page.select_option("#over", "1")
        window.wait()
        at = np.linspace(-3, 3, 121)
        rows = np.stack([np.zeros(121), at], axis=1)
        for chart, expected in (("#curve", net.forward(rows)[:, 0]), ("#slope", net.jacobian(rows)[:, 0, 1])):
            path = window.page.locator(f"{chart} path").get_attribute("d")
            points = np.array([[float(number) for number in pair.split()] for pair in re.split("[ML]", path)[1:]])
            assert len(points) == 121
            assert np.corrcoef(points[:, 0], at)[0, 1] > 0.99999
            assert np.corrcoef(points[:, 1], -expected)[0, 1] > 0.9999  # pixels count downwards
        assert window.page.locator(".now").count() == 2

    @pytest.mark.parametrize(
        ("cost", "n_out", "label", "text", "find_edges"),
        [
            ("gaussian", 4, 1, "± 2 standard deviations", lambda y: [y[:, 1] - 2 * y[:, 3], y[:, 1] + 2 * y[:, 3]]),
            ("quantile(0.1, 0.4, 0.9)", 6, 3, "from quantile 0.1 to quantile 0.9", lambda y: [y[:, 1], y[:, 5]]),
        ],
    )
    def test_a_band_is_around_the_curve(self, show, cost, n_out, label, text, find_edges):
        net = Network([1, 8, n_out], activation="tanh", cost=cost, dtype="float64", seed=0)
        window = show(net)
        window.page.select_option("#target", str(label))
        window.wait()
        y = net.forward(np.linspace(-3, 3, 121)[:, None])
        y = np.take_along_axis(y, find_order(net, y), axis=1)
        lower, upper = find_edges(y)
        band, curve = (
            np.array([[float(number) for number in pair.split()] for pair in re.split("[MLZ]", path) if pair])
            for path in (window.page.locator(f"#curve path.{name}").get_attribute("d") for name in ("band", "curve"))
        )
        drawn = np.concatenate([curve[:, 1], band[:121, 1], band[:120:-1, 1]])
        expected = np.concatenate([y[:, label], lower, upper])
        slope, start = np.polyfit(expected, drawn, 1)
        assert slope < 0  # pixels count downwards
        np.testing.assert_allclose(drawn, slope * expected + start, atol=0.1)
        np.testing.assert_array_equal(band[:121, 0], curve[:, 0])
        assert window.texts("#curve .key span")[-1].strip() == text
        assert window.page.get_attribute("#curve svg", "aria-label").endswith(f"; with a band, {text}")

    def test_quantiles_begin_with_the_middle_one(self, show):
        window = show(Network([2, 5, 3], cost="quantile(0.1, 0.5, 0.9)", seed=0))
        assert window.text("#curve-title").startswith("quantile 0.5 of the output over ")

    @pytest.mark.parametrize(
        ("n_out", "arguments"),
        [(1, {"task": "binary"}), (3, {"task": "multilabel"})],  # drawings have the answers of classification
    )
    def test_the_answer_is_the_prediction(self, show, n_out, arguments):
        net = Network([2, 4, n_out], activation="tanh", seed=3, init="normal", **arguments)
        window = show(net)
        for point in ([-2, 1], [1, 2]):
            for i in range(2):
                window.page.locator("#inputs input[type=number]").nth(i).fill(str(point[i]))
            window.wait()
            predicted = net.predict(point)
            chosen = window.texts("#outputs .chosen .label")
            if net.task == "multilabel":
                assert chosen == [str(k) for k in np.flatnonzero(predicted)]
            else:
                assert chosen == [str(predicted)]
                assert window.text("#verdict strong") == str(predicted)

    # For everybody

    PAGES = ([784, 30, 10], [5, 6, 3])

    # The drawing area, clear, ten examples and two choices; five sliders with their numbers, reset and two choices
    @pytest.mark.parametrize(("sizes", "n"), [(PAGES[0], 14), (PAGES[1], 13)])
    def test_the_keyboard_reaches_all_controls_in_order_and_each_has_a_name(self, show, sizes, n):
        """Names are those of Chromium's own tree of what a screen reader reads."""
        window = show(Network(sizes, task="classification", seed=0))
        session = window.page.context.new_cdp_session(window.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "combobox", "slider", "spinbutton", "image", "img", "application", "group"}
        named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
        assert len(named) > 10
        assert [node["role"]["value"] for node in named if not node.get("name", {}).get("value")] == []
        assert window.page.get_attribute("#live", "aria-live") == "polite"
        controls = "canvas[tabindex], button, select, input"
        reached = []
        for _ in range(n):
            window.page.keyboard.press("Tab")
            reached.append(
                window.page.evaluate(
                    f"() => [...document.querySelectorAll('{controls}')].filter((e) => e.offsetParent)"
                    ".indexOf(document.activeElement)"
                )
            )
        assert reached == list(range(n))

    @pytest.mark.parametrize("sizes", PAGES)
    def test_pages_fit_on_phones_and_tablets_light_and_dark(self, show, sizes):
        net = Network(sizes, task="classification", seed=0)
        net.notes = {"labels": ["a long name of a class, of many words"] * sizes[-1]}
        window, papers = show(net), []
        for scheme in ("light", "dark"):
            window.page.emulate_media(color_scheme=scheme)
            for width in (1280, 740, 390) if scheme == "light" else (390,):
                window.page.set_viewport_size({"width": width, "height": 844})
                window.wait()
                too_wide = window.page.evaluate(
                    "() => [document.documentElement, ...document.querySelectorAll('section, #inputs')]"
                    ".filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.className || e.id || e.tagName)"
                )
                assert (width, too_wide) == (width, [])
            picture = Image.open(BytesIO(window.page.screenshot())).convert("RGB")
            assert len(picture.getcolors(2**24)) > 100
            papers.append(sum(picture.getpixel((1, 1))))
        assert papers[0] > 700
        assert papers[1] < 100

    # In a frame of another page, as in the documentation

    @pytest.mark.parametrize(("sizes", "width"), [(PAGES[0], 390), (PAGES[1], 1280)])
    def test_the_compact_page_fits_its_frame(self, frame, sizes, width):
        page, inside = frame(Network(sizes, task="classification", seed=0), width)
        room = "() => { const e = document.scrollingElement; return [e.scrollWidth, e.scrollHeight, innerHeight] }"
        for new_width in (width, width - 40):
            page.set_viewport_size({"width": new_width, "height": 844})
            inside.wait_for_function(FITS, arg=new_width)
            scroll_width, scroll_height, height = inside.evaluate(room)
            assert (scroll_width, scroll_height) == (new_width, height)
            bottoms = "() => [...document.querySelectorAll('section')].map((e) => e.getBoundingClientRect().bottom)"
            assert height - 30 < max(inside.evaluate(bottoms)) <= height  # it is no larger than it must be
        for selector, is_shown in (("#outputs", True), ("footer", False), ("h1", False)):
            assert inside.locator(selector).is_visible() == is_shown, selector
        if sizes[0] == 784:
            for selector in ("#pad", "#input", "#layers canvas"):
                assert inside.locator(selector).is_visible(), selector
            assert not inside.locator("#tiles").is_visible()

    def test_in_a_frame_a_finger_draws_on_the_pad_and_scrolls_beside_it(self, frame, browser):
        page = browser.new_context(has_touch=True).new_page()
        page, inside = frame(Network([784, 30, 10], task="classification", seed=0), 390, page)
        inside.wait_for_function(FITS, arg=390)
        for selector, is_pad in (("#pad", True), ("#layers", False)):
            page.evaluate("() => scrollTo(0, 500)")
            inside.evaluate("() => clear()")
            box = inside.locator(selector).bounding_box()  # in the window
            x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
            height = page.evaluate("() => document.body.scrollHeight")
            swipe(page, x, y, -150)
            assert page.evaluate("() => document.body.scrollHeight") == height  # nothing jumps while one draws
            moved = page.evaluate("() => scrollY") - 500
            n = inside.evaluate("() => strokes.length")
            assert (moved, n) == (0, 1) if is_pad else (moved > 40 and n == 0), (selector, moved, n)
            assert inside.evaluate("() => scrollY") == 0
        page.evaluate("() => scrollTo(0, 500)")
        box = inside.locator("#pad").bounding_box()
        page.touchscreen.tap(box["x"] + 99, box["y"] + 99)
        assert inside.evaluate("() => [strokes.length, example]") == [1, None]
        page.context.close()

    def test_nothing_moves_for_those_who_want_that(self, show):
        window = show(Network([3, 2], task="classification"))
        for wish, seconds in (("reduce", "0s"), ("no-preference", "0.09s")):
            window.page.emulate_media(reduced_motion=wish)
            duration = window.page.evaluate("() => getComputedStyle(document.querySelector('.bar')).transitionDuration")
            assert duration == seconds


# Lessons

# The numbers that a page shows, and what it says of each
NUMBERS = """() => [...document.querySelectorAll(".number")].map((button) => ({
  key: button.dataset.key, value: button.dataset.value, text: button.textContent, off: button.disabled,
  fresh: button.classList.contains("fresh") }))"""
# Describe every number that arrow keys reach
WALK = """(describe) => {
  const queue = [document.activeElement];
  const seen = new Map([[queue[0], describe()]]);
  for (const from of queue) {
    for (const key of ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]) {
      from.focus();
      from.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      if (seen.has(document.activeElement)) continue;
      queue.push(document.activeElement);
      seen.set(document.activeElement, describe());
    }
  }
  return [...seen.values()];
}"""
FORMULA = """() => ({ key: document.activeElement.dataset.key, value: document.activeElement.dataset.value,
  lines: [...document.querySelectorAll("#formula p")].map((line) => line.lastChild.textContent),
  check: document.querySelector("#check").textContent })"""


def read(text):
    """A number as a page writes it."""
    return float(text.replace("−", "-"))


class Lesson:
    """The step of a page, computed by the library: a network, examples, and the rows of the minibatch."""

    def __init__(self, window):
        start = window.page.evaluate("() => ({ ...state, rows })")
        sizes = [2, *(len(layer["b"]) for layer in start["layers"])]
        self.net = Network(sizes, dtype="float64", seed=0)
        self.net.layers = [(layer["w"], layer["b"]) for layer in start["layers"]]
        self.x, self.y, self.rows, self.lr = np.array(start["x"]), np.array(start["y"]), start["rows"], start["lr"]
        self.batch = self.x[self.rows], self.y[self.rows]

    def compute(self, phase):
        """Every number that is known after a phase, by the key that it has in the page, and the phase it comes from."""
        net, (x, y) = self.net, self.batch
        activations, deltas, gradients = net.activations(x), net.deltas(x, y), net.backward(x, y)
        updated = net.copy()
        updated.minibatch_update((x, y), self.lr)
        numbers = {}
        for k, r in enumerate(self.rows):
            numbers |= {f"y-{j}-{r}": (0, value) for j, value in enumerate(y[k])}
            numbers[f"c-{r}"] = 1, net.cost((x[k : k + 1], y[k : k + 1]))
            for l, a in enumerate(activations):
                numbers |= {f"a-{l}-{j}-{r}": (min(l, 1), value) for j, value in enumerate(a[k])}
            for l, layer in enumerate(net.layers, 1):
                z = activations[l - 1][k] @ layer.w.T + layer.b
                numbers |= {f"z-{l}-{j}-{r}": (1, value) for j, value in enumerate(z)}
                numbers |= {f"d-{l}-{j}-{r}": (4 - l, value) for j, value in enumerate(deltas[l - 1][k])}
        if len(self.rows) > 1:
            numbers["cost"] = 1, net.cost((x, y))
        for l, (layer, gradient) in enumerate(zip((updated if phase == 6 else net).layers, gradients, strict=True), 1):
            own = 6 if phase == 6 else 0
            numbers |= {f"b-{l}-{j}": (own, value) for j, value in enumerate(layer.b)}
            numbers |= {f"gb-{l}-{j}": (4, value) for j, value in enumerate(gradient.b)}
            numbers |= {f"w-{l}-{j}-{i}": (own, value) for (j, i), value in np.ndenumerate(layer.w)}
            numbers |= {f"gw-{l}-{j}-{i}": (5, value) for (j, i), value in np.ndenumerate(gradient.w)}
        return numbers


def assert_shows(window, lesson, phase):
    """All numbers of a phase and of those before it are shown, no others, and they are the library's."""
    expected, shown = lesson.compute(phase), {number["key"]: number for number in window.page.evaluate(NUMBERS)}
    assert shown.keys() == expected.keys()
    for key, (own, value) in expected.items():
        assert shown[key]["off"] == (own > phase), (phase, key)
        assert shown[key]["fresh"] == (own == phase > 0), (phase, key)
        if own > phase:
            assert (shown[key]["text"], shown[key]["value"]) == ("·", "")
        else:
            assert float(shown[key]["value"]) == pytest.approx(value, rel=1e-9, abs=1e-9), (phase, key)
            text = shown[key]["text"]
            if own and 1e-3 <= abs(value) < 9.999:  # what is computed has four decimals
                assert text.replace("−", "-") == f"{value:.4f}", (phase, key)
            else:
                assert read(text) == pytest.approx(value, rel=0.051, abs=1e-9), (phase, key)


def evaluate(line):
    """Evaluate a line of a formula, such as "= 2 · (−0.5) + ½ · (0.1)²"."""
    for sign, code in (("½", "0.5"), ("·", "*"), ("−", "-"), ("²", "**2"), ("e^", "exp"), ("\xa0", " ")):
        line = line.replace(sign, code)
    return eval(line.removeprefix("= "), {"exp": np.exp})


def round_as_shown(value):
    """Round to five decimals or four digits, whichever are more, and to six digits at most."""
    return float(f"{value:.{min(max(4, 6 + int(np.floor(np.log10(abs(value) or 1)))), 6)}g}")


QUANTITIES = ["w", "b", "a", "slope", "delta", "cost"]  # of a neuron


def train_neuron(cost, w, b, lr):
    """The quantities of a neuron with the input 1 and the target 0, at the start and after each of 300 epochs."""
    example, parameters = (np.array([[1.0]]), np.array([[0.0]])), [[w, b]]

    class Note(Callback):
        def on_epoch_end(self, logs):
            parameters.append([net.w[0].item(), net.b[0].item()])

    net = Network([1, 1], cost=cost, dtype="float64", seed=0)
    net.layers = [([[w]], [b])]
    history = net.train(example, epochs=300, batch_size=1, lr=lr, callbacks=[Note()], progress=False)
    costs = [*history["cost"], net.cost(example)]  # of each epoch before its update
    net.layers = [([[1.0]], [0.0])]  # so that its input is z: all epochs at once
    z = np.sum(parameters, axis=1, keepdims=True)
    a, delta = net.forward(z), net.deltas(z, np.zeros_like(z))[0]
    return np.hstack([parameters, a, a * (1 - a), delta, np.transpose([costs])])


class TestLessonsInBrowser:
    pytestmark = in_browser

    def test_every_number_of_every_phase_is_the_librarys(self, show):
        window, rng = show("step"), np.random.default_rng(0)
        for outputs, rows in (("0", "0,1"), ("1", "1")):
            window.page.select_option("#outputs-count", outputs)
            window.page.select_option("#rows", rows)
            window.page.click("#phases button:first-child")
            lesson = Lesson(window)
            for phase in range(1, 7):
                assert_shows(window, lesson, phase)
                window.page.evaluate("() => byId('next').click()")  # which takes less time than the mouse
            falls = f"The cost falls from {lesson.net.cost(lesson.batch):.4g} to "
            lesson.net.minibatch_update(lesson.batch, lesson.lr)
            assert window.text("#count") == "Step 2"
            assert_shows(window, lesson, 1)  # the next step begins with the new weights
            window.page.click("#back")
            assert window.text("#words").startswith(falls + f"{lesson.net.cost(lesson.batch):.4g}.")
        # Other numbers, typed in: all that is shown follows at once
        fields = window.page.locator("#parameters input, #data input")
        for k, label in enumerate(fields.evaluate_all("(fields) => fields.map((field) => field.ariaLabel)")):
            is_target = label.startswith("y")
            fields.nth(k).fill(f"{rng.uniform() if is_target else rng.normal():.3f}")
        window.page.fill("#rate input", "1.7")
        assert_shows(window, Lesson(window), 6)
        assert window.text("#count") == "Step 1"

    def test_ten_steps_are_the_librarys_and_back_leads_through_them(self, show):
        window = show("step")
        lesson, costs = Lesson(window), []
        window.page.click("#ten")
        for _ in range(10):
            costs.append(lesson.net.cost(lesson.batch))
            lesson.net.minibatch_update(lesson.batch, lesson.lr)
        assert window.text("#count") == "Step 11"
        assert_shows(window, lesson, 1)
        costs.append(lesson.net.cost(lesson.batch))
        assert costs == sorted(costs, reverse=True)
        shown = window.page.evaluate("() => [...past.map(({ cost }) => cost), shown.cost]")
        np.testing.assert_allclose(shown, costs, rtol=1e-9)
        assert window.text("#fall-note") == f"From {costs[0]:.4g} to {costs[-1]:.4g}"
        path = window.page.locator("#fall path").get_attribute("d")
        heights = [-float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]]
        assert np.corrcoef(heights, costs)[0, 1] > 0.9999
        cut_off = "() => [...document.querySelectorAll('td input')].filter((e) => e.scrollWidth > e.clientWidth).length"
        assert window.page.evaluate(cut_off) == 0
        window.page.evaluate("() => { for (let k = 0; k < 60; k++) byId('back').click() }")
        assert (window.text("#count"), window.text("#phase-title")) == (
            "Step 1",
            "Forward: from the inputs to the cost",
        )
        assert_shows(window, Lesson(window), 1)
        assert Lesson(window).net.cost(lesson.batch) == pytest.approx(costs[0], rel=1e-12)
        window.page.click("#back")
        assert window.page.is_disabled("#back")
        assert_shows(window, Lesson(window), 0)

    def test_each_number_shows_its_formula_by_keyboard_alone(self, show):
        """Every line of a formula gives the value, as shown, on a pocket calculator; so does the check by nudging."""
        window = show("step")
        window.page.select_option("#outputs-count", "1")
        window.page.select_option("#rows", "0,1")
        window.page.focus("#next")
        for _ in range(6):
            window.page.keyboard.press("Enter")
        assert_shows(window, Lesson(window), 6)
        for _ in range(5):
            window.page.keyboard.press("Tab")
        window.page.keyboard.press("Home")
        seen = {number["key"]: number for number in window.page.evaluate(f"({WALK})({FORMULA})")}
        assert seen.keys() == Lesson(window).compute(6).keys()
        for key, number in seen.items():
            value = float(number["value"])
            assert (len(number["lines"]) > 1) == (key[0] != "y" and key[:4] != "a-0-"), key  # those are given
            for line in number["lines"][1:]:
                assert round_as_shown(evaluate(line)) == round_as_shown(value), (key, number)
            assert read(number["lines"][-1].removeprefix("= ")) == round_as_shown(value)
            assert (number["check"] != "") == (key[0] in "dg"), key
            if number["check"]:
                assert read(number["check"].split()[-1]) == pytest.approx(value, rel=1e-3)
            if re.match("d-1-", key):
                assert number["lines"][0].count("δ²") == len(Lesson(window).net.b[1])  # a term for each path

    @pytest.mark.parametrize(
        ("width", "keys"),
        [
            (1280, "d-1-0-0 Right d-1-0-1 Down gb-1-0 Down z-1-1-1 Up gb-1-0 Left b-1-0 Left w-1-1-0 Left a-0-0-1"),
            (390, "d-1-0-0 Right d-1-0-1 Right d-1-1-0 Down b-1-1 Down w-2-0-1 Down gw-2-0-1 Down z-2-0-1"),
        ],
        ids=["wide", "narrow"],
    )
    def test_arrow_keys_lead_to_the_next_row_or_column_and_the_next_box(self, show, width, keys):
        window = show("step")
        window.page.set_viewport_size({"width": width, "height": 844})
        window.wait()
        window.page.evaluate("() => go(6)")
        begin, *way = keys.split()
        window.page.focus(f"[data-key={begin}]")
        for direction, key in zip(way[::2], way[1::2], strict=True):
            window.page.keyboard.press(f"Arrow{direction}")
            assert (direction, window.page.evaluate("() => document.activeElement.dataset.key")) == (direction, key)

    def test_pointing_at_a_number_marks_what_it_is_made_of(self, show):
        window = show("step")
        window.page.select_option("#outputs-count", "1")
        for _ in range(3):
            window.page.click("#next")
        window.page.hover("[data-key=d-1-1-0]")
        keys = "(name) => [...document.querySelectorAll(`.number.${name}`)].map((e) => e.dataset.key).sort()"
        assert window.page.evaluate(keys, "chosen") == ["d-1-1-0"]
        assert window.page.evaluate(keys, "used") == ["a-1-1-0", "d-2-0-0", "d-2-1-0", "w-2-0-1", "w-2-1-1"]
        assert window.page.locator(".edge.used").count() == 2  # the paths
        assert "through z²₁ and z²₂" in window.text("#check")

    @pytest.mark.parametrize(
        ("lesson", "field", "texts", "note"),
        [
            (
                *("step", "#parameters input >> nth=1", ("abc", "e", "", "1e400", "1001", "-1e9")),
                "w¹₁₂ must be a number from -1000 to 1000; it stays -1.",
            ),
            (
                *("neuron", "#rate-number input", ("-1", "1001")),
                "The learning rate must be a number from 0 to 1000; it stays 0.15.",
            ),
        ],
        ids=["weight", "neuron"],
    )
    def test_bad_entries_are_marked_and_change_nothing(self, show, lesson, field, texts, note):
        window = show(lesson)
        window.page.click("#next" if lesson == "step" else "#one")
        everything = "() => [...document.querySelectorAll('[data-value]')].map((e) => e.dataset.value)"
        before, own = window.page.evaluate(everything), window.page.locator(field)
        value = own.input_value()
        for text in texts:
            own.clear()
            own.press_sequentially(text)
            assert own.get_attribute("aria-invalid") == "true"
            assert note in window.texts("section .note")
            assert window.page.evaluate(everything) == before
            own.blur()
            assert (own.input_value(), own.get_attribute("aria-invalid")) == (value, "false")
        # The note goes when the same value is typed, and when a step is taken
        own.fill(value)
        assert note not in window.texts("section .note")
        own.fill("")
        assert note in window.texts("section .note")
        window.page.click("#ten" if lesson == "step" else "#one")
        assert note not in window.texts("section .note")

    def test_300_epochs_of_both_neurons_are_the_librarys(self, show):
        window = show("neuron")
        window.page.emulate_media(reduced_motion="reduce")
        w, b, lr = -1, 3.5, 2.5
        for k, (field, value) in enumerate((("#start input", w), ("#start input", b), ("#rate-number input", lr))):
            window.page.locator(field).nth(k % 2).fill(str(value))
        expected = [train_neuron(cost, w, b, lr) for cost in ("quadratic", "cross_entropy")]
        paths = window.page.evaluate(
            "(names) => paths.map((path) => path.map((point) => names.map((name) => point[name])))", QUANTITIES
        )
        np.testing.assert_allclose(paths, expected, rtol=1e-9, atol=1e-9)
        for button, epoch in ((None, 0), ("#one", 1), ("#run", 300)):
            if button:
                window.page.click(button)
            assert window.text("#epoch") == f"Epoch {epoch} of 300"
            cells = window.page.evaluate(
                "() => [...cells].map(([name, two]) => [name, two.map((e) => [e.dataset.value, e.textContent])])"
            )
            for name, two in cells:
                for path, (value, text) in zip(expected, two, strict=True):
                    quantity = path[epoch][QUANTITIES.index(name)]
                    assert float(value) == pytest.approx(quantity, rel=1e-9, abs=1e-9)
                    assert read(text) == pytest.approx(quantity, rel=5.1e-3)
        for name in ("a", "slope", "delta"):
            for k in range(2):
                path = window.page.locator(f"#plot-{name} path").nth(k).get_attribute("d")
                heights = [-float(pair.split()[1]) for pair in re.split("[ML]", path)[1:]]
                values = [point[QUANTITIES.index(name)] for point in expected[k]]
                assert np.corrcoef(heights, values)[0, 1] > 0.999

    def test_the_neuron_runs_pauses_and_follows_the_slider(self, show):
        window = show("neuron")
        assert window.texts("#state tr:nth-child(4) .value") == ["0.0173", "0.982"]
        window.page.focus("#run")
        window.page.keyboard.press("Enter")
        window.page.wait_for_function("() => epoch >= 3")
        window.page.keyboard.press("Enter")
        epoch = window.page.evaluate("() => epoch")
        assert 3 <= epoch < 300
        window.page.wait_for_function("() => byId('live').textContent.startsWith('Epoch ')")
        assert (window.page.evaluate("() => epoch"), window.text("#run")) == (epoch, "Run")
        assert window.page.locator("#plot-a path").first.get_attribute("d").count("L") == epoch
        before = window.page.evaluate("() => paths[0][epoch].a")
        window.page.focus("#rate input")
        for _ in range(5):
            window.page.keyboard.press("ArrowRight")
        assert window.page.evaluate("() => paths[0][epoch].a") < before
        lr = window.page.evaluate("() => settings.lr")
        assert float(window.page.locator("#rate-number input").input_value()) == lr > 0.15
        assert window.page.get_attribute("#rate input", "aria-valuetext") == str(lr)
        window.page.click("#reset")
        assert (window.text("#epoch"), window.page.evaluate("() => settings")) == (
            "Epoch 0 of 300",
            {"w": 2, "b": 2, "lr": 0.15},
        )

    def test_random_numbers_are_numpys(self, show):
        window = show("plane")
        draw = """([seed, n]) => {
            const { drawNormal, permute } = makeGenerator(start.seeds[seed].map(BigInt));
            return [permute(7), Array.from({ length: n }, drawNormal), permute(n), permute(2)];
        }"""
        for seed, n in ((0, 15000), (9, 3000)):  # of so many numbers, some are in the tails
            rng = np.random.default_rng(seed)
            first, normal, *others = window.page.evaluate(draw, [seed, n])
            assert first == rng.permutation(7).tolist()
            np.testing.assert_allclose(normal, rng.standard_normal(n), rtol=1e-12)
            assert others == [rng.permutation(n).tolist(), rng.permutation(2).tolist()]

    @pytest.mark.parametrize("name", PLANES)
    def test_the_plane_learns_as_a_network_does(self, show, name):
        """Over 108 steps; the code that the page shows makes and trains the network."""
        window = show("plane")
        window.page.emulate_media(reduced_motion="reduce")
        learn = """([activation, cost, layers, seed]) => {
            Object.assign(settings, { activation, cost, layers, seed });
            begin();
            trainEpochs(9);
            showCode();
            return costs;
        }"""
        window.page.select_option("#data", name)
        for k, activation in enumerate(("sigmoid", "tanh", "relu")):
            for layers, cost in ((1 + k, "quadratic"), (2, "cross_entropy")):
                costs = window.page.evaluate(learn, [activation, cost, layers, 3 * k + layers])
                names = {}
                exec(window.text("#code").replace("lr=", "progress=False, lr="), names)
                assert len(names["history"]["cost"]) == 9
                np.testing.assert_allclose(costs, names["history"]["cost"], rtol=0, atol=1e-9)
                weights = window.page.evaluate("() => parts.flatMap(({ w, b }) => (w ? [...w, ...b] : []))")
                expected = np.concatenate([array.ravel() for layer in names["net"].layers for array in layer])
                np.testing.assert_allclose(weights, expected, rtol=0, atol=1e-9)

    def test_pictures_and_numbers_at_every_unit_are_the_librarys(self, show):
        window = show("plane")
        for setting, value in (("layers", "2"), ("units", "3"), ("data", "spiral"), ("batch", "120"), ("lr", "1")):
            window.page.select_option(f"#{setting}", value)
        for button in ("#epoch", "#one"):
            window.page.click(button)
        assert window.text("#count") == "Epoch 2"
        names = {}
        exec(window.text("#code").replace("lr=", "progress=False, lr="), names)
        net, (X, y) = names["net"], (names["X"], names["y"])
        assert f"the cost of epoch 2 is {window.page.evaluate('() => costs.at(-1)')}." in window.text("#code-note")
        pictures = window.page.evaluate("() => computePictures().map((layer) => layer.map((one) => [...one]))")
        for picture, a in zip(pictures, net.activations(np.transpose(pictures[0])), strict=True):
            np.testing.assert_allclose(picture, a.T, rtol=0, atol=1e-9)
        colors = window.page.evaluate(
            "() => [...tiles.at(-1)[0].canvas.getContext('2d').getImageData(0, 0, GRID, GRID).data]"
        )
        red, _, blue, alpha = np.reshape(colors, (-1, 4)).T
        np.testing.assert_allclose(alpha * np.where(blue > red, 1, -1) / 510 + 0.5, np.ravel(pictures[-1]), atol=0.003)
        # An example by mouse, by its number, and the most wrong one
        box = window.page.locator("#field svg").bounding_box()
        costs = [net.cost((X[r : r + 1], y[r : r + 1])) for r in range(len(X))]
        for r in (7, 40, int(np.argmax(costs))):
            if r == 7:
                at = (np.array([1, -1]) * X[r] / 5 + 0.5) * box["width"]
                window.page.mouse.click(box["x"] + at[0], box["y"] + at[1])
            elif r == 40:
                window.page.fill("#example", "41")
            else:
                window.page.click("#worst")
            activations, deltas = net.activations(X[r : r + 1]), net.deltas(X[r : r + 1], y[r : r + 1])
            expected = [*X[r]]
            for l, layer in enumerate(net.layers, 1):
                z = activations[l - 1] @ layer.w.T + layer.b
                expected += np.stack([z, activations[l], deltas[l - 1]], axis=-1).ravel().tolist()
            shown = window.page.locator("#stage .value").evaluate_all(
                "(all) => all.map((e) => Number(e.dataset.value))"
            )
            np.testing.assert_allclose(shown, expected, rtol=1e-9, atol=1e-9)
            assert window.text("#example-note").startswith(f"Example {r + 1}: the target is {y[r, 0]:.0f}, the output ")
        mean = np.mean([abs(error) for error in net.deltas(X, y)[0]])
        assert read(window.texts(".column p span")[1].removeprefix("|δ| ")) == pytest.approx(mean, rel=0.05)
        window.page.fill("#example", "121")
        assert window.page.get_attribute("#example", "aria-invalid") == "true"
        assert window.page.locator("#stage .value").count() == 0

    def test_the_plane_runs_pauses_begins_anew_and_answers_questions(self, show):
        window = show("plane")
        window.page.click("#one")
        assert window.text("#count") == "Epoch 0, step 1 of 12"
        window.page.click("#epoch")  # to its end
        assert window.text("#count") == "Epoch 1"
        window.page.click("#tries button >> nth=1")
        assert window.page.evaluate("() => [settings.data, byId('layers').value]") == ["exclusive_or", "3"]
        assert window.text("#told").startswith("Look at |δ|")
        window.page.wait_for_function("() => costs.length >= 3")
        assert window.text("#run") == "Pause"
        window.page.click("#run")
        epochs = window.page.evaluate("() => costs.length")
        window.wait()
        assert window.text("#count") == f"Epoch {epochs}"
        window.page.click("#reset")
        assert (window.text("#count"), window.text("#told")) == ("Epoch 0", "")
        window.page.emulate_media(reduced_motion="reduce")
        window.page.click("#run")
        assert (window.text("#count"), window.text("#run")) == ("Epoch 100", "Run")
        window.page.select_option("#activation", "relu")
        window.page.evaluate("() => { settings.lr = 1e300; byId('epoch').click(); byId('epoch').click() }")
        assert "choose a smaller rate" in window.text("#told")

    @pytest.mark.parametrize("lesson", LESSONS)
    def test_lessons_fit_light_and_dark_and_no_number_is_cut_off(self, show, lesson):
        window, papers = show(lesson), []
        if lesson == "plane":  # the largest network, and numbers in it
            for field, value in (("#layers", "3"), ("#units", "8")):
                window.page.select_option(field, value)
            window.page.fill("#example", "1")
        for scheme in ("light", "dark"):
            window.page.emulate_media(color_scheme=scheme)
            if lesson == "step":
                window.page.select_option("#outputs-count", "1" if scheme == "light" else "0")
                window.page.locator("#parameters input").nth(0).fill("-123.456")
                window.page.locator("#parameters input").nth(7).fill("-0.00123456")
                window.page.locator("#data input").nth(0).fill("-0.98765")
                window.page.click("#phases button:last-child")
            for width in (1280, 936, 740, 390) if scheme == "light" else (390,):
                window.page.set_viewport_size({"width": width, "height": 844})
                window.wait()
                too_wide = window.page.evaluate(
                    "() => [document.documentElement, ...document.querySelectorAll('section, .number')]"
                    ".filter((e) => e.scrollWidth > e.clientWidth + 1)"
                    ".map((e) => e.dataset?.key || e.className || e.id || e.tagName)"
                )
                assert (width, too_wide) == (width, [])
                overlaps = window.page.evaluate(OVERLAPS)
                assert (width, overlaps) == (width, [])
            picture = Image.open(BytesIO(window.page.screenshot())).convert("RGB")
            papers.append(sum(picture.getpixel((1, 1))))
        assert papers[0] > 700
        assert papers[1] < 100

    @pytest.mark.parametrize("lesson", LESSONS)
    def test_the_keyboard_reaches_all_controls_and_each_has_a_name(self, show, lesson):
        window = show(lesson)
        if lesson == "step":
            window.page.click("#phases button:last-child")
        nodes = window.page.context.new_cdp_session(window.page).send("Accessibility.getFullAXTree")["nodes"]
        roles = {"button", "combobox", "slider", "spinbutton", "image", "img", "group", "table"}
        named = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
        assert len(named) > 10
        assert [node["role"]["value"] for node in named if not node.get("name", {}).get("value")] == []
        window.page.evaluate("() => { document.body.tabIndex = -1; document.body.focus() }")
        controls = (
            "[...document.querySelectorAll('button, select, input')].filter((e) => e.tabIndex >= 0 && !e.disabled)"
        )
        for k in range(window.page.evaluate(f"() => {controls}.length")):
            window.page.keyboard.press("Tab")
            assert window.page.evaluate(f"() => {controls}.indexOf(document.activeElement)") == k
            outline = window.page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"

    @pytest.mark.parametrize(("lesson", "width"), [("step", 356), ("neuron", 936), ("plane", 356)])
    def test_lessons_fit_their_frames(self, frame, lesson, width):
        _, inside = frame(lesson, width)
        if lesson == "step":
            inside.select_option("#outputs-count", "1")
            assert inside.evaluate(OVERLAPS) == []
        for button in ("#next", "#next", "#ten") if lesson == "step" else ("#one",):
            inside.click(button)
            inside.wait_for_function(FITS, arg=width)
            room = "() => { const e = document.scrollingElement; return [e.scrollWidth, e.scrollHeight, innerHeight] }"
            scroll_width, scroll_height, height = inside.evaluate(room)
            assert (scroll_width, scroll_height) == (width, height)
