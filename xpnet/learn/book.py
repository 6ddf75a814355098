"""The interface of the book's programs network.py and network2.py, on top of `xpnet.Network`.

M. A. Nielsen, "Neural Networks and Deep Learning", Determination Press, 2015, chapters 1 and 3. The training calls of
the book run as printed, with `Network` in place of network2.Network and `FirstNetwork` in place of network.Network.
`xpnet.Network` does the work; this module translates.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from xpnet._checks import choices, count, in_range
from xpnet._names import explain_unknown
from xpnet.core.activations import sigmoid
from xpnet.core.costs import Cost, cross_entropy, quadratic
from xpnet.core.initializers import Initializer, normal, scaled_normal
from xpnet.core.minibatch import one_hot
from xpnet.core.optimizers import SGD
from xpnet.data.datasets import mnist, mnist_sample
from xpnet.errors import ArgumentError
from xpnet.learn import network2
from xpnet.network import network as networks
from xpnet.training import parse_epochs, parse_rate
from xpnet.training.callback import Callback

__all__ = ["CrossEntropyCost", "FirstNetwork", "Network", "QuadraticCost", "load", "load_data_wrapper"]

Pairs = list[tuple[np.ndarray, Any]]
DATA = ("mnist", "mnist-sample")


class QuadraticCost:
    """The quadratic cost: C = ½ ‖a − y‖² of an example. Give the class as `cost`.

    Examples
    --------
    >>> a, y = np.array([[0.8], [0.4]]), np.array([[1.0], [0.0]])
    >>> round(QuadraticCost.fn(a, y), 3)  # ½ (0.2² + 0.4²)
    0.1
    """

    name = "quadratic"

    @staticmethod
    def fn(a: Any, y: Any) -> float:
        """Compute the cost of an output (n_out, 1) with its target (n_out, 1)."""
        return float(np.sum(quadratic.value(*_transpose(a, y), np)))  # type: ignore

    @staticmethod
    def delta(z: Any, a: Any, y: Any) -> np.ndarray:
        """Compute the error (a − y) σ′(z) of the output layer; all are columns (n_out, 1)."""
        return _output_delta(quadratic, z, a, y)


class CrossEntropyCost:
    """The cross-entropy cost: C = −Σ [y ln a + (1 − y) ln (1 − a)] of an example. Give the class as `cost`.

    Examples
    --------
    >>> a, y = np.array([[0.8], [0.4]]), np.array([[1.0], [0.0]])
    >>> round(CrossEntropyCost.fn(a, y), 3)  # −ln 0.8 − ln 0.6
    0.734
    """

    name = "cross_entropy"

    @staticmethod
    def fn(a: Any, y: Any) -> float:
        """Compute the cost of an output (n_out, 1) with its target (n_out, 1).

        0 ln 0 counts as 0. An output of exactly 0 or 1 that is wrong costs infinity.
        """
        a, y = np.asarray(a, dtype=np.float64), np.asarray(y, dtype=np.float64)
        return -float(np.sum(_times_log(y, a) + _times_log(1 - y, 1 - a)))

    @staticmethod
    def delta(z: Any, a: Any, y: Any) -> np.ndarray:
        """Compute the error a − y of the output layer; all are columns (n_out, 1), and z is not used."""
        return _output_delta(cross_entropy, z, a, y)


COSTS = {cost.name: cost for cost in (QuadraticCost, CrossEntropyCost)}


def load_data_wrapper(data: str = "mnist", root: str | os.PathLike[str] | None = None) -> tuple[Pairs, Pairs, Pairs]:
    """Load MNIST as the book's mnist_loader.load_data_wrapper does.

    Parameters
    ----------
    data
        "mnist": 50,000 images to train on, 10,000 for validation and 10,000 to test on. "mnist-sample": 4,000, 1,000
        and 1,000 of them, which come with xpnet.
    root
        Folder of the files of MNIST, as in `xpnet.datasets.mnist`; by default the one in the environment variable
        XPNET_DATA.

    Returns
    -------
    training_data, validation_data, test_data
        Lists of pairs (x, y): x is a column (784, 1) of pixels in [0, 1]. In the training data, y is a column (10, 1)
        with a 1 in the row of the digit; in the others, y is the digit.

    Raises
    ------
    ArgumentError
        If `data` is unknown.
    ImportError, RuntimeError
        If the files are missing and cannot be downloaded.

    Examples
    --------
    >>> training_data, validation_data, test_data = load_data_wrapper("mnist-sample")
    >>> len(training_data), len(validation_data), len(test_data)
    (4000, 1000, 1000)
    >>> x, y = training_data[0]
    >>> x.shape, y.shape
    ((784, 1), (10, 1))
    """
    if data not in DATA:
        raise ArgumentError(explain_unknown("data", data, DATA))
    if data == "mnist-sample":
        (x, y), test = mnist_sample()
        train, validation = (x[:-1000], y[:-1000]), (x[-1000:], y[-1000:])
    else:
        try:
            train, validation, test = mnist(root, validation=10_000)
        except (ImportError, RuntimeError) as error:
            raise type(error)(
                f'{error}; load_data_wrapper("mnist-sample") returns the bundled sample in the same form'
            ) from error
    targets = one_hot(train[1], np.arange(10), np.float64, np)[..., None]
    pairs = ([(x, int(y)) for x, y in zip(images[..., None], labels)] for images, labels in (validation, test))
    return list(zip(train[0][..., None], targets)), *pairs  # type: ignore


class Network:
    """The network of the book's network2.py: sigmoid neurons, trained by stochastic gradient descent.

    Arrays are columns, as in the book: an input is (n_in, 1), the biases of a layer are (n_out, 1).

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    cost
        `CrossEntropyCost` or `QuadraticCost`.
    backend, device, dtype, seed
        As in `xpnet.Network`, but numbers are float64 by default, as in the book. The same seed gives the same initial
        weights and minibatches.

    Attributes
    ----------
    net : xpnet.Network
        The network that does the work. Use it for everything else, as in ``check_gradients(net.net, x, y)``.
    sizes : list of int
        Number of units of each layer.
    num_layers : int
        Number of layers, inputs included.

    Raises
    ------
    ArgumentError
        If an argument is wrong.

    Examples
    --------
    The book's call of chapter 3, for fewer epochs and images:

    >>> training_data, validation_data, test_data = load_data_wrapper("mnist-sample")
    >>> net = Network([784, 30, 10], cost=CrossEntropyCost, seed=0)
    >>> costs, accuracies, *_ = net.SGD(
    ...     training_data, 2, 10, 0.5, lmbda=0.1, evaluation_data=test_data, monitor_evaluation_accuracy=True
    ... )  # doctest: +ELLIPSIS
    Epoch 0 training complete
    Accuracy on evaluation data: ... / 1000
    <BLANKLINE>
    Epoch 1 training complete
    Accuracy on evaluation data: ... / 1000
    <BLANKLINE>
    >>> costs, len(accuracies)
    ([], 2)
    """

    def __init__(
        self,
        sizes: Iterable[int],
        cost: type = CrossEntropyCost,
        *,
        backend: Any = None,
        device: Any = None,
        dtype: Any = "float64",
        seed: int | None = None,
    ) -> None:
        if cost not in COSTS.values():
            names = choices(kind.__name__ for kind in COSTS.values())
            raise ArgumentError(f"cost={cost!r} must be one of the classes {names}; xpnet.Network has other costs")
        self.net = networks.Network(
            list(sizes),
            cost=cost.name,
            init="scaled_normal",
            backend=backend,
            device=device,
            dtype=dtype,
            seed=seed,
        )

    @property
    def sizes(self) -> list[int]:
        """Number of units of each layer."""
        return self.net.sizes

    @property
    def num_layers(self) -> int:
        """Number of layers, inputs included."""
        return self.net.num_layers

    @property
    def cost(self) -> type:
        """The class of the cost."""
        return COSTS[self.net.cost_name]

    @property
    def weights(self) -> list[np.ndarray]:
        """Copies of the weights of each layer, (n_out, n_in); assignable as a whole."""
        return [self._to_numpy(w) for w in self.net.w]

    @weights.setter
    def weights(self, weights: Iterable[Any]) -> None:
        self.net.w = list(weights)

    @property
    def biases(self) -> list[np.ndarray]:
        """Copies of the biases of each layer, (n_out, 1); assignable as a whole."""
        return [self._to_numpy(b)[:, None] for b in self.net.b]

    @biases.setter
    def biases(self, biases: Iterable[Any]) -> None:
        self.net.b = list(biases)

    def default_weight_initializer(self) -> None:
        """Draw the weights from N(0, 1/n_in) and the biases from N(0, 1), as in chapter 3."""
        self._draw(scaled_normal)

    def large_weight_initializer(self) -> None:
        """Draw weights and biases from N(0, 1), as in chapter 1."""
        self._draw(normal)

    def _draw(self, initializer: Initializer) -> None:
        rng = self.net.make_rng()
        self.net.layers = [initializer(rng, n_in, n_out) for n_in, n_out in pairwise(self.net.sizes)]
        self.net.value = self.net.value._replace(generator=rng.bit_generator.state)

    def feedforward(self, a: Any) -> np.ndarray:
        """Compute the output (n_out, 1) for an input (n_in, 1), or for several inputs, one in each column."""
        return self._to_numpy(self.net.forward(np.asarray(a).T)).T

    def backprop(self, x: Any, y: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Compute the gradient of the cost of an example (x, y), with columns x and y.

        Returns
        -------
        nabla_b, nabla_w
            ∂C/∂b (n_out, 1) and ∂C/∂w (n_out, n_in) of each layer.
        """
        gradients = self.net.backward(*_stack([(x, y)], "(x, y)", self.sizes))
        return (
            [self._to_numpy(gb)[:, None] for _, gb in gradients],
            [self._to_numpy(gw) for gw, _ in gradients],
        )

    def SGD(
        self,
        training_data: Iterable[tuple[Any, Any]],
        epochs: int,
        mini_batch_size: int,
        eta: float,
        lmbda: float = 0.0,
        evaluation_data: Iterable[tuple[Any, Any]] | None = None,
        monitor_evaluation_cost: bool = False,
        monitor_evaluation_accuracy: bool = False,
        monitor_training_cost: bool = False,
        monitor_training_accuracy: bool = False,
        *,
        test_data: Iterable[tuple[Any, Any]] | None = None,
    ) -> tuple[list[float], list[int], list[float], list[int]]:
        """Train by stochastic gradient descent, and print lines after each epoch.

        With n training examples and m of them in a minibatch, a step is w ← (1 − ηλ/n) w − η/m Σ ∂C/∂w and
        b ← b − η/m Σ ∂C/∂b. Each epoch uses every example once, in random order; the last minibatch holds the
        remainder. The training data keep their order; the book's program shuffles them in place.

        Parameters
        ----------
        training_data
            Pairs (x, y) of an input (n_in, 1) and a target: (n_out, 1), or the number of a class.
        epochs
            Number of passes over the training data.
        mini_batch_size
            Examples in a minibatch.
        eta
            η, the learning rate.
        lmbda
            λ, of the penalty λ/2n ‖w‖² in the cost; n is the number of training examples.
        evaluation_data
            Pairs for `monitor_evaluation_cost` and `monitor_evaluation_accuracy`, as in `training_data`.
        monitor_evaluation_cost, monitor_training_cost
            Whether to compute the costs after each epoch, as `total_cost` does.
        monitor_evaluation_accuracy, monitor_training_accuracy
            Whether to count the correct answers after each epoch, as `accuracy` does.
        test_data
            Pairs to test on after each epoch, which then prints the line of chapter 1: ``Epoch 0: 9129 / 10000``.

        Returns
        -------
        evaluation_cost, evaluation_accuracy, training_cost, training_accuracy
            Lists with a number for each epoch, empty unless requested. Accuracies are numbers of correct answers.

        Raises
        ------
        ArgumentError
            If an argument is wrong; nothing has changed then.
        xpnet.DivergenceError
            If costs or weights become infinite or NaN.
        """
        epochs, eta = parse_epochs(epochs), parse_rate("eta", eta)
        mini_batch_size = count("mini_batch_size", mini_batch_size, 1)
        _check_penalty(lmbda)
        of_training = (monitor_training_cost, monitor_training_accuracy)
        of_evaluation = (monitor_evaluation_cost, monitor_evaluation_accuracy)
        if evaluation_data is None and any(of_evaluation):
            name = "monitor_evaluation_cost" if monitor_evaluation_cost else "monitor_evaluation_accuracy"
            raise ArgumentError(f"{name}=True needs evaluation_data; give test_data or validation_data")
        train = _stack(training_data, "training_data", self.sizes)
        evaluation = None if evaluation_data is None else _stack(evaluation_data, "evaluation_data", self.sizes)
        test = None if test_data is None else _stack(test_data, "test_data", self.sizes)
        monitors = _make_monitors(train, evaluation, lmbda, (*of_training, *of_evaluation))
        reporter = _Reporter(self.net, test, [monitor for monitor in monitors if monitor is not None])
        self.net.train(
            train,
            epochs,
            mini_batch_size,
            eta,
            optimizer=SGD(weight_decay=lmbda / len(train[0])),
            callbacks=[reporter],
            progress=False,
        )
        values = [[] if monitor is None else monitor.values for monitor in monitors]
        return values[2], values[3], values[0], values[1]

    def update_mini_batch(
        self, mini_batch: Iterable[tuple[Any, Any]], eta: float, lmbda: float = 0.0, n: int | None = None
    ) -> None:
        """Take one step: w ← (1 − ηλ/n) w − η/m Σ ∂C/∂w and b ← b − η/m Σ ∂C/∂b, with the m examples of a minibatch.

        Parameters
        ----------
        mini_batch
            Pairs (x, y), as in `SGD`.
        eta
            η, the learning rate.
        lmbda
            λ, of the penalty λ/2n ‖w‖² in the cost; n is the number of training examples.
        n
            Number of training examples; only needed with `lmbda`.

        Raises
        ------
        ArgumentError
            If an argument is wrong; nothing has changed then.
        xpnet.DivergenceError
            If weights become infinite or NaN.

        Examples
        --------
        >>> net = FirstNetwork([2, 1], seed=0)
        >>> pair = (np.array([[0.5], [1.0]]), np.array([[1.0]]))
        >>> before = net.total_cost([pair], 0.0)
        >>> net.update_mini_batch([pair], 3.0)
        >>> net.total_cost([pair], 0.0) < before
        True
        """
        _check_penalty(lmbda)
        if lmbda and n is None:
            raise ArgumentError(f"lmbda={lmbda!r} needs n, the number of training examples; give n=len(training_data)")
        decay = lmbda / count("n", n, 1) if lmbda else 0.0
        before = self.net.w
        self.net.minibatch_update(_stack(mini_batch, "mini_batch", self.sizes), parse_rate("eta", eta))
        if decay:
            with self.net.backend.scope(self.net.dtype):
                self.net.w = [w - eta * decay * old for w, old in zip(self.net.w, before)]

    def accuracy(self, data: Iterable[tuple[Any, Any]], convert: bool = False) -> int:
        """Count the pairs (x, y) for which the largest output is that of the class y.

        y is a column (n_out, 1) or a class number. The book's program needs `convert` to tell which; here it has no
        effect, because the shapes differ.
        """
        return _count_correct(self.net, _stack(data, "data", self.sizes))

    def evaluate(self, test_data: Iterable[tuple[Any, Any]]) -> int:
        """Count the correct answers: the name of `accuracy` in chapter 1."""
        return self.accuracy(test_data)

    def total_cost(self, data: Iterable[tuple[Any, Any]], lmbda: float, convert: bool = False) -> float:
        """Compute the mean cost of pairs (x, y), plus the penalty λ/2n ‖w‖².

        As in the book, n is the number of these pairs, so the penalty depends on the size of the data set. `convert`
        has no effect, as in `accuracy`.
        """
        _check_penalty(lmbda)
        return _total_cost(self.net, _stack(data, "data", self.sizes), lmbda)

    def save(self, filename: str | os.PathLike[str]) -> None:
        """Write the network to a file of network2.py; see `xpnet.learn.network2.save`."""
        network2.save(self.net, filename)

    def _to_numpy(self, array: Any) -> np.ndarray:
        with self.net.backend.scope(self.net.dtype):
            return np.array(self.net.backend.to_numpy(array))

    def __repr__(self) -> str:
        return f"Network({self.sizes}, cost={self.cost.__name__})"


class FirstNetwork(Network):
    """The network of the book's network.py, chapter 1: quadratic cost, and weights and biases from N(0, 1).

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    backend, device, dtype, seed
        As in `Network`.

    Examples
    --------
    The book's first call, for fewer epochs and images:

    >>> training_data, validation_data, test_data = load_data_wrapper("mnist-sample")
    >>> net = FirstNetwork([784, 30, 10], seed=0)
    >>> _ = net.SGD(training_data, 2, 10, 3.0, test_data=test_data)  # doctest: +ELLIPSIS
    Epoch 0: ... / 1000
    Epoch 1: ... / 1000
    """

    def __init__(
        self,
        sizes: Iterable[int],
        *,
        backend: Any = None,
        device: Any = None,
        dtype: Any = "float64",
        seed: int | None = None,
    ) -> None:
        super().__init__(sizes, QuadraticCost, backend=backend, device=device, dtype=dtype, seed=seed)
        self.large_weight_initializer()

    def cost_derivative(self, output_activations: Any, y: Any) -> np.ndarray:
        """Compute ∇ₐC = a − y of an output (n_out, 1) with its target (n_out, 1)."""
        return quadratic.gradient(*_transpose(output_activations, y), np).T  # type: ignore


def load(
    filename: str | os.PathLike[str],
    *,
    backend: Any = None,
    device: Any = None,
    dtype: Any = "float64",
    seed: int | None = None,
) -> Network:
    """Read a network from a file that the book's network2.py or `Network.save` wrote.

    Parameters
    ----------
    filename
        The file.
    backend, device, dtype, seed
        As in `Network`.

    Raises
    ------
    xpnet.CheckpointError
        If the file does not hold such a network.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> net = Network([2, 3, 1], seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(f"{folder}/network")
    ...     again = load(f"{folder}/network")
    >>> bool((again.weights[0] == net.weights[0]).all())
    True
    """
    network = object.__new__(Network)
    network.net = network2.load(filename, backend=backend, device=device, dtype=dtype, seed=seed)
    return network


class _Monitor:
    """A quantity to compute after each epoch: the cost if λ is given, otherwise the number of correct answers."""

    def __init__(self, title: str, data: Any, lmbda: float | None = None) -> None:
        self.title, self.data, self.lmbda = title, data, lmbda
        self.values: list[Any] = []

    def measure(self, net: networks.Network) -> str:
        """Append the value of this epoch, and format it as a line."""
        if self.lmbda is not None:
            self.values.append(_total_cost(net, self.data, self.lmbda))
            return f"{self.title}: {self.values[-1]}"
        self.values.append(_count_correct(net, self.data))
        return f"{self.title}: {self.values[-1]} / {len(self.data[0])}"


def _make_monitors(train: Any, evaluation: Any, lmbda: float, wanted: Sequence[bool]) -> list[_Monitor | None]:
    """Make a monitor for each quantity that is wanted, in the order in which they are printed; None for the others."""
    kinds = [
        ("Cost on training data", train, lmbda),
        ("Accuracy on training data", train, None),
        ("Cost on evaluation data", evaluation, lmbda),
        ("Accuracy on evaluation data", evaluation, None),
    ]
    return [_Monitor(*kind) if is_wanted else None for kind, is_wanted in zip(kinds, wanted)]


class _Reporter(Callback):
    """Prints the lines of an epoch."""

    def __init__(self, net: networks.Network, test: Any, monitors: list[_Monitor]) -> None:
        self.net, self.test, self.monitors = net, test, monitors

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Print what is monitored; epochs are counted from 0, as in the book."""
        epoch = logs["epoch"] - 1
        if self.test is None:
            print(f"Epoch {epoch} training complete")
        else:
            print(f"Epoch {epoch}: {_count_correct(self.net, self.test)} / {len(self.test[0])}")
        for monitor in self.monitors:
            print(monitor.measure(self.net))
        if self.test is None or self.monitors:
            print()


def _transpose(*columns: Any) -> tuple[np.ndarray, ...]:
    """Turn columns (n_out, 1) into the rows (1, n_out) that functions of `core` take."""
    return tuple(np.asarray(column, dtype=np.float64).T for column in columns)


def _output_delta(cost: Cost, z: Any, a: Any, y: Any) -> np.ndarray:
    z, a, y = _transpose(z, a, y)
    return np.asarray(cost.combine(sigmoid).delta(z, a, y, np)).T


def _times_log(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Compute p ln q, and 0 where p is 0."""
    with np.errstate(divide="ignore"):
        return np.multiply(p, np.log(q), where=p != 0, out=np.zeros_like(p))


def _check_penalty(lmbda: Any) -> None:
    in_range("lmbda", lmbda, 0, math.inf, "0 turns the penalty off")


def _total_cost(net: networks.Network, data: tuple[np.ndarray, np.ndarray], lmbda: float) -> float:
    with net.backend.scope(net.dtype):
        squares = sum(float((net.backend.to_numpy(w).astype(np.float64) ** 2).sum()) for w in net.w)
    return net.cost(data) + 0.5 * lmbda / len(data[0]) * squares


def _count_correct(net: networks.Network, data: tuple[np.ndarray, np.ndarray]) -> int:
    x, y = data
    return net.evaluate((x, y.argmax(axis=1) if y.ndim == 2 and y.shape[1] > 1 else y))


def _stack(pairs: Iterable[tuple[Any, Any]], name: str, sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Stack pairs of columns as rows: inputs (n, n_in), and targets (n, n_out) or classes (n,)."""
    try:
        xs, ys = zip(*pairs, strict=True)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"{name} must be a list of at least one pair (x, y), like those of load_data_wrapper ({error})"
        ) from error
    x, y = _to_rows(xs, f"x of {name}", sizes[0]), ys
    if all(np.ndim(target) == 0 for target in y):
        return x, np.array(y)
    return x, _to_rows(y, f"y of {name}", sizes[-1])


def _to_rows(columns: Iterable[Any], name: str, n: int) -> np.ndarray:
    """Stack columns (n, 1), or vectors (n,), as rows."""
    arrays = [np.asarray(column) for column in columns]
    for i, array in enumerate(arrays):
        if array.shape not in ((n, 1), (n,)):
            raise ArgumentError(f"{name}[{i}] has shape {array.shape}, but must have {(n, 1)}, to match sizes")
    return np.stack(arrays).reshape(len(arrays), n)
