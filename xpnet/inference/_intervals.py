"""Intervals: error bars and quantiles of networks and ensembles, and how well they cover the targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import choices, has_entries, in_range, show, yes_or_no
from xpnet.backends.base import precision
from xpnet.core.activations import normal_cdf
from xpnet.core.arrays import Array, Namespace
from xpnet.core.calibration import (
    ONE_SIGMA,
    Calibration,
    compute_errors,
    correct_quantiles,
    coverage_error,
    find_error,
    find_shifts,
    interpolate_widths,
    rank_errors,
)
from xpnet.core.costs import Cost
from xpnet.core.dual import jvp
from xpnet.data.open import open_source
from xpnet.data.source import Source
from xpnet.errors import ArgumentError
from xpnet.inference._derivatives import bars_and_jacobian, value_and_jacobian
from xpnet.inference._predict import predict, predict_with_stds
from xpnet.inference._summary import table
from xpnet.value import Value, make_table

LEVELS = (0.68, 0.9, 0.95)  # of a table of coverage


@dataclass(frozen=True)
class Coverage:
    """How many targets lie within error bars, or below quantiles; printing it shows a table.

    Attributes
    ----------
    rows : list of dict
        For each target and level: ``target``, its number from 0; ``nominal``, the intended fraction; ``measured``,
        the observed one; ``standard_error``, the difference to expect from chance alone, given the numbers of examples
        here and in `calibrate`.
    kind : str
        "within", for intervals around the prediction; "below", for quantiles.
    """

    rows: list[dict[str, Any]]
    kind: str

    def __repr__(self) -> str:
        """Table of the levels."""
        return table(self._lines())

    def _repr_html_(self) -> str:
        """Return the table for notebooks."""
        return make_table(self._lines())

    def _lines(self) -> list[list[str]]:
        skip = 0 if any(row["target"] for row in self.rows) else 1  # a single target needs no number
        lines = [[str(row["target"]), *(f"{row[name]:.3f}" for name in [*row][1:])] for row in self.rows]
        return [line[skip:] for line in (["target", "nominal", self.kind, "standard error"], *lines)]


class Bars(NamedTuple):
    """Error bars or quantiles as a network or an ensemble predicts them, and the errors that correct them.

    Bars are arrays (m, n_targets, k) as in `core.calibration`; for one example, they have no axis m.
    """

    values: Sequence[Value]  # of the network; or of all members, with the calibration of the ensemble
    is_ensemble: bool = False

    @property
    def calibration(self) -> Calibration | None:
        """The errors that correct them, if there are any; an ensemble's are those of all its members."""
        return self.value.calibration

    @property
    def value(self) -> Value:
        """The network, or the first member."""
        return self.values[0]

    @property
    def has_std(self) -> bool:
        """Whether standard deviations mean something before they are corrected."""
        return self.is_ensemble or self.has_noise

    @property
    def has_noise(self) -> bool:
        """Whether networks predict standard deviations."""
        return self.value.model.cost.has_std or self.has_laplace

    @property
    def has_laplace(self) -> bool:
        """Whether all networks have a Laplace approximation, which then predicts the standard deviations."""
        return all(value.laplace is not None for value in self.values)

    def predict(self, x: Any) -> Array:
        """Predict bars that are not corrected: their standard deviations are the unit of the errors."""
        members = self.predict_members(x)
        if not self.is_ensemble:
            return members[0]
        backend, dtype = self.value.backend, precision(tuple(members))  # some may need float64, and others not
        with backend.scope(dtype):
            members = [backend.asarray(member, dtype) for member in members]
            return self.combine(members, self.value.xp)

    def predict_members(self, x: Any) -> list[Array]:
        """Predict the bars of the network, or of each member."""
        if self.has_laplace:
            return [predict_with_stds(value, x) for value in self.values]
        transform = partial(make_bars, self.value.model.cost)
        return [predict(value, x, transform) for value in self.values]

    def combine(self, members: Sequence[Array], xp: Namespace) -> Array:
        """Combine the bars of the members, and measure them in the widths of the calibration, if it has any."""
        bars = combine_bars(members, xp, self.levels, self.has_noise) if self.is_ensemble else members[0]
        if self.calibration is None or self.calibration.widths is None:
            return bars
        widths = interpolate_widths(bars[..., 0], self.calibration.widths, xp, self.move)
        return xp.stack([bars[..., 0], widths * bars[..., 1] if self.has_noise else widths], axis=-1)

    def correct(self, bars: Array, xp: Namespace) -> Array:
        """Correct bars by the errors of the calibration, if there is one."""
        if self.errors is None:
            return bars
        if self.levels:
            return correct_quantiles(bars, self.move(self.shifts), self.levels, xp)
        factor = self.move(drop_single(find_error(self.errors, ONE_SIGMA)))
        return xp.stack([bars[..., 0], bars[..., 1] * factor], axis=-1)

    def make(self, members: Sequence[Array], xp: Namespace) -> Array:
        """Make corrected bars of the outputs of members; or of their bars, if they have a Laplace approximation."""
        if not self.has_laplace:
            members = [make_bars(self.value.model.cost, a, xp) for a in members]
        return self.correct(self.combine(members, xp), xp)

    def without_stds(self) -> "Bars":
        """Leave out what changes standard deviations alone; quantiles stay as they are."""
        if self.levels:
            return self
        values = [value._replace(calibration=None, laplace=None) for value in self.values]
        return self._replace(values=values)

    @property
    def errors(self) -> np.ndarray | None:
        """The sorted errors; None before a calibration."""
        return None if self.calibration is None else self.calibration.errors

    @property
    def levels(self) -> tuple[float, ...]:
        """The levels of the quantiles, if there are any."""
        return self.value.model.cost.levels

    @property
    def shifts(self) -> np.ndarray:
        """The corrections to add to predicted quantiles, (n_targets, n_levels)."""
        return np.zeros((1, 1)) if self.errors is None else find_shifts(self.errors, self.levels)

    def open(self, data: Any, name: str) -> Source:
        """Open a source of examples, which each network scales by itself."""
        return open_source(data, name, self.value.reader.unscaled())

    def require_regression(self, what: str) -> None:
        """Refuse a classification; `what` needs a regression."""
        if self.value.model.task != "regression":
            raise ArgumentError(f"{what} needs a regression, and the task is {self.value.model.task!r}")

    def require_alike(self, what: str) -> None:
        """Refuse a classification, and members of which only some have a Laplace approximation."""
        self.require_regression(what)
        if not self.has_laplace and any(value.laplace is not None for value in self.values):
            raise ArgumentError(f"{what} needs fit_laplace of all members, and some have changed since; call it again")

    def require(self, what: str) -> None:
        """Refuse a network without error bars; `what` needs them."""
        self.require_alike(what)
        if not self.has_std and not self.levels and self.errors is None:
            raise ArgumentError(
                f"{what} needs error bars, and this network has cost={self.value.model.cost.name!r}; call "
                "calibrate(validation_data) or fit_laplace(train_data) first, or make a network with "
                'cost="gaussian" or quantiles, or an Ensemble'
            )

    def require_std(self, what: str) -> None:
        """Refuse a network without standard deviations; `what` needs them."""
        self.require_alike(what)
        if not self.levels and (self.has_std or self.errors is not None):
            return
        model = self.value.model
        calibrate = "call calibrate(validation_data), which gives constant ones, or fit_laplace(train_data), or "
        calibrate = "" if self.levels else calibrate
        remedy = ", or take sample(x, 100).std(axis=0), the spread by dropout" if any(model.dropout) else ""
        raise ArgumentError(
            f'{what} needs cost="gaussian", and this network has cost={model.cost.name!r}; {calibrate}make one with '
            f'cost="gaussian" and 2 outputs for each target{remedy}'
        )

    def move(self, values: np.ndarray) -> Any:
        """Move numbers to the device; a single one stays a number."""
        if values.ndim == 0:
            return float(values)
        with self.value.backend.scope(self.value.output_dtype):
            return self.value.backend.asarray(values, self.value.output_dtype)


def make_bars(cost: Cost, a: Array, xp: Namespace) -> Array:
    """Turn outputs (m, n_out) into bars (m, n_targets, k); without standard deviations, these are 1."""
    return xp.stack(cost.blocks(a, xp) if cost.has_distribution else [a, xp.ones_like(a)], axis=-1)


def combine_bars(members: Sequence[Array], xp: Namespace, levels: Sequence[float], has_noise: bool) -> Array:
    """Combine the bars of members: mean quantiles, or the root of the mean variance plus the variance of the means."""
    stack = xp.stack(list(members))
    mean = xp.mean(stack, axis=0)
    if levels:
        return mean
    variance = xp.var(stack[..., 0], axis=0)
    if has_noise:
        variance = variance + xp.mean(stack[..., 1] ** 2, axis=0)
    return xp.stack([mean[..., 0], xp.sqrt(variance)], axis=-1)


def predict_targets(bars: Bars, source: Source) -> tuple[np.ndarray, np.ndarray]:
    """Read the targets of a source, (n, n_targets), and predict them as bars; both in float64."""
    y, (predicted,) = examine(bars, source, lambda x: [bars.predict(x)])
    return y, np.asarray(predicted, np.float64)


def examine(
    bars: Bars, source: Source, compute: Callable[[Array], Sequence[Array]]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read the targets of a source, and compute some arrays of its inputs, block by block. Synchronizes."""
    reader, parts = source.reader, []
    with bars.value.scope():
        for block in source.blocks(2 * sum(bars.value.model.sizes)):
            computed = [reader.place.home(array).to_numpy(array) for array in compute(block.x)]
            parts.append([reader.targets_on_host(block.y), *computed])
    y, *computed = (np.concatenate(column) for column in zip(*parts))
    return np.asarray(y, np.float64), computed


def measure_coverage(bars: Bars, data: Any, levels: Sequence[float] | None) -> Coverage:
    """Count the targets within intervals, or below quantiles; see `Network.coverage`. Synchronizes."""
    bars.require("coverage")
    levels = parse_levels(levels, bars.levels)
    y, predicted = predict_targets(bars, bars.open(data, "data"))
    if bars.levels:
        quantiles = correct_quantiles(predicted, bars.shifts, bars.levels, np)
        are_covered = y[..., None] <= quantiles[..., [bars.levels.index(level) for level in levels]]
    else:
        bounds = np.stack([_bound_errors(bars, level) for level in levels], axis=-1)
        are_covered = compute_errors(y, predicted, ()) <= bounds
    calibrated_on = None if bars.calibration is None else bars.calibration.examples
    rows = [
        {
            "target": target,
            "nominal": level,
            "measured": float(measured),
            "standard_error": coverage_error(level, len(y), calibrated_on),
        }
        for target, fractions in enumerate(are_covered.mean(axis=0))
        for level, measured in zip(levels, fractions)
    ]
    return Coverage(rows, "below" if bars.levels else "within")


def parse_levels(levels: Any, quantiles: Sequence[float]) -> Sequence[float]:
    """Check the levels of a table of coverage; with quantiles, they must be among their levels."""
    if levels is None:
        return quantiles or LEVELS
    if not has_entries(levels) or len(levels) == 0:
        raise ArgumentError(f"levels={show(levels)} must be a list of numbers, as in [0.5, 0.9]")
    levels = [in_range("level", p, 0, 1, "0.9 is usual", includes_low=False) for p in levels]
    if not quantiles:
        return levels
    indices = [_find_level(quantiles, level) for level in levels]
    if None in indices:
        missing = levels[indices.index(None)]
        raise ArgumentError(f"level={missing:g} is not one of the levels of the quantiles, {choices(quantiles)}")
    return [quantiles[k] for k in indices if k is not None]


def _bound_errors(bars: Bars, level: float) -> np.ndarray:
    """Return the error of each target up to which an interval covers it."""
    if bars.errors is None:
        return np.full(bars.value.model.n_targets, NormalDist().inv_cdf((1 + level) / 2))
    return find_error(bars.errors, level)


def transform_targets(bars: Bars, data: Any) -> np.ndarray:
    """Compute the probability integral transform (n, n_targets): the predicted probability of a smaller target.

    It is uniform where predictions are right. Quantiles give it up to the levels between which a target lies; it is
    their middle here. Synchronizes.
    """
    bars.require("calibration")
    y, predicted = predict_targets(bars, bars.open(data, "data"))
    if bars.levels:
        edges = np.array([0.0, *bars.levels, 1.0])
        below = (y[..., None] > correct_quantiles(predicted, bars.shifts, bars.levels, np)).sum(axis=-1)
        return (edges[below] + edges[below + 1]) / 2
    distance = (y - predicted[..., 0]) / predicted[..., 1]
    if bars.errors is None:
        return normal_cdf(distance, np)
    return 0.5 + 0.5 * np.sign(distance) * rank_errors(bars.errors, np.abs(distance))


def predict_mean_and_std(bars: Bars, x: Any) -> tuple[Array, Array]:
    """Predict means and corrected standard deviations, (m,) or (m, n_targets)."""
    bars.require_std("predict_std")
    predicted = _predict_corrected(bars, x)
    with bars.value.backend.scope(precision(predicted)):
        return drop_single(predicted[..., 0]), drop_single(predicted[..., 1])


def predict_values(bars: Bars, x: Any) -> Array:
    """Predict means or corrected quantiles, as `Network.predict` shapes them."""
    predicted = _predict_corrected(bars.without_stds(), x)
    with bars.value.backend.scope(precision(predicted)):
        return shape_quantiles(predicted) if bars.levels else drop_single(predicted[..., 0])


def predict_points(bars: Bars, x: Any) -> Array:
    """Predict one number for each target, (m, n_targets)."""
    predicted = bars.without_stds().predict(x)
    with bars.value.backend.scope(precision(predicted)):
        return bars.value.choose_points([predicted[..., k] for k in range(predicted.shape[-1])])


def _predict_corrected(bars: Bars, x: Any) -> Array:
    predicted = bars.predict(x)
    with bars.value.backend.scope(precision(predicted)):
        return bars.correct(predicted, bars.value.xp)


def differentiate(bars: Bars, x: Any, return_std: bool = False) -> Any:
    """Differentiate what is predicted with respect to the inputs; see `Network.predict_jacobian`."""
    bars.require_regression("predict_jacobian")
    if yes_or_no("return_std", return_std):
        bars.require_std("predict_jacobian(return_std=True)")
        return differentiate_bars(bars, x)[1]
    return differentiate_bars(bars.without_stds(), x)[1][0]


def differentiate_bars(bars: Bars, x: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Predict the quantiles, or means and standard deviations, as users see them; and the derivatives of each."""
    find = bars_and_jacobian if bars.has_laplace else value_and_jacobian
    values, slopes = zip(*[find(value, x) for value in bars.values])
    backend, xp, dtype = bars.value.backend, bars.value.xp, precision(values)
    with backend.scope(dtype):
        # One axis in front for the inputs
        tangents = tuple(backend.asarray(_roll_axes(part, -1, xp), dtype) for part in slopes)
        rows = tuple(xp.broadcast_to(backend.asarray(a, dtype), t.shape) for a, t in zip(values, tangents))
        combined, changes = (
            [shape_quantiles(part)] if bars.levels else [drop_single(part[..., k]) for k in range(2)]
            for part in jvp(bars.make, [rows], [tangents], xp)
        )
        changes = [backend.asarray(_roll_axes(part, 1, xp), bars.value.dtype) for part in changes]
        return tuple(part[0, ...] for part in combined), tuple(changes)


def _roll_axes(a: Array, by: int, xp: Namespace) -> Array:
    """Move the last axis to the front (-1), or the first one to the end (1)."""
    axes = [*range(a.ndim)]
    return xp.permute_dims(a, (*axes[by:], *axes[:by]))


def shape_quantiles(a: Array) -> Array:
    """Turn (..., n_targets, n_levels) into the shape of predictions: a single target, or level, has no axis."""
    if a.shape[-1] == 1:
        return drop_single(a[..., 0])
    return a[..., 0, :] if a.shape[-2] == 1 else a


def predict_interval(bars: Bars, x: Any, level: float) -> tuple[Array, Array]:
    """Predict the ends of an interval; see `Network.interval`."""
    bars.require("interval")
    if bars.errors is None and not bars.levels and not bars.has_noise:
        raise ArgumentError(
            "interval needs error bars, and the spread of these members alone covers far too few targets; call "
            'calibrate(validation_data) first, or make an ensemble with cost="gaussian" or quantiles'
        )
    level = in_range("level", level, 0, 1, "0.9 is usual", includes_low=False)
    if bars.levels:
        low, high = (_require_level(bars.levels, p, level) for p in ((1 - level) / 2, (1 + level) / 2))
        quantiles = predict_values(bars, x)
        return quantiles[..., low], quantiles[..., high]
    width = bars.move(drop_single(_bound_errors(bars, level)))
    predicted = bars.predict(x)
    with bars.value.scope(), bars.value.output_scope():
        mean, std = (drop_single(predicted[..., k]) for k in range(2))
        return mean - width * std, mean + width * std


def _find_level(levels: Sequence[float], wanted: float) -> int | None:
    """Find the number of a level, up to rounding: 1 - 0.9 is not quite 0.1."""
    return next((k for k, candidate in enumerate(levels) if abs(candidate - wanted) < 1e-9), None)


def _require_level(levels: Sequence[float], wanted: float, level: float) -> int:
    if (k := _find_level(levels, wanted)) is not None:
        return k
    raise ArgumentError(
        f"level={level:g} needs the quantile {wanted:g}, and the network has {choices(levels)}; make one with "
        f'cost="quantile({(1 - level) / 2:g}, 0.5, {(1 + level) / 2:g})"'
    )


def drop_single(a: Any) -> Any:
    """Turn numbers (..., 1) of a single target into (...)."""
    return a[..., 0] if a.shape[-1] == 1 else a
