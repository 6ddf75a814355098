"""Accuracy of the recipes: mean and range, over several seeds, of the test accuracy that `xpnet train` prints.

Prints a table, whose figures are in docs/use/classification.md. Exits with status 1 if a mean is below the documented
accuracy.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from typing import NamedTuple

import numpy as np
from harness import Report, machine

from xpnet import cli


class Recipe(NamedTuple):
    """Options of `xpnet train`, and the documented mean accuracy over five seeds, in percent."""

    options: str
    claim: float


RECIPES = {
    "sample": Recipe("", 94.8),
    "book": Recipe(
        "mnist --hidden 30 --activation sigmoid --output-activation sigmoid --cost quadratic --epochs 30 "
        "--batch-size 10 --lr 3 --schedule constant --momentum 0 --weight-decay 0",
        95.5,
    ),
    "mnist": Recipe("mnist", 98.2),
    "dropout": Recipe(
        "mnist --hidden 512,512 --dropout 0.1,0.3,0.3 --epochs 20 --batch-size 128 --lr 0.1 --weight-decay 0",
        98.6,
    ),
}


def run(options, seed):
    """Run one training; return its accuracy in percent and its seconds."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        status = cli.main(["train", *options.split(), "--seed", str(seed)])
    last = out.getvalue().splitlines()[-1] if out.getvalue() else ""
    found = re.fullmatch(r"Test accuracy: ([\d.]+)% .* after ([\d.]+) s", last)
    if status or not found:
        sys.exit(f"xpnet train {options} --seed {seed} ended with status {status}: {last}")
    return float(found[1]), float(found[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES), help="recipes to run (all)")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    parser.add_argument("--options", default="", help="further options for every command, as in '--backend jax'")
    args = parser.parse_args()
    threads, report = os.environ.get("OPENBLAS_NUM_THREADS", "all"), Report()
    report.line(f"{machine()}; BLAS threads: {threads}; seeds 0 to {args.seeds - 1}.")
    report.head("recipe", "accuracy, mean", "lowest", "highest", "documented", "seconds, median")
    for name in args.recipes:
        options, claim = RECIPES[name]
        accuracies, seconds = zip(*(run(f"{options} {args.options}", seed) for seed in range(args.seeds)), strict=True)
        shown = [f"{value:.2f} %" for value in (np.mean(accuracies), min(accuracies), max(accuracies))]
        report.row(f"`{name}`", f"**{shown[0]}**", *shown[1:], f"{claim} %", f"{np.median(seconds):.1f}")
        if np.mean(accuracies) < claim:
            report.problems.append(f"{name}: the mean is below the documented {claim} %")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
