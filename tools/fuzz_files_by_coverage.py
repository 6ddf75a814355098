"""Load hostile files that atheris makes: python tools/fuzz_files_by_coverage.py [FOLDER] -atheris_runs=100000.

It does what `fuzz_files.py` does, beside this file, but keeps the files that reach new lines of xpnet in FOLDER, and
changes those further: by the changes there, and by libFuzzer's own, with the right checksum afterwards. It stops at the
first failure, and writes the file that caused it. Needs `pip install atheris`; options are those of libFuzzer, such as
-max_total_time=600.
"""

import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["xpnet"], enable_loader_override=False):
    import fuzz_files

    import xpnet.checkpoint.file
    import xpnet.checkpoint.record
    import xpnet.training.checkpointing  # noqa: F401

FILES = fuzz_files.Report(fuzz_files.Counter())


def find_seed(content: bytes) -> fuzz_files.Seed:
    """Find a file of the same kind, which says how to resume the training; any one if there is none."""
    seeds = fuzz_files.make_seeds()
    fitting = (seed for seed in seeds if seed.is_checkpoint and cut_settings(seed.content) in content)
    return next(fitting, seeds[0])


def cut_settings(content: bytes) -> bytes:
    """Cut the settings out of the text of a file."""
    return content[content.index(b'\\"settings\\"') : content.index(b'\\"optimizer\\"')]


def change(content: bytes, most: int, number: int) -> bytes:
    """Change a file: half of the changes are those of `fuzz_files`."""
    rng = random.Random(number)
    if rng.random() < 0.5:
        try:
            changed = fuzz_files.mutate(fuzz_files.Seed(fuzz_files.KINDS[0], content, False), rng)
        except Exception:  # it is changed so much that it cannot be taken apart
            pass
        else:
            return changed[:most]
    return fuzz_files.seal(atheris.Mutate(content, most))


def try_one(content: bytes) -> None:
    """Try a file; a failure ends the run."""
    global FILES
    report = fuzz_files.try_content(find_seed(content), content, "given", random.Random(len(content)))
    if report.failures:
        raise fuzz_files.Failure(*report.failures)
    FILES += report
    if FILES.counts["files"] % 5000 == 0:
        fuzz_files.print_table(FILES, 0)


def main() -> None:
    """Begin with a corpus of the seeds."""
    folders = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    corpus = Path(folders[0] if folders else tempfile.mkdtemp()).resolve()
    corpus.mkdir(exist_ok=True)
    options = [argument for argument in sys.argv[1:] if argument.startswith("-")]
    fuzz_files.begin(tempfile.mkdtemp())
    for i, seed in enumerate(fuzz_files.make_seeds()):
        (corpus / f"seed-{i}").write_bytes(seed.content)
    options = [f"-artifact_prefix={os.getcwd()}/", "-max_len=200000", *options]
    atheris.Setup([sys.argv[0], str(corpus), *options], try_one, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
