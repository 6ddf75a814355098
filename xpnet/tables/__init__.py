"""Tables: from rows of numbers, texts, dates and missing values to predictions of a column, without tuning.

`columns` are what a table becomes, `reading` opens CSV and Parquet files, `encoding` lists columns of a network.
The classes, which `xpnet.estimators` has, too, need pandas and scikit-learn, and are imported when they are used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpnet.tables._encoder import TableEncoder
    from xpnet.tables._models import TableClassifier, TableRegressor
    from xpnet.tables.held_out import hold_out
    from xpnet.tables.recipe import Recipe

__all__ = ["Recipe", "TableClassifier", "TableEncoder", "TableRegressor", "hold_out"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "Recipe":
        from xpnet.tables.recipe import Recipe

        return Recipe
    if name == "hold_out":
        from xpnet.tables.held_out import hold_out

        return hold_out
    if name not in __all__:
        raise AttributeError(f"module 'xpnet.tables' has no attribute {name!r}")
    import xpnet.estimators  # noqa: F401  which says how to install scikit-learn
    from xpnet.tables import _encoder, _models

    return getattr(_encoder if name == "TableEncoder" else _models, name)
