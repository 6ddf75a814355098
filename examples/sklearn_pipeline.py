"""A scikit-learn pipeline that computes entirely on the device of its arrays: scaler, network, predictions, score.

Needs scikit-learn: pip install -e '.[sklearn]'

python examples/sklearn_pipeline.py                                    with NumPy
SCIPY_ARRAY_API=1 python examples/sklearn_pipeline.py --library cupy   on an NVIDIA GPU, with CuPy
SCIPY_ARRAY_API=1 python examples/sklearn_pipeline.py --library torch  with PyTorch
"""

import argparse
import importlib
import os
import sys
import warnings

import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from xpnet import BackendError, get_backend
from xpnet.estimators import MLPClassifier


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", choices=["numpy", "cupy", "torch"], default="numpy")
    args = parser.parse_args()
    if args.library != "numpy":
        if os.environ.get("SCIPY_ARRAY_API") != "1":
            sys.exit("set SCIPY_ARRAY_API=1 before Python starts; scikit-learn needs it for arrays of other libraries")
        sklearn.set_config(array_api_dispatch=True)
    try:
        get_backend(args.library)  # its error says what is missing
    except BackendError as error:
        sys.exit(str(error))
    xp = importlib.import_module(args.library)

    X, y = load_digits(return_X_y=True)
    parts = train_test_split(X.astype(np.float32), y, stratify=y, random_state=0)
    X_train, X_test, y_train, y_test = (xp.asarray(part) for part in parts)  # moved to the device once

    mlp = MLPClassifier((128,), dropout=0.2, batch_size=64, max_iter=40, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), mlp)
    with warnings.catch_warnings(action="ignore"):  # 40 epochs are not enough to converge
        pipeline.fit(X_train, y_train)
    predicted = pipeline.predict(X_test)
    print(f"predictions: {type(predicted).__module__}.{type(predicted).__name__} on {predicted.device}")
    print(f"accuracy: {accuracy_score(y_test, predicted):.4f}")
    print(mlp.network_.summary())


if __name__ == "__main__":
    main()
