"""Training: jobs in, a stream of values out; callbacks, metrics and evaluation."""

from xpnet.data.open import Data, open_data
from xpnet.training._all_examples import check_machine, refuse_rates
from xpnet.training._arguments import (
    copies_for_each,
    one_for_each,
    parse_blas_threads,
    parse_callbacks,
    parse_metrics,
    parse_optimizer,
    parse_rate,
    parse_schedule,
    parse_threads,
)
from xpnet.training._checkpoint import (
    Checkpoint,
    CheckpointFile,
    Every,
    FileKind,
    SaveFunction,
    find_starts,
    parse_checkpoint,
)
from xpnet.training._description import find_difference
from xpnet.training._evaluate import (
    Evaluate,
    choose_metrics,
    measure,
    measure_data,
    measure_predictions,
    require_classes,
)
from xpnet.training._groups import ChunkResult, ChunkResults, ChunkRunner, KeptLoops
from xpnet.training._plan import Job, Plan
from xpnet.training._train import Alone, Stream, check_plan, group_by_structure, train
from xpnet.training._warnings import warn_of_no_step
from xpnet.value import Moment

__all__ = [
    "Alone",
    "Checkpoint",
    "CheckpointFile",
    "ChunkResult",
    "ChunkResults",
    "ChunkRunner",
    "Data",
    "Evaluate",
    "Every",
    "FileKind",
    "Job",
    "KeptLoops",
    "Moment",
    "Plan",
    "SaveFunction",
    "Stream",
    "check_machine",
    "check_plan",
    "choose_metrics",
    "copies_for_each",
    "find_difference",
    "find_starts",
    "group_by_structure",
    "measure",
    "measure_data",
    "measure_predictions",
    "one_for_each",
    "open_data",
    "parse_blas_threads",
    "parse_callbacks",
    "parse_checkpoint",
    "parse_metrics",
    "parse_optimizer",
    "parse_rate",
    "parse_schedule",
    "parse_threads",
    "refuse_rates",
    "require_classes",
    "train",
    "warn_of_no_step",
]
