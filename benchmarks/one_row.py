"""How long one row of a table takes, beside CatBoost, scikit-learn's boosting, and ONNX of the same model."""

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
from catboost import CatBoostRegressor
from harness import machine
from sklearn.ensemble import HistGradientBoostingRegressor

from xpnet import Ensemble
from xpnet.estimators import TableEncoder, TableRegressor
from xpnet.export import to_onnx

NUMBERS, COUNTS, TEXTS = 20, 6, 4  # and one date
THREADS = 4


def make_table(n):
    """Make a table of 31 columns, and targets."""
    rng = np.random.default_rng(0)
    columns = {f"number {k}": rng.normal(size=n) * 10.0 ** rng.integers(-2, 4) for k in range(NUMBERS)}
    columns |= {f"count {k}": rng.integers(0, 5 + 10 * k, n) for k in range(COUNTS)}
    columns |= {f"text {k}": rng.choice([*"abcdefgh"][: 2 + 2 * k], n) for k in range(TEXTS)}
    table = pd.DataFrame(columns)
    table["seen"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, n), "D")
    y = table["number 0"] / table["number 0"].std() + table["count 2"] + 2 * (table["text 1"] == "a")
    return table, y.to_numpy() + rng.normal(size=n)


def list_ways(table, y):
    """List (name, function of a row's number that predicts it), after training all contenders."""
    model = TableRegressor(random_state=0).fit(table, y)
    rows = table.to_dict("records")
    frames = [table.iloc[[k]] for k in range(len(table))]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        saved, graph = Path(folder, "model"), Path(folder, "model.onnx")
        model.ensemble_.save(saved)
        loaded = Ensemble.load(saved)
        encoder = TableEncoder.from_network(loaded)
        to_onnx(model.ensemble_, graph)
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    texts = {part.name for part in session.get_inputs() if "string" in part.type}

    def run_onnx(k):
        row = {name: value for name, value in rows[k].items() if name != "seen"}
        row["seen"] = rows[k]["seen"].timestamp() / 86400
        return session.run(["y"], {name: np.array([[row[name]]], str if name in texts else float) for name in row})[0]

    numbers = table.assign(seen=table["seen"].astype("int64") // 10**9)
    named = [name for name in table if name.startswith("text")]
    boost = CatBoostRegressor(
        cat_features=named, verbose=False, thread_count=1, random_state=0, allow_writing_files=False
    ).fit(numbers, y)
    lists = numbers.to_numpy(object).tolist()
    for_trees = numbers.assign(**{name: numbers[name].astype("category") for name in named})
    trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=0).fit(for_trees, y)
    tree_frames = [for_trees.iloc[[k]] for k in range(len(table))]
    return [
        ("predict, dict", lambda k: model.predict(rows[k])),
        ("interval, dict", lambda k: model.interval(rows[k])[0]),
        ("novelty, dict", lambda k: model.novelty(rows[k])),
        ("predict, DataFrame", lambda k: model.predict(frames[k])),
        ("predict, file and encoder, dict", lambda k: loaded.predict(encoder.transform(rows[k]))),
        ("ONNX of it, arrays", run_onnx),
        ("CatBoost, list", lambda k: boost.predict(lists[k], thread_count=1)),
        ("HistGradientBoosting, DataFrame", lambda k: trees.predict(tree_frames[k])),
    ]


def check(ways, n):
    """Check that all ways to predict by one model agree, and that threads get what one thread gets."""
    predict = dict(ways)
    for k in range(n):
        expected = predict["predict, dict"](k)
        for name in ("predict, DataFrame", "predict, file and encoder, dict"):
            assert np.array_equal(predict[name](k), expected), (name, k)
        assert np.allclose(predict["ONNX of it, arrays"](k).ravel(), expected, rtol=1e-4, atol=1e-4), k
    for name, function in ways:
        with ThreadPoolExecutor(THREADS) as threads:
            assert all(map(np.array_equal, threads.map(function, range(n)), map(function, range(n)))), name


def count_milliseconds(function, n):
    """CPU milliseconds of this process per call."""
    began = time.process_time()
    for k in range(n):
        function(k)
    return (time.process_time() - began) / n * 1e3


def list_latencies(function, n, threads):
    """Wall milliseconds of each of n calls by some threads, each of which calls without a pause."""

    def call(k):
        began = time.perf_counter()
        function(k)
        return (time.perf_counter() - began) * 1e3

    with ThreadPoolExecutor(threads) as pool:
        return [*pool.map(call, range(n))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1500, help="rows to train on")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    table, y = make_table(options.rows)
    ways = list_ways(table, y)
    check(ways, 40)
    spent = {name: [] for name, _ in ways}
    for _ in range(options.rounds):  # in turns
        for name, function in ways:
            spent[name].append(count_milliseconds(function, options.calls))
    base = statistics.median(spent[ways[0][0]])
    print(f"{machine()}; {table.shape[1]} columns; medians of {options.rounds} rounds of {options.calls} calls")
    quantiles = f"{'p50':>7}{'p99':>7}{f'p50 x{THREADS}':>8}{f'p99 x{THREADS}':>8}"  # one thread, and several at once
    print(f"{'':34}{'CPU ms':>8}{'spread':>16}{'ratio':>7}{quantiles}")
    for name, function in ways:
        middle = statistics.median(spent[name])
        spread = f"{min(spent[name]):.2f} to {max(spent[name]):.2f}"
        waits = [list_latencies(function, options.calls, threads) for threads in (1, THREADS)]
        quantiles = "".join(f"{np.quantile(wait, q):{w}.2f}" for wait, w in zip(waits, (7, 8)) for q in (0.5, 0.99))
        print(f"{name:34}{middle:8.2f}{spread:>16}{middle / base:7.2f}{quantiles}")


if __name__ == "__main__":
    main()
