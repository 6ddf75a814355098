"""Network: the object people hold. It checks what comes in, keeps the state, and calls the mathematics."""

import copy
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np

from xpnet import arguments, checkpoint, evaluation, inspection, parameters, prediction, preparation, threads, training
from xpnet.activations import Activation
from xpnet.arrays import Array, Layer, map_arrays
from xpnet.backends import get_backend
from xpnet.backprop import Spec, State, backward, forward, make_step
from xpnet.callbacks import Callback, History, Progress
from xpnet.costs import Cost
from xpnet.data import SAMPLING, Chunk, Kept, Reader, in_order, numbers
from xpnet.dropout import Dropout, Seeds, start
from xpnet.errors import count, yes_or_no
from xpnet.examples import Examples, decoded
from xpnet.initializers import Initializer, default
from xpnet.metrics import predictions
from xpnet.optimizers import SGD, Optimizer
from xpnet.scaling import Scaling
from xpnet.schedules import Schedule

P = ParamSpec("P")
T = TypeVar("T")


def _computes(method: Callable[Concatenate["Network", P], T]) -> Callable[Concatenate["Network", P], T]:
    """Enter the backend's settings around a method that computes."""

    @functools.wraps(method)
    def entered(self: "Network", *args: P.args, **kwargs: P.kwargs) -> T:
        with self.backend.scope(self.dtype):
            return method(self, *args, **kwargs)

    return entered


class Network(parameters.Fixed):
    """A feed-forward neural network.

    With nothing but sizes it is the network of the book: sigmoid neurons and the quadratic cost.

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    activation
        Activation of the hidden layers, or a list with one for each: "sigmoid", "tanh", "relu", "identity", "softmax",
        "leaky_relu", "elu", "selu", "softplus", "silu", "gelu", "gelu_tanh", "exp", or an object of your own with the
        functions of `xpnet.activations.Activation`.
    output_activation
        Activation of the output layer, "sigmoid" unless given.
    cost
        "quadratic" unless given, "cross_entropy" (binary with a sigmoid output, categorical with softmax),
        "log_likelihood" (softmax), "huber", "absolute", "poisson" (exp), or an object of your own with the functions of
        `xpnet.costs.Cost`.
    task
        Sets output activation and cost where they are not given: "classification" (softmax, cross-entropy), "binary" or
        "multilabel" (sigmoid, cross-entropy), "regression" (identity, quadratic).
    init
        Initial weights: "normal", "scaled_normal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform",
        "lecun_normal", "orthogonal", "zeros", or a function (rng, n_in, n_out) -> (w, b). Unless given, "he_normal" for
        layers of ReLU and its relatives, "lecun_normal" for SELU and exp, else "scaled_normal".
    dropout
        Part in [0, 1) of the units of each hidden layer that every training step leaves out, or a list with the part of
        the inputs and of each hidden layer.
    scale
        What inputs are multiplied by, as 1/255 for pixels. Bytes (uint8) then stay bytes on the device, a quarter of
        the memory, and become numbers minibatch by minibatch.
    standardize
        Learn from the training data how to bring each input to mean 0 and standard deviation 1, and each target of a
        regression; kept in `scaling`, and applied to all that comes in and out from then on.
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
    sigmas : tuple of Activation
        The activation functions of all layers.
    output : Composed or Fused
        The cost, joined with the activation of the output layer.
    scaling : Scaling or None
        What `standardize` learnt in the first call to `train`; set it to None to have it learnt anew.
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
        activation: str | Activation | Sequence[str | Activation] = "sigmoid",
        output_activation: str | Activation | None = None,
        cost: str | Cost | None = None,
        task: str | None = None,
        init: str | Initializer | None = None,
        dropout: float | Sequence[float] = 0.0,
        scale: float | None = None,
        standardize: bool = False,
        backend: Any = None,
        device: Any = None,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        self.sizes = arguments.sizes(sizes)
        self.num_layers = len(self.sizes)
        hidden = arguments.hidden(activation, self.num_layers - 2)
        sigma, joined, self.task = arguments.output(output_activation, cost, task, self.sizes[-1])
        self.sigmas, self.output = (*hidden, sigma), joined.of(sigma)
        self.activation = [each.name for each in hidden]
        self.output_activation, self.cost_name = sigma.name, joined.name
        self.asked_task = task
        self.dropout = arguments.dropout(dropout, self.num_layers - 1)
        self.standardize = yes_or_no("standardize", standardize)
        self.scaling: Scaling | None = None
        self.dtype = arguments.dtype(dtype)
        self.scale = arguments.scale(scale, self.standardize, self.dtype)
        initializer = arguments.initializer(init)
        entropy = arguments.entropy(seed)
        self.rng = np.random.Generator(np.random.PCG64(entropy))
        self.seeds = Seeds(*(int(each.generate_state(1)[0]) for each in entropy.spawn(2)))
        drawn = [
            arguments.drawn(initializer or default(sigma.name), self.rng, n_in, n_out)
            for n_in, n_out, sigma in zip(self.sizes, self.sizes[1:], self.sigmas)
        ]
        self.backend = get_backend(backend, device)
        parameters.tried(self.backend, self.dtype, self.sigmas, joined, self.sizes)
        self.optimizer: Optimizer = SGD()
        self.history = History()
        with self.backend.scope(self.dtype):
            layers, cost = self.owned((tuple((w, b[None, :]) for w, b in drawn), np.zeros(1)))
            self.state = State(layers, self.optimizer.init(layers, self.number), cost, self.owned(self.masks()))

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
        weights, biases = parameters.pairs(layers)
        self._assign(parameters.checked(self, "w", weights), parameters.checked(self, "b", biases))

    @property
    def w(self) -> list[Array]:
        """Copies of the weights of each layer, (n_out, n_in), on the device; assign a whole list to change them."""
        with self.backend.scope(self.dtype):
            return [self.backend.xp.asarray(w, copy=True) for w, _ in self.state.layers]

    @w.setter
    def w(self, weights: Sequence[Any]) -> None:
        self._assign(parameters.checked(self, "w", weights), [b for _, b in self.state.layers])

    @property
    def b(self) -> list[Array]:
        """Copies of the biases of each layer, (n_out,), on the device; columns (n_out, 1) can be assigned too."""
        with self.backend.scope(self.dtype):
            return [self.backend.xp.asarray(b[0, ...], copy=True) for _, b in self.state.layers]

    @b.setter
    def b(self, biases: Sequence[Any]) -> None:
        self._assign([w for w, _ in self.state.layers], parameters.checked(self, "b", biases))

    def copy(self) -> "Network":
        """Return an independent copy: weights, state of optimizer and generator, history."""
        return self.to(self.backend)

    def to(self, backend: Any = None, device: Any = None, dtype: Any = None) -> "Network":
        """Return a copy of everything on another backend or device, or in another dtype.

        With `device` alone, a PyTorch or JAX network stays with its library; a NumPy or CuPy network goes by the
        table of `xpnet.get_backend`.

        Examples
        --------
        >>> Network([3, 2], seed=0).to("numpy", dtype="float64")
        Network([3, 2], output_activation='sigmoid', cost='quadratic', backend='numpy', device='cpu', dtype='float64')
        """
        if backend is None and device is None:
            backend = self.backend
        if backend is None and self.backend.name not in ("numpy", "cupy"):
            backend = self.backend.name if self.backend.name in ("torch", "jax") else self.backend.xp
        new = object.__new__(type(self))
        lists = {name: list(getattr(self, name)) for name in ("sizes", "activation", "dropout")}
        dtype = self.dtype if dtype is None else arguments.dtype(dtype)
        arguments.scale(self.scale, self.standardize, dtype)
        vars(new).update(vars(self) | lists, backend=get_backend(backend, device), dtype=dtype)
        new.rng, new.history = copy.deepcopy(self.rng), copy.deepcopy(self.history)
        with self.backend.scope(self.dtype):
            arrays = map_arrays(self.backend.to_numpy, (self.state, self.scaling))
        with new.backend.scope(new.dtype):
            new.state, new.scaling = new.owned(arrays)
        if dtype != self.dtype:
            new.state = parameters.renumbered(new)
        return new

    @_computes
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that `load` and further training need to a safetensors file, for any backend.

        That is settings and weights, the optimizer and its state, the state of the generator and of dropout, and what
        `standardize` learnt; not the history. `reset_optimizer` beforehand makes the file smaller.
        """
        checkpoint.save(self, path)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, backend: Any = None, device: Any = None, custom: Iterable[Any] = ()
    ) -> "Network":
        """Read a network that `save` wrote, onto any backend and device; it trains on as the saved one would have.

        Parameters
        ----------
        path
            The file.
        backend, device
            Where it is to compute.
        custom
            Activations and costs of your own that it was made with; the file holds their names only.

        Raises
        ------
        CheckpointError
            If the file does not hold a network.
        OSError
            If it cannot be read.
        """
        return checkpoint.load(cls, path, get_backend(backend, device), custom)

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
        return prediction.outputs(self, x)

    @_computes
    def backward(self, x: Any, y: Any) -> list[Layer]:
        """Gradient of the mean cost over examples, by backpropagation (the book, chapter 2, BP1 to BP4).

        It is that of the data alone: no weight decay, no dropout.

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
        (x, y, *_), _ = self.examples(x, y)
        zs, activations = forward(self.state.layers, self.sigmas, x, self.backend.xp)
        grads = backward(self.state.layers, self.sigmas, self.output, zs, activations, y, self.backend.xp)
        return [Layer(gw, gb[0, ...]) for gw, gb in grads]

    @_computes
    def minibatch_update(self, batch: Any, lr: float) -> None:
        """One step of plain gradient descent on one minibatch: w ← w − η ∂C/∂w, with what `backward` returns.

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
        source = self.reader().source(batch, "batch")
        if not isinstance(source, Kept):
            raise TypeError("batch is an iterable of batches; give one of them, a list of (x, y) pairs or (X, y)")
        plain = SGD()
        state = State(self.state.layers, plain.init(self.state.layers, self.number), self.state.cost)
        chunk = Chunk(source.examples, in_order((1, source.examples.x.shape[0])))
        new, _ = training.advance(
            self.backend, self.dtype, self.step(plain), state, chunk, np.array([lr]), "in a minibatch update"
        )
        self.state = self.state._replace(layers=new.layers)

    @_computes
    def train(
        self,
        train_data: Any,
        epochs: int = 20,
        batch_size: int = 30,
        lr: float | Schedule | None = None,
        test_data: Any = None,
        *,
        optimizer: Optimizer | None = None,
        sampling: str = "shuffle",
        validation_data: Any = None,
        validation_split: float | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[Any] = (),
        training_metrics: Sequence[Any] = (),
        steps: int | None = None,
        cache: bool = True,
        blas_threads: int | None = None,
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
            Learning rate η, or a schedule: a function of (step, total steps of this call). Unless given, it is the
            optimizer's own: 0.01 for `SGD`, 0.001 for `Adam`, `AdamW` and `RMSProp`.
        test_data
            Any source that has an end, to be reported on: each epoch writes a line on how many of it are classified
            correctly.
        optimizer
            `SGD`, `Adam`, `AdamW` or `RMSProp` with their options, and what can be put around them: `L1`, `Clip`,
            `MaxNorm`. Unless given, it is that of the last call; at first, plain `SGD`. An equal one goes on with its
            state (the velocity of momentum), another starts anew.
        sampling
            "shuffle": every example once an epoch; "replacement": n // batch_size minibatches drawn from all.
        validation_data
            Any source that has an end, to be watched: each epoch computes its cost and metrics.
        validation_split
            Part of the training data in (0, 1) to validate on instead; drawn by the network's seed, the same in every
            call, with equal parts of each class (needs scikit-learn).
        sample_weight
            How much each example counts, (n,), at least 0. The cost of a minibatch is the weighted mean.
        class_weight
            How much the examples of each class count, {class: number}, 1 for those left out; or "balanced", for classes
            that count the same all together.
        callbacks
            Objects that watch and steer: `EarlyStopping`, `ModelCheckpoint`, `ReduceLROnPlateau`, `CSVLog`,
            `TensorBoard`, or your own `Callback`.
        metrics
            What to compute on validation and test data after each epoch: "accuracy", "top_3" (any number),
            "mean_absolute_error", "mean_squared_error", "r2", a function (y_true, y_pred) -> number, or a
            `xpnet.metrics.Metric`.
        training_metrics
            The same on the training data.
        steps
            Minibatches an epoch, for an iterable of batches; one without an end needs it.
        cache
            False reads a data set again each epoch, for random transforms.
        blas_threads
            How many threads multiply matrices while this call trains, in the whole process (NumPy and PyTorch; needs
            threadpoolctl). Unless given, as many as there were.
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
        epochs, batch_size = arguments.epochs(epochs), count("batch_size", batch_size, 1)
        steps = None if steps is None else count("steps", steps, 1)
        optimizer = self.optimizer if optimizer is None else arguments.optimizer(optimizer)
        schedule = arguments.schedule(optimizer.default_lr if lr is None else lr)
        drawn = arguments.lookup("sampling", sampling, SAMPLING)
        watched = arguments.callbacks(callbacks)
        wanted = arguments.metrics("metrics", metrics, self.task, self.sizes[-1])
        on_training = arguments.metrics("training_metrics", training_metrics, self.task, self.sizes[-1])
        sources = preparation.prepare(
            self,
            train_data,
            validation_data,
            test_data,
            validation_split=validation_split,
            sample_weight=sample_weight,
            class_weight=class_weight,
            epochs=epochs,
            steps=steps,
            cache=cache,
            progress=progress,
        )
        evaluations = evaluation.callbacks(self, sources, wanted, on_training)
        everyone = [*evaluations, *watched, *([Progress()] if progress else [])]
        plan = training.Plan(epochs, batch_size, optimizer, schedule, drawn, sources.scaling)
        with threads.limited(self.backend, blas_threads):
            training.train(self, plan, sources.train, everyone)
        return self.history

    @_computes
    def reset_optimizer(self, optimizer: Optimizer | None = None) -> None:
        """Forget the optimizer's state (the velocity of momentum), and take up another optimizer if one is given."""
        optimizer = self.optimizer if optimizer is None else arguments.optimizer(optimizer)
        self.state = self.state._replace(optimizer=optimizer.init(self.state.layers, self.number))
        vars(self)["optimizer"] = optimizer

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
        return prediction.outputs(self, x, lambda a: predictions(a, self.task, self.backend.xp))

    def predict_proba(self, x: Any) -> Array:
        """Outputs of a classifier as probabilities, (n_out,) or (m, n_out): of each class, or of 1 for a sigmoid.

        Raises
        ------
        ValueError
            For a regression, which has none.
        """
        evaluation.need_classes(self, "predict_proba")
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
        return evaluation.classified(self, data)[0]

    @_computes
    def accuracy(self, data: Any) -> float:
        """Share of the examples that are classified correctly, from 0 to 1. Synchronizes."""
        correct, n = evaluation.classified(self, data)
        return correct / n

    @_computes
    def cost(self, data: Any) -> float:
        """Mean cost over the examples of any source, without weight decay. Synchronizes.

        With `standardize`, it is that of standardized targets, as in training.
        """
        return evaluation.measure(self, self.reader().source(data, "data"))["cost"]

    # Looking inside, and through

    def summary(self) -> inspection.Summary:
        """Layers, shapes, parameters, bytes and floating-point operations, as a table that prints."""
        return inspection.summary(self)

    @_computes
    def activations(self, x: Any) -> list[Array]:
        """Activations of every layer: `num_layers` arrays (m, n), the first the inputs as the first layer sees them.

        One example (n_in,) gives arrays (n,). The last is the output, before `standardize` scales it back.

        Examples
        --------
        >>> [a.shape for a in Network([3, 4, 2]).activations([[1, 2, 3], [4, 5, 6]])]
        [(2, 3), (2, 4), (2, 2)]
        """
        return inspection.activations(self, x)

    @_computes
    def deltas(self, x: Any, y: Any) -> list[Array]:
        """Errors δ = ∂C/∂z of every layer but the inputs, C each example's own cost: arrays (m, n), or (n,) for one.

        The gradients of `backward` are means over the examples: ∂C/∂b is the mean of the last axis but one.

        Examples
        --------
        >>> net = Network([2, 1])
        >>> net.layers = [([[0, 0]], [0])]
        >>> net.deltas([8, 16], [1])  # (½ − 1) ½ (1 − ½)
        [array([-0.125], dtype=float32)]
        """
        return inspection.deltas(self, x, y)

    @_computes
    def vjp(self, x: Any, g: Any) -> Array:
        """Vector-Jacobian product: gᵀ ∂a/∂x, the gradient by the inputs of what has the gradient g by the outputs.

        It is BP2 carried one layer further, and includes the scaling of `standardize`.

        Parameters
        ----------
        x
            One example (n_in,), or a row an example, (m, n_in).
        g
            (n_out,) or (m, n_out).

        Returns
        -------
        array
            (n_in,) or (m, n_in), on the device.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.vjp([1, 1], [2])
        array([6., 8.], dtype=float32)
        """
        return inspection.vjp(self, x, g)

    @_computes
    def jacobian(self, x: Any) -> Array:
        """Derivatives of the outputs of `forward` by the inputs, ∂a/∂x: (n_out, n_in), or (m, n_out, n_in) for rows.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.jacobian([1, 1])
        array([[3., 4.]], dtype=float32)
        """
        return inspection.jacobian(self, x)

    # For the modules around this one

    def reader(self) -> Reader:
        """What brings examples to this network."""
        n_in, n_out = self.sizes[0], self.sizes[-1]
        return Reader(self.backend, self.dtype, n_in, n_out, self.sigmas[-1], self.scaling, self.factor)

    @property
    def factor(self) -> Array | None:
        """`scale` as an array."""
        return None if self.scale is None else self.backend.asarray(np.asarray(self.scale, self.dtype))

    def rows(self, x: Any) -> tuple[Array, bool]:
        """Inputs as rows on the device, before `scale`, and whether they were a single example."""
        x, single = prediction.as_rows(x, self.sizes[0])
        return self.reader().inputs(x, "x"), single

    def examples(self, x: Any, y: Any) -> tuple[Examples, bool]:
        """Inputs and targets as rows on the device, and whether they were of a single example."""
        rows, single = self.rows(x)
        y = numbers(y, "y of the batch")
        one = single and (y.ndim == 0 or (y.ndim == 1 and y.shape[0] == self.sizes[-1]))
        reader = self.reader()
        y = reader.targets(y[None, ...] if one else y, "y of the batch")
        if y.shape[0] != rows.shape[0]:
            raise ValueError(f"X has {rows.shape[0]} examples and y of the batch has {y.shape[0]}; give as many")
        raw = Examples(rows, y, scale=reader.scale, classes=reader.numbered(y))
        return decoded(raw, self.backend.xp), single

    def step(self, optimizer: Optimizer) -> Callable[..., State]:
        """One step of training."""
        return make_step(Spec(self.sigmas, self.output, optimizer.update))

    def masks(self) -> Dropout | None:
        """What the masks of dropout begin with, of NumPy arrays."""
        return start(self.seeds.dropout, self.dropout)

    def owned(self, nest: Any) -> Any:
        """Copy a nest of NumPy arrays to the device: real numbers in the network's dtype, integers in their own."""

        def own(x: np.ndarray) -> Array:
            return self.backend.own(self.backend.asarray(x, self.dtype if x.dtype.kind == "f" else None))

        return map_arrays(own, nest)

    def number(self, value: float) -> Array:
        """Make an array of a number of the optimizer."""
        return self.backend.asarray(arguments.rounded(value, self.dtype), self.dtype)

    def _assign(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        self.state = self.state._replace(layers=tuple(zip(weights, biases)))
