"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, which compute where X lies.

They hold a `Network` and train it with the same mathematics; the modules here check, encode and move their inputs, and
follow scikit-learn's rules. Needs scikit-learn, the extra ``sklearn``.
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
