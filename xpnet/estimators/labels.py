"""Labels of any type, and the outputs of a network that stand for them."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.preprocessing import LabelBinarizer, LabelEncoder
from sklearn.utils.multiclass import check_classification_targets, type_of_target, unique_labels

from xpnet.backends.base import Backend
from xpnet.core.arrays import Array
from xpnet.inspection.view import View


class Kind(NamedTuple):
    """A kind of labels, and the output layer for it."""

    name: str  # what scikit-learn calls it
    task: str  # what `Network` calls it
    activation: str  # of the output layer


BINARY = Kind("binary", "binary", "sigmoid")  # one output: the probability of the second class
MULTICLASS = Kind("multiclass", "classification", "softmax")  # an output for each class
MULTILABEL = Kind("multilabel", "multilabel", "sigmoid")  # an output for each label; any number of them may be 1


@dataclass(frozen=True)
class Labels:
    """The labels of a problem, on the host.

    Parameters
    ----------
    classes
        The classes, or the names of the labels, sorted, (K,).
    kind
        Which outputs stand for them.
    as_sparse
        Whether labels were given as a sparse matrix, and so are predicted as one.
    """

    classes: np.ndarray
    kind: Kind
    as_sparse: bool = False

    @property
    def n_outputs(self) -> int:
        """Number of outputs."""
        return 1 if self.kind == BINARY else len(self.classes)

    def encode(self, y: Any) -> np.ndarray:
        """Encode labels as targets: class numbers (n,) for several classes, else rows of 0 and 1, (n, n_outputs)."""
        if self.kind == MULTILABEL:
            return LabelBinarizer().fit(y).transform(y)
        numbers = self.numbers(y)
        return numbers if self.kind == MULTICLASS else numbers[:, None]

    def numbers(self, y: Any) -> np.ndarray:
        """Number the classes of the examples from 0, (n,) int32; for one class an example."""
        encoder = LabelEncoder()
        encoder.classes_ = self.classes
        return np.asarray(encoder.transform(y), np.int32)

    def decode(self, a: Array, view: View) -> Any:
        """Decode a network's outputs (n, n_outputs) into labels, on its device; strings are always NumPy's."""
        with view.scope():
            return self._decode(a, view.backend)

    def _decode(self, a: Array, backend: Backend) -> Any:
        xp = backend.xp
        if self.kind == MULTILABEL:
            labels = xp.astype(a > 0.5, xp.__array_namespace_info__().default_dtypes(device=a.device)["integral"])
            return sparse.csr_matrix(backend.to_numpy(labels)) if self.as_sparse else labels
        if self.kind == MULTICLASS:
            number = xp.argmax(a, axis=-1)
        else:
            number = xp.astype(a[:, 0] > 0.5, xp.int32)
            number = number * (len(self.classes) - 1)  # a single class is always predicted
        if not is_numeric(self.classes):
            return self.classes[backend.to_numpy(number)]
        return xp.take(_move_classes(self.classes, backend), number, axis=0)

    def check(self, y: Any, classes: Any = None) -> None:
        """Check labels, and `classes` if they are given, against those that are known."""
        if classes is not None and not np.array_equal(self.classes, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: {self.classes!r}"
            )
        self._check_kind(y)
        labels = unique_labels(y)
        if len(np.setdiff1d(labels, self.classes)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes}. 'y' has {labels}."
            )

    def check_all(self, y: Any) -> None:
        """Check that labels are those that are known, all of them, as `warm_start` asks."""
        self._check_kind(y)
        labels = unique_labels(y)
        if not np.array_equal(labels, self.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                f"got {self.classes}, `y` has {labels}; give warm_start=False to start anew"
            )

    def _check_kind(self, y: Any) -> None:
        multilabel = is_multilabel(y)
        if multilabel != (self.kind == MULTILABEL) or (multilabel and y.shape[1] != self.n_outputs):
            raise ValueError(f"y has shape {y.shape}, but the estimator was fitted to {self.kind.name} labels")


def learn_labels(y: Any, classes: Any = None) -> Labels:
    """Learn from y which labels there are; `classes` lists them where y may lack some.

    Raises
    ------
    ValueError
        If y does not hold labels but, for example, real numbers.

    Examples
    --------
    >>> learn_labels(["no", "yes", "no"]).kind.name, learn_labels([[0, 1], [1, 1]]).kind.name
    ('binary', 'multilabel')
    """
    check_classification_targets(y)
    if type_of_target(y, input_name="y") == "multiclass-multioutput":
        raise ValueError(
            "y has several columns of classes; give one column, or for several labels an example rows of 0 and 1, or "
            "see sklearn.multioutput.MultiOutputClassifier"
        )
    if is_multilabel(y):
        names: Any = LabelBinarizer().fit(y).classes_
        if classes is not None and len(unique_labels(classes)) != len(names):
            raise ValueError(f"classes={classes!r} must be the labels of the {len(names)} columns of y")
        return Labels(names, MULTILABEL, sparse.issparse(y))
    known = unique_labels(y if classes is None else classes)
    return Labels(known, BINARY if len(known) <= 2 else MULTICLASS)


def is_multilabel(y: Any) -> bool:
    """Tell whether y has several labels an example: rows of 0 and 1."""
    return type_of_target(y, input_name="y") == "multilabel-indicator"


def is_numeric(x: np.ndarray) -> bool:
    """Tell whether an array holds numbers, which every library has, rather than strings or objects."""
    return x.dtype.kind in "biuf"


def _move_classes(classes: np.ndarray, backend: Backend) -> Array:
    """Move classes to a device; in the library's default dtype if it lacks theirs."""
    info = backend.xp.__array_namespace_info__()
    if classes.dtype.name in info.dtypes(device=backend.device):
        return backend.asarray(classes)
    kind = "integral" if classes.dtype.kind in "iu" else "real floating"
    return backend.asarray(classes, str(info.default_dtypes(device=backend.device)[kind]).split(".")[-1])
