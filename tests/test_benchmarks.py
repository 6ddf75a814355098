"""What the benchmarks rely on, and a run does not show: giving up, what differs, and rows that are kept."""

import functools
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # as for a script there; processes that the tests start have the same paths

import book
import ensembles
import peers
import workloads
from children import Child, run_alone
from contenders import Contender, Row, numpy_by_hand, start, xpnet
from gpu_check import describe_nodes, read_nodes
from gpu_sweep import SWEEPS, choose_settings, sweep_row
from gpu_times import crossover_cells, step_cells
from pages import replace_tables
from record import Record
from turns import Result, Worker, launch, measure, parts_off, save

from xpnet.backends.cuda import sizes
from xpnet.backends.replay import program

ROW = Row((784, 4, 10), 10, 3.0, examples=205)


def count_and_fail(report):
    report(1)
    raise ValueError("two is\n  too many")


def count_and_hang(report):
    report(1)
    time.sleep(1000)


def count_and_exit(report):
    report(1)
    sys.exit(3)


def count(report):
    for n in range(3):
        report(n)


def hanging(row, x, labels):
    time.sleep(1000)


def broken(row, x, labels):
    raise ArithmeticError("no such luck")


def wrong(row, x, labels):
    """Train with another learning rate."""
    return numpy_by_hand(row._replace(lr=2.9), x, labels)


def test_a_process_answers_step_by_step():
    assert list(Child(count)) == [0, 1, 2]
    child = Child(count)
    assert child.answer() == 0
    child.ask()
    assert child.answer() == 1
    child.stop()
    assert not child.process.is_alive()
    assert run_alone(len, "four") == 4


@pytest.mark.parametrize(
    ("generate", "reason"),
    [
        (count_and_fail, r"^ValueError: two is too many \(test_benchmarks.py:\d+\)$"),
        (count_and_exit, "^its process ended with 3$"),
        (count_and_hang, "^it did not answer within 0.2 s, and its process was ended$"),
    ],
)
def test_a_process_that_fails_or_hangs_is_given_up(generate, reason):
    patience = 0.2 if generate is count_and_hang else None  # a process takes longer to start
    child = Child(generate, first_patience=60, patience=patience)
    assert child.answer() == 1
    child.ask()
    with pytest.raises(RuntimeError, match=reason):
        child.answer()
    assert not child.process.is_alive()


@pytest.mark.slow
def test_contenders_that_hang_fail_or_differ_are_named_and_the_others_are_timed(tmp_path, digits):
    (x, labels), test = digits
    save(tmp_path, x, labels)
    contenders = {
        "numpy by hand": Contender("by hand", numpy_by_hand),
        "numpy xpnet": Contender("xpnet", functools.partial(xpnet, "numpy", "rows")),
        "numpy wrong": Contender("wrong", wrong),
        "numpy hanging": Contender("hanging", hanging),
        "numpy broken": Contender("broken", broken),
    }
    patience = {"numpy hanging": 0.1}
    workers = [launch(name, each, ROW, tmp_path, patience=patience.get(name)) for name, each in contenders.items()]
    lines = []
    result = measure(ROW, workers, 1, test, tell=lines.append)
    assert [line.partition(" numpy by hand ")[0] for line in lines] == [
        *(f"{ROW}: 3 of 5 contenders are ready, after {lines[0].split()[-2]} s", f"{ROW}: warm-up, µs a step:"),
        f"{ROW}: round 1, µs a step:",
    ]
    assert re.search(r"; numpy xpnet \d+\.\d; numpy wrong \d+\.\d$", lines[-1])
    assert [worker.name for worker in result.workers] == ["numpy by hand", "numpy xpnet", "numpy wrong"]
    hung, failed = result.failed
    assert hung == "hanging (all) failed: it did not answer within 0.1 s, and its process was ended"
    assert failed.startswith("broken (all) failed: ArithmeticError: no such luck (test_benchmarks.py:")
    assert {text.split(" has ")[0] for text in result.wrong} == {"wrong (all)"}
    assert not any(worker.child.process.is_alive() for worker in workers)
    assert [worker.name for worker in workers if worker.child.hung] == ["numpy hanging"]

    cells = {worker.name: step_cells(result, worker, None) for worker in workers}
    assert cells["numpy xpnet"][-1] == "replay of recorded steps"
    microseconds, *_, remarks = cells["numpy wrong"]
    assert float(microseconds.split()[0]) > 0
    assert remarks.startswith("DIFFERS: it has w[0] that differs from that of by hand (all) by ")
    assert cells["numpy hanging"][0] == "–"
    assert cells["numpy hanging"][-1].startswith("FAILED: it did not answer within 0.1 s")


def test_rows_are_printed_and_appended_as_they_come(tmp_path, capsys):
    path = tmp_path / "results.txt"
    path.write_text("an earlier run\n")
    record = Record(path)
    assert path.read_text() == "an earlier run\n"
    record.head("network", "µs")
    lines = ["an earlier run", "", "| network | µs |", "| --- | --- |"]
    assert path.read_text().splitlines() == lines
    record.row("784-30-10", "of two\n lines")
    assert path.read_text().splitlines() == [*lines, "| 784-30-10 | of two lines |"]
    assert capsys.readouterr().out.splitlines() == path.read_text().splitlines()[1:]


def test_the_crossover_compares_the_fastest_on_each_side():
    times = {("jax", "cuda:0"): 20.0, ("numpy", "cpu"): 40.0, ("torch", "cpu"): 41.0, ("cupy", "cuda:0"): 50.0}
    ratio, every_time = crossover_cells(times)
    assert ratio == "0.50"
    assert every_time == "jax on cuda:0 20.0, numpy on cpu 40.0, torch on cpu 41.0, cupy on cuda:0 50.0"
    assert crossover_cells({("numpy", "cpu"): 40.0})[0] == "–"


def test_the_nodes_of_a_graph_are_counted_by_kind():
    dot = """digraph dot {
    subgraph cluster_1 {
    "graph_1_node_0"[style="bold" shape="octagon" label="0
    cupy_add__float32_float32_float32
    "];
    "graph_1_node_1"[style="solid" label="1
    MEM_ALLOC
    "];
    "graph_1_node_2"[style="solid" label="2
    MEMCPY
    (DtoD, 4)
    "];
    "graph_1_node_0" -> "graph_1_node_1"[headlabel=0];
    }}"""
    assert read_nodes(dot) == {"kernel": 1, "MEM_ALLOC": 1, "MEMCPY": 1}
    graph = SimpleNamespace(debug_dot_str=lambda: dot)
    assert describe_nodes(graph, "cuda") == "captured as 1 × kernel, 1 × MEM_ALLOC, 1 × MEMCPY"


@pytest.mark.parametrize(("draw", "reason"), [(lambda: "digraph dot {}", ""), (lambda: 1 / 0, " (ZeroDivisionError)")])
def test_a_graph_whose_drawing_cannot_be_read_is_captured_all_the_same(draw, reason):
    graph = SimpleNamespace(debug_dot_str=draw)
    assert describe_nodes(graph, "cuda") == f"captured; its nodes could not be counted{reason}"


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_every_epoch_of_a_contender_begins_at_the_start_and_steps_are_recorded_once(monkeypatch, digits, momentum):
    """So the later epochs have the time of steps alone, and their results can be compared."""
    (x, labels), _ = digits
    row, recorded = ROW._replace(lr=0.1, momentum=momentum, relu=True, examples=400), []
    record = program.record
    monkeypatch.setattr(program, "record", lambda *args: recorded.append(args) or record(*args))
    ours, others = [], []
    xpnet("numpy", "rows", row, x[:400], labels[:400])(ours.append, 3)
    numpy_by_hand(row, x[:400], labels[:400])(others.append, 2)
    assert len(recorded) == 1
    assert [epoch.engine for epoch in ours] == ["replay of recorded steps"] * 3
    begun = start(row)
    for epoch in ours[1:]:
        assert epoch.cost == ours[0].cost
        assert epoch.stream == others[0].stream == others[1].stream
        assert max(off for _, off in parts_off(begun.layers, ours[0].layers, epoch.layers)) == 0.0
    for epoch in others:
        assert max(off for _, off in parts_off(begun.layers, ours[0].layers, epoch.layers)) < 1e-4


def test_set_up_is_what_the_warm_up_took_longer():
    worker = Worker("numpy by hand", peers.CONTENDERS["numpy by hand"], True, None, [1.0, 2.0, 4.0], [10.0, 3.0])
    assert worker.setup == 9.0
    worker.warm_up = [1.5]
    assert worker.setup == 0.0


def test_a_sweep_changes_sizes_that_there_are_and_begins_and_ends_with_them_as_they_are():
    assert all(hasattr(sizes, name) for values, _ in SWEEPS for name in values)
    settings = choose_settings("r6", short=False)
    assert settings == [{}, {"MAX_BLOCKS": 2112}, {"MAX_BLOCKS": 4224}, {}]
    assert {"ELEMENTS_AT_ONCE": 4} in choose_settings("r7", short=False)
    assert len(choose_settings("r6", short=True)) > len(choose_settings("r5", short=False)) - 1 > len(settings)


def test_a_sweep_names_what_there_is_no_time_for(tmp_path):
    record = Record(tmp_path / "results.txt")
    sweep_row(
        record, "host", ROW, [{}, {"MAX_BLOCKS": 2112, "MAX_KERNEL_THREADS": 512}], tmp_path, 1, time.perf_counter() + 1
    )
    line = f"| {ROW} | as they are; MAX_BLOCKS 2112, MAX_KERNEL_THREADS 512 | – | – | – | not tried |"
    assert record.path.read_text().splitlines() == [line]
    assert not record.problems


def test_the_command_for_a_gpu_says_what_is_missing(tmp_path):
    command = [sys.executable, "-S", str(BENCHMARKS / "gpu.py"), "--check"]  # without any installed package
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        "not installed: array-api-compat threadpoolctl; install with pip install array-api-compat threadpoolctl, or "
        "carry along a folder that pip install --no-deps --target FOLDER array-api-compat threadpoolctl has filled, "
        "and add --packages FOLDER\n"
    )
    assert not list(tmp_path.iterdir())


def test_weights_are_compared_with_the_change_that_training_made():
    begun, layers, others = ([(np.full((1, 1), w), np.full((1, 1), b))] for w, b in ((1, 1), (2, 3), (2.5, 3)))
    assert dict(parts_off(begun, layers, others)) == {"w[0]": 0.5, "b[0]": 0.0}


def test_the_benchmark_of_ensembles_compares_and_times(capsys):
    ensembles.main(["--backends", "numpy", "--members", "2", "--widths", "4", "--rounds", "1", "--seconds", "0.01"])
    out = capsys.readouterr().out
    assert re.search(r"numpy: weights differ from networks alone by at most \d\.\de[-+]\d\d of their change", out)
    assert re.search(r"\| 784-4-10 \| [\d.]+ µs \| [\d.]+ µs, \d\.\d\d \(", out)


@pytest.mark.slow
def test_every_call_of_the_book_runs(capsys):
    """For an epoch, on the bundled digits; the curves that are compared with the book's are there."""
    book.check_quickly(book.RUNS)
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == list(book.RUNS)


def test_the_pages_have_the_results_of_the_calls():
    results = json.loads(book.RESULTS.read_text())
    assert list(results.keys() - book.RUNS.keys()) == []
    assert book.write_table(results) in book.PAGE.read_text()
    assert book.write_sizes(results) in book.FIGURES.read_text()


def test_the_figures_of_the_book_are_drawn_of_its_numbers_and_ours():
    """Each is on the page, and has a curve of the book for each of ours, of the same length, that begins alike."""
    figures = pytest.importorskip("book_figures", reason="needs matplotlib", exc_type=ImportError)
    shown = re.findall(r":file: ../generated/book-(\w+)\.svg", book.FIGURES.read_text())
    assert shown == list(figures.DESCRIPTIONS)
    assert sorted(shown) == sorted([*figures.PLOTS, *figures.NEURONS])
    assert figures.read("book_published.json")["sizes"] == list(book.SIZES)
    for name in shown:
        ax = figures.draw(name).axes[0]
        lines = [line.get_xydata() for line in ax.get_lines()]
        if name in figures.NEURONS:
            assert [line.shape for line in lines] == [(301, 2)] * 2
            continue
        count = len(figures.PLOTS[name].curves)
        assert len(lines) == 2 * count
        for ours, theirs in zip(lines[:count], lines[count:], strict=True):
            np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
            np.testing.assert_allclose(ours[0], theirs[0], rtol=0.15)
        assert ax.get_legend().get_texts()[count].get_text() == "the book"


def test_the_neuron_of_the_book_learns_as_slowly():
    figures = pytest.importorskip("book_figures", reason="needs matplotlib", exc_type=ImportError)
    outputs = [figures.train_neuron(*figures.NEURONS["neuron_quadratic"], *start) for start in figures.STARTS]
    assert [f"{values[0]:.2f}" for values in outputs] == ["0.82", "0.98"]  # as the book says
    assert [f"{values[-1]:.2f}" for values in outputs] == ["0.09", "0.20"]  # 0.09 in the book


def test_curves_are_read_from_the_lines_of_the_book():
    lines = "net = FirstNetwork([784, 5, 10], seed=seed)\n"
    lines += "net.SGD(training_data[:50], 2, 10, 3.0, test_data=test_data[:200])"
    curves = book.train(lines, book.book.load_data_wrapper("mnist-sample"), 1)
    assert list(curves) == ["test"]
    assert len(curves["test"]) == 2
    assert all(value % 0.5 == 0 for value in curves["test"])  # percent of 200


def test_numbers_that_were_not_measured_are_not_made_up():
    number = book.Number("test", "best", "95.42")
    assert book.describe({}, number, " %") == "not measured yet"
    curves = {"0": {"test": [90.0, 92.0, 91.0]}, "1": {"test": [80.0, 90.0, 94.0]}}
    assert book.describe(curves, number, " %") == "93.00 % (92.00 to 94.00, 2 seeds)"
    assert book.describe(curves, number._replace(at="last"), " %") == "92.50 % (91.00 to 94.00, 2 seeds)"
    assert book.put_unit("96.47 †", " %") == "96.47 % †"


# Whole jobs


def measurement(contender, seconds, accuracy=0.98, one=False):
    return workloads.Measurement(contender, one, seconds, seconds, 0.25 * seconds, {"accuracy": accuracy})


def test_later_rounds_leave_out_slow_threads_and_contenders_that_failed_or_are_far_slower():
    ways = [("xpnet-numpy", False), ("xpnet-numpy", True), ("sklearn", True), ("torch", False), ("skorch", False)]
    assert workloads.choose(ways, []) == ways
    measured = [
        measurement("xpnet-numpy", 2.0),
        measurement("xpnet-numpy", 1.0, one=True),
        measurement("sklearn", 8.0, one=True),
        measurement("torch", 8.1),
    ]
    assert workloads.choose(ways, [measured]) == [("xpnet-numpy", True), ("sklearn", True)]


def test_ratios_are_those_of_each_round_to_the_first_contender_of_xpnet_that_is_there():
    rounds = [
        [measurement("sklearn", 6.0), measurement("xpnet-numpy", 2.0), measurement("xpnet-jax", 90.0)],
        [measurement("sklearn", 8.0), measurement("xpnet-numpy", 4.0)],
    ]
    rows = workloads.summarize(rounds)
    assert list(rows) == ["xpnet-numpy", "xpnet-jax", "sklearn"]
    assert rows["sklearn"].ratios == [3.0, 2.0]
    assert rows["sklearn"].seconds == 7.0
    assert workloads.show_ratio(rows["sklearn"]) == "**2.50** (2.00–3.00)"
    assert workloads.show_ratio(rows["xpnet-jax"]) == "**45.00** (one round)"
    without = workloads.summarize([[measurement("sklearn", 6.0), measurement("xpnet-ensemble", 3.0)]])
    assert without["sklearn"].ratios == [2.0]
    assert workloads.show_ratio(workloads.summarize([[measurement("sklearn", 6.0)]])["sklearn"]) == "–"


def test_results_that_are_too_bad_or_other_than_those_of_xpnet_are_named():
    goals = [workloads.Goal("accuracy", "{:.1%}", 0.9, 0.02)]
    measured = [
        measurement("xpnet-numpy", 1.0, 0.91),
        measurement("torch", 1.0, 0.895),
        measurement("sklearn", 1.0, 0.94),
    ]
    assert workloads.find_problems("a job", goals, [measured]) == [
        "a job: PyTorch has 89.5%, which must be from 0.9 to inf",
        "a job: scikit-learn has 94.0%, but xpnet has 91.0%",
    ]
    nan = [measurement("xpnet-numpy", 1.0, float("nan"))]
    assert len(workloads.find_problems("a job", goals, [nan])) == 2


def test_a_run_goes_on_from_its_file(tmp_path, capsys):
    path, head = tmp_path / "workloads.jsonl", {"machine": "this one", "quick": False}
    record = workloads.Record(path, head)
    measured = [measurement("xpnet-numpy", 1.5), measurement("sklearn", 3.0)]
    record.add("mnist", True, measured, ["PyTorch failed: no such luck"])
    again = workloads.Record(path, head)
    assert again.rounds("mnist") == [measured]
    assert again.failures("mnist") == ["PyTorch failed: no such luck"]
    assert again.rounds("search") == again.failures("search") == []
    with pytest.raises(SystemExit, match=r"holds another run .* name another file$"):
        workloads.Record(path, {"machine": "another", "quick": False})
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- workloads.py: short -->\n\nan old table\n\n<!-- end -->\nafter\n")
    workloads.main(["--markdown", str(path), "--into", str(page)])
    out = capsys.readouterr().out
    where = "this one; python benchmarks/workloads.py; medians of 1 round; other programs used 0.25 of a core."
    assert where in out
    assert "| train on MNIST to 97.5 % | xpnet, NumPy | 1.5 | **1.00** (one round) | 1.5 | 98.00% |" in out
    assert "|  | scikit-learn | 3.0 | **2.00** (one round) | 3.0 | 98.00% |" in out
    before, comment, *table, end, after = page.read_text().splitlines()
    assert (before, comment, end, after) == ("before", "<!-- workloads.py: short -->", "<!-- end -->", "after")
    assert where in table
    assert "| train on MNIST to 97.5 % | 1.5\N{NO-BREAK SPACE}s | – | 2.0× | – | – | – |" in table
    page.write_text("<!-- workloads.py: first page -->\n<!-- end -->\n")
    workloads.main(["--markdown", str(path), "--into", str(page)])
    assert "| train on MNIST to 97.5 % | 1.5\N{NO-BREAK SPACE}s | 2.0× | – |\n" in page.read_text()
    page.write_text("no table\n")
    with pytest.raises(
        SystemExit, match=r"page.md has no place for these tables: a line <!-- workloads.py: all --> or"
    ):
        workloads.main(["--markdown", str(path), "--into", str(page)])


@pytest.mark.needs("torch")
def test_times_and_ratios_of_training_go_into_pages(tmp_path):
    seconds = {
        "numpy by hand": [4.0, 2.0, 3.0],
        "numpy xpnet, rows": [2.0, 2.0, 3.3],
        "torch autograd": [8.0, 8.0, 8.0],
    }
    workers = [Worker(name, peers.CONTENDERS[name], True, None, each, [4.012], 0.9) for name, each in seconds.items()]
    args = SimpleNamespace(kind="book", threads="one", rounds=3, names=list(seconds))
    tables = peers.report([Result(ROW, workers, [], [])], args, "MNIST")
    page = tmp_path / "page.md"
    page.write_text("<!-- peers.py: book, one thread, short -->\n<!-- end -->\n<!-- peers.py: book -->\n<!-- end -->\n")
    replace_tables(page, "peers.py", tables)
    assert page.read_text() == (
        "<!-- peers.py: book, one thread, short -->\n\n```{table}\n:class: ratios\n\n"
        "| network | NumPy by hand | JAX by hand | PyTorch by hand | PyTorch, autograd | scikit-learn |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        f"| {ROW} | 1.00× | – | – | 4.0× | – |\n```\n\n"
        f"{tables['book, one thread'].partition(chr(10) * 2)[0]}\n\n<!-- end -->\n"
        "<!-- peers.py: book -->\n<!-- end -->\n"  # another run
    )
    assert [peers.format_times(number) for number in (0.894, 1.9, 1.96, 9.94, 11.1)] == [
        *("0.89×", "1.90×", "2.0×", "9.9×", "11×")
    ]
    assert f"| xpnet on numpy | **{2e6 / 21:.1f}** (one, 90.00%) |" in tables["book, one thread"]
    assert "| xpnet on numpy / NumPy by hand | **1.00** (0.75–1.05) |" in tables["book, one thread"]
    head = f"| ms of set-up, once per training | {ROW} |\n| --- | --- |\n"
    rows = "| NumPy by hand | 1012 |\n| xpnet on numpy | 2012 |\n| PyTorch, autograd | 0 |"
    assert tables["book, one thread"].endswith(head + rows)


def test_the_reason_of_a_failure_is_the_last_line_of_its_error_output(tmp_path):
    job, size = workloads.JOBS["single-rows"], workloads.JOBS["single-rows"].quick
    with pytest.raises(RuntimeError, match=r"^FileNotFoundError: .*rows.npy"):
        workloads.run(job, size, ("xpnet-numpy", False), tmp_path)


def test_a_job_prints_a_line(capsys):
    workloads.main(["--quick", "--job", "million-rows", "--contender", "xpnet-numpy"])
    line = json.loads(capsys.readouterr().out)
    assert (line["job"], line["contender"]) == ("million-rows", "xpnet-numpy")
    assert line["seconds"] > 0
    assert line["result"]["accuracy"] > 0.7
