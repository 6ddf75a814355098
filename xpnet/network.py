"""Network: the object people hold. It checks what comes in, keeps the state, and calls the mathematics."""

import copy
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from xpnet import arguments, checkpoint, training
from xpnet.activations import ACTIVATIONS
from xpnet.arrays import Array, Layer, Layers, map_arrays
from xpnet.backends import get_backend
from xpnet.backprop import Spec, State, backward, forward, make_step
from xpnet.callbacks import Callback, History, Progress, Test
from xpnet.costs import COSTS
from xpnet.data import SAMPLING, Chunk, Kept, Reader, Source, in_order, numbers
from xpnet.errors import CheckpointError
from xpnet.initializers import INITIALIZERS, default
from xpnet.optimizers import SGD, Optimizer
from xpnet.schedules import Constant, Schedule

P = ParamSpec("P")
T = TypeVar("T")


def _computes(method: Callable[Concatenate["Network", P], T]) -> Callable[Concatenate["Network", P], T]:
    """Enter the backend's settings around a method that computes."""

    @functools.wraps(method)
    def entered(self: "Network", *args: P.args, **kwargs: P.kwargs) -> T:
        with self.backend.scope(self.dtype):
            return method(self, *args, **kwargs)

    return entered


class Network:
    """A feed-forward neural network.

    With nothing but sizes it is the network of the book: sigmoid neurons and the quadratic cost.

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    activation
        Activation of the hidden layers, or a list with one for each: "sigmoid", "tanh", "relu", "identity", "softmax".
    output_activation
        Activation of the output layer, "sigmoid" unless given.
    cost
        "quadratic" unless given, or "cross_entropy" (binary with a sigmoid output, categorical with softmax).
    task
        Sets output activation and cost together: "classification" (softmax, cross-entropy), "binary" or "multilabel"
        (sigmoid, cross-entropy), "regression" (identity, quadratic).
    init
        Initial weights: "normal", "scaled_normal" or "he". Unless given, "he" for a ReLU layer, else "scaled_normal".
    backend
        "numpy", "cupy", "torch", "jax", or an Array API namespace module.
    device
        "cpu", "cuda", "cuda:1", "auto", or a device in the library's own terms; see `xpnet.get_backend`.
    dtype
        "float32" or "float64": of the weights and of all that is computed.
    seed
        Seed of the network's own generator: equal seeds give equal initial weights and minibatches on every backend.

    Attributes
    ----------
    num_layers : int
        Number of layers, the input included.
    sizes : list of int
        Number of units of each.
    task : str
        As given, or what output activation and size stand for.
    backend : Backend
        Where the network computes.
    history : History
        Of the last call to `train`.

    Raises
    ------
    ValueError
        If an argument is wrong, or two contradict each other; the message names it, and the choices.
    BackendError
        If the backend or device cannot be had; it says why, and what to do.

    Examples
    --------
    Exclusive or, with two hidden units:

    >>> net = Network([2, 2, 1], activation="tanh", task="binary", seed=1)
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.train((x, y), epochs=400, batch_size=4, lr=1.0, progress=False)
    >>> net.predict(x)
    array([0, 1, 1, 0])
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "sigmoid",
        output_activation: str | None = None,
        cost: str | None = None,
        task: str | None = None,
        init: str | None = None,
        backend: Any = None,
        device: Any = None,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        self.sizes = arguments.sizes(sizes)
        self.num_layers = len(self.sizes)
        self.activation = arguments.hidden(activation, self.num_layers - 2)
        named = arguments.output(output_activation, cost, task, self.sizes[-1])
        self.output_activation, self.cost_name, self.task = named
        self._asked_task = task
        self._sigmas = tuple(ACTIVATIONS[name] for name in (*self.activation, self.output_activation))
        self._output = COSTS[self.cost_name].of(self._sigmas[-1])
        self.dtype = arguments.dtype(dtype)
        initializer = None if init is None else arguments.lookup("init", init, INITIALIZERS)
        self.rng = arguments.generator(seed)
        drawn = [
            (initializer or default(sigma.name))(self.rng, n_in, n_out)
            for n_in, n_out, sigma in zip(self.sizes, self.sizes[1:], self._sigmas)
        ]
        self.backend = get_backend(backend, device)
        self.optimizer: Optimizer = SGD()
        self.history = History()
        self._start(drawn)

    def __repr__(self) -> str:
        hidden = dict.fromkeys(self.activation)
        shown = {
            "activation": (self.activation[0] if len(hidden) == 1 else self.activation) if hidden else None,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "backend": self.backend.name,
            "device": self.backend.device_name,
            "dtype": self.dtype,
        }
        return f"Network({self.sizes}, {', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"

    # Looking at it and changing it

    @property
    def layers(self) -> list[Layer]:
        """Copies of the weights (n_out, n_in) and biases (n_out,) of each layer, on the device; assignable.

        Examples
        --------
        >>> net = Network([3, 2])
        >>> net.layers = [([[1, 2, 3], [4, 5, 6]], [7, 8])]
        >>> net.forward([0, 0, 0]) > 0.999
        array([ True,  True])
        """
        return [Layer(w, b) for w, b in zip(self.w, self.b)]

    @layers.setter
    def layers(self, layers: Sequence[tuple[Any, Any]]) -> None:
        if not isinstance(layers, (tuple, list)) or not all(
            isinstance(layer, (tuple, list)) and len(layer) == 2 for layer in layers
        ):
            raise TypeError("layers must be a list of pairs (w, b)")
        self._assign(self._check("w", [w for w, _ in layers]), self._check("b", [b for _, b in layers]))

    @property
    def w(self) -> list[Array]:
        """Copies of the weights of each layer, (n_out, n_in), on the device; assign a whole list to change them."""
        return self._copies(0, lambda w: w)

    @w.setter
    def w(self, weights: Sequence[Any]) -> None:
        self._assign(self._check("w", weights), [b for _, b in self.state.layers])

    @property
    def b(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), on the device; columns (n_out, 1) can be assigned too."""
        return self._copies(1, lambda b: b[0, ...])

    @b.setter
    def b(self, biases: Sequence[Any]) -> None:
        self._assign([w for w, _ in self.state.layers], self._check("b", biases))

    def copy(self) -> "Network":
        """Return an independent copy: weights, state of optimizer and generator, history."""
        return self.to(self.backend)

    def to(self, backend: Any = None, device: Any = None) -> "Network":
        """Return a copy of everything on another backend or device.

        With `device` alone, a PyTorch or JAX network stays with its library; a NumPy or CuPy network goes by the
        table of `xpnet.get_backend`.

        Examples
        --------
        >>> Network([3, 2], seed=0).to("numpy")
        Network([3, 2], output_activation='sigmoid', cost='quadratic', backend='numpy', device='cpu', dtype='float32')
        """
        if backend is None and device is None:
            backend = self.backend
        if backend is None and self.backend.name not in ("numpy", "cupy"):
            backend = self.backend.name if self.backend.name in ("torch", "jax") else self.backend.xp
        new = copy.copy(self)
        new.backend = get_backend(backend, device)
        new.rng, new.history = copy.deepcopy(self.rng), copy.deepcopy(self.history)
        new.sizes, new.activation = list(self.sizes), list(self.activation)
        with self.backend.scope(self.dtype):
            arrays = map_arrays(self.backend.to_numpy, self.state)
        with new.backend.scope(self.dtype):
            new.state = map_arrays(lambda x: new.backend.own(new.backend.asarray(x, self.dtype)), arrays)
        return new

    @_computes
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings and weights to a safetensors file; `load` reads it, on any backend."""
        settings = {
            "sizes": self.sizes,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "task": self._asked_task,
            "dtype": self.dtype,
        }
        to_numpy = self.backend.to_numpy
        checkpoint.write(path, settings, [(to_numpy(w), to_numpy(b)[0]) for w, b in self.state.layers])

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, backend: Any = None, device: Any = None) -> "Network":
        """Read a network that `save` wrote, onto any backend and device.

        Raises
        ------
        CheckpointError
            If the file does not hold one.
        OSError
            If it cannot be read.
        """
        settings, layers = checkpoint.read(path)
        place = get_backend(backend, device)
        try:
            net = cls(**settings, backend=place)
            net.layers = layers
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"{path} holds a network that cannot be: {error}") from error
        return net

    # Computing

    @_computes
    def forward(self, x: Any) -> Array:
        """Output of the network.

        Parameters
        ----------
        x
            One example (n_in,), or a row an example, (m, n_in).

        Returns
        -------
        array
            Outputs (n_out,), or (m, n_out), on the device.

        Examples
        --------
        >>> Network([3, 2], seed=0).forward([[1, 2, 3], [4, 5, 6]]).shape
        (2, 2)
        """
        x, single = self._rows(x)
        outputs = self._forward(x)
        return outputs[0, ...] if single else outputs

    @_computes
    def backward(self, x: Any, y: Any) -> list[Layer]:
        """Gradient of the mean cost over examples, by backpropagation (the book, chapter 2, BP1 to BP4).

        Parameters
        ----------
        x
            One example (n_in,), or a row an example, (m, n_in).
        y
            Their targets: classes, or rows (n_out,) or (m, n_out).

        Returns
        -------
        list of Layer
            ∂C/∂w (n_out, n_in) and ∂C/∂b (n_out,) of each layer, on the device.

        Examples
        --------
        With w = 0 and b = 0 the output is ½, so δ = (½ − 1) ½ (1 − ½) = −⅛, and ∂C/∂w = δ x:

        >>> net = Network([2, 1])
        >>> net.layers = [([[0, 0]], [0])]
        >>> net.backward([8, 16], [1])
        [Layer(w=array([[-1., -2.]], dtype=float32), b=array([-0.125], dtype=float32))]
        """
        rows, single = self._rows(x)
        y = numbers(y, "y of the batch")
        examples = self._reader().examples(rows, y[None, ...] if single and self._is_one(y) else y, "the batch")
        zs, activations = forward(self.state.layers, self._sigmas, examples.x, self.backend.xp)
        grads = backward(self.state.layers, self._sigmas, self._output, zs, activations, examples.y, self.backend.xp)
        return [Layer(gw, gb[0, ...]) for gw, gb in grads]

    @_computes
    def minibatch_update(self, batch: Any, lr: float) -> None:
        """One step of plain gradient descent on one minibatch: w ← w − η ∂C/∂w, of the mean over its examples.

        Parameters
        ----------
        batch
            A list of (x, y) pairs, or a tuple (X, y) of arrays.
        lr
            η, the learning rate.

        Raises
        ------
        DivergenceError
            If the new weights are not finite; the old ones stay.
        """
        lr = arguments.rate("lr", lr)
        source = self._reader().source(batch, "batch")
        if not isinstance(source, Kept):
            raise TypeError("batch is an iterable of batches; give one of them, a list of (x, y) pairs or (X, y)")
        examples, plain = source.examples, SGD()
        state = self.state._replace(optimizer=plain.init(self.state.layers, self._number))
        chunk = Chunk(examples, in_order((1, examples.x.shape[0])))
        new = training.run(
            self.backend, self.dtype, self._step(plain), state, chunk, np.array([lr]), "in a minibatch update"
        )
        self.state = self.state._replace(layers=new.layers)

    @_computes
    def train(
        self,
        train_data: Any,
        epochs: int = 20,
        batch_size: int = 30,
        lr: float | Schedule | None = 0.01,
        test_data: Any = None,
        *,
        optimizer: Optimizer | None = None,
        sampling: str = "shuffle",
        steps: int | None = None,
        cache: bool = True,
        progress: bool = True,
    ) -> History:
        """Train by stochastic gradient descent.

        Parameters
        ----------
        train_data
            A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set (torch's, torchvision's), read
            once and kept on the device; or an iterable of batches (a DataLoader), which has its own batch size.
        epochs
            How often to go through it.
        batch_size
            Examples in a minibatch; the last of an epoch holds what is left.
        lr
            Learning rate η, or a schedule: a function of (step, total steps of this call). None is the optimizer's own.
        test_data
            Any source that has an end. Each epoch writes a line on how many of it are classified correctly.
        optimizer
            `SGD` with its options. An optimizer equal to that of the last call goes on with its state (the velocity of
            momentum); another starts anew.
        sampling
            "shuffle": every example once an epoch; "replacement": n // batch_size minibatches drawn from all.
        steps
            Minibatches an epoch, for an iterable of batches; one without an end needs it.
        cache
            False reads a data set again each epoch, for random transforms.
        progress
            Whether to show a bar on standard error, and the lines on standard output.

        Returns
        -------
        History
            What each epoch was like; also in `history`, as far as training came.

        Raises
        ------
        ValueError, TypeError
            If an argument is wrong; nothing has changed then.
        DivergenceError
            If cost or weights become infinite or NaN. The network is then as it was some steps before, and so it is
            when an exception or Ctrl-C ends training.

        Examples
        --------
        >>> from xpnet.datasets import mnist_sample
        >>> train_data, test_data = mnist_sample()
        >>> net = Network([784, 30, 10], seed=0)
        >>> history = net.train(train_data, epochs=5, batch_size=10, lr=3.0, progress=False)
        >>> net.accuracy(test_data) > 0.85
        True
        """
        epochs, batch_size = arguments.count("epochs", epochs, 0), arguments.count("batch_size", batch_size, 1)
        steps = None if steps is None else arguments.count("steps", steps, 1)
        optimizer = arguments.optimizer(optimizer)
        schedule = arguments.schedule(optimizer.default_lr if lr is None else lr)
        drawn = arguments.lookup("sampling", sampling, SAMPLING)
        reader = self._reader()
        test = None if test_data is None else reader.source(test_data, "test_data", epochs=epochs, progress=progress)
        source = reader.source(train_data, "train_data", epochs=epochs, steps=steps, cache=cache, progress=progress)
        if source.steps(drawn, batch_size) is None and not isinstance(schedule, Constant):
            raise ValueError(
                "lr is a schedule, which needs the number of steps, and train_data has no length; give steps"
            )
        total = epochs * (source.steps(drawn, batch_size) or 0)
        training.rates(schedule, range(min(1, total)), total)  # a look, before anything is changed

        callbacks: list[Callback] = [] if test is None else [Test(functools.partial(self._test, test))]
        history = History()
        callbacks += [history, Progress()] if progress else [history]
        if optimizer != self.optimizer:
            self.reset_optimizer(optimizer)
        self.history = history
        training.train(
            self,
            self._step(optimizer),
            source,
            epochs=epochs,
            batch_size=batch_size,
            schedule=schedule,
            sampling=drawn,
            callbacks=callbacks,
        )
        return history

    @_computes
    def reset_optimizer(self, optimizer: Optimizer | None = None) -> None:
        """Forget the optimizer's state (the velocity of momentum), and take up another optimizer if one is given."""
        optimizer = self.optimizer if optimizer is None else arguments.optimizer(optimizer)
        self.state = self.state._replace(optimizer=optimizer.init(self.state.layers, self._number))
        self.optimizer = optimizer

    @_computes
    def predict(self, x: Any) -> Array:
        """Predict classes, or values for a regression.

        Parameters
        ----------
        x
            One example (n_in,), or a row an example, (m, n_in).

        Returns
        -------
        array
            By `task`: "classification" and "binary" give classes (m,), 0 or 1 for the latter; "multilabel" 0 or 1 for
            each label, (m, n_out); "regression" the outputs, (m, n_out). One example has no axis m.
        """
        x, single = self._rows(x)
        xp, a = self.backend.xp, self._forward(x)
        if self.task == "classification":
            a = xp.argmax(a, axis=-1)
        elif self.task != "regression":
            a = xp.astype(a > 0.5, xp.__array_namespace_info__().default_dtypes()["integral"])
            a = a[:, 0] if self.task == "binary" else a
        return a[0, ...] if single else a

    def predict_proba(self, x: Any) -> Array:
        """Outputs of a classifier as probabilities, (n_out,) or (m, n_out): of each class, or of 1 for a sigmoid.

        Raises
        ------
        ValueError
            For a regression, which has none.
        """
        self._need_classes("predict_proba")
        return self.forward(x)

    @_computes
    def evaluate(self, data: Any) -> int:
        """Count the examples that are classified correctly. Synchronizes.

        An example is, if its largest output is that of its class; with one output, or several labels, if each output is
        on the same side of ½ as its target.

        Parameters
        ----------
        data
            Any source that has an end.
        """
        return self._evaluate(self._reader().source(data, "data"))[0]

    @_computes
    def accuracy(self, data: Any) -> float:
        """Share of the examples that are classified correctly, from 0 to 1. Synchronizes."""
        correct, n = self._evaluate(self._reader().source(data, "data"))
        return correct / n

    @_computes
    def cost(self, data: Any) -> float:
        """Mean cost over the examples of any source, without weight decay. Synchronizes."""
        return self._cost(self._reader().source(data, "data"))

    # Inside

    def _forward(self, x: Array) -> Array:
        return forward(self.state.layers, self._sigmas, x, self.backend.xp)[1][-1]

    def _step(self, optimizer: Optimizer) -> Callable[..., State]:
        return make_step(Spec(self._sigmas, self._output, optimizer.update), self.backend.xp)

    def _reader(self) -> Reader:
        return Reader(self.backend, self.dtype, self.sizes[0], self.sizes[-1], self._sigmas[-1])

    def _rows(self, x: Any) -> tuple[Array, bool]:
        """Inputs as rows on the device, and whether they were a single example."""
        x = numbers(x, "x")
        single = x.ndim == 1 and x.shape[0] == self.sizes[0]
        return self._reader().inputs(x[None, :] if single else x, "x"), single

    def _is_one(self, y: Array) -> bool:
        """Whether `y` is the target of a single example, and not that of a batch of one."""
        return y.ndim == 0 or (y.ndim == 1 and y.shape[0] == self.sizes[-1])

    def _width(self) -> int:
        """How many numbers a forward pass makes and keeps of an example."""
        return 2 * sum(self.sizes)

    def _number(self, value: float) -> Array:
        return self.backend.asarray(np.asarray(value), self.dtype)

    def _test(self, source: Source) -> dict[str, Any]:
        if self.task == "regression":
            return {"test_cost": self._cost(source)}
        correct, n = self._evaluate(source)
        return {"test_correct": correct, "test_size": n, "test_accuracy": correct / n}

    def _evaluate(self, source: Source) -> tuple[int, int]:
        self._need_classes("the number classified correctly")
        xp, counts, n = self.backend.xp, [], 0
        for x, y in source.blocks(self._width()):
            a = self._forward(x)
            if self.task == "classification":
                hits = xp.argmax(a, axis=-1) == xp.argmax(y, axis=-1)
            else:
                hits = xp.all((a > 0.5) == (y > 0.5), axis=-1)
            counts.append(xp.count_nonzero(hits))
            n += x.shape[0]
        return sum(int(each) for each in counts), n

    def _cost(self, source: Source) -> float:
        xp, sums, n = self.backend.xp, [], 0
        for x, y in source.blocks(self._width()):
            zs, activations = forward(self.state.layers, self._sigmas, x, xp)
            sums.append(xp.sum(self._output.value(zs[-1], activations[-1], y, xp)))
            n += x.shape[0]
        return sum(float(each) for each in sums) / n

    def _need_classes(self, what: str) -> None:
        if self.task == "regression":
            raise ValueError(
                f'{what} needs classes, and a network with task="regression" (the {self.output_activation} output) has '
                "none; use predict or cost"
            )

    def _copies(self, which: int, form: Callable[[Array], Array]) -> list[Array]:
        with self.backend.scope(self.dtype):
            return [self.backend.xp.asarray(form(layer[which]), copy=True) for layer in self.state.layers]

    def _check(self, name: str, arrays: Sequence[Any]) -> list[Array]:
        """Check weights or biases that come from outside, and copy them to the device."""
        shapes = [(m, n) if name == "w" else (1, m) for n, m in zip(self.sizes, self.sizes[1:])]
        if not isinstance(arrays, (tuple, list)):
            raise TypeError(f"{name} must be a list of {len(shapes)} arrays, not a {type(arrays).__name__}")
        if len(arrays) != len(shapes):
            raise ValueError(f"{name} has {len(arrays)} arrays, but the network has {len(shapes)} layers of weights")
        checked = []
        with self.backend.scope(self.dtype):
            for l, (array, shape) in enumerate(zip(arrays, shapes)):
                label = f"{name}[{l}]"
                x = numbers(array, label)
                wanted = shape if name == "w" else shape[1:]
                if tuple(x.shape) not in ({wanted} if name == "w" else {wanted, shape, shape[::-1]}):
                    raise ValueError(f"{label} has shape {tuple(x.shape)}, but must have {wanted}")
                x = self.backend.asarray(x, self.dtype, label)
                if not self.backend.all_finite([x]):
                    raise ValueError(f"{label} holds NaN or infinity")
                checked.append(self.backend.own(self.backend.xp.reshape(x, shape)))
        return checked

    def _assign(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self.state = self.state._replace(layers=tuple(zip(weights, biases)))

    def _start(self, drawn: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Make the first state of weights and biases on the host."""
        with self.backend.scope(self.dtype):
            layers: Layers = tuple((self._own(w), self._own(b[None, :])) for w, b in drawn)
            cost = self._own(np.zeros(1))
            self.state = State(layers, self.optimizer.init(layers, self._number), cost)

    def _own(self, x: np.ndarray) -> Array:
        return self.backend.own(self.backend.asarray(x, self.dtype))
