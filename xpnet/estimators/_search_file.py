"""The checkpoint of a search: the scores of the fits that are done, and a description of the search that they are for.

The file is JSON that ends with a checksum. It describes all settings, and holds the fits of the first ones.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet._checks import describe_error, printable, refuse_duplicates, require, truncate
from xpnet._identity import describe, describe_call
from xpnet.errors import ArgumentError, CheckpointError
from xpnet.estimators._trials import Scored, Splits
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Checkpoint

FORMAT = 1


def begin_file(saving: Checkpoint, description: dict[str, str]) -> Scored:
    """Read the fits of a search to resume; or write the first file, to see that it can be written."""
    content = saving.read()
    if content is None:
        saving.write_first(encode_search(description, {}))
        return {}
    try:
        record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
        require(record["format"] == FORMAT, "format", record["format"], f"{FORMAT}, of this version of xpnet")
        before, scored = record["search"], {(candidate, fold): fit for candidate, fold, fit in record["fits"]}
        require(encode_search(before, scored) == content, "its checksum", record["checksum"], "that of its contents")
    except INVALID_VALUE_ERRORS as error:
        raise CheckpointError(
            f"{saving.path} does not hold an xpnet search, or is damaged ({describe_error(error)}); give a file that a "
            "search wrote with checkpoint="
        ) from error
    if differing := [name for name in {**before, **description} if before.get(name) != description.get(name)]:
        name = max(differing, key=lambda name: name.count("__"))  # mlp__alpha, and not the steps that it is in
        then, now = (printable(truncate(search.get(name))) for search in (before, description))
        raise ArgumentError(
            f"{saving.path} holds a search with {printable(name)}={then}, but this one has {now}; give the same, or "
            "another checkpoint"
        )
    return scored


def encode_search(description: Mapping[str, str], scored: Scored) -> bytes:
    """Return the content of a file as JSON, with a digest of it as the last value."""
    fits = [[*number, scored[number]] for number in sorted(scored)]
    text = json.dumps({"format": FORMAT, "search": description, "fits": fits})
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]}, "checksum": "{digest}"}}\n'.encode()


def describe_search(
    search: Any, candidates: Sequence[Mapping[str, Any]], *, cv: Splits, **arrays: Any
) -> dict[str, str]:
    """Describe by texts all that decides the scores of a search: arrays, and the rows of its folds, by digests."""
    options = {name: getattr(search, name) for name in ("scoring", "error_score", "return_train_score")}
    rows = [[np.asarray(part) for part in split] for split in cv]
    described = (describe_call(candidate).items() for candidate in candidates)
    settings = {f"setting {k}": ", ".join(map("=".join, items)) for k, items in enumerate(described)}
    parameters = describe_call(search.estimator.get_params())
    kind = {"estimator": describe(type(search.estimator)), "number of settings": str(len(candidates))}
    return {**kind, **parameters, **describe_call({**options, **arrays, "cv": rows}), **settings}
