"""Counts what the pretended device was asked to do, with the lines of xpnet that asked."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xpnet

PACKAGE = str(Path(xpnet.__file__).parent)


class Counts:
    """How often each thing was done, in all and by the lines that did it.

    The things are "kernel", "product", "synchronization", "copy to the device", "copy to the host", "graph launch".
    """

    def __init__(self) -> None:
        self.places: dict[str, Counter[str]] = {}

    def add(self, what: str, detail: str = "") -> None:
        """Count one; `detail` is the name of a kernel, say."""
        self.places.setdefault(what, Counter())[f"{detail} at {_line_of_xpnet()}".strip()] += 1

    def __getitem__(self, what: str) -> int:
        return self.places.get(what, Counter()).total()

    def launches(self) -> int:
        """Kernels and products."""
        return self["kernel"] + self["product"]

    def lines(self, what: str) -> str:
        """Say where it was done, most often first."""
        return ", ".join(f"{n} × {place}" for place, n in self.places.get(what, Counter()).most_common())


def _line_of_xpnet() -> str:
    """Name the innermost line of xpnet that is being executed; "?" outside of it."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PACKAGE):
            return f"xpnet{file.removeprefix(PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return "?"


class Meter:
    """Holds the counts that are being taken at the moment."""

    def __init__(self) -> None:
        self._taking: list[Counts] = []

    def add(self, what: str, detail: str = "") -> None:
        """Count one, if anyone is counting."""
        for counts in self._taking:
            counts.add(what, detail)

    @contextmanager
    def counting(self) -> Iterator[Counts]:
        """Count what is done in this context."""
        counts = Counts()
        self._taking.append(counts)
        try:
            yield counts
        finally:
            self._taking.remove(counts)
