"""Compiles the loop in C when a wheel is built or xpnet is installed from a checkout.

Where this fails, as without a compiler, xpnet does without: NumPy's steps are then repeated by the same loop in Python.
"""

import platform
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("xpnet", "backends", "replay")
SOURCES = ("loops.c", "pool.c")
# Microsoft's compiler has the atomic operations of C11 only with these, from Visual Studio 2022 17.5 on
FOR_MICROSOFT = ["/std:c11", "/experimental:c11atomics"]
# So that updates become vector instructions, and every operator rounds by itself, as in NumPy
FOR_OTHERS = ["-O3", "-fno-math-errno", "-ffp-contract=off"]


class CompileLoop(BuildHookInterface):
    """The hook that hatchling calls before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the extension, and let the wheel have it."""
        if self.target_name != "wheel":
            return
        try:
            built = compile_extension(Path(self.root))
        except BaseException as error:  # setuptools raises SystemExit, too
            if isinstance(error, KeyboardInterrupt):
                raise
            self.app.display_warning(f"the loop in C was not built, and the one in Python will be used: {error}")
            return
        build_data.update(pure_python=False, infer_tag=True)
        build_data["artifacts"].append(built.as_posix())


def compile_extension(root: Path) -> Path:
    """Compile the extension beside its source; return the path of the file, from the root of the project."""
    import numpy
    from setuptools import Distribution, Extension

    extension = Extension(
        "xpnet.backends.replay.loops",
        [str(root / FOLDER / name) for name in SOURCES],
        include_dirs=[numpy.get_include()],
        extra_compile_args=FOR_MICROSOFT if platform.python_compiler().startswith("MSC") else FOR_OTHERS,
    )
    command: Any = Distribution({"name": "xpnet", "ext_modules": [extension]}).get_command_obj("build_ext")
    command.build_lib, command.force = str(root), True
    command.ensure_finalized()
    Path(command.get_ext_fullpath(extension.name)).unlink(missing_ok=True)
    with TemporaryDirectory() as command.build_temp:
        command.run()
    return FOLDER / command.get_ext_filename("loops")
