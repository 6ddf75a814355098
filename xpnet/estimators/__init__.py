"""Estimators for scikit-learn: `MLPClassifier`, `MLPRegressor` and ensembles of them, which compute where X lies.

They hold a `Network` and train it with the same mathematics; the modules here check, encode and move their inputs, and
follow scikit-learn's rules. Needs scikit-learn, the extra ``sklearn``.
"""

from typing import TYPE_CHECKING

from xpnet._checks import install_command

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  came with scikit-learn 1.6
except ImportError as error:
    raise ImportError(
        f"xpnet.estimators needs scikit-learn 1.8 or newer ({error}); install it with: {install_command('sklearn')}"
    ) from error

from xpnet._lazy import import_lazily
from xpnet.estimators._classifier import MLPClassifier
from xpnet.estimators._ensembles import MLPEnsembleClassifier, MLPEnsembleRegressor
from xpnet.estimators._regressor import MLPRegressor
from xpnet.estimators._search import MLPRandomSearchCV, MLPSearchCV

if TYPE_CHECKING:
    from xpnet.tables import TableClassifier, TableEncoder, TableRegressor

__all__ = [
    "MLPClassifier",
    "MLPEnsembleClassifier",
    "MLPEnsembleRegressor",
    "MLPRandomSearchCV",
    "MLPRegressor",
    "MLPSearchCV",
    "TableClassifier",
    "TableEncoder",
    "TableRegressor",
]


# The classes of `xpnet.tables` are built on the estimators here
__getattr__ = import_lazily(__name__, {".tables": ("TableClassifier", "TableEncoder", "TableRegressor")})


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted({*__all__, *globals()})
