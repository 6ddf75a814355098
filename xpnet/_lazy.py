"""Names that a package hands on, imported when they are first used."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def import_lazily(package: str, names_in: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package: it imports a name from the module that defines it.

    So importing one name does not load the others. `names_in` lists them by module of the package, or, after a dot, of
    the one that it is in.
    """
    module_of = {name: module for module, names in names_in.items() for name in names}

    def import_name(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f".{module_of[name]}", package), name)
        setattr(sys.modules[package], name, found)  # where Python finds it the next time
        return found

    return import_name
