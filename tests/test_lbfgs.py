"""L-BFGS: its directions and lines, and training by it at every door."""

import numpy as np
import pytest
from helpers import assert_same, run_command, snapshot
from sklearn.linear_model import LogisticRegression

from xpnet import LBFGS, Callback, Clip, DivergenceError, Ensemble, LevenbergMarquardt, Network, ReduceLROnPlateau
from xpnet.core.arrays import leaves
from xpnet.core.optimizers._lbfgs import Line, LinePoint, find_least, multiply_inverse_hessian, try_next
from xpnet.estimators import MLPClassifier, MLPRegressor, MLPSearchCV

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, (60, 3))
Y = np.stack([np.sin(2 * X[:, 0]) * X[:, 1], X.sum(axis=1) ** 2 / 4], axis=1)
OPTIONS = {"activation": "tanh", "task": "regression", "dtype": "float64"}
SCALES = [(a, b) for a in (0.01, 1.0, 30.0) for b in (1e-4, 1.0, 1e3, 1e6)]
TRAIN = {"optimizer": LBFGS(), "progress": False}


def make(sizes=(3, 8, 2), seed=0, **options):
    return Network(list(sizes), seed=seed, **{**OPTIONS, **options})


def layers_of(net):
    return [tuple(np.asarray(net.backend.to_numpy(part)) for part in layer) for layer in net.value.layers]


def flatten(layers):
    return np.concatenate([np.ravel(part) for layer in layers for part in layer])


def measure(net, layers, data):
    """The cost and its gradient at some weights, which the network keeps."""
    other = net.copy()
    other.layers = layers
    return other.cost(data), flatten(other.backward(*data))


# Directions and lines


@pytest.mark.parametrize("pairs", [1, 4])
def test_the_inverse_hessian_is_that_of_the_dense_recursion(pairs):
    """H ← (1 − ρ s yᵀ) H (1 − ρ y sᵀ) + ρ s sᵀ, from sᵀy/yᵀy; Nocedal and Wright, equation 6.17."""
    root = RNG.standard_normal((6, 6))
    hessian = root @ root.T + np.eye(6)
    changes = RNG.standard_normal((pairs, 6))
    gradient_changes, gradient = changes @ hessian, RNG.standard_normal((6, 1))
    s, y = changes[-1], gradient_changes[-1]
    inverse = s @ y / (y @ y) * np.eye(6)
    for s, y in zip(changes, gradient_changes, strict=True):
        left = np.eye(6) - np.outer(s, y) / (s @ y)
        inverse = left @ inverse @ left.T + np.outer(s, s) / (s @ y)
    padded = [np.concatenate([np.zeros((2, 6)), part]) for part in (changes, gradient_changes)]  # for no steps
    for rows in ((changes, gradient_changes), padded):
        np.testing.assert_allclose(multiply_inverse_hessian(gradient, *rows, np), inverse @ gradient, rtol=1e-10)


def test_a_cubic_polynomial_is_least_where_its_derivative_is_0():
    """t³ − 3 t, which is least at 1, also outside of both; and halfway where the polynomial has no minimum."""

    def at(t):
        return LinePoint(*np.array([t, t**3 - 3 * t, 3 * t**2 - 3]))

    for low, high, expected in ((0.0, 3.0, 1 / 3), (3.0, 0.0, 2 / 3), (0.0, 0.5, 2.0)):
        assert float(find_least(at(low), at(high), np)) == pytest.approx(expected)
    flat = LinePoint(*np.array([0.0, 1.0, 0.0]))
    with np.errstate(invalid="ignore"):
        assert float(find_least(flat, flat._replace(length=np.array(1.0)), np)) == 0.5


@pytest.mark.parametrize("exponent", [-3, -1, 0, 1])
def test_lengths_along_a_line_are_those_of_scipy(exponent):
    """Of lines that fall steeply, then fall and rise in waves of all lengths."""
    dcsrch = pytest.importorskip("scipy.optimize._dcsrch")
    trials = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        waves, heights, phases = 10 ** rng.uniform(-2, 1.5, 4), rng.normal(size=4), rng.uniform(0, 7, 4)
        drop, width = 10 ** rng.uniform(-3, 3, 2)
        tried, expected, length = [], [], 10**exponent * rng.uniform(1, 5)

        def value(t):
            expected.append(float(t))  # noqa: B023
            return (heights * np.sin(waves * t + phases)).sum() + drop * np.hypot(t / width - 1, 0.01)  # noqa: B023

        def slope(t):
            bend = (t / width - 1) / np.hypot(t / width - 1, 0.01)  # noqa: B023
            return (heights * waves * np.cos(waves * t + phases)).sum() + drop / width * bend  # noqa: B023

        zero = np.zeros(())
        start = LinePoint(zero, value(0.0), slope(0.0))
        if start.slope >= 0:
            continue
        with np.errstate(all="ignore"):
            search = dcsrch.DCSRCH(value, slope, 1e-3, 0.9, 0.1, 0.0, 1e10)
            search(length, start.cost, start.slope, maxiter=20)
            none, width_before = LinePoint(zero - 1, zero, zero), zero + 1e10
            state = none, width_before, 2 * width_before, None, None, None
            line = Line(None, None, start.cost, zero + length, zero, start, *state)
            for t in expected[1:]:
                tried.append(float(line.length))
                line = try_next(line, LinePoint(line.length, value(t), slope(t)), start.slope, np)
                expected.pop()
        trials.append(len(tried))
        assert tried == pytest.approx(expected[1:], rel=1e-6), seed
    assert max(trials) > 8


def test_steps_meet_the_wolfe_conditions_and_costs_are_those_before_them():
    net, data, path = make(), (X, Y), []

    class Watch(Callback):
        def on_train_begin(self, training):
            self.training = training

        def on_epoch_end(self, logs):
            path.append(layers_of(self.training.net))

    start = layers_of(net)
    costs = net.train(data, epochs=60, callbacks=[Watch()], **TRAIN)["cost"]
    measured = [measure(net, layers, data) for layers in (start, *path)]
    np.testing.assert_allclose(costs, [cost for cost, _ in measured[:-1]], rtol=1e-12)
    steps = [flatten(new) - flatten(old) for old, new in zip((start, *path), path, strict=False)]
    taken = [k for k, step in enumerate(steps) if step.any()]
    assert 40 < len(taken) < 60
    for k in taken:
        (old, gradient), (new, later) = measured[k], measured[k + 1]
        assert new <= old + 1e-4 * steps[k] @ gradient
        assert abs(steps[k] @ later) <= 0.9 * abs(steps[k] @ gradient) * (1 + 1e-9)


# Minima


def test_it_finds_the_only_minimum_of_a_logistic_regression(place):
    """Its penalty is 1/2 ‖w‖² beside the sum of the costs, as scikit-learn's with C = 1."""
    y = (X[:, 0] + X[:, 1] ** 2 + 0.5 * RNG.standard_normal(60) > 1).astype(int)
    theirs = LogisticRegression(C=1.0, tol=1e-12, max_iter=1000).fit(X, y)
    net = Network([3, 1], task="binary", dtype="float64", seed=0, **place._asdict())
    net.train((X, y), epochs=40, optimizer=LBFGS(weight_decay=1 / 60), progress=False)
    ((w, b),) = layers_of(net)
    np.testing.assert_allclose(w, theirs.coef_, rtol=1e-5)
    np.testing.assert_allclose(np.ravel(b), theirs.intercept_, rtol=1e-4, atol=1e-6)


def minimize_by_scipy(net, data, **options):
    """Minimize the cost of a network by L-BFGS-B, and list the costs after its iterations."""
    from scipy.optimize import minimize

    shapes, costs = [(w.shape, np.shape(b)) for w, b in net.layers], []

    def objective(parameters):
        layers, start = [], 0
        for shape, width in shapes:
            middle, end = start + np.prod(shape), start + np.prod(shape) + np.prod(width)
            layers.append((parameters[start:middle].reshape(shape), parameters[middle:end]))
            start = end
        return measure(net, layers, data)

    def keep(intermediate_result):
        costs.append(intermediate_result.fun)

    options = {"maxiter": 10**6, "ftol": 0.0, "gtol": 0.0, **options}
    return minimize(objective, flatten(net.layers), method="L-BFGS-B", jac=True, options=options, callback=keep), costs


def test_it_comes_as_far_as_scipy_with_as_many_evaluations():
    net = make()
    theirs, _ = minimize_by_scipy(net, (X, Y), maxfun=200)
    net.train((X, Y), epochs=200, **TRAIN)
    assert theirs.fun / 2 < net.cost((X, Y)) < 2 * theirs.fun < 0.1


@pytest.mark.parametrize("scales", SCALES, ids=str)
def test_its_steps_are_those_of_scipy(scales):
    """Also where lines are long, and need many trials."""
    net, data = make(), (scales[0] * X, scales[1] * Y)
    theirs, costs = minimize_by_scipy(net, data, maxiter=8)
    mine = net.train(data, epochs=theirs.nfev + 1, **TRAIN)["cost"]
    after_lines = [cost for cost, before in zip(mine[1:], mine, strict=False) if cost != before]
    assert after_lines[:5] == pytest.approx(costs[:5], rel=1e-6)


def test_costs_that_overflow_halve_the_bracket():
    """The first step is of length 1, where e^800 is infinite; the cost is that of a Poisson regression."""
    x, y = np.full((20, 1), 1e3), np.full(20, 2.0)
    net = Network([1, 1], cost="poisson", output_activation="exp", dtype="float64", seed=0)
    net.layers = [([[0.0]], [0.0])]
    other = net.copy()
    with pytest.warns(match="none of the 2 steps"):
        other.train((x, y), epochs=2, **TRAIN)
    assert all(np.isfinite(part).all() for part in leaves(other.value.state.optimizer.memory))
    costs = net.train((x, y), epochs=60, **TRAIN)["cost"]
    assert (np.diff(costs) <= 0).all()
    assert net.predict([1e3]) == pytest.approx(2.0, rel=1e-6)


# Everything else of a training


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_members_are_trained_as_if_alone(place, dtype):
    ensemble = Ensemble([3, 6, 2], 3, seed=0, **{**OPTIONS, "dtype": dtype, **place._asdict()})
    alone, weight = ensemble.copy(), np.linspace(0.1, 2.0, 60)
    train = {"epochs": 12, "sample_weight": weight, "optimizer": LBFGS(weight_decay=1e-3), "progress": False}
    ensemble.train((X, Y), **train)
    rtol = 1e-9 if dtype == "float64" else 1e-3
    for net, member in zip(alone, ensemble, strict=True):
        net.train((X, Y), **train)
        np.testing.assert_allclose(flatten(layers_of(net)), flatten(layers_of(member)), rtol=rtol, atol=rtol)


def test_weights_count_as_copies_of_their_examples():
    counts = np.arange(60) % 3
    nets = make(), make()
    nets[0].train((X, Y), epochs=20, sample_weight=counts, **TRAIN)
    nets[1].train((np.repeat(X, counts, axis=0), np.repeat(Y, counts, axis=0)), epochs=20, **TRAIN)
    np.testing.assert_allclose(*[flatten(net.layers) for net in nets], rtol=1e-7)


@pytest.mark.parametrize("weight", [None, np.arange(60) % 3, np.arange(60) < 45], ids=["none", "some", "no last part"])
def test_parts_of_the_examples_add_up(monkeypatch, weight):
    """Of 25, 25 and 10; a part without weight is never left alone."""
    whole, ensemble = make(), Ensemble([3, 8, 2], 2, seed=0, **OPTIONS)
    train = {"epochs": 12, "sample_weight": weight, "optimizer": LBFGS(weight_decay=1e-2), "progress": False}
    parts, costs = whole.copy(), whole.train((X, Y), **train)["cost"]
    members = [net.copy() for net in ensemble]
    for net in members:
        net.train((X, Y), **train)
    monkeypatch.setattr("xpnet.training._all_examples.ROWS_ON_HOST", 25)
    np.testing.assert_allclose(parts.train((X, Y), **train)["cost"], costs, rtol=1e-9)
    ensemble.train((X, Y), **train)
    for net, other in ((parts, whole), *zip(ensemble, members, strict=True)):
        np.testing.assert_allclose(flatten(layers_of(net)), flatten(layers_of(other)), rtol=1e-7)


def test_every_training_begins_anew():
    """Also with an equal optimizer, for the other examples have another cost."""
    nets = make(), make()
    nets[0].train((X, Y), epochs=7, **TRAIN)
    nets[1].layers = nets[0].layers
    for net in nets:
        net.train((X[:30], 5 * Y[:30]), epochs=9, **TRAIN)
    np.testing.assert_allclose(*[flatten(net.layers) for net in nets], rtol=1e-9)


@pytest.mark.parametrize("optimizer", [LBFGS(), LevenbergMarquardt(weight_decay=1e-3)], ids=["lbfgs", "lm"])
def test_weights_keep_the_memory_order_of_copies(optimizer):
    """Another order could change the last bits of products, so a copy, or a resumed training, would go on otherwise."""
    net = make()
    net.train((X, Y), epochs=2, optimizer=optimizer, progress=False)
    assert [w.strides for w, _ in net.value.layers] == [w.strides for w, _ in net.copy().value.layers]


def test_a_training_that_is_resumed_goes_on_along_its_line(tmp_path):
    nets, path = (make(), make()), tmp_path / "training"

    class Interrupt(Callback):
        def on_epoch_end(self, logs):
            if logs["epoch"] == 6 and not path.with_suffix(".interrupted").exists():
                path.with_suffix(".interrupted").touch()
                raise KeyboardInterrupt

    train = {"epochs": 15, "checkpoint": path, "callbacks": [Interrupt()], **TRAIN}
    with pytest.raises(KeyboardInterrupt):
        nets[0].train((X, Y), **train)
    loaded = make()
    loaded.train((X, Y), resume=True, **train)
    nets[1].train((X, Y), epochs=15, **TRAIN)
    assert np.array_equal(flatten(loaded.layers), flatten(nets[1].layers))


def test_weights_that_a_callback_gives_begin_a_new_line():
    net = make()
    other = make(seed=5)
    expected = other.copy().train((X, Y), epochs=4, **TRAIN)["cost"]

    class Replace(Callback):
        def on_train_begin(self, training):
            self.training = training

        def on_epoch_end(self, logs):
            if logs["epoch"] == 3:
                self.training.value = other.value

    assert net.train((X, Y), epochs=7, callbacks=[Replace()], **TRAIN)["cost"][3:] == expected


def test_slopes_are_learnt_along():
    x = np.linspace(-2, 2, 9)[:, None]
    net, data = make((1, 10, 1)), (x, np.sin(2 * x))
    net.train(data, epochs=200, slopes=2 * np.cos(2 * x)[:, None], **TRAIN)
    between = np.linspace(-2, 2, 50)[:, None]
    assert abs(net.predict(between) - np.sin(2 * between[:, 0])).max() < 0.02


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"dropout": 0.1}, {}, r"^LBFGS does not go with dropout=\[0\.0, 0\.1\]; leave dropout out, and"),
        ({}, {"lr": 0.1}, r"lr=0\.1 is for other optimizers: LBFGS uses all examples in every step, and"),
        ({}, {"batch_size": 5}, r"batch_size=5 is for other optimizers: LBFGS uses all examples in every"),
        (
            {},
            {"validation_data": (X, Y), "callbacks": [ReduceLROnPlateau()]},
            r"^ReduceLROnPlateau is for other optimizers: LBFGS has no learning rate; leave it out$",
        ),
        ({}, {"data": iter([(X, Y)]), "steps": 1}, r"LBFGS\(.*\) needs all examples in every step; give train_data as"),
    ],
    ids=["dropout", "lr", "batch_size", "plateau", "stream"],
)
def test_what_it_cannot_do_is_refused_before_anything_changes(options, arguments, message):
    net, arguments = make(**options), dict(arguments)
    before, data = snapshot(net), arguments.pop("data", (X, Y))
    with pytest.raises(ValueError, match=message):
        net.train(data, epochs=1, **arguments, **TRAIN)
    assert_same(net, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_decay": -1}, r"weight_decay=-1 must be"),
        ({"history": 0}, r"history=0 must be"),
        ({"history": 1.5}, r"history=1\.5 must be"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LBFGS(**options)


def test_it_cannot_be_wrapped():
    with pytest.raises(TypeError, match=r"LBFGS\(.*\) cannot be wrapped in Clip: its steps are no gradients"):
        Clip(LBFGS(), 1.0)


def test_where_the_cost_is_infinite_no_rate_is_to_blame():
    net = Network([1, 1], cost="poisson", output_activation="exp", dtype="float64", seed=0)
    net.layers = [([[1.0]], [0.0])]
    with pytest.raises(DivergenceError, match=r"steps 1 to 1: cost or .* these steps\. Scale the inputs$"):
        net.train((np.full((5, 1), 1e4), np.ones(5)), epochs=3, **TRAIN)


# In the estimators, and in the shell


@pytest.mark.filterwarnings("ignore:LBFGS. Maximum iterations")
def test_estimators_have_it_with_all_that_epochs_bring():
    """Unlike the solver "lbfgs", which ends by scikit-learn's rules, it has early stopping, curves and callbacks."""
    fit = {"hidden_layer_sizes": (8,), "activation": "tanh", "random_state": 0, "solver": LBFGS(), "alpha": 1e-3}
    regressor = MLPRegressor(**fit, max_iter=500, early_stopping=True).fit(X[:40], Y[:40], X_val=X[40:], y_val=Y[40:])
    assert len(regressor.validation_loss_curve_) == regressor.n_iter_ < 500
    classifier = MLPClassifier(**fit, max_iter=300).fit(X, Y[:, 0] > 0)
    assert classifier.score(X, Y[:, 0] > 0) > 0.9
    search = MLPSearchCV(MLPRegressor(**fit, max_iter=500, tol=1e-2), {"alpha": [0.1, 1e5]}, cv=2).fit(X, Y)
    assert search.best_params_ == {"alpha": 0.1}
    with pytest.raises(
        ValueError, match=r"^partial_fit trains for one epoch, and LBFGS begins anew each time; call fit"
    ):
        MLPRegressor(**fit).partial_fit(X, Y)


def test_a_long_search_along_a_line_does_not_end_a_fit():
    """Targets of a million let the first line take 12 epochs; as it ended the fit, the loss was 0.044."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(100, 2))
    y = np.sin(x[:, 0]) + 0.1 * rng.normal(size=100)
    options = {"hidden_layer_sizes": (8,), "activation": "tanh", "alpha": 0, "dtype": "float64", "random_state": 0}
    fitted = MLPRegressor(**options, solver=LBFGS(), max_iter=2000).fit(x, 1e6 * y)
    assert fitted.loss_ < 0.035e12


@pytest.mark.needs("pandas")
def test_it_is_an_optimizer_of_the_command(capsys, tmp_path):
    path, words = tmp_path / "table.csv", ["--hidden", 6, "--activation", "tanh", "--epochs", 60, "--quiet"]
    np.savetxt(path, np.column_stack([X, Y[:, 0]]), delimiter=",", header="a,b,c,y", comments="")
    words = ["train", "--data", path, "--target", "y", "--optimizer", "lbfgs", *words]
    status, _, err = run_command(capsys, *words, "--dtype", "float64", "--save", tmp_path / "net")
    assert (status, err) == (0, "")
    assert Ensemble.load(tmp_path / "net")[0].provenance.runs[0].optimizer == repr(LBFGS())
    status, _, err = run_command(capsys, *words, "--lr", 0.1)
    assert status == 1
    assert err.startswith("xpnet: error: --lr 0.1 is for other optimizers: LBFGS")
