"""Measure prediction, memory, import time and data loading.

Prints a table of measurements, each next to the project's target; README.md in this folder describes the method. Exits
with status 1 if two contenders predict differently or a memory bound is exceeded. It never fails because of a time.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import machine
from pages import format_table, replace_tables

from xpnet import Network
from xpnet.data.sources import make_source
from xpnet.datasets import mnist, mnist_sample

ROUNDS = 15
SIZES = [784, 30, 10]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="examples in the large prediction (%(default)s)")
    parser.add_argument("--skip", nargs="*", default=[], choices=PARTS, help="parts to leave out")
    parser.add_argument("--into", type=Path, nargs="+", default=[], metavar="PAGE", help="replace the table of pages")
    args = parser.parse_args()
    where = f"{machine('torch', 'sklearn')}; threads as set by OPENBLAS_NUM_THREADS and OMP_NUM_THREADS."
    head, rows = ["measurement", "value", "target"], []
    print(f"{where}\n\n{format_table(head, [])}", flush=True)
    (x, y), test = mnist() if os.environ.get("XPNET_DATA") else mnist_sample()
    with tempfile.TemporaryDirectory() as folder:
        for name, part in PARTS.items():
            if name not in args.skip:
                for row in part(x, y, test, args, Path(folder)):
                    rows.append(list(map(str, row)))
                    print(f"| {' | '.join(rows[-1])} |", flush=True)
    for page in args.into:
        replace_tables(page, "everyday.py", {"measurements": f"{where}\n\n{format_table(head, rows)}"})


def latency(x, y, test, args, folder):
    """Time `predict` for one example."""
    net, one = Network(SIZES, seed=0), x[0]
    yield "`predict` of one example, 784-30-10, NumPy", f"{best(lambda: net.predict(one), 2000) * 1e6:.1f} µs", "20 µs"


def predictions(x, y, test, args, folder):
    """Time many predictions, relative to scikit-learn and PyTorch with the same weights."""
    for sizes in (SIZES, [784, 512, 512, 10]):
        for n in (10_000, args.rows):
            rows = np.resize(x, (n, 784))
            net = Network(sizes, activation="relu", task="classification", seed=0)
            contenders = {
                "xpnet": lambda net=net, rows=rows: net.predict_proba(rows),
                "scikit-learn": sklearn_like(net, rows),
                "PyTorch": torch_like(net, rows),
            }
            seconds = {name: [] for name in contenders}
            for _ in range(max(3, ROUNDS * 10_000 // n)):
                for name, run in contenders.items():
                    time.sleep(0.06)  # BLAS threads keep spinning after their work and would slow the next contender
                    started = time.perf_counter()
                    found = run()
                    seconds[name].append(time.perf_counter() - started)
                    if not np.allclose(found[:1000], net.predict_proba(rows[:1000]), atol=1e-5):
                        sys.exit(f"{name} predicts differently")
            ours = np.array(seconds.pop("xpnet"))
            for name, theirs in seconds.items():
                what = f"`predict_proba` of {n:,} rows, {'-'.join(map(str, sizes))}, NumPy, relative to {name}"
                yield what, f"{np.median(ours / theirs):.2f} ({np.median(ours) * 1e3:.0f} ms)", "1.0"


def sklearn_like(net, rows):
    """predict_proba of an MLPClassifier with the weights of a network."""
    from sklearn.neural_network import MLPClassifier

    few = MLPClassifier(net.sizes[1:-1], max_iter=1, batch_size=10)
    few.partial_fit(rows[:10], np.arange(10), classes=np.arange(10))
    few.coefs_ = [np.ascontiguousarray(w.T) for w in net.w]
    few.intercepts_ = list(net.b)
    return lambda: few.predict_proba(rows)


def torch_like(net, rows):
    """A Sequential with the weights of a network, without autograd."""
    import torch

    parts = []
    for w, b in net.layers:
        linear = torch.nn.Linear(*w.shape[::-1])
        linear.weight.data, linear.bias.data = torch.tensor(np.ascontiguousarray(w)), torch.tensor(b)
        parts += [linear, torch.nn.ReLU()]
    model, x = torch.nn.Sequential(*parts[:-1], torch.nn.Softmax(-1)), torch.from_numpy(rows)

    def run():
        with torch.no_grad():
            return model(x).numpy()

    return run


def memory(x, y, test, args, folder):
    """Peak memory of training, minus that of training on a few examples, relative to the size of the data."""
    for name, dtype, bound in (("float32", np.float32, 1.3), ("uint8", np.uint8, None)):
        for part, pixels in (("x", x), ("t", test[0])):
            np.save(folder / f"{part}.npy", pixels if dtype == np.float32 else np.round(255 * pixels).astype(np.uint8))
        np.save(folder / "y.npy", y)
        np.save(folder / "u.npy", test[1])
        peak, size = map(float, run_python(TRAINING, folder, name).split())
        what = f"peak memory of training on {size / 2**20:.0f} MiB of {name} data, as a multiple of that size"
        yield what, f"{peak / size:.2f}", bound or ""
        if bound and peak > bound * size + 2**25:  # a process needs some tens of MiB anyway
            sys.exit(f"training on {name} data takes {peak / size:.2f} times its size")


TRAINING = """
import sys
import numpy as np
from xpnet import Network

def peak():  # in KiB, since exec; getrusage includes the memory of the parent process
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

def network():
    return Network([784, 30, 10], seed=0, scale=1 / 255 if name == "uint8" else None)

folder, name = sys.argv[1:]
few = np.zeros((10, 784), name), np.arange(10)
network().train(few, epochs=1, batch_size=10, lr=3.0, test_data=few, progress=False)  # imports all that training needs
before = peak()
x, y, t, u = (np.load(f"{folder}/{part}.npy") for part in "xytu")
net = network()
net.train((x, y), epochs=1, batch_size=10, lr=3.0, test_data=(t, u), progress=False)
print(1024 * (peak() - before), x.nbytes + t.nbytes)
"""


def start(x, y, test, args, folder):
    """Time imports and `xpnet train` in new processes, in turn."""
    imports = {"numpy": "import numpy", "xpnet": "import xpnet", "Network": "from xpnet import Network"}
    seconds = {name: [] for name in imports}
    for _ in range(ROUNDS):
        for name, code in imports.items():
            started = time.perf_counter()
            run_python(code)
            seconds[name].append(time.perf_counter() - started)
    for name in ("xpnet", "Network"):
        ratio = np.median(np.divide(seconds[name], seconds["numpy"]))
        yield f"`{imports[name]}`, relative to `import numpy`", f"{ratio:.2f}", "1.3"
    command = [Path(sys.executable).with_name("xpnet"), "train"]
    took = [timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(5)]
    yield "`xpnet train`, the whole process", f"{np.median(took):.1f} s", "3 s"


def reading(x, y, test, args, folder):
    """Time the conversion of torchvision's MNIST to arrays on the device."""
    if not os.environ.get("XPNET_DATA"):
        return
    from torchvision import datasets, transforms

    flat = transforms.Lambda(lambda image: image.view(-1))
    notebook = transforms.Compose([transforms.ToTensor(), flat])
    for what, transform, bound in (
        ("without transforms", None, "1 s"),
        ("with ToTensor and flatten", notebook, "12 s"),
    ):
        data = datasets.MNIST(os.environ["XPNET_DATA"], train=True, download=False, transform=transform)
        reader = Network(SIZES).view.reader
        took = timed(lambda data=data, reader=reader: make_source(data, "train_data", reader, progress=True))
        yield f"converting torchvision's MNIST {what} to arrays", f"{took:.1f} s", bound


PARTS = {"latency": latency, "predictions": predictions, "memory": memory, "start": start, "reading": reading}


def best(function, times):
    """Shortest time per call, over several rounds of many calls."""
    return min(timed(lambda: [function() for _ in range(times)]) for _ in range(ROUNDS)) / times


def timed(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def run_python(code, *args):
    return subprocess.run([sys.executable, "-c", code, *args], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
