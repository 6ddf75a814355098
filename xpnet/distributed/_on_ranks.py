"""Trainings that several processes share: what each of them prepares, and what they agree on."""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

from xpnet._checks import truncate
from xpnet.backends import AUTO
from xpnet.core.optimizers import needs_all_examples
from xpnet.data.sampling import Drawn, GeneratorState, Order
from xpnet.distributed._agreement import Shared, describe_start, take_over_start
from xpnet.distributed._ranks import Ranks
from xpnet.distributed._runner import SharedRunner
from xpnet.distributed._setting import parse_distributed
from xpnet.errors import ArgumentError
from xpnet.training import (
    Checkpoint,
    CheckpointFile,
    Job,
    SaveFunction,
    Stream,
    find_difference,
    find_starts,
    train,
)
from xpnet.training.callback import Trainee, Training
from xpnet.value import Moment
from xpnet.value.structure import describe_own
from xpnet.version import __version__

# What rank 0 alone has, and names and weights of networks, which those of the others take over
OF_FIRST_RANK = {"validation_data", "test_data", "callbacks", "metrics", "training_metrics"}
OF_FIRST_RANK |= {"init", "seed", "initial_weights"}


def train_on_ranks(
    net: Trainee,
    distributed: Any,
    make_job: Callable[[Moment, bool], Job],
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
    ranks = Together(parse_distributed(distributed, net.value.backend))

    def find_start() -> tuple[Checkpoint | None, Moment]:
        checkpoint = open_checkpoint()
        return checkpoint, find_starts([net], checkpoint, progress)[0]

    with ranks.ending_together():
        checkpoint, first = ranks.keep_on_first(find_start) or (None, Moment(net.value))
        start = take_over_start(ranks.make_on_first(lambda: describe_start(first)), first, net.value)
        job = ranks.make_own(lambda: check_shareable(make_job(start, ranks.leads)))
        threads = 1 if blas_threads == AUTO else blas_threads  # they share a machine's cores
        return train([job], checkpoint=checkpoint, blas_threads=threads, ranks=ranks)


class Together(Ranks):
    """How several processes prepare a training and take its steps."""

    def compare(
        self, jobs: Sequence[Job], describe: Callable[[], list[dict[str, Any]]], is_needed: bool
    ) -> list[dict[str, Any]]:
        """Describe a training on every rank; refuse to share it if they describe it otherwise."""
        (job,), calls = jobs, self.make_own(describe)
        value = job.start.value
        description = {
            "versions": {"xpnet": __version__, **{name: version(name) for name in {"numpy", value.backend.name}}},
            "backend": value.backend.name,
            "shards": self.shards,
            **value.settings,
            **{name: part for name, part in calls[0].items() if name not in OF_FIRST_RANK},
            "functions": describe_own(value.model),
            "chunk_steps": job.plan.chunk_steps,
        }
        first, *others = self.make_on_all(lambda: description)
        with self.agreeing():
            for rank, other in enumerate(others, 1):
                if difference := find_difference(first, other):
                    place, theirs, own = difference
                    raise ArgumentError(
                        f"rank {rank} has other {place.removesuffix('.digest')} than rank 0: "
                        f"{truncate(theirs)} and {truncate(own)}; all "
                        "processes that share a training must have the same"
                    )
        return calls

    def share(self, job: Job) -> Job:
        """Return the job with this rank's part of each minibatch, (steps, rows), and the callbacks of rank 0."""
        sampling = job.plan.sampling

        def draw(n: int, batch_size: int, generator: GeneratorState, order: Order | None) -> Drawn:
            minibatches, generator, order = sampling.draw(n, batch_size, generator, order)
            return [index[:, self.find_own(index.shape[1]).places.ravel()] for index in minibatches], generator, order

        return job._replace(
            plan=job.plan.complete(sampling=sampling._replace(draw=draw), callbacks=[Shared(job.plan.callbacks, self)])
        )

    @contextmanager
    def run(self, job: Job) -> Generator[SharedRunner, None, None]:
        """Return the context of what takes the steps. A signal is obeyed at its end, too."""
        try:
            yield SharedRunner(job.data.train.reader, job.plan.optimizer, self)
        except BaseException:
            self.is_alone = not self.has_agreed
            raise
        self.obey()

    @contextmanager
    def running(self, file: CheckpointFile | None) -> Generator[None, None, None]:
        """End all processes together, and only remember signals until the end of a chunk."""
        with self.ending_together(), self.listening():
            yield

    @contextmanager
    def writing(
        self, file: CheckpointFile | None, trainings: Sequence[Training]
    ) -> Generator[SaveFunction, None, None]:
        """Write trainings on rank 0, if it has a file; an error there is raised on all ranks."""
        with ExitStack() as stack:
            save = self.keep_on_first(partial(stack.enter_context, super().writing(file, trainings)))
            yield lambda division: self.make_on_first(lambda: save(division))


def check_shareable(job: Job) -> Job:
    """Refuse a job whose minibatches several processes cannot share."""
    if needs_all_examples(optimizer := job.plan.find_optimizer(job.start.value)):
        raise ArgumentError(
            f"distributed= shares minibatches, and {type(optimizer).__name__} uses all examples in every step; "
            "train in one process, or give another optimizer"
        )
    if not job.data.train.has_length:
        raise ArgumentError(
            "distributed= needs train_data from which every process can read any examples, and an iterable of batches "
            "has an order of its own; give arrays, a memory map, or a data set"
        )
    return job
