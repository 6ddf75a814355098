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
from xpnet.estimators._trials import Scored
from xpnet.files import INVALID_VALUE_ERRORS
from xpnet.training import Checkpoint

FORMAT = 1


class SearchFile:
    """Keeps the scores of a search, as `describe_search` describes it, in a file."""

    def __init__(self, saving: Checkpoint, description: dict[str, str]) -> None:
        self.saving, self.description = saving, description

    def begin(self) -> Scored:
        """Read the fits of a search to resume; or write the first file, to see that it can be written."""
        content = self.saving.read()
        if content is not None:
            return self._decode(content)
        self.saving.write_first(self._encode({}))
        return {}

    def write(self, scored: Scored) -> None:
        """Write the fits that are done, or warn."""
        self.saving.try_to_write(lambda: self._encode(scored))

    def _encode(self, scored: Scored) -> bytes:
        fits = [[*number, fit] for number, fit in sorted(scored.items(), key=lambda item: item[0])]
        return encode_search({"format": FORMAT, "search": self.description, "fits": fits})

    def _decode(self, content: bytes) -> Scored:
        try:
            record = json.loads(str(content, "utf-8"), object_pairs_hook=refuse_duplicates)
            require(record["format"] == FORMAT, "format", record["format"], f"{FORMAT}, of this version of xpnet")
            del record["checksum"]
            if encode_search(record) != content:
                raise ArgumentError("it is damaged: its checksum does not fit its contents")
        except INVALID_VALUE_ERRORS as error:
            raise CheckpointError(
                f"{self.saving.path} does not hold an xpnet search ({describe_error(error)}); give a file that a "
                "search wrote with checkpoint="
            ) from error
        before, now = record["search"], self.description
        if differing := [name for name in {**before, **now} if before.get(name) != now.get(name)]:
            name = max(differing, key=lambda name: name.count("__"))  # mlp__alpha, and not the steps that it is in
            then, this = (printable(truncate(search.get(name))) for search in (before, now))
            raise ArgumentError(
                f"{self.saving.path} holds a search with {printable(name)}={then}, but this one has {this}; give the "
                "same, or another checkpoint"
            )
        return {(candidate, fold): fit for candidate, fold, fit in record["fits"]}


def encode_search(record: Mapping[str, Any]) -> bytes:
    """Return the content of a file: the record as JSON, and a digest of it as the last value."""
    text = json.dumps(record)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]}, "checksum": "{digest}"}}\n'.encode()


def describe_search(search: Any, candidates: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> dict[str, str]:
    """Describe by texts all that decides the scores of a search; `data` has its arrays, and the rows of folds."""
    options = {name: getattr(search, name) for name in ("scoring", "error_score", "return_train_score")}
    rows = [[np.asarray(part) for part in split] for split in data["cv"]]
    described = (describe_call(candidate).items() for candidate in candidates)
    settings = {f"setting {k}": ", ".join(map("=".join, items)) for k, items in enumerate(described)}
    parameters = describe_call(search.estimator.get_params())
    kind = {"estimator": describe(type(search.estimator)), "number of settings": str(len(candidates))}
    return {**kind, **parameters, **describe_call({**options, **data, "cv": rows}), **settings}
