"""A small version of tools/fuzz_files.py: whatever is in a file, it is a network of use, or refused by name."""

import os
import random
import sys
from pathlib import Path

import numpy as np
import pytest

from xpnet import CheckpointError, Network

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import fuzz_files

NUMBER = 400  # of files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files are written to the current folder, without waiting for the disk; the tool alone measures the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda number: None)
    monkeypatch.setattr(fuzz_files, "SLOWEST", float("inf"))
    return tmp_path


def test_the_files_to_begin_with_load_and_resume(folder):
    seeds = fuzz_files.make_seeds()
    for seed in [seed for seed in seeds if seed.is_checkpoint][::4]:
        for resume in (False, True):
            counts = fuzz_files.try_file(seed, seed.content, resume, thorough=True).counts
            assert counts == {f"{'resumed' if resume else 'loaded'}: trainings": 1}


@pytest.mark.slow
def test_hostile_files_are_networks_or_refused(folder):
    report = sum(
        (fuzz_files.try_number(number, 1) for number in range(NUMBER)), fuzz_files.Report(fuzz_files.Counter())
    )
    assert report.failures == ()
    assert report.counts["files"] == NUMBER
    kinds = {name for name in report.counts if name.startswith("loaded")}
    assert kinds > {"loaded: trainings"} | {f"loaded: refused, {kind}" for kind in ("checksum", "not JSON", "too deep")}
    assert report.counts["loaded: trainings"] > NUMBER / 10
    assert report.counts["resumed: trainings"] > NUMBER / 50


def test_a_file_is_the_same_whenever_it_is_made(folder):
    first, again = (
        [fuzz_files.mutate(fuzz_files.make_seeds()[0], random.Random(number)) for number in range(50)] for _ in range(2)
    )
    assert first == again
    assert len(set(first)) > 40


@pytest.mark.parametrize("error", [KeyError("x"), UserWarning("x"), CheckpointError("no file is named"), MemoryError()])
def test_anything_else_is_a_failure(folder, monkeypatch, error):
    def fail(*args, **options):
        raise error

    seed = fuzz_files.make_seeds()[0]
    monkeypatch.setattr(Network, "load", fail)
    report = fuzz_files.try_content(seed, seed.content, "7", random.Random(0))
    assert report.counts == {"files": 1, "failures": 1}
    assert report.failures[0].startswith("file 7: ")


def test_a_network_that_predicts_nan_or_diverges_without_reason_is_a_failure(folder, monkeypatch):
    seed = fuzz_files.make_seeds()[0]
    monkeypatch.setattr(Network, "predict", lambda net, x: np.array([np.nan]))
    assert "predictions are not finite" in fuzz_files.try_content(seed, seed.content, "7", random.Random(0)).failures[0]
