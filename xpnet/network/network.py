"""Network: the class that users work with. It holds one value, and delegates everything else."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from xpnet import inference, training
from xpnet._checks import check_folder, choices, decode_path, yes_or_no
from xpnet._names import explain_arguments, suggest
from xpnet.backends import find_place, get_backend
from xpnet.core.arrays import Array, Layer
from xpnet.core.step import State
from xpnet.data import check_split
from xpnet.data.open import open_data, split_data
from xpnet.data.sampling import make_generator
from xpnet.inference import predict, predict_outputs
from xpnet.inference.metrics import predict_from_outputs
from xpnet.network import _by_hand
from xpnet.value import (
    FITTED_TO_WEIGHTS,
    History,
    Moment,
    Value,
    assign_layers,
    assign_scaling,
    change_optimizer,
    check_state,
    check_value,
    copy_to_device,
    copy_to_host,
    copy_value,
    init_value,
    split_pairs,
    structure,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from xpnet.backends import Backend
    from xpnet.core.activations import Activation
    from xpnet.core.costs import Cost, Output
    from xpnet.core.initializers import Initializer
    from xpnet.core.model import Seeds
    from xpnet.core.optimizers import Optimizer
    from xpnet.core.scaling import Scaling
    from xpnet.core.schedules import Schedule
    from xpnet.inference import Bars, Coverage, Posterior, Summary
    from xpnet.physics import SolutionCheck, Term
    from xpnet.training.callback import Callback
    from xpnet.value import Provenance
    from xpnet.value.structure import Task

__all__ = [
    "Network",
]

# What can be assigned; classes derived from Network may have more
ASSIGNABLE = ("w", "b", "layers", "state", "scaling", "feature_names", "history", "notes", "value")


@explain_arguments
class Network:
    """A feed-forward neural network; see :doc:`/use/train`.

    With `sizes` alone, it is the book's first network: sigmoid neurons and the quadratic cost, with the initial weights
    of its chapter 3.

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    activation
        Activation of the hidden layers, or a list with one for each: "sigmoid", "tanh", "relu", "identity", "softmax",
        "leaky_relu", "elu", "selu", "softplus", "silu", "gelu", "gelu_tanh", "exp", or your own object with the
        functions of `xpnet.activations.Activation`.
    output_activation
        Activation of the output layer, "sigmoid" unless given.
    cost
        "quadratic" unless given, "cross_entropy", "log_likelihood", "huber", "absolute", "poisson", "mse", "mae"; for
        error bars, "gaussian" or "quantile(0.1, 0.5, 0.9)", see :doc:`/use/error-bars`; or your own object with the
        functions of `xpnet.costs.Cost`.
    task
        "classification", "binary", "multilabel" or "regression": sets output activation and cost, unless given.
    init
        Initial weights: "normal", "scaled_normal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform",
        "lecun_normal", "orthogonal", "zeros", or a function (rng, n_in, n_out) -> (w, b). Unless given, each layer has
        those that suit its activation.
    dropout
        Dropout rate in [0, 1) of the hidden layers, or a list with the rates of the inputs and of each hidden layer.
    scale
        A number that multiplies the inputs, such as 1/255 for pixels, which then stay bytes on the device.
    standardize
        Whether to bring each input, and each target of a regression, to mean 0 and standard deviation 1, as learned
        from the training data. See :doc:`/use/standardize`.
    backend, device
        Where to compute: "numpy", "cupy", "torch", "jax", "dpnp", or an Array API namespace module; "cpu", "cuda",
        "cuda:1", "auto", or a device in the library's own terms. See `xpnet.get_backend`.
    dtype
        "float32" or "float64", for the weights and all computations.
    seed
        Seed of initial weights, minibatches, dropout and validation splits, which are the same on every backend.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or two contradict each other; the message names it, and the choices. So do all methods.
    BackendError
        If the backend or device is not available; it says why, and what to do.

    Notes
    -----
    In all methods, `x` is one example (n_in,), or rows (m, n_in), and `data` any finite source of examples, such as
    (X, y); see :doc:`/use/data`. Arrays in results belong to the backend's library and are on its device; those for one
    example have no axis m.

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
        task: Task | None = None,
        init: str | Initializer | None = None,
        dropout: float | Sequence[float] = 0.0,
        scale: float | None = None,
        standardize: bool = False,
        backend: Any = None,
        device: Any = None,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        dtype = structure.parse_dtype(dtype)
        standardize = yes_or_no("standardize", standardize)
        scale = structure.parse_scale(scale, standardize, dtype)
        model = structure.parse_model(sizes, activation, output_activation, cost, task, dropout, scale, standardize)
        initializer, entropy = structure.parse_initializer(init), structure.parse_seed(seed)
        place = find_place(backend, device, dtype)
        self._drawn_seed = structure.find_seed(entropy) if seed is None else None
        self._loops = training.KeptLoops()  # recorded and compiled; copies have none
        with place.scope():
            structure.check_functions(model, partial(place.backend.asarray, dtype=dtype), place.backend.xp)
        self._value = init_value(model, initializer, entropy, place)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to assign settings, and unknown names: a misspelt one would do nothing. Subclasses may have more."""
        if name.startswith("_"):  # fast path: training assigns a value after each chunk
            return super().__setattr__(name, value)
        attribute = getattr(type(self), name, None)
        if name == "cost" or (isinstance(attribute, property) and attribute.fset is None):
            remedy = "call reset_optimizer(...)" if name == "optimizer" else "make a new Network"
            raise AttributeError(f"{name} of a network cannot be assigned; {remedy}")
        if type(self) is Network and not isinstance(attribute, property):
            hint = suggest(name, ASSIGNABLE)
            raise AttributeError(f"{name} of a network cannot be assigned{hint}; choose from {choices(ASSIGNABLE)}")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker knows all attributes

        def __getattr__(self, name: str) -> Any:
            """Say what an attribute of the book's programs or of another library is called here."""
            if name.startswith("_") or hasattr(type(self), name):
                return object.__getattribute__(self, name)  # raises the error of Python, or of the property
            hint = suggest(name, dir(type(self)))
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{hint}", name=name, obj=self)

    # Settings, which never change

    @property
    def sizes(self) -> list[int]:
        """Number of units of each layer."""
        return list(self._value.model.sizes)

    @property
    def num_layers(self) -> int:
        """Number of layers, inputs included."""
        return len(self._value.model.sizes)

    @property
    def sigmas(self) -> tuple[Activation, ...]:
        """The activation functions of all layers."""
        return self._value.model.sigmas

    @property
    def activation(self) -> list[str]:
        """Names of the activations of the hidden layers."""
        return [sigma.name for sigma in self._value.model.sigmas[:-1]]

    @property
    def output_activation(self) -> str:
        """Name of the activation of the output layer."""
        return self._value.model.sigmas[-1].name

    @property
    def cost_name(self) -> str:
        """Name of the cost function."""
        return self._value.model.cost.name

    @property
    def output(self) -> Output:
        """The cost combined with the activation of the output layer."""
        return self._value.model.output

    @property
    def task(self) -> str:
        """The task, as given or inferred from the output layer."""
        return self._value.model.task

    @property
    def dropout(self) -> list[float]:
        """Dropout rates of the inputs and of each hidden layer."""
        return list(self._value.model.dropout)

    @property
    def scale(self) -> float | None:
        """The number that multiplies the inputs, if any."""
        return self._value.model.scale

    @property
    def standardize(self) -> bool:
        """Whether inputs, and the targets of a regression, are standardized."""
        return self._value.model.standardize

    @property
    def backend(self) -> Backend:
        """Where the network computes."""
        return self._value.place.backend

    @property
    def dtype(self) -> str:
        """The dtype of the weights and of all computations."""
        return self._value.place.dtype

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make a network like this one."""
        return self._value.settings

    def __repr__(self) -> str:
        hidden = self.activation
        shown = {
            "activation": (hidden[0] if len(set(hidden)) == 1 else hidden) if hidden else None,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "dropout": self.dropout if any(self.dropout) else None,
            "scale": self.scale,
            "standardize": self.standardize or None,
            "backend": self.backend.name,
            "device": self.backend.device_name,
            "dtype": self.dtype,
        }
        return f"Network({self.sizes}, {', '.join(f'{k}={v!r}' for k, v in shown.items() if v is not None)})"

    def summary(self) -> Summary:
        """List layers, shapes, parameters, bytes and floating-point operations, as a table that prints."""
        return inference.summarize(self._value.model, self.dtype)

    def _repr_html_(self) -> str:
        """Return a table of the layers for notebooks, with the settings above it."""
        return self.summary().to_html(repr(self))

    # The value: all that changes

    @property
    def value(self) -> Value:
        """The state of the network, as one value that nobody writes into; assign an earlier one to go back to it.

        That of another network must be of one with the same arguments. Notes that were changed in place stay as they
        are.

        Examples
        --------
        >>> net = Network([2, 1], seed=0)
        >>> before = net.value
        >>> net.minibatch_update(([[0.0, 1.0]], [1]), lr=1.0)
        >>> net.value = before
        """
        return self._value

    @value.setter
    def value(self, value: Value) -> None:
        self._value = check_value(value, self._value)

    @property
    def values(self) -> list[Value]:
        """The value alone, in a list as `Ensemble.values`, for functions that take either."""
        return [self._value]

    def receive(self, value: Value) -> None:
        """Take over a value that a training of this network has reached, unchecked: many times a second."""
        self._value = value

    def _change(self, **changes: Any) -> None:
        """Replace parts of the value, all at once: interrupts and other threads see one value or the other."""
        self._value = self._value._replace(**changes)

    @property
    def state(self) -> State:
        """The layers and the states of optimizer and dropout, which change from step to step; assignable."""
        return self._value.state

    @state.setter
    def state(self, state: State) -> None:
        self._change(stored=check_state(state, self._value), **FITTED_TO_WEIGHTS)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Copies of the weights (n_out, n_in) and biases (n_out,) of each layer; assignable as a whole.

        Writing into them does not change the network; see :doc:`/use/inspect`.

        Examples
        --------
        >>> net = Network([3, 2])
        >>> net.layers = [([[1, 2, 3], [4, 5, 6]], [7, 8])]
        >>> net.forward([0, 0, 0]) > 0.999
        array([ True,  True])
        """
        copy = self.backend.copy_to_read
        with self._value.scope():
            return tuple(Layer(copy(w), copy(b[0, ...])) for w, b in self.state.layers)

    @layers.setter
    def layers(self, layers: Sequence[tuple[Any, Any]]) -> None:
        self._value = assign_layers(self._value, *split_pairs(layers), "layers")

    @property
    def w(self) -> tuple[Array, ...]:
        """Copies of the weights of each layer, (n_out, n_in); assignable as a whole."""
        with self._value.scope():
            return tuple(self.backend.copy_to_read(w) for w, _ in self.state.layers)

    @w.setter
    def w(self, weights: Sequence[Any]) -> None:
        self._value = assign_layers(self._value, weights=weights)

    @property
    def b(self) -> tuple[Array, ...]:
        """Copies of the biases of each layer, (n_out,), as `w`; columns (n_out, 1) can be assigned too."""
        with self._value.scope():
            return tuple(self.backend.copy_to_read(b[0, ...]) for _, b in self.state.layers)

    @b.setter
    def b(self, biases: Sequence[Any]) -> None:
        self._value = assign_layers(self._value, biases=biases)

    @property
    def scaling(self) -> Scaling | None:
        """The scaling that `standardize` learned; assign None to learn it again. See :doc:`/use/standardize`."""
        return self._value.exact_scaling

    @scaling.setter
    def scaling(self, scaling: Scaling | None) -> None:
        self._value = assign_scaling(self._value, scaling)

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """Names of the inputs, learned from a table, which other tables must have; assignable. See :doc:`/use/data`."""
        return self._value.feature_names

    @feature_names.setter
    def feature_names(self, names: Iterable[str] | None) -> None:
        self._change(feature_names=None if names is None else structure.parse_feature_names(names, self.sizes[0]))

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the last call to `train`; `reset_optimizer` changes it."""
        return self._value.optimizer

    @property
    def seeds(self) -> Seeds:
        """Seeds of dropout and of the validation split."""
        return self._value.seeds

    @property
    def provenance(self) -> Provenance:
        """How it was made and trained: seed, initial weights, and each call to `train`. See :doc:`/use/seeds`."""
        return self._value.provenance

    @property
    def has_given_seed(self) -> bool:
        """Whether the user has chosen the seed: by `seed`, or by a file or a value that the network is from.

        Else it was drawn, and a training that is resumed may replace it by that of the file.

        Examples
        --------
        >>> Network([2, 1]).has_given_seed, Network([2, 1], seed=0).has_given_seed
        (False, True)
        """
        return self._drawn_seed is None or self.provenance.seed != self._drawn_seed

    @property
    def history(self) -> History:
        """The history of the last call to `train`."""
        return self._value.history

    @history.setter
    def history(self, history: History) -> None:
        self.value = self._value._replace(history=history)

    @property
    def engine(self) -> str:
        """How most steps of the last `train` ran, such as "compiled loop"; see :doc:`/understand/architecture`."""
        return self.history.engine

    @property
    def notes(self) -> dict[str, Any]:
        """Plain values of your own, such as the names of the classes, which files keep; assignable."""
        return self._value.notes

    @notes.setter
    def notes(self, notes: dict[str, Any]) -> None:
        self._change(notes=notes)

    # Training

    def train(
        self,
        train_data: Any,
        epochs: int = 20,
        batch_size: int | None = None,
        lr: float | Schedule | None = None,
        test_data: Any = None,
        *,
        optimizer: Optimizer | str | None = None,
        sampling: Literal["shuffle", "replacement"] | None = None,
        validation_data: Any = None,
        validation_split: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        slopes: Any = None,
        slope_weight: Any = 1.0,
        callbacks: Sequence[Callback] = (),
        metrics: Sequence[Any] = (),
        training_metrics: Sequence[Any] = (),
        steps: int | None = None,
        cache: bool = True,
        chunk_steps: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        every: str | int | timedelta | None = None,
        resume: bool = False,
        blas_threads: int | str = "auto",
        distributed: Any = None,
        progress: bool = True,
    ) -> History:
        """Train by stochastic gradient descent; see :doc:`/use/train`.

        Parameters
        ----------
        train_data
            A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set; or an iterable of batches, such
            as a DataLoader. See :doc:`/use/data`.
        epochs, batch_size
            Number of passes over the training data, and examples in a minibatch, 30 by default.
        lr
            Learning rate η, or a schedule: a function of (step, total steps of this call). The default is 0.01 for
            `SGD` and 0.001 for the others; sigmoid neurons with the quadratic cost need more, such as the book's 3.0.
        test_data
            Any finite source. After each epoch, its cost and its metrics are reported.
        optimizer
            `SGD`, `RMSProp`, `Adam` or `AdamW`, also in `L1`, `Clip` or `MaxNorm`; `LevenbergMarquardt` or `LBFGS`.
            Unless given, it is that of the last call, at first `SGD`. An equal one continues with its state.
        sampling
            "shuffle", unless given: every example once an epoch; or "replacement".
        validation_data, validation_split
            Any finite source, to compute cost and metrics on after each epoch; or a part of the training data: a
            fraction, row numbers, or a splitter of scikit-learn's, whose last split is used. See :doc:`/use/validate`.
        sample_weight, class_weight
            Weights of examples, (n,), and of classes, {class: number} or "balanced". See :doc:`/use/classification`.
        slopes, slope_weight
            Known derivatives of the targets with respect to the inputs, (n, n_targets, n_in), or (n, n_in) for one
            target, with NaN where one is missing; and λ, a number or one for each input, by which the cost of an
            example has ½ Σ λ (∂a/∂x − slopes)² added. See :doc:`/use/derivatives`.
        callbacks
            Objects that observe and control training, such as `EarlyStopping`. See :doc:`/use/validate`.
        metrics, training_metrics
            Metrics on validation and test data, and on training data: names, such as "accuracy", "top_3", "mae" and
            "r2"; functions (y_true, y_pred) -> number; or `xpnet.metrics.Metric` objects.
        steps, cache
            Minibatches per epoch of an iterable of batches; and whether a data set is kept on the device, instead of
            read again in each epoch. See :doc:`/use/data`.
        chunk_steps
            Minibatches between two moments at which Ctrl-C and callbacks can act and a checkpoint can be written;
            unless given, they take about a tenth of a second. It changes weights by rounding at most.
        checkpoint, every, resume
            A file for the whole training; when to write it: after each "epoch", a number of minibatches, or a
            `datetime.timedelta`; and whether to resume the training in it. See :doc:`/use/save`.
        blas_threads, distributed
            Number of threads in this call, or "auto" (:doc:`/understand/performance`); and the processes that share a
            minibatch, a communicator of mpi4py or `xpnet.distributed.Distributed` (:doc:`/use/outgrow`).
        progress
            Whether to show a bar on standard error, and a line per epoch on standard output if anything is evaluated.

        Returns
        -------
        History
            The quantities of each epoch. Also in `history`, even if training is interrupted.

        Raises
        ------
        DivergenceError
            If cost or weights become infinite or NaN. The network is then as it was some steps before, as it is when an
            exception or Ctrl-C ends training.
        FileExistsError
            If there is a checkpoint, and `resume` is not given.
        CheckpointError
            If the checkpoint is damaged, or holds no training.

        Examples
        --------
        >>> from xpnet.datasets import mnist_sample
        >>> train_data, test_data = mnist_sample()
        >>> net = Network([784, 30, 10], seed=0)
        >>> history = net.train(train_data, epochs=5, batch_size=10, lr=3.0, progress=False)
        >>> round(net.accuracy(test_data), 2)
        0.91
        """

        def make_job(start: Moment, watches: bool = True) -> training.Job:
            plan = training.Plan(
                epochs=epochs,
                batch_size=batch_size,
                lr=lr,
                optimizer=optimizer,
                sampling=sampling,
                callbacks=callbacks,
                metrics=metrics,
                training_metrics=training_metrics,
                chunk_steps=chunk_steps,
                progress=progress,
            )
            # Before data are read, which may take long, or be possible only once
            training.check_plan(plan, plan.find_optimizer(start.value), start.value.model)
            training.parse_blas_threads(start.value.backend, blas_threads)
            if validation_split is not None:
                check_split("validation_split", validation_split)
            data = open_data(
                train_data,
                start.value.reader,
                validation_data=validation_data if watches else None,
                test_data=test_data if watches else None,
                sample_weight=sample_weight,
                class_weight=class_weight,
                slopes=slopes,
                slope_weight=slope_weight,
                epochs=plan.epochs,
                steps=steps,
                cache=cache,
                progress=plan.progress and watches,
            )
            if validation_split is not None:
                data = data.split(validation_split, start.value.seeds.split, copy=True)
            return training.Job(start, data, plan if watches else plan.without_watching(), owner=self)

        open_checkpoint = partial(training.parse_checkpoint, checkpoint, every, resume)
        if distributed is None:
            file = open_checkpoint()
            (start,) = training.find_starts([self], file, progress)
            stream = training.train([make_job(start)], checkpoint=file, loops=self._loops, blas_threads=blas_threads)
        else:
            from xpnet.distributed import train_on_ranks

            stream = train_on_ranks(self, distributed, make_job, open_checkpoint, blas_threads, progress)
        for error in stream.give_to([self]).values():
            raise error
        return self.history

    def solve(
        self,
        terms: Sequence[Term],
        steps: int = 200,
        *,
        coefficients: dict[str, float] | None = None,
        bounds: dict[str, tuple[float | None, float | None]] | None = None,
        redraw: int = 20,
        time: int | None = None,
        edges: Sequence[float] | None = None,
        damping: float = 1e-3,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> History:
        """Solve differential equations: minimize ½ Σ weight · mean r² of a list of `xpnet.Term`, which has an example.

        The steps are those of `LevenbergMarquardt`, and end early where none lowers the cost. Unknown `coefficients`,
        {name: first value}, are learned along, within `bounds`, {name: (least, largest)}, where None is no bound; a
        second call with the same ones goes on with the values that it found. Points of terms with `draw` change after
        every `redraw` steps. For long times, give the number of the input that is `time`, and `edges`, in increasing
        order: the steps are shared among windows, in which only points up to an edge count, and in the last one, all.
        Returns the cost and the coefficients after each step, and standard errors after the last one if a term has
        `noise`; see :doc:`/use/differential-equations` and :doc:`/use/inverse-problems`.
        """
        from xpnet.physics import solve

        stream = solve(self, terms, steps, coefficients, bounds, redraw, time, edges, damping, callbacks, progress)
        stream.give_to([self])
        return self.history

    def check_solution(self, terms: Sequence[Term]) -> SolutionCheck:
        """Check how well `solve` has fitted the network to `terms`; the result prints tables. Synchronizes.

        A `physics.SolutionCheck` holds the residuals of each of its ``terms``, the ``coefficients`` with their standard
        errors and their ``covariance``, if terms have `noise`, and the ``cost``; see :doc:`/use/inverse-problems`.
        """
        from xpnet.physics import check_solution

        return check_solution(self._value, terms)

    def split_rows(self, data: Any, split: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the numbers of the rows that ``train(data, validation_split=split)`` trains on, and validates on.

        Examples
        --------
        >>> net = Network([1, 1], task="regression", seed=0)
        >>> net.split_rows(([[1.0], [2.0], [3.0], [4.0]], [1.0, 2.0, 3.0, 4.0]), 0.25)
        (array([0, 2, 3], dtype=int32), array([1], dtype=int32))
        """
        return split_data(data, split, self.seeds.split, self._value.reader)

    def reset_optimizer(self, optimizer: Optimizer | str | None = None) -> None:
        """Clear the optimizer's state (the velocity of momentum), and change to another optimizer if one is given."""
        optimizer = self.optimizer if optimizer is None else training.parse_optimizer("optimizer", optimizer)
        self._value = change_optimizer(self._value, optimizer)

    def minibatch_update(self, batch: Any, lr: float) -> None:
        """Take one step of plain gradient descent on a minibatch: w ← w − η ∂C/∂w, with the gradient of `backward`.

        `batch` is a list of (x, y) pairs, or a tuple (X, y) of arrays, and `lr` is η. If the new weights are not
        finite, it raises `DivergenceError`, and the network is unchanged.
        """
        self._value = _by_hand.update(self._value, batch, lr)

    def fit_scaling(self, data: Any) -> Scaling:
        """Learn the scaling of `standardize` from data, as the first `train` does, for a loop of your own.

        Examples
        --------
        >>> net = Network([1, 1], task="regression", standardize=True, seed=0)
        >>> net.fit_scaling(([[1.0], [3.0]], [10.0, 20.0])).x_mean
        array([[2.]])
        """
        scaling, self._value = _by_hand.learn_scaling(self._value, data)
        return scaling

    def make_rng(self) -> np.random.Generator:
        """Make the generator that `train` will draw minibatches from, for a loop of your own.

        Make it once, before the loop: drawing from it does not change the network.
        """
        return make_generator(self._value.generator)

    def dropout_masks(self, step: int, m: int) -> list[Array | None]:
        """Compute the masks of dropout in a step, from 0, on m examples: (m, n) for the inputs and hidden layers.

        They hold 0 for units that are dropped, and 1 / (1 − rate) for the others; None if a layer drops nothing.

        Examples
        --------
        >>> net = Network([3, 4, 1], dropout=0.5, seed=0)
        >>> net.dropout_masks(0, 2)
        [None, array([[2., 2., 0., 0.],
               [0., 0., 2., 2.]], dtype=float32)]
        """
        return inference.dropout_masks(self._value, step, m)

    # Predictions

    def forward(self, x: Any) -> Array:
        """Compute the outputs, (m, n_out), for examples or for an iterable of batches X or (X, y).

        On PyTorch, they are part of the graph of an `x` that requires gradients; see :doc:`/use/derivatives`.

        Examples
        --------
        >>> Network([3, 2], seed=0).forward([[1, 2, 3], [4, 5, 6]]).shape
        (2, 2)
        """
        return predict_outputs(self._value, x)

    def predict(self, x: Any, return_std: bool = False) -> Any:
        """Predict classes, or values for a regression; with `return_std`, a pair of them and of their `predict_std`.

        Returns
        -------
        array, or a pair of arrays
            Depending on the task: classes (m,), 0 or 1 (m,), 0 or 1 for each label (m, n_out), values (m, n_targets),
            or quantiles in increasing order, (m, n_targets, n_levels). A single target has no axis.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[1, 2]], [0])]
        >>> net.predict([[1, 1], [3, 4]]), net.forward([[1, 1], [3, 4]]).shape
        (array([ 3., 11.], dtype=float32), (2, 1))
        """
        if yes_or_no("return_std", return_std):
            return inference.predict_mean_and_std(self._bars, x)
        if not self._value.model.cost.levels or self.calibration is None:
            return predict(self._value, x, partial(predict_from_outputs, self._value.model))
        return inference.predict_values(self._bars, x)

    def predict_proba(self, x: Any) -> Array:
        """Predict probabilities, (m, n_out): of each class, or of 1 for each sigmoid output.

        They are the outputs; after `calibrate`, those at its `temperature`. A regression has none.
        """
        training.require_classes(self._value, "predict_proba")
        return predict(self._value, x)

    def predict_std(self, x: Any) -> Array:
        """Predict the standard deviation of each target around the prediction, in the shape of `predict`.

        It is the scatter of the data as the network has learned it, and needs ``cost="gaussian"``, `calibrate` or
        `fit_laplace`, which adds the uncertainty of the weights. See :doc:`/use/error-bars`.
        """
        return inference.predict_mean_and_std(self._bars, x)[1]

    def interval(self, x: Any, level: float = 0.9) -> tuple[Array, Array]:
        """Predict the lower and the upper ends, (m,) or (m, n_targets) each, of intervals that hold the targets.

        Before `calibrate`, it assumes normal errors; afterwards nothing about them. See :doc:`/use/intervals`.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        level
            The fraction of targets in their intervals. Quantiles must be the ends, such as 0.05 and 0.95 for 0.9.
        """
        return inference.predict_interval(self._bars, x, level)

    def sample(self, x: Any, n: int = 100) -> Array:
        """Compute n functions that the training data leave possible, (n, m, n_out): the same ones in every call.

        After `fit_laplace`, they are drawn from the `posterior`, (n, m, n_targets), at any rows without the noise.
        Else the outputs are computed with dropout left on, with the masks of the steps 0 to n − 1 (Y. Gal and Z.
        Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016). See :doc:`/use/error-bars`.
        """
        if self._value.laplace is None:
            return inference.sample(self._value, x, n)
        return inference.sample_functions(self._value, x, n)

    def posterior(self, x: Any) -> Posterior:
        """Compute mean and standard deviation of the function, without the noise of targets, and their derivatives.

        It needs `fit_laplace`; `calibrate`, which corrects error bars of targets, has no effect. See
        :doc:`/use/surrogates`.

        Returns
        -------
        mean, std, mean_jacobian, std_jacobian
            A named tuple. The first two have the shape of `predict`, the derivatives an axis (n_in,) at the end.

        Examples
        --------
        >>> x = np.linspace(-1, 1, 20)[:, None]
        >>> net = Network([1, 5, 1], activation="tanh", task="regression", seed=0)
        >>> history = net.train((x, x**2), epochs=200, lr=0.1, progress=False)
        >>> net.fit_laplace((x, x**2))
        >>> posterior = net.posterior([[0.5], [3.0]])
        >>> bool(posterior.std[1] > posterior.std[0]), posterior.mean_jacobian.shape
        (True, (2, 1))
        """
        return inference.find_posterior(self._bars, x)

    def covariance(self, x: Any) -> Array:
        """Compute the covariance of the function between rows, (m, m) or (m, m, n_targets), as of its `posterior`.

        The diagonal holds the squares of the standard deviations, without the noise of targets.
        """
        return inference.find_covariance(self._bars, x)

    def calibrate(self, validation_data: Any) -> None:
        """Correct error bars, quantiles or probabilities, so that they say how often they are right. Synchronizes.

        Until further training, `interval` has the coverage of its level by split conformal prediction, 68.3 % of the
        targets lie within `predict_std`, `predict` shifts quantiles, and `predict_proba` has the `temperature` with
        the least log loss (C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017). See
        :doc:`/use/intervals` and :doc:`/use/classification`.

        Parameters
        ----------
        validation_data
            Examples that the network has not been trained on.

        Examples
        --------
        A probability of 0.9 that is right for 3 of 4 examples:

        >>> net = Network([1, 1], task="binary", seed=0)
        >>> net.layers = [([[0]], [np.log(9)])]
        >>> net.calibrate(([[0]] * 4, [1, 1, 1, 0]))
        >>> round(net.temperature, 2), net.predict_proba([0]).round(2)
        (2.0, array([0.75], dtype=float32))
        """
        self._change(calibration=inference.calibrate(self._bars, validation_data))

    @property
    def calibration(self) -> np.ndarray | None:
        """The sorted errors of a regression that `calibrate` found, (n, n_targets, 1 or n_levels); None without them.

        They are distances from the prediction in standard deviations, or differences from each quantile.
        """
        return self._bars.errors

    @property
    def temperature(self) -> float | None:
        """The temperature of a classification that `calibrate` found; None before, and after further training."""
        return self._value.temperature

    @property
    def _bars(self) -> Bars:
        return inference.Bars(self.values)

    def fit_laplace(self, train_data: Any, *, slopes: Any = None) -> None:
        """Learn how uncertain the weights are, for error bars that grow away from the training examples. Synchronizes.

        For regressions with squared errors and some thousands of weights at most, trained on these examples and, if
        any, `slopes`; or by `solve`, whose terms are then given in place of the examples. Until further training,
        `predict_std` and `interval` then hold the uncertainty of the weights and the noise; after `solve`, without the
        noise. See :doc:`/use/error-bars` and :doc:`/use/inverse-problems`.
        """
        from xpnet.physics import fit_laplace

        self._change(laplace=fit_laplace(self._value, train_data, slopes), calibration=None, shared=None)

    def fit_novelty(self, x: Any) -> None:
        """Learn from the inputs of all training examples, (n, n_in), 20 or more, for `novelty`. Synchronizes.

        Training, and another scaling, end it.
        """
        self._change(novelty=inference.fit_novelty(self._value, x))

    def novelty(self, x: Any) -> Array:
        """Compute the fraction of the training data that are nearer to the others than each row, (m,). Synchronizes.

        0.5 is usual; of new rows like the training data, about 1 in 100 is above 0.99. The distance is that of
        Mahalanobis, and one minus the novelty a p-value, as in conformal anomaly detection. See :doc:`/use/error-bars`.
        """
        return inference.predict_novelty(self._value, x)

    # Evaluation

    def evaluate(self, test_data: Any) -> int:
        """Count the examples that are classified correctly; `measure` judges regressions. Synchronizes.

        The largest output must be that of the class; with one output or several labels, all outputs must be on the
        same side of ½ as the targets.

        Examples
        --------
        >>> net = Network([1, 1])
        >>> net.layers = [([[1]], [0])]
        >>> net.evaluate(([[-1], [1], [2]], [0, 0, 1]))
        2
        """
        training.require_classes(self._value, "evaluate")
        return training.measure_data(self._value, test_data, ["correct"], "test_data")["correct"]

    def accuracy(self, data: Any) -> float:
        """Compute the fraction of the examples that are classified correctly, as in `evaluate`. Synchronizes."""
        training.require_classes(self._value, "accuracy")
        return training.measure_data(self._value, data, ["accuracy"])["accuracy"]

    def cost(self, data: Any) -> float:
        """Compute the mean cost, without weight decay; of standardized targets with `standardize`. Synchronizes."""
        return training.measure_data(self._value, data, [])["cost"]

    def measure(self, data: Any, *, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        """Compute the mean "cost", the number of examples as "size", and metrics, as in `train`. Synchronizes.

        Unless given, these are "correct" and "accuracy", or "r2" and "mean_absolute_error" of a regression. They see
        calibrated predictions.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[1, 2]], [0])]
        >>> net.measure(([[1, 1], [3, 4]], [3, 12]), metrics=["mae"])
        {'cost': 0.25, 'size': 2, 'mae': 0.5}
        """
        return training.measure_data(self._value, data, metrics)

    def coverage(self, data: Any, levels: Sequence[float] | None = None) -> Coverage:
        """Count the targets of a regression within the error bars, or below the quantiles. Synchronizes.

        It prints as a table of nominal and measured fractions. See :doc:`/use/intervals`.

        Parameters
        ----------
        data
            Examples that neither `train` nor `calibrate` has had.
        levels
            Levels of intervals, 0.68, 0.9 and 0.95 unless given; or some of those of the quantiles.
        """
        return inference.measure_coverage(self._bars, data, levels)

    # Gradients, and what the layers compute

    def backward(self, x: Any, y: Any) -> list[Layer]:
        """Compute the gradient of the mean cost, by backpropagation (the book, chapter 2, BP1 to BP4).

        Weight decay and dropout are not included. `y` holds classes, or rows (n_out,) or (m, n_out).

        Returns
        -------
        list of Layer
            ∂C/∂w (n_out, n_in) and ∂C/∂b (n_out,) of each layer.

        Examples
        --------
        With w = 0 and b = 0 the output is ½, so δ = (½ − 1) ½ (1 − ½) = −⅛, and ∂C/∂w = δ x:

        >>> net = Network([2, 1])
        >>> net.layers = [([[0, 0]], [0])]
        >>> net.backward([8, 16], [1])
        [Layer(w=array([[-1., -2.]], dtype=float32), b=array([-0.125], dtype=float32))]
        """
        gradients = inference.gradients(self._value, x, y)
        with self._value.scope():
            return [Layer(gw, gb[0, ...]) for gw, gb in gradients]

    def hvp(self, x: Any, y: Any, direction: Any) -> list[Layer]:
        """Multiply the Hessian of the mean cost, with respect to weights and biases, by a vector `direction`.

        Both are lists of pairs (w, b), as `layers`. The Hessian itself is never stored (B. A. Pearlmutter, "Fast Exact
        Multiplication by the Hessian", Neural Computation 6, 1994). See :doc:`/use/derivatives`.

        Examples
        --------
        For a linear neuron, C = ½ (w x + b − y)², so ∂²C/∂w² = x² and ∂²C/∂w∂b = x:

        >>> net = Network([1, 1], task="regression", seed=0)
        >>> net.hvp([3], [5], direction=[([[1]], [0])])
        [Layer(w=array([[9.]], dtype=float32), b=array([3.], dtype=float32))]
        """
        product = inference.hvp(self._value, x, y, direction)
        with self._value.scope():
            return [Layer(w, b[0, ...]) for w, b in product]

    def activations(self, x: Any) -> list[Array]:
        """Compute the activations of every layer, (m, n), from the inputs to the outputs, as the layers see them.

        Examples
        --------
        >>> [a.shape for a in Network([3, 4, 2]).activations([[1, 2, 3], [4, 5, 6]])]
        [(2, 3), (2, 4), (2, 2)]
        """
        return inference.activations(self._value, x)

    def deltas(self, x: Any, y: Any) -> list[Array]:
        """Compute the errors δ = ∂C_x/∂z of every layer, arrays (m, n), for the cost C_x of each example.

        Examples
        --------
        >>> net = Network([2, 1])
        >>> net.layers = [([[0, 0]], [0])]
        >>> net.deltas([8, 16], [1])  # (½ − 1) ½ (1 − ½)
        [array([-0.125], dtype=float32)]
        """
        return inference.deltas(self._value, x, y)

    def vjp(self, x: Any, g: Any) -> Array:
        """Compute gᵀ ∂a/∂x, (m, n_in), for a gradient g with respect to the outputs, (m, n_out).

        It is BP2 carried one layer further, and includes all scaling; see :doc:`/use/derivatives`.
        """
        return inference.vjp(self._value, x, g)

    def jacobian(self, x: Any) -> Array:
        """Compute the derivatives ∂a/∂x of the outputs of `forward`, (m, n_out, n_in).

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.jacobian([1, 1]), net.vjp([1, 1], [2])
        (array([[3., 4.]], dtype=float32), array([6., 8.], dtype=float32))
        """
        return inference.jacobian(self._value, x)

    def value_and_jacobian(self, x: Any) -> tuple[Array, Array]:
        """Compute the outputs of `forward` and their `jacobian`, by one forward pass."""
        return inference.value_and_jacobian(self._value, x)

    def predict_jacobian(self, x: Any, return_std: bool = False) -> Any:
        """Compute the derivatives of `predict` for a regression, in its shape with an axis (n_in,) at the end.

        With `return_std`, those of `predict_std` as well. Unlike `jacobian`, they include what `calibrate` corrects.
        """
        return inference.differentiate(self._bars, x, return_std)

    def hessian(self, x: Any) -> Array:
        """Compute the second derivatives ∂²a/∂x² of the outputs, symmetric matrices (m, n_out, n_in, n_in).

        They need activations of your own to use operators and functions of `xp` alone. See :doc:`/use/derivatives`.
        """
        return inference.hessian(self._value, x)

    # Copies and files

    def copy(self) -> Network:
        """Return an independent copy: weights, states of optimizer and generator, history."""
        return self.to(self.backend)

    def to(self, backend: Any = None, device: Any = None, dtype: Any = None) -> Network:
        """Return a copy of everything on another backend or device, or in another dtype; see :doc:`/use/backends`.

        Examples
        --------
        >>> Network([3, 2], seed=0).to("numpy", dtype="float64")
        Network([3, 2], output_activation='sigmoid', cost='quadratic', backend='numpy', device='cpu', dtype='float64')
        """
        if backend is None and device is None:
            backend = self.backend
        if backend is None and self.backend.name not in ("numpy", "cupy"):
            backend = self.backend.library
        dtype = self.dtype if dtype is None else structure.parse_dtype(dtype)
        structure.parse_scale(self.scale, self.standardize, dtype)
        new = object.__new__(type(self))
        place = find_place(backend, device, dtype)
        vars(new).update(vars(self), _value=copy_value(self._value, place), _loops=training.KeptLoops())
        return new

    def fingerprint(self) -> str:
        """Compute a digest of the network, 64 hexadecimal digits, by which two can be compared. Synchronizes.

        Networks with equal ones predict the same and train on alike, bit for bit; see :doc:`/use/seeds`.
        """
        from xpnet.files import fingerprint

        return fingerprint(self._value)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that `load` and further training need to a safetensors file, for any backend.

        See :doc:`/use/save`. Call ``reset_optimizer(SGD())`` beforehand for a smaller file.
        """
        from xpnet.files import encode_network, write_file

        check_folder(path)
        write_file(path, encode_network(self._value))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, backend: Any = None, device: Any = None, custom: Iterable[Any] = ()
    ) -> Network:
        """Read a network that `save` wrote, or a checkpoint of `train`, onto any backend and device.

        Parameters
        ----------
        custom
            Your own activations and costs that it was made with; the file holds their names and digests. A warning
            names one that differs, and several of one name are told apart; see :doc:`/use/extend`.

        Raises
        ------
        CheckpointError
            If the file does not hold a network, or is damaged.
        """
        from xpnet.files import decode_record, read_file, read_network

        path = decode_path("path", path)
        return read_network(cls, decode_record(read_file(path), path), path, get_backend(backend, device), custom)

    __copy__ = copy

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: arrays as NumPy arrays, which keep their dtypes."""
        return {**vars(self), "_value": copy_to_host(self._value), "_place": self._value.place}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Move the arrays of a pickle to the device."""
        rest = {name: attribute for name, attribute in attributes.items() if name != "_place"}
        vars(self).update(rest, _value=copy_to_device(attributes["_value"], attributes["_place"]))
