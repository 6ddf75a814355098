"""One training on several processes, which mpiexec starts; few starts, as each takes a second or more."""

import ast
import importlib

import mpi
import numpy as np
import pytest
from helpers import NOT_INSTALLED

import xpnet
from xpnet import SGD, Adam, Network
from xpnet.distributed import Distributed
from xpnet.distributed._ranks import Ranks

CASES = mpi.FOLDER / "on_ranks.py"
with_mpi = pytest.mark.needs("mpi4py", "mpiexec")
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(75, 6)), RNG.integers(3, size=75)
REFUSED = "strict-device1", "jax", "dpnp", "cupy", "cupy on host memory", "torch-cuda", "jax-cuda"


def run(ranks, *cases, **options):
    """Run cases of `on_ranks.py`, and return their results by name."""
    lines = [line.split(" ", 1) for line in mpi.run(ranks, CASES, *cases, **options).splitlines()]
    return {case: ast.literal_eval(result) for case, result in lines}


class Comm:
    """What is used of a communicator, for one of several ranks that do nothing together."""

    def __init__(self, rank=0, size=1):
        self.rank, self.size = rank, size

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.size

    def bcast(self, value, root):
        return value

    def allgather(self, value):
        return [value]

    def Allreduce(self, *_):
        pytest.fail("not for one rank")

    Allgather = Sendrecv = Abort = Allreduce


# One process


class OfInputs:
    """A cost that sees x."""

    def value(self, a, y, x, xp):
        return xp.exp(x[..., 0]) * xp.sum((a - y) ** 2, axis=-1)


@pytest.mark.not_on(*REFUSED)
@pytest.mark.parametrize(
    ("optimizer", "dtype", "cost", "given"),
    [
        (Adam(), "float32", "quadratic", {"class_weight": "balanced"}),
        (SGD(momentum=0.5, weight_decay=0.1), "float64", OfInputs(), {"class_weight": "balanced"}),
        (SGD(), "float64", None, {"slopes": RNG.normal(size=(75, 3, 6)), "slope_weight": 0.3}),
    ],
    ids=["Adam", "SGD", "slopes"],
)
def test_shards_in_one_process(place, dtype, optimizer, cost, given):
    """Each part of a minibatch adds its gradient, that of its slopes too."""
    settings = {"seed": 0, "standardize": True, "dtype": dtype, **place._asdict()}
    settings |= {"cost": cost, "dropout": [0.1, 0.3]} if cost else {"task": "regression"}
    data = (X, Y if cost else X[:, :3] ** 2)
    nets = [Network([6, 8, 3], **settings) for _ in range(2)]
    options = {"epochs": 5, "batch_size": 10, "lr": 0.01, "optimizer": optimizer, "progress": False}
    options |= {"sample_weight": np.arange(75) % 4, **given}
    nets[0].train(data, distributed=Distributed(Comm(), shards=8), **options)
    nets[1].train(data, **options)
    for own, expected in zip((*nets[0].w, *nets[0].b), (*nets[1].w, *nets[1].b)):
        own, expected = (np.asarray(nets[0].backend.to_numpy(x)) for x in (own, expected))
        np.testing.assert_allclose(own, expected, rtol=1e-5 if dtype == "float32" else 1e-12)
    np.testing.assert_allclose(nets[0].history["cost"], nets[1].history["cost"], rtol=1e-6)
    assert nets[0].engine.startswith("replay of recorded steps")


@pytest.mark.parametrize(("shards", "m"), [(None, 10), (None, 3), (8, 60), (8, 3), (4, 1)])
def test_each_row_is_in_one_part(shards, m):
    parts = [Ranks(Distributed(Comm(rank, 4), shards)).find_own(m) for rank in range(4)]
    assert sorted(np.concatenate([own.places[own.is_real] for own in parts])) == [*range(m)]
    assert len({own.places.shape for own in parts}) == 1
    assert all((own.places < m).all() for own in parts)


def test_distributed_is_checked():
    with pytest.raises(TypeError, match=r"distributed=2 is not a communicator of mpi4py; give MPI\.COMM_WORLD"):
        Network([6, 3]).train((X, Y), distributed=2)
    for shards, size in ((6, 1), (4, 8), (8, 3), (0, 1), (2.0, 1)):
        with pytest.raises(ValueError, match=f"shards={shards} must be a "):
            Distributed(Comm(0, size), shards)


@pytest.mark.not_on("numpy", "torch")
def test_other_libraries_are_refused(place):
    net = Network([6, 3], **place._asdict())
    remedy = "or use jax.distributed" if place.backend == "jax" else 'or on CPUs with backend="numpy" or "torch"'
    with pytest.raises(ValueError, match=f"distributed= adds up gradients .* backend='{net.backend.name}'.*{remedy}"):
        net.train((X, Y), distributed=Comm())


# Several processes


@pytest.fixture
def alone():
    """The module `on_ranks` in this process, which is its only rank."""
    return importlib.import_module("on_ranks")


@with_mpi
def test_two_ranks(alone, tmp_path):
    path = tmp_path / "run.safetensors"
    cases = ["as_one_process", "data_sets", "callbacks", "diverged", "other_weights", "refused"]
    cases += ["interrupted_at_the_end", "same_bits"]
    cases += ["same_bits_torch"] if "torch" not in NOT_INSTALLED else []  # whose import takes most of its time
    found = run(2, *cases, f"interrupted={path}", seconds=300)
    assert [*found] == [*cases, "interrupted"]
    assert found["as_one_process"].startswith("replay of recorded steps")
    assert found["data_sets"][0] <= 31, "each rank reads half of the items, and the first one"
    lr, epochs, *errors = found["callbacks"]
    assert (lr, epochs) == ([1.0, 1.0, 0.1], 2)
    assert errors == [
        *["ValueError: mine"] * 2,
        *["KeyboardInterrupt: "] * 2,
        *["OddError: mine", "RuntimeError: rank 0 has failed with OddError: mine"],
    ]
    assert found["diverged"] == "training diverged"
    assert all("after epoch 1, rank 1 has other weights than rank 0" in error for error in found["other_weights"])
    check_refusals(found["refused"])
    for name in cases[7:]:
        assert found[name] == getattr(alone, name)()
    assert (found["interrupted"], found["interrupted_at_the_end"]) == ((143, [1, 1]), (143, [4, 4]))
    assert alone.resumed(path) == alone.whole(), "the checkpoint of two ranks does not go on with one"


def check_refusals(errors):
    for name, text in {
        "other numbers": "rank 1 has other train_data than rank 0",
        "fewer": "rank 1 has other train_data.examples than rank 0: 75 and 74",
        "other sizes": "rank 1 has other sizes than rank 0: [6, 8, 3] and [6, 9, 3]; all processes that share",
        "other epochs": "rank 1 has other epochs than rank 0: 2 and 3",
        "other optimizer": "rank 1 has other optimizer.momentum than rank 0: 0.5 and 0.6",
        "own optimizer": "rank 1 has other optimizer than rank 0: <type OwnSGD",
        "other version": f"rank 1 has other versions.xpnet than rank 0: {xpnet.__version__} and 0.0.0",
        "other shards": "rank 1 has other shards than rank 0: 4 and 8",
        "all fail": "epochs=-1 must be",
        "no path": "nowhere/run.safetensors: there is no folder",
        "monitor": "EarlyStopping watches monitor='validation_cost'",
        "schedule": "lr must be a finite number of at least 0, but the schedule gave -1.0",
        "batches": "distributed= needs train_data from which every process can read any examples",
        "all examples": "distributed= shares minibatches, and LevenbergMarquardt uses all examples",
    }.items():
        first, second = errors.pop(name)
        assert first == second
        assert text in first, name
    first, second = errors.pop("one fails")
    assert first == f"RuntimeError: rank 1 has failed with {second}"
    assert second.startswith("ArgumentError: X of train_data has shape (75, 5)")
    assert not errors


@with_mpi
@pytest.mark.slow
def test_four_ranks_and_two_of_them_give_the_same_bits(alone):
    found = run(4, "same_bits", "one_shard_each", seconds=300)
    assert found == {"same_bits": alone.same_bits(), "one_shard_each": alone.one_shard_each()}
