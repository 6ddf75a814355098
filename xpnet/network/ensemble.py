"""Ensemble: many networks of one shape, trained in one program. Only training needs more than a loop over them."""

from __future__ import annotations

import functools
import inspect
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet import inference, training
from xpnet._checks import check_folder, count, decode_path, show, yes_or_no
from xpnet._identity import is_same
from xpnet._names import explain_arguments
from xpnet.backends import BYTES_OF_NETWORK, Backend, get_backend, require_bytes
from xpnet.backends.base import precision
from xpnet.core.arrays import Array
from xpnet.core.model import count_parameters
from xpnet.core.temperature import combine
from xpnet.data import check_split, refuse_iterator
from xpnet.data.open import open_data
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.inference import predict, predict_outputs
from xpnet.inference.metrics import accuracy, correct, predictions
from xpnet.network.network import Network
from xpnet.value import History, structure

if TYPE_CHECKING:
    from datetime import timedelta

    from xpnet.core.activations import Activation
    from xpnet.core.calibration import Calibration
    from xpnet.core.costs import Cost
    from xpnet.core.initializers import Initializer
    from xpnet.core.optimizers import Optimizer
    from xpnet.core.schedules import Schedule
    from xpnet.inference import Bars, Coverage, Posterior
    from xpnet.inference.metrics import Metric
    from xpnet.training.callback import Callback
    from xpnet.value import Value
    from xpnet.value.structure import Task

__all__ = [
    "Ensemble",
    "join_networks",
    "parse_seeds",
]

# The arguments of a training that a plan has, and those that data have
OF_PLAN, OF_DATA = {*inspect.signature(training.Plan).parameters}, {*inspect.signature(open_data).parameters}


def takes_options_of_training(method: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method, by name, the arguments of `Network.train` that it does not list and that plans or data take.

    Its signature shows all of them.
    """
    signature = inspect.signature(method)
    listed = {name: parameter for name, parameter in signature.parameters.items() if name != "others"}
    of_network = inspect.signature(Network.train).parameters
    others = [part for name, part in of_network.items() if name in (OF_PLAN | OF_DATA) - listed.keys()]
    signature = signature.replace(parameters=[*listed.values(), *others])

    @functools.wraps(method)
    def call(*args: Any, **options: Any) -> Any:
        arguments = signature.bind(*args, **options)
        arguments.apply_defaults()
        return method(*arguments.args, **arguments.kwargs)

    call.__signature__ = signature  # type: ignore[attr-defined]
    return call


@explain_arguments
class Ensemble:
    """Many networks of one shape, trained in one program: for error bars, or over learning rates and folds.

    Member k, ``ensemble[k]``, is the network that ``Network(sizes, seed=seeds[k], ...)`` would be: trained together,
    the members have the initial weights, minibatches and dropout masks that each would have alone, and the same
    results to rounding. See :doc:`/use/ensembles`.

    Parameters
    ----------
    sizes
        Number of units of each layer, from the inputs to the outputs.
    members
        Number of networks.
    seed
        Seed of the ensemble, from which the seeds of the members are drawn; or a list with a seed for each member.
    activation, output_activation, cost, task, init, dropout, scale, standardize, backend, device, dtype
        As in `Network`; the same for all members.

    Raises
    ------
    ArgumentError
        If an argument is wrong; the message names it, and the choices. So do all methods.
    MemoryError
        If the machine has less memory than the networks need.
    BackendError
        If the backend or device is not available.

    Notes
    -----
    In all methods, `x` and `data` are as in `Network`. With `return_std`, they return a pair: the mean over the
    members, and the standard deviation around it.

    Examples
    --------
    A regression with error bars, which grow where there are no examples:

    >>> import numpy as np
    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> ensemble = Ensemble([1, 20, 1], members=5, activation="tanh", task="regression", seed=0)
    >>> histories = ensemble.train((x, np.sin(3 * x)), epochs=200, batch_size=10, lr=0.1, progress=False)
    >>> mean, std = ensemble.predict([[0.5], [3.0]], return_std=True)
    >>> bool(abs(mean[0] - np.sin(1.5)) < 0.1), bool(std[1] > 5 * std[0])
    (True, True)
    """

    def __init__(
        self,
        sizes: Sequence[int],
        members: int = 16,
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
        seed: int | Sequence[int] | None = None,
    ) -> None:
        settings = {name: value for name, value in locals().items() if name not in ("self", "sizes", "members", "seed")}
        members, units = count("members", members, 1), structure.parse_sizes(sizes)
        backend, dtype = get_backend(backend, device), structure.parse_dtype(dtype)
        weights = count_parameters(units) * np.dtype(dtype).itemsize if backend.on_host else 0
        require_bytes(members * (BYTES_OF_NETWORK + weights), f"members={members} networks of {units} need")
        settings |= {"backend": backend, "device": None, "dtype": dtype}
        self._networks = [Network(units, seed=own, **settings) for own in parse_seeds(seed, members)]
        self._loops = training.KeptLoops()

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Ensemble:
        """Make an ensemble of copies of networks. It has no calibration yet.

        They must have the same arguments, except `seed`, `init`, and the rates of dropout in the same layers.

        Examples
        --------
        >>> ensemble = Ensemble.of([Network([2, 3, 1], seed=7), Network([2, 3, 1], seed=8)])
        >>> len(ensemble)
        2
        """
        if not isinstance(networks, Iterable):
            raise ArgumentError(f"networks={networks!r} must be a list of networks, as in [net, net.copy()]")
        networks = list(networks)
        check_alike(networks)
        networks = [network.copy() for network in networks]
        for network in networks:
            network.value = network.value._replace(shared=None)
        return cls._made_of(networks)

    @classmethod
    def _made_of(cls, networks: Iterable[Network]) -> Ensemble:
        """Make an ensemble as `join_networks` does."""
        ensemble = object.__new__(cls)
        ensemble._networks = list(networks)
        ensemble._loops = training.KeptLoops()
        return ensemble

    # Members

    def __len__(self) -> int:
        """Count the members."""
        return len(self._networks)

    def __getitem__(self, k: int) -> Network:
        """Return member k, which stays a part of the ensemble."""
        try:
            return self._networks[operator.index(k)]
        except TypeError as error:
            raise ArgumentError(
                f"an ensemble is indexed by the number of a member, not by {k!r}; make one of some of them with "
                "Ensemble.of([...])"
            ) from error
        except IndexError as error:
            raise IndexError(f"there is no member {k}: the ensemble has {len(self)}, counted from 0") from error

    def __iter__(self) -> Iterator[Network]:
        """Iterate over the members."""
        return iter(self._networks)

    def __repr__(self) -> str:
        first = self[0]
        return repr(first).replace(f"Network({first.sizes}", f"Ensemble({first.sizes}, members={len(self)}", 1)

    @property
    def seeds(self) -> list[Any]:
        """The seeds of the members, as in their `Network.provenance`; None for one that is not known."""
        return [network.provenance.seed for network in self]

    @property
    def backend(self) -> Backend:
        """Where the networks compute."""
        return self[0].backend

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the inputs, if a member knows them; see `Network.feature_names`. Assignable to all members."""
        return find_names([network.value for network in self])

    @feature_names.setter
    def feature_names(self, names: Iterable[str] | None) -> None:
        names = None if names is None else structure.parse_feature_names(names, self[0].sizes[0])
        for network in self:
            network.feature_names = names

    @property
    def values(self) -> list[Value]:
        """The values of the members, as `Network.value`, with the calibration and the names of the ensemble, if any.

        Examples
        --------
        >>> ensemble = Ensemble([2, 3, 1], members=3, task="regression", seed=0)
        >>> [value.calibration for value in ensemble.values]
        [None, None, None]
        """
        shared = {"calibration": self._calibration, "feature_names": self.feature_names}
        return [network.value._replace(**shared) for network in self]

    @property
    def histories(self) -> list[History]:
        """The histories of the members' last training."""
        return [network.history for network in self]

    def best(self, data: Any, metric: Any = None) -> Network:
        """Find the member with the least cost on data, or the best by a metric as in `train`. Synchronizes."""
        metrics = [] if metric is None else training.parse_metrics("metric", [metric], self[0].value.model)
        name, better = (metrics[0].name, metrics[0].better) if metrics else ("cost", "min")
        if better is None:
            raise ArgumentError(
                f"metric={name!r} does not tell whether smaller or larger is better; give an xpnet.metrics.Metric with "
                "better='min' or 'max'"
            )
        scores = [score[name] for score in self._measure_members(data, metrics)]
        if np.isnan(scores).all():
            raise ArgumentError(f"the {name} of every member is NaN")
        return self[int(np.nanargmin(scores) if better == "min" else np.nanargmax(scores))]

    # Training

    @takes_options_of_training
    def train(
        self,
        train_data: Any,
        epochs: int = 20,
        batch_size: int | None = None,
        lr: float | Schedule | Sequence[float | Schedule] | None = None,
        test_data: Any = None,
        *,
        optimizer: Optimizer | str | Sequence[Optimizer | str] | None = None,
        rows: Sequence[Any] | None = None,
        validation_rows: Sequence[Any] | None = None,
        validation_data: Any = None,
        validation_split: Any = None,
        callbacks: Sequence[Callback] | Callable[[int], Sequence[Callback]] = (),
        checkpoint: str | os.PathLike[str] | None = None,
        every: str | int | timedelta | None = None,
        resume: bool = False,
        threads: int | str = "auto",
        **others: Any,
    ) -> list[History]:
        """Train all members, each as `Network.train` would train it alone.

        A member that stops early, or diverges, no longer changes while the others continue. Arguments that are not
        listed are as in `Network.train`, and the same for all members. See :doc:`/use/ensembles`.

        Parameters
        ----------
        train_data
            As in `Network.train`. The members share these examples, and each draws minibatches in its own order; all
            get the same batches of an iterable.
        lr, optimizer
            One for all members, or a list with one for each. Optimizers are of one kind, with the same options turned
            on, while their numbers may differ.
        rows
            For each member the numbers of the rows of `train_data` to train on, for folds and bagging: a row that is
            listed twice is trained on twice in each epoch.
        validation_rows
            For each member the rows of `train_data` to validate on, for cross-validation. Unless `rows` is given, it
            trains on all others. A row that is listed twice counts twice in cost and metrics.
        callbacks
            A list, which is copied for each member; or a function of the member's number that returns its list.
        threads
            Number of threads among which the members are divided on a CPU, or "auto".

        Returns
        -------
        list of History
            The history of each member. Also in `histories`, even if training is interrupted.

        Raises
        ------
        DivergenceError
            At the end, if cost or weights of some members have become infinite or NaN; it names them. They are as they
            were some steps before.
        MemoryError
            If the machine has less memory than training needs.

        Examples
        --------
        >>> from xpnet.datasets import mnist_sample
        >>> train_data, test_data = mnist_sample()
        >>> ensemble = Ensemble([784, 30, 10], members=4, seed=0)
        >>> histories = ensemble.train(train_data, 2, 10, lr=[0.3, 1.0, 3.0, 10.0], progress=False)
        >>> [history["lr"][-1] for history in histories]
        [0.3, 1.0, 3.0, 10.0]
        >>> bool(ensemble.accuracy(test_data) > 0.85)
        True
        """
        members, networks = len(self), self._networks
        file = training.parse_checkpoint(checkpoint, every, resume, kind="ensemble")
        starts = training.find_starts(networks, file, others["progress"])
        values = [start.value for start in starts]
        of_plan, of_data = ({name: others[name] for name in others.keys() & names} for names in (OF_PLAN, OF_DATA))
        lrs = training.one_for_each("lr", lr, members)
        optimizers = training.one_for_each("optimizer", optimizer, members)
        lists = training.copies_for_each(callbacks, members)
        plans = [
            training.Plan(epochs=epochs, batch_size=batch_size, lr=rate, optimizer=own, callbacks=watching, **of_plan)
            for rate, own, watching in zip(lrs, optimizers, lists)
        ]
        used = [plan.find_optimizer(value) for plan, value in zip(plans, values)]
        if any(one.update != used[0].update for one in used):
            raise ArgumentError(
                f"optimizer={used} are of several kinds; members take their steps together, so give all of them one "
                "kind with the same options turned on"
            )
        training.check_plan(plans[0], used[0], values[0].model)
        training.parse_threads(self.backend, threads)
        refuse_contradictions(rows, validation_rows, validation_split)
        if validation_split is not None:
            check_split("validation_split", validation_split)
        if members > 1:
            refuse_iterator(validation_data, "validation_data")
            refuse_iterator(test_data, "test_data")
        whole = open_data(
            train_data,
            values[0].reader._replace(feature_names=find_names(values)),
            validation_data=validation_data,
            test_data=test_data,
            epochs=plans[0].epochs,
            **of_data,
        )
        if validation_split is None:
            parts = whole.part_for_each(rows, validation_rows, members)
        else:
            parts = whole.split_for_each(validation_split, [value.seeds.split for value in values])
        jobs = [training.Job(*job) for job in zip(starts, parts, plans, networks)]
        stream = training.train(jobs, threads=threads, checkpoint=file, loops=self._loops)
        if errors := stream.give_to(networks):
            raise summarize_divergence(errors, members)
        return self.histories

    # Predictions

    def forward(self, x: Any) -> Array:
        """Compute the outputs of every member, (members, m, n_out).

        Examples
        --------
        >>> Ensemble([3, 2], members=5, seed=0).forward([[1, 2, 3], [4, 5, 6]]).shape
        (5, 2, 2)
        """
        outputs = [predict_outputs(network.value, x) for network in self]
        return self.backend.xp.stack(outputs) if self.backend.records(x) else self._stack(outputs)

    def predict(self, x: Any, return_std: bool = False) -> Any:
        """Predict values by the mean over the members, or classes by `predict_proba`, shaped as by `Network.predict`.

        With `return_std`, a regression's standard deviations as well. With ``cost="gaussian"``, they are the root of
        the mean variance that the members predict plus the variance of their means (Lakshminarayanan et al.,
        arXiv:1612.01474); else the spread of the members, until `calibrate`. See :doc:`/use/error-bars`.
        """
        first, return_std = self[0], yes_or_no("return_std", return_std)
        if first.task != "regression":
            if return_std:
                raise ArgumentError(
                    f"return_std=True needs a regression, and the task is {first.task!r}; "
                    "predict_proba(x, return_std=True) gives the spread of the probabilities"
                )
            mean = self.predict_proba(x)
            with self.backend.scope(first.dtype):
                return predictions(mean, first.task, self.backend.xp)[...]  # NumPy makes a number of one example
        bars = self._bars
        if not return_std:
            return inference.predict_values(bars, x)
        if not bars.levels:
            return inference.predict_mean_and_std(bars, x)
        members = [inference.shape_quantiles(prediction) for prediction in bars.predict_members(x)]
        return self._spread(members, True, inference.predict_values(bars, x))

    def predict_proba(self, x: Any, return_std: bool = False) -> Any:
        """Predict probabilities, (m, n_out), by the mean over the members; after `calibrate`, by their geometric mean.

        A regression has none.
        """
        training.require_classes(self[0].value, "predict_proba")
        values, mean = self.values, None
        members = [predict(value, x) for value in values]
        if values[0].temperature is not None:
            with self.backend.scope(self[0].dtype):
                mean = combine(self._stack(members), self[0].task, self.backend.xp)
        return self._spread(members, return_std, mean)

    def _predict_points(self, x: Array) -> Array:
        """Predict what metrics see: probabilities, or one number for each target, (m, n_targets)."""
        return self.predict_proba(x) if self[0].task != "regression" else inference.predict_points(self._bars, x)

    def interval(self, x: Any, level: float = 0.9) -> tuple[Array, Array]:
        """Predict the interval that holds the targets with a probability of `level`, as `Network.interval` does."""
        return inference.predict_interval(self._bars, x, level)

    def sample(self, x: Any, n: int = 100) -> Array:
        """Compute n functions by every member as `Network.sample` does: (members, n, m, n_out)."""
        if any(network.value.laplace is not None for network in self):
            self._bars.require_alike("sample")
        return self._stack([network.sample(x, n) for network in self])

    def posterior(self, x: Any) -> Posterior:
        """Compute mean and standard deviation of the function, and their derivatives, as `Network.posterior` does.

        They are those of the mixture of the members' functions: the variance is their mean variance plus the variance
        of their means.
        """
        return inference.find_posterior(self._bars, x)

    def covariance(self, x: Any) -> Array:
        """Compute the covariance of the function between rows, as `Network.covariance` does, for the same mixture."""
        return inference.find_covariance(self._bars, x)

    def calibrate(self, validation_data: Any, rows: Sequence[Any] | None = None) -> None:
        """Correct error bars, quantiles or probabilities of the ensemble, as `Network.calibrate` does. Synchronizes.

        The members by themselves are not corrected. For classes, they get one `temperature`, at which the log loss of
        their geometric mean is least. See :doc:`/use/intervals` and :doc:`/use/classification`.

        Parameters
        ----------
        validation_data
            Examples that no member has learned from; or, with `rows`, the training data.
        rows
            For each member the numbers of the rows that it has not been trained on, such as the `validation_rows` of
            `train`. Each row is predicted by these members only, so all examples can serve for training too.

        Examples
        --------
        Four folds, of which each member leaves out one:

        >>> x, noise = np.random.default_rng(0).normal(size=(2, 400, 3))
        >>> y = (x[:, 0] + noise[:, 0] > 0).astype(int)
        >>> folds = np.arange(400).reshape(4, 100)
        >>> ensemble = Ensemble([3, 30, 2], members=4, activation="tanh", task="classification", seed=0)
        >>> histories = ensemble.train((x, y), 100, 10, lr=0.3, validation_rows=folds, progress=False)
        >>> ensemble.calibrate((x, y), rows=folds)
        >>> round(ensemble.temperature)
        2
        """
        calibration = inference.calibrate(self._bars, validation_data, rows)
        for network in self:
            network.value = network.value._replace(shared=(len(self), calibration))

    @property
    def calibration(self) -> np.ndarray | None:
        """The sorted errors that `calibrate` found; None before, and after further training of a member."""
        return self._bars.errors

    @property
    def temperature(self) -> float | None:
        """The temperature for classes that `calibrate` found; None before, and after further training of a member."""
        return self.values[0].temperature

    @property
    def _calibration(self) -> Calibration | None:
        """The calibration, if no member has changed since."""
        n, first = self[0].value.shared or (0, None)
        shared = [network.value.shared for network in self]
        is_for_all = n == len(self) and all(pair is not None and pair[1].is_same(first) for pair in shared)
        return first if is_for_all else None

    @property
    def _bars(self) -> Bars:
        return inference.Bars(self.values, is_ensemble=True)

    def fit_laplace(self, train_data: Any, *, slopes: Any = None) -> None:
        """Learn how uncertain the weights of each member are, as `Network.fit_laplace` does. Synchronizes.

        Error bars then hold this, the noise, and how far the members differ.
        """
        from xpnet.physics import fit_laplace

        fitted = [fit_laplace(network.value, train_data, slopes) for network in self]
        for network, laplace in zip(self, fitted):
            network.value = network.value._replace(laplace=laplace, calibration=None, shared=None)

    def fit_novelty(self, x: Any) -> None:
        """Learn what the training inputs are like, as `Network.fit_novelty` does, in the first member. Synchronizes."""
        self[0].fit_novelty(x)

    def novelty(self, x: Any) -> Array:
        """Compute how unlike the training data each row is, as `Network.novelty` does. Synchronizes."""
        return self[0].novelty(x)

    # Evaluation

    def evaluate(self, test_data: Any) -> int:
        """Count the examples that the ensemble classifies correctly; `measure` judges regressions. Synchronizes."""
        training.require_classes(self[0].value, "evaluate")
        return self._measure_mean(test_data, [correct], "test_data")["correct"]

    def accuracy(self, data: Any) -> float:
        """Compute the fraction of the examples that the ensemble classifies correctly. Synchronizes."""
        training.require_classes(self[0].value, "accuracy")
        return self._measure_mean(data, [accuracy])["accuracy"]

    def cost(self, data: Any, return_std: bool = False) -> Any:
        """Compute the mean of the members' costs, which is not the cost of the mean prediction. Synchronizes."""
        costs = [score["cost"] for score in self._measure_members(data)]
        mean, std = float(np.mean(costs)), float(np.std(costs))
        return (mean, std) if yes_or_no("return_std", return_std) else mean

    def measure(self, data: Any, *, metrics: Sequence[Any] | None = None) -> dict[str, float]:
        """Compute the `cost`, and metrics of the ensemble's predictions, as `Network.measure` does. Synchronizes."""
        metrics = training.choose_metrics(self[0].value.model, metrics)
        return {"cost": self.cost(data), **self._measure_mean(data, metrics)}

    def coverage(self, data: Any, levels: Sequence[float] | None = None) -> Coverage:
        """Count the targets within the error bars, or below the quantiles, as `Network.coverage` does. Synchronizes."""
        return inference.measure_coverage(self._bars, data, levels)

    def _measure_members(self, data: Any, metrics: Sequence[Metric] = ()) -> list[dict[str, Any]]:
        """Compute the cost of every member on data, and metrics."""
        refuse_iterator(data, "data")
        return [training.measure_data(network.value, data, metrics) for network in self]

    def _measure_mean(self, data: Any, metrics: Sequence[Metric], name: str = "data") -> dict[str, Any]:
        """Compute metrics of the mean outputs; `name` is that of the argument, for messages."""
        source, width = self._bars.open(data, name), 2 * len(self) * sum(self[0].sizes)
        return training.measure_predictions(self[0].value, self._predict_points, source, metrics, width)

    # Gradients

    def vjp(self, x: Any, g: Any, return_std: bool = False) -> Any:
        """Compute gᵀ ∂a/∂x, (m, n_in), by the mean over the members; see `Network.vjp`."""
        return self._spread([network.vjp(x, g) for network in self], return_std)

    def jacobian(self, x: Any, return_std: bool = False) -> Any:
        """Compute the derivatives ∂a/∂x of the outputs, (m, n_out, n_in), by the mean over the members."""
        return self._spread([network.jacobian(x) for network in self], return_std)

    def value_and_jacobian(self, x: Any, return_std: bool = False) -> tuple[Any, Any]:
        """Compute the mean outputs and their derivatives, those of `jacobian`.

        With `return_std`, each of the two is a pair of mean and standard deviation.
        """
        values, matrices = zip(*[network.value_and_jacobian(x) for network in self])
        return self._spread(values, return_std), self._spread(matrices, return_std)

    def predict_jacobian(self, x: Any, return_std: bool = False) -> Any:
        """Compute the derivatives of the predictions of a regression, as `Network.predict_jacobian` does.

        With `return_std`, also those of the standard deviations, ``predict(x, return_std=True)``.
        """
        return inference.differentiate(self._bars, x, return_std)

    def hessian(self, x: Any, return_std: bool = False) -> Any:
        """Compute the second derivatives of the outputs, (m, n_out, n_in, n_in), by the mean over the members."""
        return self._spread([network.hessian(x) for network in self], return_std)

    def _spread(self, results: Sequence[Array], return_std: bool, mean: Array | None = None) -> Any:
        """Return the mean over the members, unless another one is given, and the standard deviation if asked for."""
        stack, xp = self._stack(results), self.backend.xp
        with self.backend.scope(precision(stack)):
            mean = xp.mean(stack, axis=0) if mean is None else mean
            return (mean, xp.std(stack, axis=0)) if yes_or_no("return_std", return_std) else mean

    def _stack(self, results: Sequence[Array]) -> Array:
        dtype = precision(tuple(results))  # some members may need float64 for their outputs, and others not
        with self.backend.scope(dtype):
            return self.backend.xp.stack([self.backend.asarray(result, dtype) for result in results])

    # Copies and files

    def copy(self) -> Ensemble:
        """Return an independent copy of all members."""
        return self.to(self.backend)

    def to(self, backend: Any = None, device: Any = None, dtype: Any = None) -> Ensemble:
        """Return a copy of all members on another backend or device, or in another dtype; see `Network.to`."""
        networks = [network.to(backend, device, dtype) for network in self]
        return self._made_of(networks)

    def fingerprint(self) -> str:
        """Compute a digest of all members; see `Network.fingerprint`. Synchronizes."""
        from xpnet.files import fingerprint_members

        return fingerprint_members([network.fingerprint() for network in self], self._calibration)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all members to one file, for any backend: a zip archive of those that `Network.save` writes."""
        from xpnet.files import encode_archive, encode_network, write_file

        check_folder(path)
        write_file(path, encode_archive([encode_network(network.value) for network in self]))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, backend: Any = None, device: Any = None, custom: Iterable[Any] = ()
    ) -> Ensemble:
        """Read an ensemble that `save` wrote, or a checkpoint of `train`; see `Network.load`."""
        from xpnet.files import decode_archive, decode_record, explain_errors, read_file, read_network

        path, backend, custom = decode_path("path", path), get_backend(backend, device), list(custom)
        contents = decode_archive(read_file(path), path)
        files = [(f"{path}, member {k},", content) for k, content in enumerate(contents)]
        networks = [read_network(Network, decode_record(file, name), name, backend, custom) for name, file in files]
        with explain_errors(path):
            check_alike(networks)
            return cls._made_of(networks)

    __copy__ = copy


def join_networks(networks: Iterable[Network]) -> Ensemble:
    """Make an ensemble of these very networks, not of copies, for what holds them, too, such as an estimator."""
    return Ensemble._made_of(networks)


def parse_seeds(seed: Any, members: int) -> Sequence[int | None]:
    """Draw the seeds of the members from the seed of an ensemble, or check a list of seeds; each draws its own of None.

    Examples
    --------
    >>> parse_seeds([3, 4], 2)
    [3, 4]
    """
    if isinstance(seed, (list, tuple, range, np.ndarray)) and np.shape(seed) != ():
        if len(seed) != members:
            raise ArgumentError(f"seed has {len(seed)} entries, and the ensemble {members} members; give one for each")
        return [count(f"seed[{k}]", value, 0) for k, value in enumerate(seed)]
    if seed is None:
        return [None] * members
    return [int(number) for number in structure.parse_seed(seed).generate_state(members, np.uint64)]


def summarize_divergence(errors: Mapping[int, DivergenceError], members: int) -> DivergenceError:
    """Make one error for all members that diverged."""
    first, rest = min(errors), members - len(errors)
    others = "" if rest == 0 else ", and the other one was" if rest == 1 else f", and the {rest} others were"
    others += " trained to the end" if rest else ""
    diverged = "member" if len(errors) == 1 else "members"
    reason = str(errors[first]).replace("training diverged", f"training of member {first} diverged", 1)
    return DivergenceError(f"{diverged} {', '.join(map(str, sorted(errors)))} diverged{others}: {reason}")


def check_alike(networks: Sequence[Any]) -> None:
    """Refuse networks that cannot be members of one ensemble."""
    if not networks:
        raise ArgumentError("an ensemble needs at least one network, and the list is empty")
    for k, network in enumerate(networks):
        if not isinstance(network, Network):
            raise ArgumentError(f"item {k} is of type {type(network).__name__}; give networks, as in [net, net.copy()]")
        settings, others = (
            {**one.value.settings, "backend": one.backend.name, "device": one.backend.device_name}
            for one in (network, networks[0])
        )
        for name, value in settings.items():
            differs, same = value != others[name], "the same"
            if name == "dropout":  # rates are numbers in the state, which may differ
                differs, same = [*map(bool, value)] != [*map(bool, others[name])], "dropout in the same layers"
            if differs:
                raise ArgumentError(
                    f"network {k} has {name}={value!r} and network 0 has {name}={others[name]!r}; the members of an "
                    f"ensemble must have {same}"
                )
        if not is_same(network.value.model.program, networks[0].value.model.program):
            raise ArgumentError(
                f"networks {k} and 0 have activations or costs of the same names that differ; give the same"
            )
    find_names([network.value for network in networks])


def refuse_contradictions(rows: Any, validation_rows: Any, validation_split: Any) -> None:
    """Refuse two arguments that both say what to train or to validate on."""
    names = [name for name, value in (("rows", rows), ("validation_rows", validation_rows)) if value is not None]
    if names and validation_split is not None:
        raise ArgumentError(f"validation_split={show(validation_split)} contradicts {names[-1]}; leave one of them out")


def find_names(values: Sequence[Value]) -> tuple[str, ...] | None:
    """Find the feature names of networks. Some may have none; two must not have different ones."""
    named = [(k, names) for k, value in enumerate(values) if (names := value.feature_names) is not None]
    for k, names in named:
        if names != named[0][1]:
            i, (name, first) = next((i, pair) for i, pair in enumerate(zip(names, named[0][1])) if pair[0] != pair[1])
            raise ArgumentError(
                f"network {k} has the name {name!r} for input {i} and network {named[0][0]} has {first!r}; the members "
                "of an ensemble must have the same feature_names, or None"
            )
    return named[0][1] if named else None
