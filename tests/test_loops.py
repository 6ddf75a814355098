"""The loop in C: its operations are NumPy's, bit for bit, on any memory layout and with any number of threads."""

import ctypes
import inspect
import itertools
import math
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers import is_flushing, two_blas_threads
from trainings import TRAININGS

from xpnet import SGD, Adam, AdamW, Ensemble, Network
from xpnet.backends._numpy import NumPyBackend
from xpnet.core.arrays import leaves
from xpnet.value import _single_rows

loops = pytest.importorskip("xpnet.backends.replay.loops", reason="the loop in C was not built")
native = pytest.importorskip("xpnet.backends.replay._native")
translate = pytest.importorskip("xpnet.backends.replay._translate")

pytestmark = pytest.mark.skipif("config.getoption('python_loop')", reason="without the loop in C")

FLOATS = "fd"
UFUNCS = {  # that occur in steps, or in activations of one's own, by their dtypes
    FLOATS: (
        *(np.add, np.subtract, np.multiply, np.divide, np.maximum, np.minimum, np.exp, np.expm1, np.log, np.log1p),
        *(np.sqrt, np.tanh, np.negative, np.absolute, np.sign, np.greater, np.greater_equal, np.less_equal, np.equal),
        *(np.power, np.arctan, np.sin, np.hypot),
    ),
    "iI": (
        *(np.add, np.multiply, np.bitwise_and, np.bitwise_xor, np.bitwise_or, np.right_shift, np.left_shift),
        *(np.equal, np.greater_equal),
    ),
    "?": (np.bitwise_and, np.bitwise_or, np.invert, np.equal),
}
MOST_ELEMENTS = 1 << 12  # of an array
CONVERTED = [*itertools.product("?BiIq", FLOATS), ("f", "d"), ("d", "f")]


class Memory:
    """Draws arrays of random layouts: any order of axes, with gaps, reversed, broadcast, empty, not aligned."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def shape(self, least: int = 0) -> tuple[int, ...]:
        sizes = [0, 1, 1, 2, 3, 7, 16, 33] if self.rng.random() < 0.1 else [1, 2, 3, 7, 16, 33]
        if least < 2 and self.rng.random() < 0.05:
            return (int(self.rng.integers(4000, 20000)),)  # goes tile by tile
        shape = self.rng.choice(sizes, self.rng.integers(least, 5))
        while shape.prod() > MOST_ELEMENTS:
            shape[shape.argmax()] = 2
        return tuple(map(int, shape))

    def array(self, shape: tuple[int, ...], dtype: str, may_broadcast: bool = True) -> np.ndarray:
        rng, n = self.rng, len(shape)
        if may_broadcast and rng.random() < 0.3:
            shape = tuple(1 if rng.random() < 0.5 else size for size in shape)[rng.integers(n + 1) :]
            n = len(shape)
        axes, gaps = rng.permutation(n), rng.integers(1, 3, n) if rng.random() < 0.3 else np.ones(n, int)
        steps = gaps * rng.choice([-1, 1], n) if rng.random() < 0.1 else gaps
        whole = [shape[axis] * gap for axis, gap in zip(axes, gaps)]
        numbers = rng.standard_normal(whole) * 10.0 ** rng.integers(-3, 3)
        x = np.asarray((np.abs(numbers) if dtype in "BI" else numbers) * (1 if dtype in FLOATS else 40), dtype)
        if x.size and rng.random() < 0.02:
            x = np.frombuffer(bytearray(b" " + x.tobytes()), dtype, x.size, 1).reshape(whole)
        if dtype in FLOATS and rng.random() < 0.1 and x.size:
            x.flat[rng.integers(x.size)] = rng.choice([np.inf, -np.inf, np.nan, 0.0, -0.0, 0.5, 2.0])
        x = x[(..., *(slice(None, None, step) for step in steps))]
        return x.transpose(np.argsort(axes))


KINDS = "elementwise", "in place", "matmul", "vecdot", "sum", "max", "copy", "where", "concatenate"


def draw_operation(memory: Memory) -> tuple[Any, np.ndarray]:
    """Draw a recorded operation, and return it with its output."""
    rng, kind = memory.rng, KINDS[memory.rng.integers(len(KINDS))]
    if kind in ("elementwise", "in place"):
        return draw_elementwise(memory, kind == "in place")
    if kind in ("sum", "max"):
        return draw_reduction(memory, kind)
    dtype, new = str(rng.choice([*FLOATS])), partial(memory.array, may_broadcast=False)
    if kind == "matmul":
        (*leading, m, n), k = memory.shape(least=2)[-3:] if rng.random() < 0.9 else (33, 48), int(rng.integers(1, 40))
        x, y, out = (new((*leading, *shape), dtype) for shape in ((m, k), (k, n), (m, n)))
        return partial(np.matmul, x, y, out), out
    shape = memory.shape(least=1)
    if kind == "vecdot":
        x, y, out = new(shape, dtype), new(shape, dtype), new(shape[:-1], dtype)
        return partial(np.vecdot, x, y, out=out), out
    if kind == "copy":
        given, dtype = (
            CONVERTED[rng.integers(len(CONVERTED))] if rng.random() < 0.5 else [str(rng.choice([*"fdiB?"]))] * 2
        )
        out = new(shape, dtype)
        return partial(np.copyto, out, memory.array(shape, given), casting="unsafe"), out
    if kind == "concatenate":
        x, y = (new((*shape[:-1], n), dtype) for n in (shape[-1], int(rng.integers(4))))
        out = new((*shape[:-1], x.shape[-1] + y.shape[-1]), dtype)
        return partial(translate.call_and_copy, np.copyto, np.concatenate, ([x, y],), {"axis": -1}, out), out
    x, y, out = 2.5 if rng.random() < 0.3 else memory.array(shape, dtype), new(shape, dtype), new(shape, dtype)
    return partial(translate.call_and_copy, np.copyto, np.where, (memory.array(shape, "?"), x, y), {}, out), out


def draw_elementwise(memory: Memory, in_place: bool) -> tuple[Any, np.ndarray]:
    rng = memory.rng
    dtypes = list(UFUNCS)[rng.choice(len(UFUNCS), p=[0.7, 0.2, 0.1])]
    dtype, ufunc = str(rng.choice([*dtypes])), UFUNCS[dtypes][rng.integers(len(UFUNCS[dtypes]))]
    shape = memory.shape()
    inputs = [memory.array(shape, dtype) for _ in range(ufunc.nin)]
    with np.errstate(all="ignore"):
        out_dtype = ufunc(*(np.ones(1, dtype) for _ in inputs)).dtype.char
    out = memory.array(shape, out_dtype, may_broadcast=False)
    if in_place and out_dtype == dtype:
        inputs[0] = out[::-1] if shape and rng.random() < 0.1 else out  # it must not read what it has written
    return partial(ufunc, *inputs, out=out), out


def draw_reduction(memory: Memory, kind: str) -> tuple[Any, np.ndarray]:
    rng, shape, dtype = memory.rng, memory.shape(least=1), str(memory.rng.choice([*FLOATS]))
    if kind == "max":
        shape = tuple(n or 1 for n in shape)
    x, keepdims = memory.array(shape, dtype, may_broadcast=False), bool(rng.random() < 0.5)
    axes = sorted(map(int, rng.permutation(len(shape))[: 1 if rng.random() < 0.7 else None]))
    axis = (None if rng.random() < 0.5 else tuple(axes)) if len(axes) == len(shape) else axes[0] - len(shape)
    reduced = [1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes]
    out = memory.array(tuple(reduced), dtype, may_broadcast=False)
    if kind == "max":
        return NumPyBackend.shortcuts[NumPyBackend().xp.max](out, x, axis, keepdims), out
    return partial(np.add.reduce, x, axis, None, out, keepdims), out


def check(operation: Any, out: np.ndarray) -> bool:
    """Compare an operation with NumPy's; return whether it was translated."""
    code, calls = translate.translate([operation])
    before = out.copy()
    with np.errstate(all="ignore"):
        operation()
        expected = out.tobytes()
        out[...] = before
        code.run()
    assert out.tobytes() == expected, operation
    return not calls


def test_random_operations_on_random_memory_give_the_bits_of_numpy(pytestconfig):
    memory, n = Memory(0), pytestconfig.getoption("operations")
    translated = sum(check(*draw_operation(memory)) for _ in range(n))
    assert translated > 0.75 * n  # reversed arrays are left to NumPy


@pytest.mark.parametrize("ufunc", [np.negative, np.absolute, np.sqrt, np.tanh])
def test_a_function_of_one_operand_whose_result_has_gaps_is_left_to_numpy(ufunc):
    """Inner loops of NumPy 2.2 to 2.4 are wrong there on some CPUs."""
    numbers = np.random.default_rng(0).random((40, 8))
    for x, out, is_translated in (
        (numbers[:, 0], np.empty(40), True),
        (numbers[:, 0], np.empty((40, 2))[:, 0], False),
        (numbers[:, ::4], np.empty((2, 40)).T, False),  # the second axis is inside
        (numbers[0, ::8], np.empty(2)[::2], True),  # one number
    ):
        assert check(partial(ufunc, x, out), out) is is_translated


def test_runs_of_operations_that_go_tile_by_tile_keep_their_order(pytestconfig):
    """Also where one reads what another writes, at the same place or shifted, and where threads share the tiles."""
    rng = np.random.default_rng(1)
    loops.set_threads(2)
    for _ in range(pytestconfig.getoption("operations") // 30):
        base = rng.standard_normal(20_000).astype("f")
        views = [base[i : i + 9_000] for i in (0, 1, 5_000, 10_000)] + [base[9_001:1:-1], base[::2][:9_000]]
        views = [*views, *(rng.standard_normal(9_000).astype("f") for _ in range(3))]
        operations, few = [], rng.permutation(len(views))[: rng.integers(2, len(views))]
        for _ in range(6):
            x, y, out = (views[i] for i in rng.choice(few, 3))
            if rng.random() < 0.5:  # three rows, and perhaps one for all, or numbers
                x, y, out = (view.reshape(3, -1) for view in (x, y, out))
                x, y = ((array, array[:1], array[:, :1])[rng.integers(3)] for array in (x, y))
            ufunc = (np.add, np.multiply, np.subtract, np.tanh, np.arctan)[rng.integers(5)]
            operations.append(partial(ufunc, *(x, y)[: ufunc.nin], out))
        start = [x.copy() for x in (base, *views[-3:])]
        for operation in operations:
            operation()
        expected = [x.tobytes() for x in (base, *views[-3:])]
        for x, copy in zip((base, *views[-3:]), start):
            x[...] = copy
        translate.translate(operations)[0].run()
        assert [x.tobytes() for x in (base, *views[-3:])] == expected
    loops.set_threads(1)


UPDATES = {  # operators, each with its operands and its result: capitals are numbers, and g is computed from G
    "Adam": "*mBm +mgm *sCs *ggg +sgs ^sr +rEr *Lmd /drd -wdw",
    "momentum": "*gLg *mBm -mgm +wmw",
}
OPERATORS = {"*": np.multiply, "+": np.add, "-": np.subtract, "/": np.divide, "^": np.sqrt, "=": np.positive}
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 3e38, -3e38]


def get_bits(x: np.ndarray) -> bytes:
    return np.where(np.isnan(x), np.nan, x).tobytes()  # a sum of two NaNs may have the sign of either


class Update:
    """The operators of an optimizer, on the arrays of some networks that have numbers of their own."""

    def __init__(self, networks: int, size: int, dtype: str, rng: np.random.Generator) -> None:
        self.rng = rng
        self.arrays = {x: rng.standard_normal((networks, size)).astype(dtype) for x in "wmsgrdG"}
        self.arrays |= {x: rng.random((networks, 1)).astype(dtype) for x in "BCEL"}
        for x in "msG":
            self.arrays[x].flat[:: int(rng.integers(3, 40))] = rng.choice(SPECIAL)

    def bind(self, operator: str, *letters: str) -> Any:
        arrays = [self.arrays[letter] for letter in letters]
        if operator == "?":
            return lambda: np.positive(*arrays)  # stays a call in Python
        return partial(OPERATORS[operator], *arrays)

    def compare(self, operators: str, results: str) -> int:
        """Compare results of three rounds with NumPy's; return how many operators others have replaced."""
        begun = {x: array.copy() for x, array in self.arrays.items()}
        operations = [self.bind(*x) for x in operators.split()]
        with np.errstate(all="ignore"):
            for operation in 3 * operations:
                operation()
        expected = {x: get_bits(self.arrays[x]) for x in results}
        for x, array in self.arrays.items():
            array[...] = begun[x]
        code, _ = translate.translate(operations)
        code.fuse(*(self.arrays[x] for x in results))
        code.run(np.empty((3, 0), np.int32))
        assert {x: get_bits(self.arrays[x]) for x in results} == expected, (operators, results)
        return len(operations) - len(code)


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("networks", [1, 3])
def test_an_update_in_one_loop_has_the_bits_of_numpy(name, dtype, networks):
    for seed, size in enumerate([2, 7, 31, 64, 2047, 2048, 2049, 5001, 12345]):
        update = Update(networks, size, dtype, np.random.default_rng(seed))
        replaced = update.compare(f"=Gg {UPDATES[name]}", "wms")
        assert replaced == (UPDATES[name].count(" ") if networks == 1 or size >= 2048 else 0)


@pytest.mark.parametrize(
    ("operators", "results"),
    [
        (f"=Gg {UPDATES['Adam']}", "wmsr"),  # a result
        (f"=Gg {UPDATES['Adam']}", "wmsp"),  # a part of it
        (f"=Gg {UPDATES['Adam']} +Grw", "wms"),  # read afterwards
        (f"=Gg {UPDATES['Adam']} *ddG", "wmsG"),
        (f"+Ggw =Gg {UPDATES['Adam']}", "wms"),  # in the next round
        (UPDATES["momentum"], "wm"),
        (f"=Gg {UPDATES['momentum']} *mgs", "wms"),
        (f"=Gg {UPDATES['Adam']} ?rG", "wmsG"),
        (f"=Hh {UPDATES['Adam']}", "wms"),  # where nothing is written before
        (f"*GGk {UPDATES['momentum']}", "wm"),
        *((f"=Gg {UPDATES['Adam'].replace(*other)}", "wms") for other in ("/*", "BG", "dr")),  # another update
    ],
)
def test_what_an_update_in_one_loop_would_not_write_is_written(operators, results):
    update, memory = Update(1, 3000, "f", np.random.default_rng(0)), np.random.default_rng(1).random((1, 6000), "f")
    update.arrays |= {"g": memory[:, :3000], "h": memory[:, :1500], "k": memory[:, ::2]}
    update.arrays["p"] = update.arrays["r"][:, 7:]
    update.arrays["H"] = update.arrays["G"][:, :1500]
    assert not update.compare(operators, results)


def test_operators_of_integers_are_no_update():
    update = Update(1, 3000, "f", np.random.default_rng(0))
    update.arrays = {x: np.nan_to_num(array).clip(-9, 9).astype("i") for x, array in update.arrays.items()}
    assert not update.compare(f"+GGg {UPDATES['momentum']}", "wm")


def test_random_operators_around_an_update_have_the_bits_of_numpy(pytestconfig):
    rng, replaced = np.random.default_rng(2), []
    for _ in range(pytestconfig.getoption("operations") // 10):
        operators = ["=Gg", *UPDATES[str(rng.choice([*UPDATES]))].split()]
        for place in rng.choice([0, 1, len(operators), rng.integers(len(operators))], rng.integers(4)):
            letters = *rng.choice([*"*+-"], 1), *rng.choice([*"wmsgrdGB"], 2), *rng.choice([*"wmsgrdG"], 1)
            operators.insert(place, "".join(letters))
        update = Update(int(rng.integers(1, 3)), int(rng.choice([5, 2500])), "f", rng)
        replaced.append(update.compare(" ".join(operators), "".join(rng.choice([*"wwmmssgrdG"], 2))))
    assert 0.2 < np.mean(np.array(replaced) > 0) < 0.8


@pytest.mark.parametrize(
    ("make", "optimizer", "replaced"),
    [
        (Network, Adam(), 4 * 9),  # weights and biases of two layers
        (Network, Adam(weight_decay=0.1), 4 * 9),
        (Network, AdamW(), 4 * 9),
        (Network, SGD(momentum=0.9), 4 * 3),
        (Ensemble, Adam(), 9),  # the weights whose rows are long
    ],
)
def test_updates_of_trainings_are_one_loop(monkeypatch, make, optimizer, replaced):
    programs = []

    def translate_and_keep(*args):
        code, calls = translate.translate(*args)
        programs.append((code, len(code)))
        return code, calls

    monkeypatch.setattr(native, "translate", translate_and_keep)
    data = np.random.default_rng(0).standard_normal((320, 60)), np.arange(320) % 3
    make([60, 40, 3], seed=0).train(data, epochs=2, batch_size=8, optimizer=optimizer, progress=False)
    assert {before - len(code) for code, before in programs} == {replaced}


X = np.ones((4, 3), "f")


def test_operations_serve_one_caller_at_a_time():
    code, out, errors = loops.Operations(), np.empty_like(X), []

    def add(_=None):
        try:
            code.elementwise(np.add, (X, X), out, True)
        except RuntimeError as error:
            errors.append(str(error))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(2000)))
    assert len(code) + len(errors) == 2000
    code.call(add)  # which might give them other memory while they run
    code.run()
    assert {*errors} == {"these operations are running already"}
    assert (out == 2).all()


def test_an_error_in_an_inner_loop_ends_the_run():
    """As that of a product that finds no memory; here an integer power, which is not translated, stands for it."""
    code, done, two = loops.Operations(), [], np.full(3, 2)
    code.elementwise(np.power, (two, -two), np.empty_like(two), True)
    code.call(lambda: done.append(1))
    with pytest.raises(ValueError, match="Integers to negative integer powers are not allowed"):
        code.run()
    assert not done


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm clock")
def test_signals_are_handled_between_rounds():
    """So Ctrl-C and time limits need not wait for a chunk."""
    code = loops.Operations()
    code.elementwise(np.add, (X, X), np.empty_like(X), True)
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(is_flushing()) or 1 / 0)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        loops.set_mode(loops.FLUSH)
        with pytest.raises(ZeroDivisionError):
            code.run(np.empty((1 << 40, 0), np.int32))
        assert [*seen, is_flushing()] == [False, True]
    finally:
        loops.set_mode(0)
        signal.signal(signal.SIGALRM, before)
    code.run()  # and can be used again


def test_powers_are_left_to_numpy_where_its_loop_may_raise_or_be_another_one():
    """Those of whole numbers may raise; a column of exponents comes from a buffer, where NumPy sees no step of 0."""
    whole, numbers = np.full((64, 33), 2), np.random.default_rng(0).random((64, 33))
    for x, exponents, is_translated in (
        (numbers, np.full((64, 33), 0.5), True),
        (numbers, np.full((64, 1), 0.5), False),
        (whole, whole, False),
    ):
        out = np.empty_like(x)
        code, calls = translate.translate([partial(np.power, x, exponents, out)])
        assert (not calls) is is_translated
        code.run()
        assert out.tobytes() == np.power(x, exponents).tobytes()


def test_a_translation_with_other_results_is_not_used(monkeypatch):
    def translate_wrongly(operations, *args):
        return translate.translate(operations[:-1], *args)

    monkeypatch.setattr(native, "translate", translate_wrongly)
    net, twin = (Network([5, 4, 3], seed=0) for _ in range(2))
    data = np.random.default_rng(0).standard_normal((320, 5)), np.arange(320) % 3
    with pytest.warns(UserWarning, match="the loop in C gives other results than NumPy here, so steps are replayed in"):
        net.train(data, epochs=2, batch_size=8, progress=False)
    assert net.engine == "replay of recorded steps"
    monkeypatch.setattr(NumPyBackend, "shares_steps", False)
    twin.train(data, epochs=2, batch_size=8, progress=False)
    assert [w.tobytes() for w in net.w] == [w.tobytes() for w in twin.w]


@pytest.fixture
def few_rows_pay(monkeypatch):
    monkeypatch.setattr(_single_rows, "PAYS_FROM", 1)


@pytest.mark.parametrize("training", TRAININGS, ids=str)
def test_single_rows_run_in_c_with_the_same_bits(training, few_rows_pay, monkeypatch):
    rows, *_ = training.draw(6)
    for dtype in ("float32", "float64"):
        net = Network(training.sizes, seed=1, dtype=dtype, **training.options)
        expected = [net.copy().forward(row).tobytes() for row in rows]
        for _ in range(2):
            net.forward(rows[0])
        for row, bits in zip(rows, expected):
            places = np.zeros(8 * row.size + 64, np.uint8)
            for i in range(0, 64, 7):  # of memory, most of them not aligned
                x = places[i : i + row.astype(dtype).nbytes].view(dtype)
                x[:] = row
                assert net.forward(x if row.dtype.kind == "f" else row).tobytes() == bits
            assert net.forward(np.repeat(row, 2)[::2]).tobytes() == bits
        with monkeypatch.context() as patch:
            patch.setattr(_single_rows, "forward", None)  # it is not called again
            assert net.forward(rows[0]).tobytes() == expected[0]


def test_predictions_of_single_rows_do_not_flush(few_rows_pay):
    net, row = Network([1, 1], task="regression", seed=0), np.ones(1, "f")
    net.layers = [(np.array([[1e-40]], "f"), np.zeros(1, "f"))]
    assert {net.predict(row).item() for _ in range(3)} == {float(np.float32(1e-40))}


def test_several_threads_may_predict_single_rows_at_once(few_rows_pay):
    net, rows = Network([8, 64, 64, 1], task="regression", seed=0), np.random.default_rng(0).random((300, 8), "f")
    expected = [net.predict(row) for row in rows]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert [*pool.map(lambda _: [net.predict(row) for row in rows], range(8))] == [expected] * 8
    finally:
        sys.setswitchinterval(interval)


def train_large(threads: int | str, engine: str = "replay of recorded steps in C") -> list[bytes]:
    """Train a network whose products and updates threads share; return weights and memory."""
    net = Network([784, 100, 10], seed=0, activation="relu", task="classification")
    data = np.random.default_rng(0).random((512, 784), np.float32), np.arange(512) % 10
    data[0][:, ::2] *= 1e-37  # so that moments are subnormal
    net.train(data, epochs=8, batch_size=64, optimizer=Adam(), blas_threads=threads, progress=False)
    assert net.engine == engine
    return [x.tobytes() for x in leaves(net.state)]


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(NumPyBackend, "shares_steps", False)
        expected = train_large(1, "replay of recorded steps")
    for threads in (1, 3, "auto"):
        assert train_large(threads) == expected
    with two_blas_threads(), ThreadPoolExecutor(3) as pool:
        # One of them has the helpers at a time, and BLAS one thread until the last has ended
        assert [*pool.map(train_large, (2, 2, 3) * 3)] == [expected] * 9
    assert loops.get_threads() == 1


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("m", "k", "n", "orders"),
    [(778, 41, 85, "FFF"), (1187, 45, 32, "FFF"), (784, 128, 100, "FCC"), (128, 128, 128, "CFC")],
)
def test_products_that_threads_share_have_the_bits_of_the_whole(m, k, n, orders, dtype):
    """On each kind of processor, a BLAS has other lengths of parts for which this is so, or none."""
    rng = np.random.default_rng(0)
    x, y, out = (
        np.asarray(rng.standard_normal(shape), dtype, order) for shape, order in zip(((m, k), (k, n), (m, n)), orders)
    )
    code, calls = translate.translate([partial(np.matmul, x, y, out)])
    assert not calls
    expected = np.matmul(x, y, out).copy()
    for threads in range(2, 9):
        loops.set_threads(threads)
        out[...] = 0
        code.run()
        assert out.tobytes() == expected.tobytes(), threads
    loops.set_threads(1)


@pytest.mark.parametrize(("length", "unit"), [(72, 16), (58, 16), (48, 32), (0, 8)])
def test_products_are_shared_in_pieces_that_were_tried(monkeypatch, length, unit):
    """Of 130 rows, two threads compute 72 and 58 in units of 8 or 12, and three 48 in most units."""

    def multiply(x, y, out):  # as a BLAS that computes pieces of this length in another way
        out[...] = len(x) == length
        return out

    monkeypatch.setattr(np, "matmul", multiply)
    layouts = [(shape, "f", True, False) for shape in ((130, 90), (90, 90), (130, 90))]
    assert translate._try_units.__wrapped__(*layouts) == unit


@pytest.mark.skipif(sys.platform == "win32", reason="a library there does not show its functions")
def test_the_number_of_threads_is_the_fastest():
    """Also if another number becomes so; and as few as may be used from now on."""
    pool, pace = ctypes.CDLL(loops.__file__), (ctypes.c_double * 32)()
    pool.pool_choose.argtypes = [ctypes.c_void_p, ctypes.c_double]
    for most, fastest in ((8, 8), (8, 4), (8, 1), (8, 2), (8, 8), (2, 1), (2, 2)):
        loops.set_threads(most)
        n, used = pool.pool_acquire(pace), []
        pool.pool_release()
        for _ in range(600):
            n = pool.pool_choose(pace, 0.02 * 1.03 ** abs(math.log2(n / fastest)))
            used.append(n)
        assert used[-200:].count(fastest) > 190, (most, fastest)
        assert max(used) <= most
    loops.set_threads(1)


def test_helpers_compute_in_the_mode_of_the_caller():
    x, y, out = np.full((784, 128), 1e-21, "f", "F"), np.full((128, 100), 1e-21, "f"), np.empty((784, 100), "f")
    code, _ = translate.translate([partial(np.matmul, x, y, out)])
    loops.set_threads(3)
    for mode in 10 * (0, loops.FLUSH):
        loops.set_mode(mode)
        code.run()
        loops.set_mode(0)
        assert (out == 0).all() if mode else (out > 0).all()
    loops.set_threads(1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_starts_threads_of_its_own():
    program = f"""
import os
import numpy as np
from xpnet import Adam, Network
from xpnet.core.arrays import leaves
{inspect.getsource(train_large)}
expected = train_large(3)
child = os.fork()
if child == 0:
    os._exit(train_large(3) != expected)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert train_large(3) == expected
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_process_that_is_forked_during_a_training_shares_later_steps():
    program = """
import ctypes, os
from xpnet.backends.replay import loops
from xpnet.backends.replay._native import get_step_threads
pool, pace = ctypes.CDLL(loops.__file__), (ctypes.c_double * 32)()
with get_step_threads().share(2):
    assert pool.pool_acquire(pace) == 2
    child = os.fork()
with get_step_threads().share(3):
    if child == 0:
        os._exit(pool.pool_acquire(pace) != 3)
    assert loops.get_threads() == 3
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)
