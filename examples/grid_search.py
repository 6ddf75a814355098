"""Grid search over activation, dropout and L2 penalty; scikit-learn's own MLP does not support dropout or GELU.

Needs scikit-learn: pip install -e '.[sklearn]'
"""

import argparse
import warnings

from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from xpnet import AdamW, OneCycle
from xpnet.estimators import MLPClassifier


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="number of processes (%(default)s)")
    parser.add_argument("--epochs", type=int, default=30, help="epochs per fit (%(default)s)")
    args = parser.parse_args()

    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
    mlp = MLPClassifier(
        (64,),
        solver=AdamW(weight_decay=0.01),
        learning_rate=OneCycle(0.01),
        batch_size=32,
        max_iter=args.epochs,
        n_iter_no_change=args.epochs,  # the schedule needs all epochs
        random_state=0,
    )
    grid = {
        "mlpclassifier__activation": ["relu", "gelu"],
        "mlpclassifier__dropout": [0.0, 0.2],
        "mlpclassifier__alpha": [0.0, 0.1],
    }
    search = GridSearchCV(make_pipeline(MinMaxScaler(), mlp), grid, cv=3, n_jobs=args.jobs)
    with warnings.catch_warnings(action="ignore"):  # reaching max_iter is intended
        search.fit(X_train, y_train)
    results = search.cv_results_
    for score, spread, parameters in sorted(
        zip(results["mean_test_score"], results["std_test_score"], results["params"]), key=lambda row: -row[0]
    ):
        shown = ", ".join(f"{name.partition('__')[2]}={value!r}" for name, value in parameters.items())
        print(f"{score:.4f} ± {spread:.4f}  {shown}")
    print(f"best parameters, refitted to all training data; accuracy on test data: {search.score(X_test, y_test):.4f}")


if __name__ == "__main__":
    main()
