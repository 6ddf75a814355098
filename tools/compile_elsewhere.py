"""Compile the loop in C for Windows, macOS, ARM and musl, with Zig's C compiler, and warnings as errors.

    pip install ziglang uv
    python tools/compile_elsewhere.py
    python tools/compile_elsewhere.py --link  # takes minutes the first time, as Zig compiles the systems' libraries

The headers of the C library come with Zig, and those of NumPy with its wheel for the system. Python's are those of the
Python that runs this program, with a `pyconfig.h` of a few lines for the system. Linking finds functions that the
system does not have; on Windows, Python's are those that its headers name.

This shows that the C keeps to the standard, and to what each system has. Nothing is run, and Microsoft's compiler is
not tried. Exits with status 1 if one of the systems fails.
"""

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

SOURCES = Path(__file__).parents[1] / "xpnet" / "backends" / "replay"
ZIG = (sys.executable, "-m", "ziglang")
# GNU's extensions, and arrays of variable length, are unknown to Microsoft's compiler. -Wpedantic would also refuse
# functions as `void *`, which Python's tables of types need
WARNINGS = ["-Wall", "-Wextra", "-Wgnu", "-Wvla", "-Wshorten-64-to-32", "-Wno-unused-parameter"]
WARNINGS += ["-Wno-missing-field-initializers"]
SIZES = {"SHORT": 2, "INT": 4, "LONG_LONG": 8, "VOID_P": 8, "SIZE_T": 8}
POSIX = SIZES | {"LONG": 8, "WCHAR_T": 4}
WINDOWS = SIZES | {"LONG": 4, "WCHAR_T": 2}


class System(NamedTuple):
    """What the compiler and uv call a system, and what Python's headers must know of it."""

    target: str
    platform: str
    sizes: dict[str, int]
    defines: str
    for_linker: tuple[str, ...] = ()


SYSTEMS = {
    "Windows x86-64": System(
        "x86_64-windows-gnu", "x86_64-pc-windows-msvc", WINDOWS, "MS_WINDOWS MS_WIN64 NT_THREADS Py_ENABLE_SHARED"
    ),
    "macOS arm64": System(
        "aarch64-macos", "aarch64-apple-darwin", POSIX, "HAVE_PTHREAD_H", ("-undefined", "dynamic_lookup")
    ),
    "Linux aarch64": System("aarch64-linux-gnu", "aarch64-manylinux_2_28", POSIX, "HAVE_PTHREAD_H _GNU_SOURCE"),
    "Linux x86-64, musl": System("x86_64-linux-musl", "x86_64-unknown-linux-musl", POSIX, "HAVE_PTHREAD_H _GNU_SOURCE"),
}


def copy_headers(system: System, folder: Path) -> list[str]:
    """Bring NumPy's and Python's headers into a folder; return the compiler's options that name them."""
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", folder / "numpy"]
    subprocess.run([*command, "--python-platform", system.platform, "numpy"], check=True)
    # A file beside Python.h goes before all others, so it is the one to be replaced
    shutil.copytree(sysconfig.get_path("include"), folder / "python", ignore=shutil.ignore_patterns("numpy"))
    lines = [f"#define SIZEOF_{name} {size}\n" for name, size in system.sizes.items()]
    lines += [f"#define {name} 1\n" for name in system.defines.split()]
    (folder / "python" / "pyconfig.h").write_text("".join(lines))
    return ["-isystem", str(folder / "python"), "-isystem", str(folder / "numpy" / "numpy" / "_core" / "include")]


def make_import_library(folder: Path) -> Path:
    """Make the library by which a program for Windows finds Python's functions: all names in Python's headers."""
    version = "".join(map(str, sys.version_info[:2]))
    texts = [path.read_text(errors="replace") for path in (folder / "python").rglob("*.h")]
    names = sorted({name for text in texts for name in re.findall(r"\b_?Py\w+", text)})
    (folder / "python.def").write_text("\n".join([f"LIBRARY python{version}.dll", "EXPORTS", *names, ""]))
    arguments = ["-m", "i386:x86-64", "-d", folder / "python.def", "-l", folder / "python.lib"]
    subprocess.run([*ZIG, "dlltool", *arguments], check=True)
    return folder / "python.lib"


def compile_for(system: System, link: bool) -> bool:
    """Compile the sources, and link them if asked to; if that fails, the compiler says why."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        headers = copy_headers(system, folder)
        compiler = [*ZIG, "cc", "-target", system.target, "-std=c11", "-O2", "-fPIC"]
        objects = []
        for source in sorted(SOURCES.glob("*.c")):
            objects.append(folder / f"{source.stem}.o")
            command = [*compiler, "-Werror", *WARNINGS, *headers, "-c", source, "-o", objects[-1]]
            if subprocess.run(command).returncode:
                return False
        if not link:
            return True
        if "MS_WINDOWS" in system.defines.split():
            objects.append(make_import_library(folder))
        return not subprocess.run(
            [*compiler, "-shared", *system.for_linker, *objects, "-o", folder / "loops"]
        ).returncode


def main() -> None:
    """Compile for each system, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--link", action="store_true")
    link, failed = parser.parse_args().link, []
    for name, system in SYSTEMS.items():
        passed = compile_for(system, link)
        print(f"{'ok' if passed else 'FAILED'}: {name}", flush=True)
        failed += [] if passed else [name]
    sys.exit(f"does not compile: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
