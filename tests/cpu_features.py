"""Features of the CPU by which NumPy chooses its kernels. Other machines lack some of them, and have other last bits.

As a program, it prints values for `NPY_DISABLE_CPU_FEATURES`, one a line, with which NumPy computes as there: the first
switches off all that NumPy can do without, the second all but the oldest of them, as on x86 without AVX-512. NumPy does
not start with a value that names what it needs, and warns of names that it does not know; of these there are none.
"""

import sys

from numpy._core._multiarray_umath import __cpu_baseline__, __cpu_dispatch__, __cpu_features__

CHOSEN = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]


def describe(switched_off: str | None) -> str:
    """Say in a line with which features NumPy computes."""
    line = " ".join(["NumPy computes with", *__cpu_baseline__, *CHOSEN])
    return f"{line}; off: {switched_off}" if switched_off else line


if __name__ == "__main__":
    if not CHOSEN:
        print(describe("nothing, as NumPy needs all that it uses here"), file=sys.stderr)
    for features in (CHOSEN, CHOSEN[1:]):
        if features:
            print(*features)
