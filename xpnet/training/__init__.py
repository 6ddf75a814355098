"""Training: jobs in, a stream of values out; callbacks, metrics and evaluation."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.data.open import Data, open_data
    from xpnet.training._all_examples import check_machine, refuse_rates, warn_of_no_step
    from xpnet.training._arguments import (
        check_one_update,
        copies_for_each,
        one_for_each,
        parse_blas_threads,
        parse_callbacks,
        parse_metrics,
        parse_optimizer,
        parse_rate,
        parse_schedule,
        parse_threads,
        suggest_optimizer,
    )
    from xpnet.training._checkpoint import CheckpointFile, SaveFunction, find_starts
    from xpnet.training._description import FINGERPRINTED, compare_examples, describe_schedule
    from xpnet.training._evaluate import (
        Evaluate,
        choose_metrics,
        measure,
        measure_data,
        measure_predictions,
        require_classes,
    )
    from xpnet.training._groups import ChunkResult, ChunkResults, ChunkRunner
    from xpnet.training._kept_loops import KeptLoops
    from xpnet.training._laggards import warn_of_laggards
    from xpnet.training._loop import Runner
    from xpnet.training._plan import CompleteJob, Job, Plan
    from xpnet.training._rates import check_schedule
    from xpnet.training._saving import Checkpoint, Every, FileKind, parse_checkpoint, parse_every
    from xpnet.training._train import (
        Stream,
        Values,
        check_plan,
        complete_jobs,
        describe_calls,
        find_scalings,
        finish_jobs,
        group_by_structure,
        ignore_pause,
        run_jobs,
        train,
    )
    from xpnet.value import Moment

__all__ = [
    "FINGERPRINTED",
    "Checkpoint",
    "CheckpointFile",
    "ChunkResult",
    "ChunkResults",
    "ChunkRunner",
    "CompleteJob",
    "Data",
    "Evaluate",
    "Every",
    "FileKind",
    "Job",
    "KeptLoops",
    "Moment",
    "Plan",
    "Runner",
    "SaveFunction",
    "Stream",
    "Values",
    "check_machine",
    "check_one_update",
    "check_plan",
    "check_schedule",
    "choose_metrics",
    "compare_examples",
    "complete_jobs",
    "copies_for_each",
    "describe_calls",
    "describe_schedule",
    "find_scalings",
    "find_starts",
    "finish_jobs",
    "group_by_structure",
    "ignore_pause",
    "measure",
    "measure_data",
    "measure_predictions",
    "one_for_each",
    "open_data",
    "parse_blas_threads",
    "parse_callbacks",
    "parse_checkpoint",
    "parse_every",
    "parse_metrics",
    "parse_optimizer",
    "parse_rate",
    "parse_schedule",
    "parse_threads",
    "refuse_rates",
    "require_classes",
    "run_jobs",
    "suggest_optimizer",
    "train",
    "warn_of_laggards",
    "warn_of_no_step",
]

__getattr__ = import_lazily(
    __name__,
    {
        "_all_examples": ("check_machine", "refuse_rates", "warn_of_no_step"),
        "_arguments": (
            "check_one_update",
            "copies_for_each",
            "one_for_each",
            "parse_blas_threads",
            "parse_callbacks",
            "parse_metrics",
            "parse_optimizer",
            "parse_rate",
            "parse_schedule",
            "parse_threads",
            "suggest_optimizer",
        ),
        "_checkpoint": ("CheckpointFile", "SaveFunction", "find_starts"),
        "_evaluate": (
            "Evaluate",
            "choose_metrics",
            "measure",
            "measure_data",
            "measure_predictions",
            "require_classes",
        ),
        "_description": ("FINGERPRINTED", "compare_examples", "describe_schedule"),
        "_rates": ("check_schedule",),
        "_laggards": ("warn_of_laggards",),
        "_loop": ("Runner",),
        "_kept_loops": ("KeptLoops",),
        "_plan": ("CompleteJob", "Job", "Plan"),
        "_saving": ("Checkpoint", "Every", "FileKind", "parse_checkpoint", "parse_every"),
        "_groups": ("ChunkResult", "ChunkResults", "ChunkRunner"),
        "_train": (
            "check_plan",
            "complete_jobs",
            "describe_calls",
            "find_scalings",
            "finish_jobs",
            "group_by_structure",
            "run_jobs",
            "Stream",
            "Values",
            "ignore_pause",
            "train",
        ),
        ".data.open": ("Data", "open_data"),
        ".value": ("Moment",),
    },
)
