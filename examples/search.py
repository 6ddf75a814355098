"""Search: 24 settings of a classifier on five folds, 120 networks that are trained together.

Needs scikit-learn, and matplotlib for the picture: pip install -e '.[sklearn,plots]'
"""

import argparse
import time
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from xpnet.estimators import MLPClassifier, MLPSearchCV

GRID = {
    "mlpclassifier__learning_rate_init": [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1],
    "mlpclassifier__alpha": [1e-4, 1e-2, 0.1, 1.0],
}


def load():
    """Load images of digits: 64 pixels each."""
    X, y = load_digits(return_X_y=True)
    return train_test_split(X.astype(np.float32), y, stratify=y, random_state=0)


def search(X, y, epochs=20, jobs=None):
    """Train all settings on all folds, and the best ones on all examples."""
    classifier = MLPClassifier((50,), batch_size=32, max_iter=epochs, dropout=0.1, random_state=0)
    searching = MLPSearchCV(make_pipeline(MinMaxScaler(), classifier), GRID, cv=5, n_jobs=jobs)
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):  # few epochs are enough
        return searching.fit(X, y)


def draw_picture(ax, results):
    """Draw the mean score of each pair of settings."""
    rates, alphas = GRID.values()
    scores = np.reshape(results["mean_test_score"], (len(alphas), len(rates)))
    image = ax.imshow(scores, cmap="viridis", vmin=0.85)
    ax.set(xlabel="learning rate", ylabel="alpha", xticks=range(len(rates)), yticks=range(len(alphas)))
    ax.set(xticklabels=rates, yticklabels=alphas)
    for (row, column), score in np.ndenumerate(scores):
        ax.text(column, row, f"{score:.3f}", ha="center", va="center", color="white" if score < 0.95 else "black")
    ax.figure.colorbar(image, label="accuracy, mean of five folds", shrink=0.8)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="epochs per fit (%(default)s)")
    parser.add_argument("--jobs", type=int, help="number of processes; by default one, with threads")
    parser.add_argument("--plot", metavar="FILE", help="save a picture, such as search.png")
    args = parser.parse_args()

    X_train, X_test, y_train, y_test = load()
    began = time.perf_counter()
    searching = search(X_train, y_train, args.epochs, args.jobs)
    print(f"{24 * 5} networks in {time.perf_counter() - began:.1f} s")
    results = searching.cv_results_
    for i in np.argsort(results["rank_test_score"], kind="stable")[:5]:
        shown = ", ".join(f"{name.partition('__')[2]}={value!r}" for name, value in results["params"][i].items())
        print(f"{results['mean_test_score'][i]:.4f} ± {results['std_test_score'][i]:.4f}  {shown}")
    print(
        f"best parameters, refitted to all training data; accuracy on test data: {searching.score(X_test, y_test):.4f}"
    )
    if args.plot:
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
        draw_picture(ax, results)
        figure.savefig(args.plot, dpi=150)


if __name__ == "__main__":
    main()
