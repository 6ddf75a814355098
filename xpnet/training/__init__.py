"""Training: jobs in, a stream of values out; callbacks, metrics and evaluation."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.data.open import Data as Data
    from xpnet.data.open import open_data as open_data
    from xpnet.training._all_examples import check_machine as check_machine
    from xpnet.training._all_examples import refuse_rates as refuse_rates
    from xpnet.training._all_examples import warn_of_no_step as warn_of_no_step
    from xpnet.training._arguments import check_one_update as check_one_update
    from xpnet.training._arguments import copies_for_each as copies_for_each
    from xpnet.training._arguments import one_for_each as one_for_each
    from xpnet.training._arguments import parse_blas_threads as parse_blas_threads
    from xpnet.training._arguments import parse_callbacks as parse_callbacks
    from xpnet.training._arguments import parse_metrics as parse_metrics
    from xpnet.training._arguments import parse_optimizer as parse_optimizer
    from xpnet.training._arguments import parse_rate as parse_rate
    from xpnet.training._arguments import parse_schedule as parse_schedule
    from xpnet.training._arguments import parse_threads as parse_threads
    from xpnet.training._arguments import suggest_optimizer as suggest_optimizer
    from xpnet.training._checkpoint import CheckpointFile as CheckpointFile
    from xpnet.training._checkpoint import SaveFunction as SaveFunction
    from xpnet.training._checkpoint import find_starts as find_starts
    from xpnet.training._description import FINGERPRINTED as FINGERPRINTED
    from xpnet.training._description import compare_examples as compare_examples
    from xpnet.training._description import describe_schedule as describe_schedule
    from xpnet.training._evaluate import Evaluate as Evaluate
    from xpnet.training._evaluate import choose_metrics as choose_metrics
    from xpnet.training._evaluate import measure as measure
    from xpnet.training._evaluate import measure_data as measure_data
    from xpnet.training._evaluate import measure_predictions as measure_predictions
    from xpnet.training._evaluate import require_classes as require_classes
    from xpnet.training._groups import ChunkResult as ChunkResult
    from xpnet.training._groups import ChunkResults as ChunkResults
    from xpnet.training._groups import ChunkRunner as ChunkRunner
    from xpnet.training._kept_loops import KeptLoops as KeptLoops
    from xpnet.training._laggards import warn_of_laggards as warn_of_laggards
    from xpnet.training._loop import Runner as Runner
    from xpnet.training._plan import CompleteJob as CompleteJob
    from xpnet.training._plan import Job as Job
    from xpnet.training._plan import Plan as Plan
    from xpnet.training._rates import check_schedule as check_schedule
    from xpnet.training._saving import Checkpoint as Checkpoint
    from xpnet.training._saving import Every as Every
    from xpnet.training._saving import FileKind as FileKind
    from xpnet.training._saving import parse_checkpoint as parse_checkpoint
    from xpnet.training._saving import parse_every as parse_every
    from xpnet.training._train import Stream as Stream
    from xpnet.training._train import Values as Values
    from xpnet.training._train import check_plan as check_plan
    from xpnet.training._train import complete_jobs as complete_jobs
    from xpnet.training._train import describe_calls as describe_calls
    from xpnet.training._train import find_scalings as find_scalings
    from xpnet.training._train import finish_jobs as finish_jobs
    from xpnet.training._train import group_by_structure as group_by_structure
    from xpnet.training._train import ignore_pause as ignore_pause
    from xpnet.training._train import run_jobs as run_jobs
    from xpnet.training._train import train as train
    from xpnet.value import Moment as Moment

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
        "_all_examples": (
            "check_machine",
            "refuse_rates",
            "warn_of_no_step",
        ),
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
        "_checkpoint": (
            "CheckpointFile",
            "SaveFunction",
            "find_starts",
        ),
        "_evaluate": (
            "Evaluate",
            "choose_metrics",
            "measure",
            "measure_data",
            "measure_predictions",
            "require_classes",
        ),
        "_description": (
            "FINGERPRINTED",
            "compare_examples",
            "describe_schedule",
        ),
        "_rates": ("check_schedule",),
        "_laggards": ("warn_of_laggards",),
        "_loop": ("Runner",),
        "_kept_loops": ("KeptLoops",),
        "_plan": (
            "CompleteJob",
            "Job",
            "Plan",
        ),
        "_saving": (
            "Checkpoint",
            "Every",
            "FileKind",
            "parse_checkpoint",
            "parse_every",
        ),
        "_groups": (
            "ChunkResult",
            "ChunkResults",
            "ChunkRunner",
        ),
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
