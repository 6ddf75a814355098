"""Numbers of xpnet that decide on speed and memory alone: small ones take small data on the paths of large ones."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from unittest.mock import patch

# By module and name, what each may be; those of JAX are not here, as they decide on what is compiled, which takes long
THRESHOLDS = {
    "core.arrays.BLOCK_ELEMENTS": [1, 7, 40],
    "data.source.Source.most_examples": [1, 3],
    "data._streams.Dataset.most_examples": [1, 3],
    "data._streams.Batches.most_examples": [1, 3],
    "data.source.MAX_BLOCKS_READ": [1],
    "data.conversion.LEAST_BYTES": [0],
    "data._outside.ROWS_TO_CHECK": [1],
    "data._outside.LARGE_SHARE": [0.0],
    "data._scaling.PARTS_PER_BLOCK": [1, 3],
    "value._single_rows.PAYS_FROM": [0, 2],
    "training._all_examples.ROWS_ON_HOST": [1, 5],
    "training._groups.REGROUP_AT": [0.4, 0.999],
    "training._groups.FEWEST_STEPS": [1],
    "training._groups.CHUNK_SECONDS": [1e-9],
    "backends.replay._program.MIN_RECORDED_STEPS": [1, 2],
    "backends.replay._program.MAX_UNROLLED": [1, 2, 3],
    "backends.replay._native.PAYS_FROM": [0],
    "backends.replay._tape.SMALL_RESULT": [0, 8],
    "backends.replay._translate.SHARED_MULTIPLICATIONS": [0],
    "estimators._trials.MAX_BYTES": [0],
}


@contextmanager
def draw_thresholds(kind: str, r: random.Random) -> Iterator[None]:
    """Draw those that programs of a kind meet small, in half of all contexts, or leave them as they are."""
    names = [name for name in THRESHOLDS if kind == "estimators" or not name.startswith("estimators.")]
    names = [name for name in names if r.random() < 0.6] if r.random() < 0.5 else []
    with ExitStack() as stack:
        for name in names:
            owner, _, last = f"xpnet.{name}".rpartition(".")
            stack.enter_context(patch.object(resolve_name(owner), last, r.choice(THRESHOLDS[name])))
        yield
