"""Rare classes: how early stopping and class weights change a classifier, with 3.8 % positives.

Needs scikit-learn: pip install -e '.[sklearn]'
"""

import argparse
import warnings

import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet.estimators import MLPClassifier


def classifiers(seed):
    """Return the classifiers to compare, by name."""

    def pipeline(**parameters):
        return make_pipeline(StandardScaler(), MLPClassifier(random_state=seed, **parameters))

    watches_loss = pipeline(early_stopping="loss")
    return {
        "early_stopping=True": pipeline(early_stopping=True),
        "early_stopping='loss'": watches_loss,
        "... and a threshold for the classes": TunedThresholdClassifierCV(watches_loss, scoring="balanced_accuracy"),
        "... and class_weight='balanced'": pipeline(
            early_stopping="loss", class_weight="balanced", n_iter_no_change=30
        ),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="number of data sets and networks (%(default)s)")
    args = parser.parse_args()

    scores = {}
    for seed in range(args.seeds):
        X, y = make_classification(22_000, n_informative=10, weights=[0.967], random_state=seed)
        X_train, X_test, y_train, y_test = train_test_split(X, y, train_size=2000, stratify=y, random_state=seed)
        for name, classifier in classifiers(seed).items():
            with warnings.catch_warnings(action="ignore"):  # some fits reach max_iter
                classifier.fit(X_train, y_train)
            area = roc_auc_score(y_test, classifier.predict_proba(X_test)[:, 1])
            accuracy = balanced_accuracy_score(y_test, classifier.predict(X_test))
            scores.setdefault(name, []).append((area, accuracy))
    print(f"{'test data':36} {'area under ROC curve':24} balanced accuracy")
    for name, values in scores.items():
        (area, accuracy), lowest, highest = np.mean(values, axis=0), np.min(values, axis=0), np.max(values, axis=0)
        print(
            f"{name:36} {area:.3f} ({lowest[0]:.3f}-{highest[0]:.3f})    "
            f"{accuracy:.3f} ({lowest[1]:.3f}-{highest[1]:.3f})"
        )


if __name__ == "__main__":
    main()
