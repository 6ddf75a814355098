"""Trainings that several processes share: what each of them prepares, and what they agree on."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from typing import Any

from xpnet._checks import truncate
from xpnet.backends import AUTO
from xpnet.core.optimizers import needs_all_examples
from xpnet.core.scaling import Scaling
from xpnet.data import place_scaling
from xpnet.distributed._agreement import Follow, Lead, describe_start, take_over_start
from xpnet.distributed._ranks import Ranks
from xpnet.distributed._runner import run_together
from xpnet.distributed._setting import parse_distributed
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.training import (
    FINGERPRINTED,
    Checkpoint,
    CheckpointFile,
    CompleteJob,
    Job,
    SaveFunction,
    Stream,
    Values,
    check_schedule,
    compare_examples,
    complete_jobs,
    describe_calls,
    describe_schedule,
    find_scalings,
    find_starts,
    finish_jobs,
    ignore_pause,
    run_jobs,
)
from xpnet.training.callback import Trainee, Training
from xpnet.value import Moment
from xpnet.version import __version__

MakeJob = Callable[[Moment, bool], Job]
OF_FIRST_RANK = {"validation_data", "test_data", "initial_weights"}  # which alone has these, and the network


def train_on_ranks(
    net: Trainee,
    distributed: Any,
    make_job: MakeJob,
    open_checkpoint: Callable[[], Checkpoint | None],
    blas_threads: int | str,
    progress: bool,
) -> Stream:
    """Train a network on several processes, which all call this function at once; see `train`.

    Network, scaling, callbacks and files are those of rank 0. Each step is taken on rank 0 alone, or on all ranks; if
    it fails on one of them, all raise an error.

    Parameters
    ----------
    net
        The network.
    distributed
        The processes, as in `Network.train`.
    make_job
        Makes the job of a process, from where training begins, and whether the process watches the training: all but
        rank 0 have no callbacks, evaluate nothing, and write no files.
    open_checkpoint
        Checks where rank 0 is to write the training.
    blas_threads, progress
        As in `Network.train`.
    """
    errors: dict[int, DivergenceError] = {}
    trainings: list[Training] = []
    ranks = Ranks(parse_distributed(distributed, net.value.backend))

    def find_start() -> tuple[Checkpoint | None, Moment]:
        checkpoint = open_checkpoint()
        return checkpoint, find_starts([net], checkpoint, progress)[0]

    steps = run_on_ranks(net, ranks, make_job, find_start, blas_threads, trainings, errors)
    return Stream(steps, trainings, errors)


def run_on_ranks(
    net: Trainee,
    ranks: Ranks,
    make_job: MakeJob,
    find_start: Callable[[], tuple[Checkpoint | None, Moment]],
    blas_threads: int | str,
    trainings: list[Training],
    errors: dict[int, DivergenceError],
) -> Generator[Values, None, None]:
    """Prepare the training of a network on each rank, and run it; see `train_on_ranks`."""
    with ranks.ending_together():
        checkpoint, first = ranks.keep_on_first(find_start) or (None, Moment(net.value))
        start = take_over_start(ranks.make_on_first(lambda: describe_start(first)), first, net.value)
        with net.value.scope():
            (job,) = ranks.make_own(lambda: complete_jobs([make_job(start, ranks.leads)]))
            (call,) = ranks.make_own(lambda: describe_shared_call(job))
            descriptions = ranks.make_on_all(lambda: {**describe_on_rank(job, call), "shards": ranks.shards})
            with ranks.agreeing():
                check_same_on_ranks(descriptions)
            scaling = ranks.make_on_first(lambda: fit_exact_scaling(job))
            file = ranks.keep_on_first(
                lambda: None if checkpoint is None else CheckpointFile(checkpoint, [job], [call])
            )
            job, training = ranks.make_own(lambda: finish_job(job, scaling, ranks))
            trainings.append(training)
        threads = 1 if blas_threads == AUTO else blas_threads  # they share a machine's cores
        runner = run_together(job.data.train.reader, job.optimizer, job.plan.alpha, ranks)
        options: dict[str, Any] = {"blas_threads": threads, "runner": runner}
        with ranks.listening():
            yield from run_jobs([job], {0: trainings[0]}, errors, partial(write_on_first, file, ranks), **options)


@contextmanager
def write_on_first(
    file: CheckpointFile | None, ranks: Ranks, trainings: Sequence[Training]
) -> Generator[SaveFunction, None, None]:
    """Write trainings on rank 0, if it has a file; an error there is raised on all ranks."""
    with ExitStack() as stack:
        writing = nullcontext(ignore_pause) if file is None else file.writing(trainings)
        save = ranks.keep_on_first(partial(stack.enter_context, writing))
        yield lambda *numbers: ranks.make_on_first(lambda: save(*numbers))


def describe_shared_call(job: CompleteJob) -> list[dict[str, Any]]:
    """Describe a call that several processes make; refuse one whose minibatches they cannot share. Synchronizes."""
    plan, source = job.plan, job.data.train
    if needs_all_examples(plan.optimizer):
        raise ArgumentError(
            f"distributed= shares minibatches, and {type(plan.optimizer).__name__} uses all examples in every step; "
            "train in one process, or give another optimizer"
        )
    if not source.has_length:
        raise ArgumentError(
            "distributed= needs train_data from which every process can read any examples, and an iterable of batches "
            "has an order of its own; give arrays, a memory map, or a data set"
        )
    check_schedule(plan.lr, plan.epochs, source.steps(plan.sampling, plan.batch_size))
    return describe_calls([job])


def fit_exact_scaling(job: CompleteJob) -> Scaling | None:
    """Fit the scaling of a network that several processes train, in NumPy arrays."""
    (scaling,) = find_scalings([job])
    return scaling and scaling.exact


def finish_job(job: CompleteJob, scaling: Scaling | None, ranks: Ranks) -> tuple[CompleteJob, Training]:
    """Scale the examples of a process, share minibatches, and add the callback that calls those of rank 0, or follows.

    The scaling is that of rank 0.
    """
    reader, data = job.data.train.reader, job.data
    if scaling is not None:
        data = data.scaled(place_scaling(scaling, reader.model, reader.place))
    (job,), (training,) = finish_jobs([job._replace(data=data)])
    callback = Lead(job.plan.callbacks, ranks) if ranks.leads else Follow(ranks)
    plan = job.plan.complete(callbacks=[callback], sampling=ranks.share(job.plan.sampling))
    return job._replace(plan=plan), training


def describe_on_rank(job: CompleteJob, call: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a training on one of several processes, with what `describe_training` says of the call."""
    plan, value = job.plan, job.start.value
    total = plan.epochs * (job.data.train.steps(plan.sampling, plan.batch_size) or 0)
    return {
        "versions": {"xpnet": __version__, **{name: version(name) for name in {"numpy", value.backend.name}}},
        "backend": value.backend.name,
        **value.settings,
        **{name: value for name, value in call.items() if name not in OF_FIRST_RANK},
        "chunk_steps": plan.chunk_steps,
        "lr": describe_schedule(plan.lr, total, total),  # the last, as it depends on the number of steps
    }


def check_same_on_ranks(descriptions: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to share a training among ranks if they describe it otherwise, and name the first difference."""
    first = descriptions[0]
    for rank, other in enumerate(descriptions):
        for name, value in other.items():
            if value == first[name]:
                continue
            if name in FINGERPRINTED:
                difference = compare_examples(name, first[name], value, f"on rank {rank}")
            else:
                difference = f"{truncate(first[name])} and {truncate(value)}"
            raise ArgumentError(
                f"rank {rank} has other {name} than rank 0: {difference}; all processes that share a training must "
                "have the same"
            )
