"""Estimators for scikit-learn: `MLPClassifier` and `MLPRegressor`, which compute where X lies.

They hold a `Network` and train it by the same mathematics; what is here checks, encodes and moves what comes in, and
keeps scikit-learn's rules. Needs scikit-learn: ``pip install "xpnet[sklearn]"``.
"""

from xpnet.estimators.classifier import MLPClassifier
from xpnet.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
