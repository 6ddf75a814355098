"""What the benchmarks rely on, and a run does not show: turns, what differs, and rows that are kept."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # as for a script there

import harness
import peers
import same_weights
import workloads
from harness import ALL, ONE, Report, take_turns

pytestmark = pytest.mark.slow  # what developers measure with


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    """Do not wait for the threads of other contenders."""
    monkeypatch.setattr(harness, "PAUSE", 0)


def contender(*seconds):
    """Make a contender that takes these seconds in turn, and fails after the last."""
    left = list(seconds)

    def run():
        if not left:
            raise RuntimeError("no such luck")
        return SimpleNamespace(seconds=left.pop(0))

    return run


def test_contenders_take_turns_and_slow_threads_failures_and_slow_contenders_are_left_out():
    lines, contenders = (
        [],
        {
            ("ours", ALL): contender(9.0, 2.0),
            ("ours", ONE): contender(9.0, 1.0, 3.0),
            ("theirs", ALL): contender(9.0, 4.0, 6.0),
            ("slow", ALL): contender(9.0, 8.1),
            ("broken", ALL): contender(9.0, 1.0),
        },
    )
    turns = take_turns(contenders, 2, warm_up=1, far=8.0, tell=lines.append)
    seconds = {key: [outcome.seconds for outcome in outcomes] for key, outcomes in turns.outcomes.items()}
    assert seconds == {("ours", ONE): [1.0, 3.0], ("theirs", ALL): [4.0, 6.0], ("slow", ALL): [8.1]}
    assert turns.failures == {("broken", ALL): "no such luck"}
    assert turns.ratios(("theirs", ALL), ("ours", ONE)) == [4.0, 2.0]
    assert turns.best(["theirs", "ours"]) == ("ours", ONE)
    assert [line.partition(",")[0] for line in lines] == ["warm-up", "round 1", "round 2"]
    assert peers.set_up(turns, ("ours", ONE)) == 7.0


def test_a_report_prints_rows_appends_them_to_a_file_and_ends_with_what_failed(tmp_path, capsys):
    path = tmp_path / "results.txt"
    path.write_text("an earlier run\n")
    turns = take_turns({("a", ALL): contender(2.0, 4.0), ("b", ONE): contender(1.0, 1.0), ("c", ONE): contender()}, 2)
    report = Report(path)
    report.head("job", "contender", "ms", "ratio", "more")
    report.rows("a job", turns, {"a": "A", "b": "B", "c": "C"}, lambda _: ("b", ONE), lambda _: ["x\n"], scale=1e3)
    assert report.end() == 1
    lines = [
        *("", "| job | contender | ms | ratio | more |", "| --- | --- | --- | --- | --- |"),
        "| a job | A, all threads | 3000 (2500–3500) | 3.00 (2.50–3.50) | x |",
        "| a job | B, one thread | 1000 (1000–1000) | 1.00 (1.00–1.00) | x |",
        "FAILED: a job: C, one thread, failed: no such luck",
    ]
    assert path.read_text() == "an earlier run\n" + "\n".join(lines) + "\n"
    assert capsys.readouterr().out == "\n".join(lines) + "\n"


def test_weights_are_compared_with_the_change_that_training_made():
    begun, layers, others = ([(np.full((1, 1), w), np.full((1, 1), b))] for w, b in ((1, 1), (2, 3), (2.5, 3)))
    assert dict(peers.weights_off(begun, layers, others)) == {"w[0]": 0.5, "b[0]": 0.0}


# Whole jobs


def test_results_that_are_too_bad_or_other_than_those_of_xpnet_are_named():
    accuracies = {"xpnet-numpy": 0.91, "torch": 0.895, "sklearn": 0.94}
    outcomes = {(name, ONE): [workloads.Outcome(1.0, 1.0, {"accuracy": n})] for name, n in accuracies.items()}
    job = workloads.Job("a job", "classify", [workloads.Goal("accuracy", "{:.1%}", 0.9, 0.02)], {}, {})
    assert workloads.find_problems(job, SimpleNamespace(outcomes=outcomes)) == [
        "a job: PyTorch, one thread, has 89.5%, which must be from 0.9 to inf",
        "a job: scikit-learn, one thread, has 94.0%, but the first contender has 91.0%",
    ]
    nan = {("xpnet-numpy", ONE): [workloads.Outcome(1.0, 1.0, {"accuracy": float("nan")})]}
    assert len(workloads.find_problems(job, SimpleNamespace(outcomes=nan))) == 2


# The same weights


def test_trainings_are_drawn_for_every_door_and_a_difference_is_found(capsys):
    """A training is plain JSON, gives the same digests again, and other ones with another seed of its data."""
    drawn = [same_weights.draw(0, index, ["numpy"]) for index in range(40)]
    assert {training["door"] for training in drawn} == {"network", "ensemble", "estimator"}
    assert {bool(training["grid"]) for training in drawn if "grid" in training} == {True, False}
    lines = ["{}"]
    for index in (0, 2):
        training = json.loads(json.dumps(drawn[index]))
        result = same_weights.run(training, 0)
        assert result == same_weights.run(training, 0)
        lines.append(json.dumps({"training": training} | result))
    assert same_weights.compare(lines, lines)
    assert "2 of 2 trainings are equal bit for bit" in capsys.readouterr().out
    other = json.loads(lines[1])
    other["layers"][0][0] = "another digest"
    assert not same_weights.compare(lines, [lines[0], json.dumps(other), *lines[2:]])
    assert "training 0 differs in layers: " in capsys.readouterr().out


# Accuracy on tables


@pytest.fixture(scope="module")
def tables():
    """The program tables.py, by its path, as PyTables has a module of this name."""
    pytest.importorskip("pandas")
    spec = importlib.util.spec_from_file_location("benchmark_of_tables", BENCHMARKS / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_table_has_categories_and_floats_and_its_classes_have_the_same_shares_in_both_parts(tables):
    import pandas
    from table_sets import CLASSIFICATION, Table, classes, divide, prepare

    n = 6_004
    frame = pandas.DataFrame(
        {
            "number": np.arange(n) + 1.0,
            "hole": np.where(np.arange(n) % 2, np.nan, 1.0),
            "text": np.where(np.arange(n) % 3, "a", None),
            "truth": np.arange(n) % 2 == 0,
            "class": np.where(np.arange(n) % 10, 1.0, 0.0),
        }
    )
    frame.loc[:3, "class"] = np.nan
    x, y = prepare(frame, classes("a package", "a table"))
    assert [str(dtype) for dtype in x.dtypes] == ["float64", "float64", "category", "category"]
    assert [x["text"].isna().sum(), x["hole"].isna().sum()] == [2_000, 3_000]
    assert list(x["truth"].cat.categories) == ["False", "True"]
    assert (len(x), sorted(set(y))) == (6_000, ["0.0", "1.0"])
    split = divide(x, y, CLASSIFICATION, 0)
    assert (len(split.x_train), len(split.x_test)) == (3_000, 3_000)
    assert np.mean(split.y_train == "0.0") == np.mean(split.y_test == "0.0") == 0.1
    assert not {*split.x_train["number"]} & {*split.x_test["number"]}
    more = divide(x, y, CLASSIFICATION, 0, rows=20_000)
    assert (len(more.x_train), len(more.x_test)) == (4_500, 1_500)
    fewer = divide(x, y, CLASSIFICATION, 1, rows=100)
    assert (len(fewer.x_train), len(fewer.x_test)) == (100, 3_000)
    x, y = prepare(frame, Table("a package", "a table", "number", without=("text", "class"), log=True))
    assert list(x) == ["hole", "truth"]
    assert y[99] == 2.0


def test_predictions_are_scored_and_a_failure_is_a_result(tables):
    from table_contenders import Prediction
    from table_sets import CLASSIFICATION, REGRESSION, Split

    truth = np.array([-1.0, 1.0, -1.0, 1.0])
    split = Split(None, truth, None, truth, REGRESSION)
    ends = truth - np.array([1, 1, 1, -1]), truth + 2
    scores = tables.measure(lambda *_: Prediction(truth + 0.5, interval=ends), split, 0, 60)
    assert {name: value for name, value in scores.items() if name != "cpu_seconds"} == {
        "error": 0.5,
        "coverage": 0.75,
        "width": 2.5,
    }
    diverged = tables.measure(lambda *_: Prediction(truth * np.nan), split, 0, 60)
    assert diverged["failure"] == "a prediction is not finite"
    labels = np.array(["a", "b"])
    split = Split(None, labels, None, labels, CLASSIFICATION)
    predicted = Prediction(np.array(["a", "a"]), np.array([[3.0, 1.0], [1.0, 1.0]]) / [[4.0], [2.0]])
    scores = tables.score(predicted, split)
    assert scores["error"] == 0.5
    assert scores["log_loss"] == pytest.approx(-(np.log(0.75) + np.log(0.5)) / 2)
    failed = tables.measure(lambda *_: 1 / 0, split, 0, 60)
    assert failed["failure"] == "ZeroDivisionError: division by zero"


RESULTS = """rows,table,split,contender,error,log_loss,coverage,width,cpu_seconds,failure
5000,gpa,0,xpnet,0.1,,0.89,2,1,
5000,gpa,1,xpnet,0.3,,0.93,2,3,
5000,gpa,0,CatBoost,0.2,,,,8,
5000,gpa,1,CatBoost,0.2,,,,8,
5000,gpa,0,TabM_D,0.05,,,,100,
5000,gpa,1,TabM_D,,,,,600,TimeoutError: too long
5000,german,0,xpnet,0.2,0.5,,,1,
5000,german,0,CatBoost,0.1,0.25,,,8,
20000,diamonds,0,CatBoost,0.14,,,,7.2,
"""


PAGE = """Before
<!-- measured: standings: held out --> old <!-- end -->
<!-- measured: failures --><!-- end -->"""


def test_contenders_are_ranked_over_tables_and_one_without_all_results_is_compared_where_it_has_some(
    tables, tmp_path, monkeypatch, capsys
):
    from table_summary import rank, read_results

    path, page = tmp_path / "results.csv", tmp_path / "page.md"
    path.write_text(RESULTS)
    results = read_results(path)
    catboost, ours, tabm = rank(results[results["rows"] == 5_000])
    assert [one.contender for one in (catboost, ours, tabm)] == ["CatBoost", "xpnet", "TabM_D"]
    assert [one.rank for one in (catboost, ours, tabm)] == [1.25, 1.75, None]
    assert ours.to_best.mean == pytest.approx(2**0.5)
    assert ours.to_best.error == pytest.approx(2**0.5 * np.log(2) / 2)
    assert catboost.to_reference.mean == pytest.approx(0.5**0.5)
    assert catboost.log_loss_to_reference.mean == 0.5
    assert (tabm.fits, tabm.to_best, tabm.to_reference.mean) == (1, None, 0.5)
    assert ours.cpu_seconds == pytest.approx(5 / 3)
    page.write_text(PAGE)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--file", str(path), "report", "--page", str(page)])
    for _ in range(2):  # a page can be filled again
        assert tables.main() == 0
        text = page.read_text()
        assert text.startswith("Before\n<!-- measured: standings: held out -->\n\n| ")
        assert "| TabM_D (1 of 2 fits) | – | – | 0.500 | – | – | 100.0 |" in text
        assert "<!-- end -->\n<!-- measured: failures -->\n\n- TabM_D, gpa, 5,000 rows: TimeoutError: too long" in text
        assert "old" not in text
    lines = capsys.readouterr().out.splitlines()
    assert "| gpa | 91.0% | 89.0% to 93.0% | 2.00 |" in lines
    assert "| diamonds, 20,000 | 0.1400, 7 s |" in lines
    assert "| gpa | **0.200** | **0.200** | 0.050* |" in lines
