"""Estimators for scikit-learn: `MLPClassifier`, `MLPRegressor` and ensembles of them, which compute where X lies.

They hold a `Network` and train it with the same mathematics; the modules here check, encode and move their inputs, and
follow scikit-learn's rules. Needs scikit-learn, the extra ``sklearn``.
"""

from xpnet.checks import install_command

try:
    from sklearn.utils.validation import validate_data  # noqa: F401  came with scikit-learn 1.6
except ImportError as error:
    raise ImportError(
        f"xpnet.estimators needs scikit-learn 1.8 or newer ({error}); install it with: {install_command('sklearn')}"
    ) from error

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.ensembles import MLPEnsembleClassifier, MLPEnsembleRegressor
from xpnet.estimators.regressor import MLPRegressor
from xpnet.estimators.search import MLPRandomSearchCV, MLPSearchCV
from xpnet.estimators.table_models import TableClassifier, TableRegressor
from xpnet.estimators.tables import TableEncoder

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
