"""Training from parts: jobs in, a stream of values out."""

import inspect

import numpy as np
import pytest
from helpers import Interrupt, assert_same, snapshot

from xpnet import SGD, Adam, ArgumentError, Callback, Ensemble, Network
from xpnet.training import Checkpoint, Job, KeptLoops, Plan, open_data, train

X = np.random.default_rng(0).uniform(-1.0, 1.0, (60, 2)).astype(np.float32)
Y = (X[:, :1] * X[:, 1:]).astype(np.float32)
OPTIONS = {"epochs": 4, "batch_size": 7, "lr": 0.1, "optimizer": SGD(momentum=0.9)}


def network(width=5, seed=0, **options):
    return Network([2, width, 1], **{"activation": "tanh", "task": "regression", "seed": seed, **options})


def make_job(net, start=None, sample_weight=None, **options):
    data = open_data((X, Y), net.value.reader, sample_weight=sample_weight)
    return Job(start or net.value, data, Plan(**{**OPTIONS, **options}), owner=net)


def test_networks_of_several_structures_are_trained_as_each_alone():
    """Also with loops that they may share, which are those of the same structure."""
    options = ({"width": 5}, {"width": 3}, {"seed": 1}, {"activation": "sigmoid"})
    nets, alone = ([network(**each) for each in options] for _ in range(2))
    with pytest.raises(ArgumentError, match="networks has 1 entries, and the stream has"):
        train([make_job(net) for net in nets]).give_to(nets[:1])
    assert train([make_job(net) for net in nets], loops=KeptLoops()).give_to(nets) == {}
    for net, other in zip(nets, alone, strict=True):
        other.train((X, Y), **OPTIONS, progress=False)
        np.testing.assert_allclose(net.w[0], other.w[0], rtol=1e-5)
        assert len(net.history) == 4
    for k in (1, 3):  # which nothing was joined with
        np.testing.assert_array_equal(nets[k].w[0], alone[k].w[0])


def test_minibatches_without_weight_are_skipped_by_the_network_that_has_them():
    """Or its velocity would go on changing its weights."""
    nets, alone = ([network(seed=seed) for seed in (0, 1)] for _ in range(2))
    weights = np.ones(60), (np.arange(60) % 30 == 0).astype(float)
    train([make_job(net, sample_weight=weight) for net, weight in zip(nets, weights)], threads=1).give_to(nets)
    for net, other, weight in zip(nets, alone, weights, strict=True):
        other.train((X, Y), **OPTIONS, sample_weight=weight, progress=False)
        np.testing.assert_allclose(net.w[0], other.w[0], rtol=1e-5)


def test_members_with_several_rates_of_dropout_are_trained_as_each_alone():
    nets = [network(dropout=[0.0, rate], seed=k) for k, rate in enumerate((0.1, 0.5))]
    ensemble = Ensemble.of(nets)
    ensemble.train((X, Y), **OPTIONS, progress=False)
    for net, member in zip(nets, ensemble, strict=True):
        net.train((X, Y), **OPTIONS, progress=False)
        np.testing.assert_allclose(member.w[0], net.w[0], rtol=1e-5)
        assert member.dropout == net.dropout


def test_a_stream_changes_no_network_and_goes_on_from_a_moment_of_another():
    net, whole, before = network(), network(), snapshot(network())
    (moment,) = train([make_job(net, epochs=2)]).finish()
    assert_same(net, before)
    assert (moment.epoch, moment.steps, moment.total_steps) == (3, 0, 18)
    stream = train([make_job(net, moment)])
    for values in stream:
        net.value = values[0]
    whole.train((X, Y), **OPTIONS, progress=False)
    assert [row["epoch"] for row in net.history] == [1, 2, 3, 4]
    np.testing.assert_array_equal(net.w[0], whole.w[0])
    np.testing.assert_array_equal(net.history["cost"], whole.history["cost"])
    assert stream.moments[0].total_steps == 36


@pytest.mark.parametrize("values", range(1, 12))
def test_another_training_goes_on_from_wherever_a_stream_was_left(values):
    """The last steps of an epoch have been taken before its row is in the history."""
    net, whole = network(), network()
    stream = train([make_job(net, chunk_steps=4)])
    for _ in range(values):
        next(stream)
    train([make_job(net, stream.moments[0], chunk_steps=4)]).give_to([net])
    whole.train((X, Y), **OPTIONS, chunk_steps=4, progress=False)
    np.testing.assert_array_equal(net.w[0], whole.w[0])
    np.testing.assert_array_equal(net.history["cost"], whole.history["cost"])


def test_a_stream_that_nobody_reads_any_more_tells_the_callbacks():
    calls = []

    class Watch(Callback):
        def on_train_begin(self, training):
            calls.append(training.net)

        def on_train_end(self):
            calls.append("end")

    net = network()
    stream = train([make_job(net, callbacks=[Watch()])])
    assert calls == []
    next(stream)
    stream.close()
    assert calls == [net, "end"]


def test_a_diverged_network_has_its_error_by_its_number():
    nets = [network(3), network(3, seed=1)]
    stream = train([make_job(nets[0]), make_job(nets[1], lr=1e30)])
    for _ in range(3):
        next(stream)
    assert [*stream.errors] == [1]  # already before the end
    stream.finish()
    assert "training diverged in epoch 1" in str(stream.errors[1])
    assert (stream.moments[0].epoch, stream.moments[1].total_steps) == (5, 0)


def test_a_checkpoint_resumes_jobs_that_begin_with_values(tmp_path):
    first, again, whole = network(), network(), network()
    with pytest.raises(KeyboardInterrupt):
        train([make_job(first, callbacks=[Interrupt(2)])], checkpoint=Checkpoint(tmp_path / "run")).give_to([first])
    resumed = Checkpoint(tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="needs jobs with an owner"):
        train([make_job(again)._replace(owner=None)], checkpoint=resumed)
    with pytest.raises(ValueError, match="is for jobs of one structure"):
        train([make_job(again), make_job(network(3))], checkpoint=Checkpoint(tmp_path / "other"))
    train([make_job(again, callbacks=[Interrupt()])], checkpoint=resumed).give_to([again])
    pair = [network(), network(seed=1)]
    train([make_job(net) for net in pair], checkpoint=Checkpoint(tmp_path / "pair")).give_to(pair)
    np.testing.assert_array_equal(Ensemble.load(tmp_path / "pair")[1].w[0], pair[1].w[0])
    whole.train((X, Y), **OPTIONS, progress=False)
    np.testing.assert_array_equal(again.w[0], whole.w[0])
    assert len(again.history) == 4


@pytest.mark.parametrize("last", [0, 2])
def test_a_value_that_a_callback_gives_at_the_beginning_is_not_given_again(tmp_path, last):
    class Halve(Callback):
        def __init__(self, last=None):
            self.last = last

        def on_train_begin(self, training):
            state = training.value.state
            layers = tuple((w / 2, b) for w, b in state.layers)
            training.value = training.value._replace(stored=state._replace(layers=layers))

        def on_epoch_begin(self, epoch):
            if self.last == epoch - 1:
                raise KeyboardInterrupt

    first, again, whole = network(), network(), network()
    path, options = tmp_path / "run", {**OPTIONS, "progress": False}
    with pytest.raises(KeyboardInterrupt):
        first.train((X, Y), **options, callbacks=[Halve(last)], checkpoint=path)
    again.train((X, Y), **options, callbacks=[Halve()], checkpoint=path, resume=True)
    whole.train((X, Y), **options, callbacks=[Halve()])
    np.testing.assert_array_equal(again.w[0], whole.w[0])


@pytest.mark.parametrize("options", [{"width": 4}, {"dtype": "float64"}], ids=["structure", "dtype"])
def test_data_of_another_network_are_refused(options):
    with pytest.raises(ValueError, match="the data of a job were opened for a network"):
        train([make_job(network())._replace(start=network(**options).value)])


WRONG = {
    "epochs": -1,
    "batch_size": 0,
    "lr": -1.0,
    "optimizer": "adamm",
    "sampling": "x",
    "alpha": -1.0,
    "callbacks": 3,
}
WRONG |= {"metrics": "r2", "training_metrics": ["x"], "chunk_steps": 0, "progress": 1}


@pytest.mark.parametrize("argument", WRONG)
def test_a_plan_is_checked_when_it_is_made(argument):
    with pytest.raises(ValueError, match=argument):
        Plan(**{argument: WRONG[argument]})


def test_an_ensemble_takes_the_arguments_of_a_network():
    of_network, of_ensemble = (inspect.signature(kind.train).parameters for kind in (Network, Ensemble))
    assert of_network.keys() - of_ensemble.keys() == {"blas_threads", "distributed"}
    assert of_ensemble.keys() - of_network.keys() == {"rows", "validation_rows", "threads"}
    shared = of_network.keys() & of_ensemble.keys()
    assert {name: of_network[name].default for name in shared} == {name: of_ensemble[name].default for name in shared}


@pytest.mark.parametrize(
    ("part", "remedy"),
    [
        ({"start": network()}, r"Network\(.*; give net\.value, or a moment"),
        ({"data": (X[:1], Y[:1])}, r"\(.*; give open_data\("),
        ({"plan": {"epochs": 2}}, r"\{'epochs': 2\}; give Plan\("),
    ],
)
def test_what_is_no_part_of_a_training_is_refused(part, remedy):
    with pytest.raises(ArgumentError, match=f"a job has {remedy}"):
        train([make_job(network())._replace(**part)])


def test_a_plan_without_an_optimizer_goes_on_with_that_of_the_value_at_its_usual_rate():
    net = network()
    net.train((X, Y), 1, optimizer="adam", lr=0.1, progress=False)
    (moment,) = train([make_job(net, epochs=1, optimizer=None, lr=None)]).finish()
    assert (moment.value.history["lr"][-1], moment.value.optimizer) == (0.001, Adam())
