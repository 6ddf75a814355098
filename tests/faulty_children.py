"""What the processes of test_benchmarks.py run: in a module of its own, as importing the tests takes seconds."""

import sys
import time

from contenders import numpy_by_hand


def count(report):
    for n in range(3):
        report(n)


def count_and_fail(report):
    report(1)
    raise ValueError("two is\n  too many")


def count_and_hang(report):
    report(1)
    time.sleep(1000)


def count_and_exit(report):
    report(1)
    sys.exit(3)


def broken(row, x, labels):
    raise ArithmeticError("no such luck")


def wrong(row, x, labels):
    """Train with another learning rate."""
    return numpy_by_hand(row._replace(lr=2.9), x, labels)
