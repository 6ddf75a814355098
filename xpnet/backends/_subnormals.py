"""Flushing of subnormal numbers to zero, by a register of a thread: the loop in C sets it, or the C library."""

import ctypes
import platform
import sys
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from xpnet.backends.replay import loops

Modes = tuple[Callable[[], Any], Callable[[], Any]]

# By system and processor: in which word of C's `fenv_t` the register is, and the bits to set
WORDS = {
    ("linux", "x86_64"): (7, 0x8040),
    ("linux", "aarch64"): (0, 1 << 24),
    ("darwin", "x86_64"): (1, 0x8040),
    ("darwin", "arm64"): (2, 1 << 24),
}
DN_FLUSH, MCW_DN = 0x1000000, 0x3000000  # in Microsoft's <float.h>


def find_modes() -> Modes:
    """Return two calls for this thread: flush subnormal numbers from now on; and do with them what it does at present.

    Both call C at once, so that no signal handler comes before. Where there is no such register, they do nothing.
    """
    if loops is not None:
        return partial(loops.set_mode, loops.FLUSH), partial(loops.set_mode, loops.get_mode())
    try:
        return _find_for_windows() if sys.platform == "win32" else _find_for_posix()
    except (OSError, AttributeError, KeyError):
        return int, int


def _find_for_posix() -> Modes:
    word, bits = WORDS[sys.platform, platform.machine()]
    library = _load(None)
    before, flushing = (ctypes.c_uint32 * 16)(), (ctypes.c_uint32 * 16)()  # longer than any `fenv_t`
    library.fegetenv(before)
    library.fegetenv(flushing)
    flushing[word] |= bits
    return partial(library.fesetenv, flushing), partial(library.fesetenv, before)


def _find_for_windows() -> Modes:
    control, present = _load("ucrtbase")._controlfp_s, ctypes.c_uint()
    control(ctypes.byref(present), 0, 0)
    before, unused = present.value & MCW_DN, ctypes.byref(present)
    return partial(control, unused, DN_FLUSH, MCW_DN), partial(control, unused, before, MCW_DN)


@cache
def _load(name: str | None) -> ctypes.PyDLL:  # which keeps the GIL
    return ctypes.PyDLL(name)
