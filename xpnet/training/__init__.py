"""Training: jobs in, a stream of values out; callbacks, metrics and evaluation."""

from typing import TYPE_CHECKING

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.training._all_examples import check_machine as check_machine
    from xpnet.training._all_examples import refuse_rates as refuse_rates
    from xpnet.training._all_examples import warn_of_no_step as warn_of_no_step
    from xpnet.training._arguments import Request as Request
    from xpnet.training._arguments import copies_for_each as copies_for_each
    from xpnet.training._arguments import one_for_each as one_for_each
    from xpnet.training._arguments import parse_callbacks as parse_callbacks
    from xpnet.training._arguments import parse_epochs as parse_epochs
    from xpnet.training._arguments import parse_metrics as parse_metrics
    from xpnet.training._arguments import parse_optimizer as parse_optimizer
    from xpnet.training._arguments import parse_rate as parse_rate
    from xpnet.training._arguments import parse_schedule as parse_schedule
    from xpnet.training._arguments import suggest_optimizer as suggest_optimizer
    from xpnet.training._checkpoint import Checkpoint as Checkpoint
    from xpnet.training._checkpoint import find_starts as find_starts
    from xpnet.training._checkpoint import make_checkpoint as make_checkpoint
    from xpnet.training._checkpoint import read_trainings as read_trainings
    from xpnet.training._comparison import describe_training as describe_training
    from xpnet.training._evaluate import Evaluate as Evaluate
    from xpnet.training._evaluate import choose_metrics as choose_metrics
    from xpnet.training._evaluate import measure as measure
    from xpnet.training._evaluate import measure_data as measure_data
    from xpnet.training._evaluate import measure_each as measure_each
    from xpnet.training._evaluate import measure_predictions as measure_predictions
    from xpnet.training._evaluate import require_classes as require_classes
    from xpnet.training._laggards import warn_of_laggards as warn_of_laggards
    from xpnet.training._loop import ValueStream as ValueStream
    from xpnet.training._loop import accept_value as accept_value
    from xpnet.training._loop import run_to_end as run_to_end
    from xpnet.training._loop import take_changes as take_changes
    from xpnet.training._loop import train_networks as train_networks
    from xpnet.training._loops import KeptLoops as KeptLoops
    from xpnet.training._plan import Job as Job
    from xpnet.training._plan import Plan as Plan
    from xpnet.training._progress import Progress as Progress
    from xpnet.training._runs import write_optimizer as write_optimizer
    from xpnet.training._saving import Every as Every
    from xpnet.training._saving import FileKind as FileKind
    from xpnet.training._saving import Saving as Saving
    from xpnet.training._saving import parse_every as parse_every
    from xpnet.training._saving import parse_saving as parse_saving
    from xpnet.training._steps import ChunkRunner as ChunkRunner
    from xpnet.training._train import find_names as find_names
    from xpnet.training._train import train as train

__all__ = [
    "Checkpoint",
    "ChunkRunner",
    "Evaluate",
    "Every",
    "FileKind",
    "Job",
    "KeptLoops",
    "Plan",
    "Progress",
    "Request",
    "Saving",
    "ValueStream",
    "accept_value",
    "check_machine",
    "choose_metrics",
    "copies_for_each",
    "describe_training",
    "find_names",
    "find_starts",
    "make_checkpoint",
    "measure",
    "measure_data",
    "measure_each",
    "measure_predictions",
    "one_for_each",
    "parse_callbacks",
    "parse_epochs",
    "parse_every",
    "parse_metrics",
    "parse_optimizer",
    "parse_rate",
    "parse_saving",
    "parse_schedule",
    "read_trainings",
    "refuse_rates",
    "require_classes",
    "run_to_end",
    "suggest_optimizer",
    "take_changes",
    "train",
    "train_networks",
    "warn_of_laggards",
    "warn_of_no_step",
    "write_optimizer",
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
            "Request",
            "copies_for_each",
            "one_for_each",
            "parse_callbacks",
            "parse_epochs",
            "parse_metrics",
            "parse_optimizer",
            "parse_rate",
            "parse_schedule",
            "suggest_optimizer",
        ),
        "_checkpoint": (
            "Checkpoint",
            "find_starts",
            "make_checkpoint",
            "read_trainings",
        ),
        "_comparison": ("describe_training",),
        "_evaluate": (
            "Evaluate",
            "choose_metrics",
            "measure",
            "measure_data",
            "measure_each",
            "measure_predictions",
            "require_classes",
        ),
        "_laggards": ("warn_of_laggards",),
        "_loop": (
            "ValueStream",
            "accept_value",
            "run_to_end",
            "take_changes",
            "train_networks",
        ),
        "_loops": ("KeptLoops",),
        "_plan": (
            "Job",
            "Plan",
        ),
        "_progress": ("Progress",),
        "_runs": ("write_optimizer",),
        "_saving": (
            "Every",
            "FileKind",
            "Saving",
            "parse_every",
            "parse_saving",
        ),
        "_steps": ("ChunkRunner",),
        "_train": (
            "find_names",
            "train",
        ),
    },
)
