"""Network: the class that users work with. It checks arguments, keeps the state, and delegates everything else.

Methods import what only they need, so that ``from xpnet import Network`` is fast.
"""

from __future__ import annotations

import copy
import os
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import Backend, get_backend
from xpnet.checks import choices, count, decode_path, yes_or_no
from xpnet.core.arrays import Array, Layer, Namespace
from xpnet.core.dropout import Dropout
from xpnet.core.model import Seeds
from xpnet.core.optimizers.sgd import SGD
from xpnet.core.step import State
from xpnet.data.conversion import as_real_array
from xpnet.data.place import Place
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.hints import explain_arguments, explain_attribute, suggest_argument
from xpnet.inspection.predict import predict, predict_outputs
from xpnet.state import structure
from xpnet.state.history import History
from xpnet.state.places import change_optimizer, check_value, init_optimizer, init_state, to_device, to_host
from xpnet.state.provenance import Provenance, name_of
from xpnet.state.single_rows import SingleRows
from xpnet.state.value import NetworkValue, make_generator
from xpnet.state.view import View
from xpnet.training.kept_loops import KeptLoops
from xpnet.training.metrics import predictions

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping, Sequence
    from datetime import timedelta

    from xpnet.checkpoint.record import Record
    from xpnet.core.activations import Activation
    from xpnet.core.costs import Cost, Output
    from xpnet.core.initializers import Initializer
    from xpnet.core.model import Model
    from xpnet.core.optimizers.base import Optimizer
    from xpnet.core.scaling import Scaler, Scaling
    from xpnet.core.schedules import Schedule
    from xpnet.inspection.intervals import Bars, Coverage
    from xpnet.inspection.summary import Summary
    from xpnet.training.callback import Callback


class Network:
    """A feed-forward neural network.

    Given only `sizes`, it has the sigmoid neurons and the quadratic cost of the book's first network, and the initial
    weights of its chapter 3. The book trains it with ``batch_size=10, lr=3.0``; `train`'s default rate is much smaller.

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
        "quadratic" unless given, "cross_entropy" (binary with a sigmoid output, categorical with softmax),
        "log_likelihood" (softmax), "huber", "absolute", "poisson" (exp), "mse", "mae", or your own object with the
        functions of `xpnet.costs.Cost`. For regressions with error bars, "gaussian" (a mean and a standard deviation,
        two outputs for each target) or "quantile(0.1, 0.5, 0.9)" (an output for each level and target), which set task
        and output activation.
    task
        Sets output activation and cost, unless they are given: "classification" (softmax, cross-entropy), "binary" or
        "multilabel" (sigmoid, cross-entropy), "regression" (identity, quadratic).
    init
        Initial weights: "normal", "scaled_normal", "he_normal", "he_uniform", "glorot_normal", "glorot_uniform",
        "lecun_normal", "orthogonal", "zeros", or a function (rng, n_in, n_out) -> (w, b). Unless given, "he_normal" for
        layers of ReLU and its relatives, "lecun_normal" for SELU and exp, else "scaled_normal".
    dropout
        Dropout rate in [0, 1) of the hidden layers, or a list with the rates of the inputs and of each hidden layer.
    scale
        Multiplies the inputs, such as 1/255 for pixels. Bytes (uint8) are then stored as bytes on the device, in a
        quarter of the memory, and converted minibatch by minibatch.
    standardize
        Bring each input, and each target of a regression, to mean 0 and standard deviation 1. Means and standard
        deviations are learnt from the training data, stored in `scaling`, and applied to all inputs and outputs from
        then on. Float64 data are scaled in float64 in a float32 network too.
    backend
        "numpy", "cupy", "torch", "jax", or an Array API namespace module.
    device
        "cpu", "cuda", "cuda:1", "auto", or a device in the library's own terms; see `xpnet.get_backend`.
    dtype
        "float32" or "float64", for the weights and all computations. If targets are standardized and float32 cannot
        hold them (their mean is more than 256 standard deviations from 0), outputs in their units are float64.
    seed
        Seed of the network's own generator. Equal seeds give equal initial weights and minibatches on every backend.

    Attributes
    ----------
    num_layers : int
        Number of layers, inputs included.
    sizes : list of int
        Number of units of each layer.
    task : str
        The task, as given or inferred from the output layer.
    sigmas : tuple of Activation
        The activation functions of all layers.
    output : Composed or Fused
        The cost combined with the activation of the output layer.
    scaling : Scaling or None
        The scaling that `standardize` learnt in the first call to `train`: NumPy arrays, in float64 on every backend.
        Set it to None to learn it again.
    feature_names : tuple of str or None
        The names of the inputs, if it was trained on a table with named columns. From then on, other columns, or the
        same ones in another order, are refused. Assignable; None forgets them.
    backend : Backend
        Where the network computes.
    view : View
        An immutable snapshot of the network.
    provenance : Provenance
        How it was made and trained, for a report.
    history : History
        The history of the last call to `train`.
    notes : dict
        Plain values of your own that `save` writes along with the network, such as the names of the classes.

    Raises
    ------
    ArgumentError
        If an argument is wrong, or two contradict each other; the message names it, and the choices.
    BackendError
        If the backend or device is not available; it says why, and what to do.

    Examples
    --------
    Exclusive or, with two hidden units:

    >>> net = Network([2, 2, 1], activation="tanh", task="binary", seed=1)
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = net.train((x, y), epochs=400, batch_size=4, lr=1.0, progress=False)
    >>> net.predict(x)
    array([0, 1, 1, 0])
    """

    @explain_arguments
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
        dtype = structure.parse_dtype(dtype)
        self._standardize = yes_or_no("standardize", standardize)
        scale = structure.parse_scale(scale, self._standardize, dtype)
        model = structure.parse_model(sizes, activation, output_activation, cost, task, dropout, scale)
        initializer = structure.parse_initializer(init)
        entropy = structure.parse_seed(seed)
        rng = np.random.Generator(np.random.PCG64(entropy))
        seeds = Seeds(*(int(child.generate_state(1)[0]) for child in entropy.spawn(2)))
        initializers = [initializer or sigma.initializer for sigma in model.sigmas]
        layers = tuple(
            structure.draw_layer(own, rng, n_in, n_out) for (n_out, n_in), own in zip(model.shapes, initializers)
        )
        names = [name_of(own) for own in initializers]
        names = names[:1] if len(set(names)) == 1 else names
        provenance = Provenance(structure.find_seed(entropy), ", ".join(names))
        self._model, self._place = model, Place(get_backend(backend, device), dtype)
        self._given_task = task
        self._single_rows, self._loops = SingleRows(), KeptLoops()  # recorded and compiled; copies have none
        with self._place.scope():
            structure.check_functions(model, partial(self.backend.asarray, dtype=dtype), self.backend.xp)
        optimizer, generator = SGD(), rng.bit_generator.state
        state = init_state(layers, optimizer, seeds, model, self._place)
        self._value = NetworkValue(state, optimizer, generator, seeds, provenance, History(), {})

    # Read-only settings

    @property
    def sizes(self) -> list[int]:
        """Number of units of each layer."""
        return list(self._model.sizes)

    @property
    def num_layers(self) -> int:
        """Number of layers, inputs included."""
        return len(self._model.sizes)

    @property
    def sigmas(self) -> tuple[Activation, ...]:
        """The activation functions of all layers."""
        return self._model.sigmas

    @property
    def activation(self) -> list[str]:
        """Names of the activations of the hidden layers."""
        return [sigma.name for sigma in self._model.sigmas[:-1]]

    @property
    def output_activation(self) -> str:
        """Name of the activation of the output layer."""
        return self._model.sigmas[-1].name

    @property
    def cost_name(self) -> str:
        """Name of the cost function."""
        return self._model.cost.name

    @property
    def output(self) -> Output:
        """The cost combined with the activation of the output layer."""
        return self._model.output

    @property
    def task(self) -> str:
        """The task, as given or inferred from the output layer."""
        return self._model.task

    @property
    def dropout(self) -> list[float]:
        """Dropout rates of the inputs and of each hidden layer."""
        return list(self._model.dropout)

    @property
    def scale(self) -> float | None:
        """Multiplies the inputs."""
        return self._model.scale

    @property
    def standardize(self) -> bool:
        """Whether inputs, and the targets of a regression, are standardized."""
        return self._standardize

    @property
    def backend(self) -> Backend:
        """Where the network computes."""
        return self._place.backend

    @property
    def dtype(self) -> str:
        """The dtype of the weights and of all computations."""
        return self._place.dtype

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the last call to `train`; `reset_optimizer` changes it."""
        return self._value.optimizer

    @property
    def provenance(self) -> Provenance:
        """Seed, initial weights, and the arguments, place and versions of each call to `train`; files keep it."""
        return self._value.provenance

    @property
    def engine(self) -> str:
        """How most steps of the last call to `train` ran; empty before the first call.

        On CuPy, such as "CUDA graph, 10.1 nodes a step"; elsewhere "replay of recorded steps in C" (NumPy), "replay of
        recorded steps" (PyTorch), "compiled loop" (JAX), or "plain loop" and why.
        """
        return self.history.engine

    @property
    def seeds(self) -> Seeds:
        """Seeds of dropout and of the validation split."""
        return self._value.seeds

    @property
    def view(self) -> View:
        """An immutable snapshot of the network."""
        return View(self._model, self._value, self._place, self._single_rows)

    @property
    def value(self) -> NetworkValue:
        """Everything that changes, as one value that nobody writes into; assign an earlier one to go back to it.

        Examples
        --------
        >>> net = Network([2, 1], seed=0)
        >>> before = net.value
        >>> net.minibatch_update(([[0.0, 1.0]], [1]), lr=1.0)
        >>> net.value = before
        """
        return self._value

    @value.setter
    def value(self, value: NetworkValue) -> None:
        self._value = check_value(value, self.view)

    @property
    def settings(self) -> dict[str, Any]:
        """The arguments that make a network like this one."""
        return {
            "sizes": self.sizes,
            "activation": self.activation,
            "output_activation": self.output_activation,
            "cost": self.cost_name,
            "task": self._given_task,
            "dropout": self.dropout,
            "scale": self.scale,
            "standardize": self._standardize,
            "dtype": self.dtype,
        }

    def make_rng(self) -> np.random.Generator:
        """Make the generator from which `train` will draw minibatches, for a loop of your own.

        Make it once before the loop: what you draw from it does not change the network.

        Examples
        --------
        >>> net = Network([2, 1], seed=0)
        >>> rng = net.make_rng()
        >>> bool((rng.permutation(100) == net.make_rng().permutation(100)).all())
        True
        """
        return make_generator(self._value.generator)

    @property
    def history(self) -> History:
        """The history of the last call to `train`."""
        return self._value.history

    @history.setter
    def history(self, history: History) -> None:
        self._change(history=history)

    @property
    def notes(self) -> dict[str, Any]:
        """Plain values of your own, which files keep; assignable."""
        return self._value.notes

    @notes.setter
    def notes(self, notes: dict[str, Any]) -> None:
        self._change(notes=notes)

    def _change(self, **changes: Any) -> None:
        """Replace parts of the value, all at once: interrupts and other threads see one value or the other."""
        self._value = self._value._replace(**changes)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse to assign settings, and unknown names: a misspelt one would do nothing. Subclasses may have more."""
        if name.startswith("_"):  # fast path: training assigns a value after each chunk
            return super().__setattr__(name, value)
        attribute = getattr(Network, name, None)
        if name == "cost" or (isinstance(attribute, property) and attribute.fset is None):
            remedy = "call reset_optimizer(...)" if name == "optimizer" else "make a new Network"
            raise AttributeError(f"{name} of a network cannot be assigned; {remedy}")
        if type(self) is Network and not isinstance(attribute, property):
            names = ("w", "b", "layers", "state", "scaling", "feature_names", "history", "notes", "value")
            hint = suggest_argument(name, names)
            raise AttributeError(f"{name} of a network cannot be assigned{hint}; choose from {choices(names)}")
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # a type checker knows all attributes

        def __getattr__(self, name: str) -> Any:
            """Say what an attribute of the book's programs or of another library is called here."""
            if name.startswith("_") or hasattr(type(self), name):
                return object.__getattribute__(self, name)  # raises the error of Python, or of the property
            raise AttributeError(explain_attribute(type(self), name), name=name, obj=self)

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

    def _repr_html_(self) -> str:
        """Return a table of the layers for notebooks, with the settings above it."""
        return self.summary().to_html(repr(self))

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the inputs, if it was trained on a table with named columns; assignable.

        Examples
        --------
        >>> net = Network([2, 1], task="regression", seed=0)
        >>> net.feature_names = ["width", "height"]
        >>> net.feature_names
        ('width', 'height')
        """
        return self._value.feature_names

    @feature_names.setter
    def feature_names(self, names: Iterable[str] | None) -> None:
        self._change(feature_names=None if names is None else structure.parse_feature_names(names, self.sizes[0]))

    # Weights and biases

    @property
    def state(self) -> State:
        """Everything that changes from step to step: layers, and the state of optimizer and dropout.

        Training replaces it, and never writes into it.
        """
        return self._value.state

    @state.setter
    def state(self, state: State) -> None:
        self._change(stored=state, calibration=None)

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Copies of the weights (n_out, n_in) and biases (n_out,) of each layer, on the device; assignable as a whole.

        They are read-only with NumPy, and with JAX, whose arrays always are. The arrays of PyTorch and CuPy cannot be
        protected: what is written into these copies does not reach the network.

        Examples
        --------
        >>> net = Network([3, 2])
        >>> net.layers = [([[1, 2, 3], [4, 5, 6]], [7, 8])]
        >>> net.forward([0, 0, 0]) > 0.999
        array([ True,  True])

        A step of gradient descent:

        >>> gradients = net.backward([[1, 2, 3]], [0])
        >>> net.layers = [(w - 0.5 * gw, b - 0.5 * gb) for (w, b), (gw, gb) in zip(net.layers, gradients)]
        """
        copy = self.backend.copy_to_read
        with self._place.scope():
            return tuple(Layer(copy(w), copy(b[0, ...])) for w, b in self.state.layers)

    @layers.setter
    def layers(self, layers: Sequence[tuple[Any, Any]]) -> None:
        from xpnet.data.parameters import split_layers

        weights, biases = split_layers(layers)
        self._assign(self._parse_weights(weights), self._parse_biases(biases))

    @property
    def w(self) -> tuple[Array, ...]:
        """Copies of the weights of each layer, (n_out, n_in), on the device; read-only and assignable as `layers`."""
        with self._place.scope():
            return tuple(self.backend.copy_to_read(w) for w, _ in self.state.layers)

    @w.setter
    def w(self, weights: Sequence[Any]) -> None:
        self._assign(self._parse_weights(weights), [b for _, b in self.state.layers])

    @property
    def b(self) -> tuple[Array, ...]:
        """Copies of the biases of each layer, (n_out,), as `w`; columns (n_out, 1) can be assigned too."""
        with self._place.scope():
            return tuple(self.backend.copy_to_read(b[0, ...]) for _, b in self.state.layers)

    @b.setter
    def b(self, biases: Sequence[Any]) -> None:
        self._assign([w for w, _ in self.state.layers], self._parse_biases(biases))

    @property
    def scaling(self) -> Scaling | None:
        """The scaling that `standardize` learnt, NumPy arrays in float64, which are read-only; assignable as a whole.

        Examples
        --------
        >>> net = Network([1, 1], task="regression", standardize=True, seed=0)
        >>> history = net.train(([[1.0], [3.0]], [10.0, 20.0]), epochs=1, progress=False)
        >>> net.scaling
        Scaling(x_mean=array([[2.]]), x_std=array([[1.]]), y_mean=array([[15.]]), y_std=array([[5.]]))
        """
        return self._value.exact_scaling

    @scaling.setter
    def scaling(self, scaling: Scaling | None) -> None:
        placed = None if scaling is None else self._place_scaling(scaling)
        self._change(scaling=placed, calibration=None, novelty=None)

    def _place_scaling(self, scaling: Scaling) -> Scaler:
        from xpnet.core.scaling import Scaling
        from xpnet.data.scaling import place_scaling

        if not isinstance(scaling, Scaling):
            raise ArgumentError(f"scaling={scaling!r} must be a Scaling, such as that of another network, or None")
        arrays = (x if x is None else as_real_array(x, "scaling") for x in scaling)
        return place_scaling(Scaling(*arrays), self._model, self._place)

    def fit_scaling(self, data: Any) -> Scaling:
        """Learn the scaling of `standardize` from data, as the first call to `train` does, for a loop of your own.

        Parameters
        ----------
        data
            Any finite source that can be iterated over again.

        Returns
        -------
        Scaling
            The new `scaling`, which `minibatch_update`, `backward` and predictions apply from now on.

        Raises
        ------
        ArgumentError
            If the network does not standardize.

        Examples
        --------
        >>> net = Network([1, 1], task="regression", standardize=True, seed=0)
        >>> net.fit_scaling(([[1.0], [3.0]], [10.0, 20.0])).x_mean
        array([[2.]])
        >>> net.minibatch_update(([[1.0], [3.0]], [10.0, 20.0]), lr=0.1)
        """
        from xpnet.data.opening import make_source
        from xpnet.training.prepare import fit_scaling

        if not self._standardize:
            raise ArgumentError("fit_scaling is for networks with standardize=True; make one with it")
        reader = self.view.reader.unscaled()._replace(keeps_digits=True)
        source = make_source(data, "data", reader)
        scaling = fit_scaling(source)
        names = source.reader.feature_names
        self._change(scaling=scaling, feature_names=names, calibration=None, novelty=None)
        return scaling.exact

    def _parse_weights(self, weights: Any) -> list[Array]:
        from xpnet.data.parameters import parse_weights

        return parse_weights(weights, self._model, self._place)

    def _parse_biases(self, biases: Any) -> list[Array]:
        from xpnet.data.parameters import parse_biases

        return parse_biases(biases, self._model, self._place)

    def _assign(self, weights: Sequence[Array], biases: Sequence[Array]) -> None:
        state = self.state._replace(layers=tuple(zip(weights, biases)))
        self._change(stored=state, calibration=None, provenance=self.provenance.edit())

    # Training

    @explain_arguments
    def train(
        self,
        train_data: Any,
        epochs: int = 20,
        batch_size: int | None = None,
        lr: float | Schedule | None = None,
        test_data: Any = None,
        *,
        optimizer: Optimizer | None = None,
        sampling: str | None = None,
        validation_data: Any = None,
        validation_split: float | None = None,
        sample_weight: Any = None,
        class_weight: Any = None,
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
        """Train by stochastic gradient descent.

        Parameters
        ----------
        train_data
            A tuple (X, y) of arrays; a sequence of (x, y) pairs; a map-style data set (torch's, torchvision's), read
            once and kept on the device; or an iterable of batches (a DataLoader), which has its own batch size.
        epochs
            Number of passes over the training data.
        batch_size
            Examples in a minibatch, 30 by default; the last one of an epoch holds the remainder.
        lr
            Learning rate η, or a schedule: a function of (step, total steps of this call). The default depends on the
            optimizer: 0.01 for `SGD`, 0.001 for `Adam`, `AdamW` and `RMSProp`. Sigmoid neurons with the quadratic cost
            need larger ones, such as the book's 3.0.
        test_data
            Any finite source, only reported on: after each epoch a line says how many of its examples are classified
            correctly, and their mean cost.
        optimizer
            `SGD`, `Adam`, `AdamW` or `RMSProp` with options, wrapped in `L1`, `Clip` or `MaxNorm` if you like; or
            `LevenbergMarquardt`, for regressions with few weights, whose epochs are single steps.
            Unless given, it is the optimizer of the last call, or plain `SGD` in the first. An equal optimizer
            continues with its state (the velocity of momentum); a different one starts with a fresh state.
        sampling
            "shuffle", unless given: every example once an epoch; "replacement": n // batch_size minibatches, each drawn
            from all examples that have weight.
        validation_data
            Any finite source; its cost and metrics are computed after each epoch.
        validation_split
            Fraction of the training data, in (0, 1), to validate on instead. The split depends on the network's seed
            only, so it is the same in every call, and it is stratified by class.
        sample_weight
            Weights of the examples, (n,), at least 0. The cost of a minibatch is the weighted mean.
        class_weight
            Weights of the classes, {class: number}, with 1 for classes left out; or "balanced", so that all classes
            have the same total weight.
        callbacks
            Objects that observe and control training: `EarlyStopping`, `ModelCheckpoint`, `ReduceLROnPlateau`,
            `CSVLog`, `TensorBoard`, or your own `Callback`.
        metrics
            Metrics to compute on validation and test data after each epoch: "accuracy", "top_3" (any number), "mae",
            "mse", "rmse" (or their long names, such as "mean_absolute_error"), "r2", a function (y_true, y_pred) ->
            number, or a `xpnet.metrics.Metric`.
        training_metrics
            The same on the training data.
        steps
            Minibatches per epoch, for an iterable of batches; required if it is endless.
        cache
            False reads a data set again each epoch, for random transforms.
        chunk_steps
            Minibatches between two moments at which Ctrl-C and callbacks can act and a checkpoint can be written;
            as many as take about a tenth of a second, and at least 20, unless given. It changes weights by
            rounding at most.
        checkpoint
            A file for the whole training: the network, the history, how far it has come, and what callbacks remember.
            It is written at the beginning, as `every` says, and at the end, also when Ctrl-C, SIGTERM or an exception
            ends the training. It must not exist yet, unless `resume` is given. `Network.load` reads it too.
        every
            When to write the checkpoint: after each "epoch" (the default), a number of minibatches, or a
            `datetime.timedelta`; at the next moment between two chunks of steps (`chunk_steps`).
        resume
            Resume the training in the checkpoint: bit for bit, on the same backend with the same number of threads.
            `epochs` is the number of all epochs, those before included. If there is no such file, training starts from
            the beginning, and a line on standard error says so.
        blas_threads
            Number of threads that share the work of a step (NumPy) or multiply matrices (PyTorch) during this call, in
            the whole process. On NumPy, the weights do not depend on it, and "auto" is the number that its BLAS has. On
            PyTorch, "auto" is one thread if the largest product of a step is too small to gain much from more;
            otherwise, and if the environment sets a number that PyTorch reads (OMP_NUM_THREADS, say), it changes
            nothing.
        distributed
            The processes that share each minibatch: a communicator of mpi4py, ``MPI.COMM_WORLD`` say, or
            `xpnet.distributed.Distributed` with options. All of them call `train` with the same arguments and data; the
            network, the callbacks and the files are those of rank 0.
        progress
            Whether to show a bar on standard error, in terminals and notebooks, and a line per epoch on standard output
            if anything is evaluated.

        Returns
        -------
        History
            The quantities of each epoch. Also in `history`, even if training is interrupted.

        Raises
        ------
        ArgumentError
            If an argument is wrong; nothing has changed then.
        DivergenceError
            If cost or weights become infinite or NaN. The network is then as it was some steps before, as it is
            when an exception or Ctrl-C ends training.
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
        from xpnet.training.arguments import Request
        from xpnet.training.train import train

        request = Request(
            train_data=train_data,
            epochs=epochs,
            batch_size=batch_size,
            lr=[lr],
            test_data=test_data,
            optimizer=[optimizer],
            sampling=sampling,
            validation_data=validation_data,
            validation_split=validation_split,
            sample_weight=sample_weight,
            class_weight=class_weight,
            callbacks=[callbacks],
            metrics=metrics,
            training_metrics=training_metrics,
            steps=steps,
            cache=cache,
            chunk_steps=chunk_steps,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            blas_threads=blas_threads,
            distributed=distributed,
            progress=progress,
        )
        for error in Network._follow([self], train([self], request, self._loops)).values():
            raise error
        return self.history

    @explain_arguments
    def split_rows(self, data: Any, fraction: float) -> tuple[np.ndarray, np.ndarray]:
        """Split the rows of data as ``train(data, validation_split=fraction)`` does.

        Parameters
        ----------
        data
            The training data: arrays, pairs or a data set.
        fraction
            Fraction of the rows to validate on, in (0, 1).

        Returns
        -------
        tuple of numpy.ndarray
            The numbers of the rows to train on and of those to validate on, int32, each in increasing order.

        Raises
        ------
        ArgumentError
            If the data are an iterable of batches, or `fraction` leaves no rows to train on.

        Examples
        --------
        >>> net = Network([1, 1], task="regression", seed=0)
        >>> net.split_rows(([[1.0], [2.0], [3.0], [4.0]], [1.0, 2.0, 3.0, 4.0]), 0.25)
        (array([0, 2, 3], dtype=int32), array([1], dtype=int32))
        """
        from xpnet.training.prepare import split_data

        return split_data(data, fraction, self.seeds.split, self.view.reader)

    @explain_arguments
    def minibatch_update(self, batch: Any, lr: float) -> None:
        """Take one step of plain gradient descent on a minibatch: w ← w − η ∂C/∂w, with the gradient of `backward`.

        Parameters
        ----------
        batch
            A list of (x, y) pairs, or a tuple (X, y) of arrays.
        lr
            η, the learning rate.

        Raises
        ------
        DivergenceError
            If the new weights are not finite; the network is then unchanged.
        """
        from xpnet.data.gathered import Gathered
        from xpnet.data.opening import make_source
        from xpnet.data.resident import Resident
        from xpnet.data.sampling import in_order
        from xpnet.data.source import Chunk
        from xpnet.training.arguments import parse_rate
        from xpnet.training.steps import ChunkRunner

        lr = parse_rate("lr", lr)
        if self._standardize and self.scaling is None:
            raise ArgumentError(
                "minibatch_update needs the scaling of standardize=True, and the network has none yet; call "
                "fit_scaling(train_data) once before the loop"
            )
        source = make_source(batch, "batch", self.view.reader)
        source = source.read_all() if isinstance(source, Gathered) else source
        if not isinstance(source, Resident):
            raise ArgumentError("batch is an iterable of batches; give one of them, a list of (x, y) pairs or (X, y)")
        plain = SGD()
        layers = self._value.layers
        state = State(layers, init_optimizer(plain, layers, self._place), self.state.cost)
        chunk = Chunk(source.examples, in_order((1, len(source))), lr=np.array([lr]))
        done = ChunkRunner(source.reader, plain).run(state, chunk)
        if done is None:
            raise DivergenceError(
                f"training diverged in a minibatch update, at lr={lr:g}: cost or weights are not finite; the network "
                "is as it was before. Give a smaller lr, or scale the inputs"
            )
        state = self.state._replace(layers=done.state.layers)
        names, provenance = source.reader.feature_names, self.provenance.edit()
        self._change(stored=state, feature_names=names, calibration=None, novelty=None, provenance=provenance)

    @staticmethod
    def _follow(
        networks: Sequence[Network],
        training: Generator[Mapping[int, NetworkValue], None, dict[int, DivergenceError]],
    ) -> dict[int, DivergenceError]:
        """Give networks the values that their training yields, until it ends; return what it returns."""
        with closing(training):
            while True:
                try:
                    values = next(training)
                except StopIteration as end:
                    return end.value
                for k, value in values.items():
                    networks[k]._value = value

    def reset_optimizer(self, optimizer: Optimizer | None = None) -> None:
        """Clear the optimizer's state (the velocity of momentum), and change to another optimizer if one is given."""
        from xpnet.training.arguments import parse_optimizer

        optimizer = self.optimizer if optimizer is None else parse_optimizer(optimizer)
        self._value = change_optimizer(self._value, optimizer, self.view)

    # Predictions and evaluation

    def forward(self, x: Any) -> Array:
        """Compute the output of the network.

        Parameters
        ----------
        x
            One example (n_in,); rows (m, n_in); or an iterable of batches X or (X, y), such as a DataLoader.

        Returns
        -------
        array
            Outputs (n_out,), or (m, n_out), on the device. On PyTorch, they are part of the graph of an `x` that
            requires gradients, for first derivatives.

        Examples
        --------
        >>> Network([3, 2], seed=0).forward([[1, 2, 3], [4, 5, 6]]).shape
        (2, 2)
        """
        return predict_outputs(self.view, x)

    def predict(self, x: Any, return_std: bool = False) -> Any:
        """Predict classes, or values for a regression; with `return_std`, their standard deviations as well.

        Parameters
        ----------
        x
            One example (n_in,); rows (m, n_in); or an iterable of batches X or (X, y), such as a DataLoader.
        return_std
            Whether to return the standard deviations as well, as `predict_std` does.

        Returns
        -------
        array, or a pair of arrays
            Depending on `task`: classes (m,) for "classification" and "binary" (0 or 1 for the latter); 0 or 1 for each
            label, (m, n_out), for "multilabel"; the outputs for "regression", (m, n_out), or (m,) if there is one
            output. With ``cost="gaussian"`` these are the means; with quantiles, the quantiles of each example in
            increasing order, (m, n_levels), or (m, n_targets, n_levels) if there are several targets. One example has
            no axis m.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[1, 2]], [0])]
        >>> net.predict([[1, 1], [3, 4]]), net.forward([[1, 1], [3, 4]]).shape
        (array([ 3., 11.], dtype=float32), (2, 1))
        """
        if yes_or_no("return_std", return_std):
            return self._predict_mean_and_std(x)
        if not self._model.cost.levels or self.calibration is None:
            return predict(self.view.calibrated, x, partial(_predict_from_outputs, self._model))
        from xpnet.inspection.intervals import predict_quantiles

        return predict_quantiles(self._bars, x)

    def predict_std(self, x: Any) -> Array:
        """Predict the standard deviation of each target around the prediction, for ``cost="gaussian"``.

        It is the scatter of the data that the network has learnt, not the uncertainty of its weights; for that, see
        `sample`. After `calibrate`, it is corrected, and every regression has it.

        Parameters
        ----------
        x
            One example (n_in,); rows (m, n_in); or an iterable of batches X or (X, y), such as a DataLoader.

        Returns
        -------
        array
            Standard deviations in the units of the targets, of the same shape as the predictions of `predict`.

        Raises
        ------
        ArgumentError
            If the cost has no standard deviation among its outputs, and the network is not calibrated.

        Examples
        --------
        >>> net = Network([1, 2], cost="gaussian", seed=0)
        >>> net.predict([[0.0], [1.0]]).shape, net.predict_std([[0.0], [1.0]]).shape
        ((2,), (2,))
        """
        return self._predict_mean_and_std(x)[1]

    def _predict_mean_and_std(self, x: Any) -> tuple[Array, Array]:
        from xpnet.inspection.intervals import predict_mean_and_std

        self._require_std("predict_std")
        return predict_mean_and_std(self._bars, x)

    def _require_std(self, what: str) -> None:
        """Refuse a network without standard deviations; `what` needs them."""
        bars = self._bars
        bars.require_regression(what)
        if bars.levels or not (bars.has_std or bars.errors is not None):
            calibrate = "" if bars.levels else "call calibrate(validation_data), which gives constant ones, or "
            remedy = ", or take sample(x, 100).std(axis=0), the spread by dropout" if any(self.dropout) else ""
            raise ArgumentError(
                f'{what} needs cost="gaussian", and this network has cost={self.cost_name!r}; {calibrate}make one with '
                f'cost="gaussian" and 2 outputs for each target{remedy}'
            )

    @property
    def _bars(self) -> Bars:
        from xpnet.inspection.intervals import bars_of_network

        return bars_of_network(self.view)

    @property
    def calibration(self) -> np.ndarray | None:
        """The sorted errors of a regression on the data of `calibrate`; None before, and after further training.

        They are distances from the prediction in standard deviations, (n, n_targets, 1); or, for a cost of quantiles,
        differences from each of them, (n, n_targets, n_levels). Classes have a `temperature` instead.
        """
        calibration = self._value.calibration
        return None if calibration is None else calibration.errors

    @property
    def temperature(self) -> float | None:
        """The temperature of a classification that `calibrate` found; None before, and after further training."""
        calibration = self._value.calibration
        return None if calibration is None else calibration.temperature

    @explain_arguments
    def calibrate(self, validation_data: Any) -> None:
        """Correct error bars, quantiles or probabilities by validation data, so that they say how often they are right.

        Synchronizes.

        From then on, `interval` has the coverage of its level on new data like these, whatever their noise is like, by
        split conformal prediction; `predict_std` is multiplied by a factor, so that 68.3 % of the targets lie within
        one standard deviation; and `predict` shifts each quantile, and `measure` the median. A regression without error
        bars gets constant ones. `save` keeps the correction; training ends it.

        For classes, it finds the `temperature` T between 0.2 and 100 that makes the log loss least if the weighted
        inputs of the output layer are divided by it: above 1 for a network that is too sure (C. Guo et al., "On
        Calibration of Modern Neural Networks", ICML 2017). `predict_proba` and the metrics of `measure` have these
        probabilities then; the classes that `predict` returns stay the same, as do `forward` and the cost. Several
        labels have one temperature. Where all examples are right, it is 1.

        Parameters
        ----------
        validation_data
            Any finite source of examples that the network has not learnt from, such as (X, y). Warns if many of them
            are examples of the last `train`, which it recognizes by digests of some rows. These stay in memory:
            a network from a file or a pickle does not warn.

        Raises
        ------
        ArgumentError
            If there are too few examples for the levels of the quantiles, or if the outputs of a classification are
            not softmax.

        Examples
        --------
        >>> net = Network([1, 2], cost="gaussian", seed=0)
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(2, 400, 1))
        >>> net.calibrate((x[:200], y[:200]))
        >>> net.coverage((x[200:], y[200:]))
        nominal  within  standard error
          0.680   0.650           0.046
          0.900   0.880           0.030
          0.950   0.955           0.022

        A probability of 0.9 that is right for 3 of 4 examples:

        >>> net = Network([1, 1], task="binary", seed=0)
        >>> net.layers = [([[0]], [np.log(9)])]
        >>> net.calibrate(([[0]] * 4, [1, 1, 1, 0]))
        >>> round(net.temperature, 2), net.predict_proba([0]).round(2)
        (2.0, array([0.75], dtype=float32))
        """
        from xpnet.inspection.calibration import calibrate

        bars = self._bars
        self._change(calibration=calibrate(bars, bars.open(validation_data, "validation_data")))

    @explain_arguments
    def coverage(self, data: Any, levels: Sequence[float] | None = None) -> Coverage:
        """Count the targets within the error bars, or below the quantiles, of a regression. Synchronizes.

        Parameters
        ----------
        data
            Any finite source of examples that neither `train` nor `calibrate` has had, such as (X, y); a warning says
            so if many are among theirs.
        levels
            The fractions of the targets that intervals around the prediction should hold, 0.68, 0.9 and 0.95 unless
            given; or some of the levels of the quantiles.

        Returns
        -------
        Coverage
            Nominal and measured fractions for each target, as a table that prints.

        Raises
        ------
        ArgumentError
            If the network has no error bars, or no quantiles at these levels.
        """
        from xpnet.inspection.intervals import measure_coverage

        return measure_coverage(self._bars, data, levels)

    @explain_arguments
    def interval(self, x: Any, level: float = 0.9) -> tuple[Array, Array]:
        """Predict the interval that holds the targets with a probability of `level`.

        Before `calibrate`, it assumes normal errors; afterwards nothing about them.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        level
            The probability, above 0 and below 1. With quantiles, two of them must be its ends, such as 0.05 and 0.95
            for 0.9.

        Returns
        -------
        pair of arrays
            The lower and the upper ends, (m,) or (m, n_targets), in the units of the targets, on the device.

        Raises
        ------
        ArgumentError
            If the network has no error bars, or not the quantiles that this level needs; or if there were too few
            examples for `calibrate`.
        """
        from xpnet.inspection.intervals import predict_interval

        return predict_interval(self._bars, x, level)

    @explain_arguments
    def fit_novelty(self, x: Any) -> None:
        """Learn what the training inputs are like, so that `novelty` can say how far other rows are. Synchronizes.

        `save` keeps it; training and another scaling end it.

        Parameters
        ----------
        x
            The inputs of all training examples, (n, n_in); 20 of them or more.

        Raises
        ------
        ArgumentError
            If there are too few rows, or numbers so large that their squares are infinite.
        """
        from xpnet.inspection.novelty import fit_novelty

        self._change(novelty=fit_novelty(self.view, x))

    @explain_arguments
    def novelty(self, x: Any) -> Array:
        """Compute how far rows are from the training data: the fraction of these that are nearer. Synchronizes.

        0.5 is usual. At 0.99, the row is farther from the training data than 99 % of them are from each other; of new
        rows like them, about 1 in 100 is. The distance is that of Mahalanobis, between inputs: unusual are values far
        from the mean, and usual ones that do not occur together. It says nothing about targets, so a row with a small
        novelty can be predicted badly. One minus the novelty is a p-value, as in conformal anomaly detection.

        Parameters
        ----------
        x
            One example (n_in,), rows (m, n_in), or an iterable of batches.

        Returns
        -------
        array
            Numbers from 0 up to n / (n + 1) for n training rows, (m,) or (), on the device.

        Raises
        ------
        ArgumentError
            If `fit_novelty` has not been called since the last training.

        Examples
        --------
        Two columns that rise together: the second row is unusual, though neither of its numbers is.

        >>> x = np.random.default_rng(0).normal(size=(500, 1)) + [0.0, 0.0]
        >>> net = Network([2, 1], task="regression", seed=0)
        >>> net.fit_novelty(x)
        >>> net.novelty([[1.0, 1.0], [1.0, -1.0]]).round(2)
        array([0.68, 1.  ], dtype=float32)
        """
        from xpnet.inspection.novelty import predict_novelty

        return predict_novelty(self.view, x)

    @explain_arguments
    def dropout_masks(self, step: int, m: int) -> list[Array | None]:
        """Compute the masks by which dropout multiplies the activations in a step of training.

        They depend on the network's seed, the step and the row of the minibatch alone, so they are the same on every
        backend.

        Parameters
        ----------
        step
            Number of the step, from 0, counted from the network's first one.
        m
            Number of examples in the minibatch.

        Returns
        -------
        list
            For the inputs and each hidden layer an array (m, n), of 0 for units that are dropped and 1 / (1 − rate) for
            the others, on the device; or None if nothing is dropped there.

        Raises
        ------
        ArgumentError
            If the network has no dropout.

        Examples
        --------
        >>> net = Network([3, 4, 1], dropout=0.5, seed=0)
        >>> net.dropout_masks(0, 2)
        [None, array([[2., 2., 0., 0.],
               [0., 0., 2., 2.]], dtype=float32)]
        """
        from xpnet.inspection.predict import dropout_masks

        step, m = count("step", step, 0), count("m", m, 1)
        return dropout_masks(self.view, self._require_dropout("dropout_masks"), step, m)

    @explain_arguments
    def sample(self, x: Any, n: int = 100) -> Array:
        """Compute the outputs n times with dropout left on, as in training: Monte Carlo dropout.

        The spread of the samples says how unsure the network is of its weights (Y. Gal and Z. Ghahramani, "Dropout as a
        Bayesian Approximation", ICML 2016). Sample i drops the units that training would drop in step i, so the same
        call gives the same samples, on every backend. The network does not change.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        n
            Number of samples.

        Returns
        -------
        array
            Outputs as `forward` computes them, (n, m, n_out), or (n, n_out) for one example, on the device.

        Raises
        ------
        ArgumentError
            If the network has no dropout.

        Examples
        --------
        >>> net = Network([3, 20, 1], task="regression", dropout=0.5, seed=0)
        >>> samples = net.sample([[1, 2, 3], [4, 5, 6]], 50)
        >>> samples.shape
        (50, 2, 1)
        """
        from xpnet.inspection.predict import sample

        n = count("n", n, 1)
        return sample(self.view, self._require_dropout("sample"), x, n)

    def _require_dropout(self, what: str) -> Dropout:
        """Return the state of dropout; refuse a network that has none."""
        dropout = self.state.dropout
        if dropout is None:
            raise ArgumentError(f"{what} needs dropout, and this network has none; make one with dropout=0.1, say")
        return dropout

    def predict_proba(self, x: Any) -> Array:
        """Predict probabilities, (n_out,) or (m, n_out): of each class, or of 1 for each sigmoid output.

        They are the outputs; after `calibrate`, those at its `temperature`.

        Raises
        ------
        ArgumentError
            For a regression, which has no probabilities.
        """
        from xpnet.training.evaluate import require_classes

        require_classes(self.view, "predict_proba")
        return predict(self.view.calibrated, x)

    @explain_arguments
    def evaluate(self, test_data: Any) -> int:
        """Count the examples that are classified correctly; `measure` judges regressions. Synchronizes.

        An example is classified correctly if its largest output is the output of its class; with one output, or several
        labels, if each output is on the same side of ½ as its target. The data are any finite source, such as (X, y).

        Raises
        ------
        ArgumentError
            If the task is a regression.

        Examples
        --------
        >>> net = Network([1, 1])
        >>> net.layers = [([[1]], [0])]
        >>> net.evaluate(([[-1], [1], [2]], [0, 0, 1]))
        2
        """
        from xpnet.training.evaluate import require_classes

        require_classes(self.view, "evaluate")
        return self._measure(test_data, "test_data", ["correct"])["correct"]

    @explain_arguments
    def measure(self, data: Any, *, metrics: Sequence[Any] | None = None) -> dict[str, Any]:
        """Compute the mean cost over examples, and metrics. Synchronizes.

        Parameters
        ----------
        data
            Any finite source.
        metrics
            Metrics as in `train`. Unless given, the number and the fraction of examples that are classified correctly,
            or R² and the mean absolute error of a regression.

        Returns
        -------
        dict
            "cost", as `cost` computes it, "size", the number of examples, and the metrics by their names. After
            `calibrate`, metrics are those of `predict_proba` and of the corrected median, and the cost is as before.

        Raises
        ------
        ArgumentError
            If a metric is not for the task.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[1, 2]], [0])]
        >>> net.measure(([[1, 1], [3, 4]], [3, 12]), metrics=["mae"])
        {'cost': 0.25, 'size': 2, 'mae': 0.5}
        """
        return self._measure(data, "data", metrics)

    def _measure(self, data: Any, name: str, metrics: Sequence[Any] | None) -> dict[str, Any]:
        """Measure, with the name of the argument for messages."""
        from xpnet.data.opening import make_source
        from xpnet.training.evaluate import choose_metrics, measure

        view, metrics = self.view, choose_metrics(self._model, metrics)
        return measure(view, make_source(data, name, view.reader), metrics)

    @explain_arguments
    def accuracy(self, data: Any) -> float:
        """Compute the fraction of the examples that are classified correctly. Synchronizes."""
        from xpnet.training.evaluate import require_classes

        require_classes(self.view, "accuracy")
        return self.measure(data, metrics=["accuracy"])["accuracy"]

    @explain_arguments
    def cost(self, data: Any) -> float:
        """Compute the mean cost over the examples of any finite source, without weight decay. Synchronizes.

        With `standardize`, it is the cost of standardized targets, as in training.
        """
        from xpnet.data.opening import make_source
        from xpnet.training.evaluate import measure

        view = self.view
        return measure(view, make_source(data, "data", view.reader))["cost"]

    # Gradients and inspection

    def backward(self, x: Any, y: Any) -> list[Layer]:
        """Compute the gradient of the mean cost over examples, by backpropagation (the book, chapter 2, BP1 to BP4).

        Weight decay and dropout are not included.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        y
            The targets: classes, or rows (n_out,) or (m, n_out).

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
        from xpnet.inspection.derivatives import gradients

        grads = gradients(self.view, x, y)
        with self._place.scope():
            return [Layer(gw, gb[0, ...]) for gw, gb in grads]

    def hvp(self, x: Any, y: Any, direction: Any) -> list[Layer]:
        """Multiply the Hessian of the mean cost with respect to the weights and biases by a vector.

        It is the derivative of the gradient of `backward` along `direction`, and takes a few times as long as the
        gradient: the Hessian itself is never stored (B. A. Pearlmutter, "Fast Exact Multiplication by the Hessian",
        Neural Computation 6, 1994).

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        y
            The targets, as in `backward`.
        direction
            The vector: a pair (w, b) for each layer, in the shapes of `layers`.

        Returns
        -------
        list of Layer
            The product, in the shapes of `layers`, on the device.

        Raises
        ------
        ArgumentError
            If an argument is wrong, or if an activation or a cost of your own uses functions that are not those of its
            argument `xp`.

        Examples
        --------
        For a linear neuron, C = ½ (w x + b − y)², so ∂²C/∂w² = x² and ∂²C/∂w∂b = x:

        >>> net = Network([1, 1], task="regression", seed=0)
        >>> net.hvp([3], [5], direction=[([[1]], [0])])
        [Layer(w=array([[9.]], dtype=float32), b=array([3.], dtype=float32))]
        """
        from xpnet.inspection.derivatives import hvp

        product = hvp(self.view, x, y, direction)
        with self._place.scope():
            return [Layer(w, b[0, ...]) for w, b in product]

    def activations(self, x: Any) -> list[Array]:
        """Compute the activations of every layer: `num_layers` arrays (m, n), from the inputs to the outputs.

        One example (n_in,) gives arrays (n,). Inputs and outputs are as the layers see them, so scaled ones are
        scaled.

        Examples
        --------
        >>> [a.shape for a in Network([3, 4, 2]).activations([[1, 2, 3], [4, 5, 6]])]
        [(2, 3), (2, 4), (2, 2)]
        """
        from xpnet.inspection.derivatives import activations

        return activations(self.view, x)

    def deltas(self, x: Any, y: Any) -> list[Array]:
        """Compute the errors δ = ∂C_x/∂z of every layer, C_x the cost of an example: arrays (m, n), or (n,) for one.

        The gradients of `backward` are means over the examples: ∂C/∂b is the mean of δ over the first axis.

        Examples
        --------
        >>> net = Network([2, 1])
        >>> net.layers = [([[0, 0]], [0])]
        >>> net.deltas([8, 16], [1])  # (½ − 1) ½ (1 − ½)
        [array([-0.125], dtype=float32)]
        """
        from xpnet.inspection.derivatives import deltas

        return deltas(self.view, x, y)

    def vjp(self, x: Any, g: Any) -> Array:
        """Compute the vector-Jacobian product gᵀ ∂a/∂x, the gradient with respect to the inputs.

        It is BP2 carried one layer further, and includes all scaling.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).
        g
            Gradient with respect to the outputs, (n_out,) or (m, n_out).

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
        from xpnet.inspection.derivatives import vjp

        return vjp(self.view, x, g)

    def jacobian(self, x: Any) -> Array:
        """Compute the derivatives ∂a/∂x of the outputs with respect to the inputs: (n_out, n_in), or (m, n_out, n_in).

        The outputs are those of `forward`; `predict_jacobian` has the derivatives of what `predict` returns.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.jacobian([1, 1])
        array([[3., 4.]], dtype=float32)
        """
        from xpnet.inspection.derivatives import jacobian

        return jacobian(self.view, x)

    def value_and_jacobian(self, x: Any) -> tuple[Array, Array]:
        """Compute the outputs of `forward` and their derivatives, those of `jacobian`, by one forward pass.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.value_and_jacobian([1, 1])
        (array([7.], dtype=float32), array([[3., 4.]], dtype=float32))
        """
        from xpnet.inspection.derivatives import value_and_jacobian

        return value_and_jacobian(self.view, x)

    def predict_jacobian(self, x: Any, return_std: bool = False) -> Any:
        """Compute the derivatives of `predict` for a regression: in its shape, with an axis (n_in,) at the end.

        With `return_std`, those of `predict_std` as well. Unlike `jacobian`, they include the correction by `calibrate`
        and the order of quantiles.

        Raises
        ------
        ArgumentError
            If the task is not a regression, or with `return_std`, if the network has no standard deviations.

        Examples
        --------
        >>> net = Network([2, 1], task="regression")
        >>> net.layers = [([[3, 4]], [0])]
        >>> net.predict_jacobian([[1, 1], [2, 2]])
        array([[3., 4.],
               [3., 4.]], dtype=float32)
        """
        from xpnet.inspection.intervals import differentiate

        if yes_or_no("return_std", return_std):
            self._require_std("predict_jacobian(return_std=True)")
        self._bars.require_regression("predict_jacobian")
        return differentiate(self._bars, x, return_std)

    def hessian(self, x: Any) -> Array:
        """Compute the second derivatives ∂²a/∂x² of the outputs with respect to the inputs.

        Parameters
        ----------
        x
            One example (n_in,), or rows (m, n_in).

        Returns
        -------
        array
            A symmetric matrix for each output: (n_out, n_in, n_in), or (m, n_out, n_in, n_in), on the device.

        Raises
        ------
        ArgumentError
            If an activation of your own uses functions that are not those of its argument `xp`.

        Examples
        --------
        The second derivative of w₂ tanh(w₁ x) at 0 is 0, and at 1 it is −2 w₂ w₁² tanh(w₁) (1 − tanh² w₁):

        >>> net = Network([1, 1, 1], activation="tanh", task="regression", dtype="float64")
        >>> net.layers = [([[1]], [0]), ([[1]], [0])]
        >>> net.hessian([[0], [1]]).round(2).tolist()
        [[[[0.0]]], [[[-0.64]]]]
        """
        from xpnet.inspection.derivatives import hessian

        return hessian(self.view, x)

    def summary(self) -> Summary:
        """List layers, shapes, parameters, bytes and floating-point operations, as a table that prints."""
        from xpnet.inspection.summary import summarize

        return summarize(self._model, self.dtype)

    # Copies and files

    def copy(self) -> Network:
        """Return an independent copy: weights, state of optimizer and generator, history."""
        return self.to(self.backend)

    def to(self, backend: Any = None, device: Any = None, dtype: Any = None) -> Network:
        """Return a copy of everything on another backend or device, or in another dtype.

        With `device` alone, a PyTorch or JAX network stays with its library; a NumPy or CuPy network follows the table
        of `xpnet.get_backend`.

        Examples
        --------
        >>> Network([3, 2], seed=0).to("numpy", dtype="float64")
        Network([3, 2], output_activation='sigmoid', cost='quadratic', backend='numpy', device='cpu', dtype='float64')
        """
        if backend is None and device is None:
            backend = self.backend
        if backend is None and self.backend.name not in ("numpy", "cupy"):
            backend = self.backend.name if self.backend.name in ("torch", "jax") else self.backend.xp
        dtype = self.dtype if dtype is None else structure.parse_dtype(dtype)
        structure.parse_scale(self.scale, self._standardize, dtype)
        new = object.__new__(type(self))
        vars(new).update(vars(self), _place=Place(get_backend(backend, device), dtype))
        new._single_rows, new._loops = SingleRows(), KeptLoops()
        if new._place == self._place:
            new._value = self._value.map_state(self.backend.copy)  # stays on the device
            return new
        new._value = to_device(to_host(self.view), new.view)
        if dtype != self.dtype:  # hyperparameters are rounded from their exact values
            state = new.state
            fresh = init_optimizer(new.optimizer, state.layers, new._place)
            memory = fresh._replace(memory=state.optimizer.memory)
            new._change(stored=state._replace(optimizer=memory))
        return new

    def fingerprint(self) -> str:
        """Compute a digest of the network, to compare networks by: 64 hexadecimal digits, from SHA-256. Synchronizes.

        Two networks with equal fingerprints have, bit for bit, equal settings, weights, optimizers with their states,
        states of dropout and of the generator, seeds, scalings, names of inputs and calibrations; only the signs of
        zeros may differ. So on one backend they predict the same and train on alike. The backend and its version, the
        history, `provenance`, `notes` and digests of examples are not in it.

        Examples
        --------
        >>> net = Network([3, 2], seed=0)
        >>> net.copy().fingerprint() == net.fingerprint()
        True
        >>> Network([3, 2], seed=1).fingerprint() == net.fingerprint()
        False
        """
        from xpnet.checkpoint.networks import fingerprint

        return fingerprint(self.settings, self.view)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that `load` and further training need to a safetensors file, for any backend.

        These are settings and weights, the optimizer and its state, the state of the generator and of dropout, the
        scaling that `standardize` learnt, the errors of `calibrate`, the names of the inputs, the history, `provenance`
        and `notes`; no examples, and no digests of them. Call ``reset_optimizer(SGD())`` beforehand for a smaller file.
        """
        from xpnet.checkpoint.networks import encode_network
        from xpnet.checkpoint.writing import write_file
        from xpnet.checks import check_folder

        check_folder(path)
        write_file(path, encode_network(self.settings, self.view))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, backend: Any = None, device: Any = None, custom: Iterable[Any] = ()
    ) -> Network:
        """Read a network that `save` wrote, onto any backend and device; it trains further as the saved one would have.

        Parameters
        ----------
        path
            The file; or a checkpoint of `train`, which holds the network as it was in the middle of its training.
        backend, device
            Where the network is to compute.
        custom
            Your own activations and costs that it was made with; the file holds only their names.

        Raises
        ------
        CheckpointError
            If the file does not hold a network, or is damaged.
        OSError
            If it cannot be read.
        """
        from xpnet.checkpoint.file import decode
        from xpnet.checkpoint.writing import read_file

        path = decode_path("path", path)
        return cls._of_record(decode(read_file(path), path), path, get_backend(backend, device), custom)

    @classmethod
    def _of_record(cls, record: Record, path: str, backend: Backend, custom: Iterable[Any]) -> Network:
        """Make a network of a record from a file, whose path is for messages."""
        from xpnet.checkpoint.file import explain_errors
        from xpnet.checkpoint.record import settings_of, training_of

        with explain_errors(path):
            training_of(record)  # raises if there is one that is not valid
            return cls._restore(record, settings_of(record, custom), backend)

    @classmethod
    def _restore(cls, record: Record, settings: Mapping[str, Any], backend: Backend) -> Network:
        """Make a network from a record, with these arguments of `Network`."""
        from xpnet.checkpoint.networks import restore

        net = cls(**settings, init="zeros", seed=0, backend=backend)  # both are replaced
        net._value = restore(record, net.view)
        return net

    def __copy__(self) -> Network:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Network:
        """Return a copy that keeps what a pickle leaves out."""
        new = memo[id(self)] = object.__new__(type(self))
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        new._change(known_rows=self._value.known_rows, calibration=self._value.calibration)
        return new

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: arrays as NumPy arrays, which keep their dtypes, and no digests of examples."""
        return {**vars(self), "_value": to_host(self.view).without_digests()}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        """Move the arrays of a pickle to the device."""
        vars(self).update(attributes)
        self._value = to_device(self._value, self.view)


def _predict_from_outputs(model: Model, a: Array, xp: Namespace) -> Array:
    """Turn outputs (m, n_out) into classes, labels or values."""
    return predictions(model.cost.prediction(a, xp), model.task, xp)
