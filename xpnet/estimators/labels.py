"""Labels of any type, and the outputs that stand for them: what scikit-learn calls binary, multiclass, multilabel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet.arrays import Array
from xpnet.backends import Backend
from xpnet.estimators.following import labels_on

SEVERAL = "multilabel-indicator"  # what scikit-learn calls rows of 0 and 1


@dataclass(frozen=True)
class Labels:
    """The classes of a problem, on the host, and how outputs stand for them.

    Parameters
    ----------
    classes
        In order, (K,).
    kind
        "binary": one output, the probability of the second class. "multiclass": an output for each class.
        "multilabel": an output for each label, of which any number may be 1.
    as_sparse
        Whether labels were given as a sparse matrix, and so are predicted as one.
    """

    classes: np.ndarray
    kind: str
    as_sparse: bool = False

    @property
    def outputs(self) -> int:
        """How many outputs stand for them."""
        return 1 if self.kind == "binary" else len(self.classes)

    def encode(self, y: Any) -> np.ndarray:
        """Targets: the number of each class, (n,) int32, for "multiclass"; else rows of 0 and 1, (n, outputs)."""
        if self.kind == "multilabel":
            return LabelBinarizer().fit(y).transform(y)
        numbers = self.numbers(y)
        return numbers if self.kind == "multiclass" else numbers[:, None]

    def numbers(self, y: Any) -> np.ndarray:
        """Numbers of the classes, (n,) int32, where there is one an example."""
        encoder = LabelEncoder()
        encoder.classes_ = self.classes
        return np.asarray(encoder.transform(y), np.int32)

    def decode(self, a: Array, backend: Backend) -> Any:
        """Labels that outputs (n, outputs) stand for, in the library of the outputs; strings are NumPy's always."""
        xp = backend.xp
        if self.kind == "multilabel":
            found = xp.astype(a > 0.5, xp.__array_namespace_info__().default_dtypes(device=a.device)["integral"])
            return sparse.csr_matrix(backend.to_numpy(found)) if self.as_sparse else found
        if self.kind == "multiclass":
            number = xp.argmax(a, axis=-1)
        else:
            number = xp.astype(a[:, 0] > 0.5, xp.int32)
            number = number * (len(self.classes) - 1)  # a single class is the answer to everything
        if self.classes.dtype.kind not in "biuf":
            return self.classes[backend.to_numpy(number)]
        return xp.take(labels_on(self.classes, backend), number, axis=0)


def learn(y: Any, classes: Any = None) -> Labels:
    """Find out what labels there are; `classes` names all of them where y may lack some.

    Raises
    ------
    ValueError
        If y holds no labels, but real numbers, say.

    Examples
    --------
    >>> learn(["no", "yes", "no"]).kind, learn([[0, 1], [1, 1]]).kind
    ('binary', 'multilabel')
    """
    check_classification_targets(y)
    kind = type_of_target(y, input_name="y")
    if kind == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of classes; give one column, or for several labels an example rows of 0 and 1, or "
            "see sklearn.multioutput.MultiOutputClassifier"
        )
    if kind == SEVERAL:
        found: Any = LabelBinarizer().fit(y).classes_
        if classes is not None and len(unique_labels(classes)) != len(found):
            raise ValueError(f"classes={classes!r} must be the labels of the {len(found)} columns of y")
        return Labels(found, "multilabel", sparse.issparse(y))
    found = unique_labels(y if classes is None else classes)
    return Labels(found, "binary" if len(found) <= 2 else "multiclass")
