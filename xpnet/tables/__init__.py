"""Tables: from rows of numbers, texts, dates and missing values to predictions of a column, without tuning.

`columns` are what a table becomes, `reading` opens CSV and Parquet files, `encoding` lists columns of a network.
The classes, which `xpnet.estimators` has, too, need pandas and scikit-learn, and are imported when they are used.
"""

from typing import TYPE_CHECKING, Any

from xpnet._lazy import import_lazily

if TYPE_CHECKING:
    from xpnet.tables._encoder import TableEncoder
    from xpnet.tables._models import TableClassifier, TableRegressor
    from xpnet.tables.folds import hold_out

__all__ = ["TableClassifier", "TableEncoder", "TableRegressor", "hold_out"]


_import_name = import_lazily(
    __name__,
    {
        "_encoder": ("TableEncoder",),
        "_models": ("TableClassifier", "TableRegressor"),
        "folds": ("hold_out",),
    },
)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name.startswith("Table"):
        import xpnet.estimators.base  # noqa: F401  which says how to install scikit-learn
    return _import_name(name)
