"""What a network and its file say of how they were made and trained."""

import json
import pickle
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers import Stream, assert_same, run_command, snapshot

import xpnet
from xpnet import SGD, Adam, Clip, Constant, Ensemble, Network, OneCycle
from xpnet.core.scaling import Scaling
from xpnet.files._record import PLAIN, SETTINGS
from xpnet.value._history import Provenance, Run

rng = np.random.default_rng(0)
X, Y = rng.standard_normal((40, 3)), rng.standard_normal(40)
QUICK = {"epochs": 2, "lr": 0.01, "progress": False}


def make(**options):
    return Network([3, 4, 1], activation="relu", task="regression", **options)


@pytest.mark.not_on("jax")  # whose trainings with these settings are tested bit for bit elsewhere
def test_a_network_is_made_again_from_what_its_file_says(place, tmp_path):
    """Also without a seed, where one is drawn."""
    net = make(**place._asdict())
    assert net.provenance.seed != make().provenance.seed
    settings = {"optimizer": Clip(Adam(beta1=0.8), 1.0), "lr": OneCycle(0.05), "sampling": "replacement"}
    net.train((X, Y), epochs=3, batch_size=8, progress=False, **settings)
    net.save(tmp_path / "net")
    loaded = Network.load(tmp_path / "net")
    assert loaded.provenance == net.provenance == net.copy().provenance == pickle.loads(pickle.dumps(net)).provenance
    (run,) = loaded.provenance.runs
    twin = make(seed=loaded.provenance.seed, init=None, **place._asdict())
    optimizer, lr = (
        eval(text, {name: getattr(xpnet, name) for name in xpnet.__all__}) for text in (run.optimizer, run.lr)
    )
    options = {"epochs": run.epochs, "batch_size": run.batch_size, "sampling": run.sampling}
    twin.train((X, Y), optimizer=optimizer, lr=lr, progress=False, **options)
    assert_same(twin, snapshot(net))
    assert twin.provenance == net.provenance
    assert (loaded.provenance.init, run.calls, run.resumed) == ("he_normal, scaled_normal", 1, False)
    assert (run.backend, run.device) == (net.backend.name, net.backend.device_name)
    assert {f"numpy {np.__version__}", f"xpnet {xpnet.__version__}"} < {*run.versions.split(", ")}


def test_functions_and_classes_of_ones_own_are_known_by_name(tmp_path):
    class Mine(SGD):
        pass

    def falling(step, total):
        return 0.1 / (step + 1)

    def ones(rng, n_in, n_out):
        return np.ones((n_out, n_in)), np.ones(n_out)

    net = make(init=ones, seed=[1, 2])
    net.train((X, Y), **{**QUICK, "optimizer": Mine(), "lr": falling})
    (run,) = net.provenance.runs
    assert (net.provenance.seed, net.provenance.init, run.optimizer, run.lr) == ((1, 2), "ones", "Mine", "falling")
    with pytest.warns(UserWarning, match="of your own class and is not saved"):
        net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").provenance == net.provenance


def test_of_an_iterable_of_batches_the_steps_are_known():
    net = make(seed=0)
    for options in ({}, {"steps": 3}):
        net.train(Stream((X[:20], Y[:20]), (X[20:], Y[20:])), **{**QUICK, **options})
    assert [run.sampling for run in net.provenance.runs] == ["as they come", "as they come, 3 an epoch"]


def test_changes_besides_training_are_noted():
    nets = [make(seed=0) for _ in range(3)]
    nets[0].w = nets[0].w
    nets[1].minibatch_update((X, Y), 0.1)
    nets[2].train((X, Y), **QUICK)
    assert [net.provenance.edited for net in nets] == [True, True, False]


def test_of_many_runs_the_last_hundred_are_listed(tmp_path):
    net = make(seed=0)
    net.train((X, Y), **QUICK)
    (run,) = net.provenance.runs
    provenance = net.provenance
    for k in range(450):  # each learning rate is used thrice
        provenance = provenance.add(run._replace(lr=str(k // 3)))
    assert [one.lr for one in provenance.runs] == [str(k) for k in range(50, 150)]
    assert provenance.earlier == 1 + 3 * 50
    assert provenance.describe()[0].endswith("; 151 earlier calls to train are not listed")
    net.value = net.value._replace(provenance=provenance)
    net.save(tmp_path / "net")
    assert Network.load(tmp_path / "net").provenance == provenance


def test_members_of_an_ensemble_have_their_own(capsys, tmp_path):
    ensemble = Ensemble([3, 4, 1], 4, task="regression", seed=0)
    ensemble.train((X, Y), **{**QUICK, "lr": [0.1, 0.1, Constant(0.2), 0.1]})
    ensemble.save(tmp_path / "e")
    again = Ensemble.load(tmp_path / "e")
    assert [net.provenance for net in again] == [net.provenance for net in ensemble]
    assert [net.provenance.seed for net in again] == ensemble.seeds
    assert [run.lr for net in again for run in net.provenance.runs] == ["0.1", "0.1", "0.2", "0.1"]
    status, lines, _ = run_command(capsys, "info", tmp_path / "e")
    assert (status, lines[0]) == (0, f"{tmp_path / 'e'}: {ensemble}")
    assert [line.strip() for line in lines[2:4]] == ensemble[0].provenance.describe()[:2]
    trained = [line.partition(";")[0] for line in lines if line.startswith("Trained")]
    assert trained == [f"Trained by SGD(momentum=0.0, nesterov=False, weight_decay=0.0), lr={lr}" for lr in (0.1, 0.2)]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_networks_of_estimators_name_the_random_state(capsys, tmp_path):
    estimators = pytest.importorskip("xpnet.estimators")
    options = {"max_iter": 2, "hidden_layer_sizes": (4,), "random_state": 7, "alpha": 0.5}
    model = pickle.loads(pickle.dumps(estimators.MLPRegressor(**options, warm_start=True).fit(X, Y).fit(X, Y)))
    net = model.partial_fit(X, Y).network_
    assert (net.provenance.seed, net.provenance.init) == (7, "sklearn_uniform")
    assert [(run.calls, run.epochs, run.alpha, run.batch_size) for run in net.provenance.runs] == [
        (2, 2, 0.5, 40),
        (1, 1, 0.5, 40),
    ]
    for rule, rate in (("constant", "0.001"), ("invscaling", "0.001, invscaling with power_t=0.5")):
        fitted = estimators.MLPRegressor(**options, solver="sgd", learning_rate=rule).fit(X, Y)
        assert fitted.network_.provenance.runs[0].lr == rate
    lbfgs = estimators.MLPRegressor(**options, solver="lbfgs").fit(X, Y).network_
    (run,) = lbfgs.provenance.runs
    assert (run.optimizer, run.batch_size, run.sampling) == ("LBFGS(weight_decay=0.0, history=10)", 40, "in order")
    lbfgs.save(tmp_path / "net")
    _, lines, _ = run_command(capsys, "info", tmp_path / "net")
    assert lines[-3:] == lbfgs.provenance.describe()


# The page that describes the file

PAGE = (Path(__file__).parents[1] / "docs/understand/file-format.md").read_text(encoding="utf-8")
PARTS = Path(xpnet.__file__).parent / "pages/page_files/network.js"


def test_the_page_names_all_that_is_in_a_file():
    names = {"checksum", "format", "version", *PLAIN, *SETTINGS, *Provenance._fields, *Run._fields}
    names |= {f"scaling.{name}" for name in Scaling._fields}
    assert [name for name in sorted(names) if f"`{name}`" not in PAGE] == []


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
@pytest.mark.parametrize(
    "options",
    [
        {"activation": ["tanh", "elu(0.5, 2.0)"], "task": "regression", "standardize": True, "dtype": "float64"},
        {"activation": "relu", "task": "classification", "scale": 1 / 255, "dropout": 0.2},
    ],
    ids=["regression", "classification"],
)
def test_the_reader_of_the_page_computes_the_same(tmp_path, options):
    net = Network([3, 5, 4, 2], seed=0, **options)
    y = np.stack([Y, 100 + X[:, 0]], axis=1) if net.task == "regression" else (Y > 0).astype(int)
    net.train((X, y), optimizer=Adam(), **QUICK)
    net.notes = {"scores": [np.nan, -np.inf], 'of "NaN': "NaN, Infinity"}
    net.save(tmp_path / "net.safetensors")
    reader = re.search(r"```js\n(.*?)console\.log", PAGE, re.DOTALL)[1]
    program = f"const net = load('net.safetensors'), rows = {X.tolist()}.map((x) => [...compute(net, x)]);"
    text = f"{PARTS.read_text(encoding='utf-8')}\n{reader}\n{program}\nconsole.log(JSON.stringify([rows, net.notes]));"
    (tmp_path / "program.js").write_text(text, encoding="utf-8")
    done = subprocess.run(["node", "program.js"], cwd=tmp_path, capture_output=True, text=True, check=True)
    rows, notes = json.loads(done.stdout)
    np.testing.assert_allclose(rows, net.forward(X), rtol=1e-12 if net.dtype == "float64" else 1e-5)
    assert notes == {**net.notes, "scores": [None, None]}
