"""The joint posterior of a function: what the Laplace approximation tells of its values at several rows together.

If the weights change by h, the outputs at a row change by J h. With the factor F of the covariance of the weights, and
standard normal numbers z, h = F z has their distribution; so the values at all rows are normal together, with the
covariance (J F) (J F)ᵀ. Every z is a function, f + J F z, at any rows. All of this is without the noise of targets.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import count
from xpnet.backends import require_bytes
from xpnet.backends.base import precision
from xpnet.core.arrays import Array
from xpnet.core.laplace import outputs_with_changes
from xpnet.errors import ArgumentError
from xpnet.inference._intervals import Bars, differentiate_bars, drop_single
from xpnet.inference._predict import compute_in_units, get_laplace
from xpnet.value import Value


class Posterior(NamedTuple):
    """Mean and standard deviation of a function, without noise, and their derivatives with respect to the inputs.

    The shapes are those of `Network.predict`, the derivatives with an axis (n_in,) at the end.
    """

    mean: Array
    std: Array
    mean_jacobian: Array
    std_jacobian: Array


def find_posterior(bars: Bars, x: Any) -> Posterior:
    """Find mean, standard deviation, and their derivatives; see `Network.posterior`."""
    _require_laplace(bars, "posterior")
    # The function has no noise, and a calibration is one of targets, which have
    values = [
        value._replace(calibration=None, laplace=laplace._replace(noise=0.0 * laplace.noise))
        for value, laplace in zip(bars.values, map(get_laplace, bars.values))
    ]
    (mean, std), slopes = differentiate_bars(bars._replace(values=values), x)
    return Posterior(mean, std, *slopes)


def find_covariance(bars: Bars, x: Any) -> Array:
    """Compute the covariance between rows, (m, m) or (m, m, n_targets); see `Network.covariance`."""
    _require_laplace(bars, "covariance")
    model, backend, xp = bars.value.model, bars.value.backend, bars.value.xp
    m = bars.value.reader.as_rows(x)[0].shape[0]
    if backend.on_host:
        require_bytes(
            8 * model.n_targets * m**2,
            f"covariance between {m:,} rows needs",
            "give fewer rows, or take sample(x, n)",
        )
    members = [compute_in_units(value, x, outputs_with_changes, get_laplace(value).factor) for value in bars.values]
    dtype = precision(tuple(members))
    with backend.scope(dtype):
        members = [backend.asarray(member, dtype) for member in members]
        means = xp.stack([member[..., 0] for member in members], axis=-1)
        spread = means - xp.mean(means, axis=-1, keepdims=True)
        # The mean of the members' covariances, and the covariance of their means
        rows = xp.concat([*(member[..., 1:] for member in members), spread], axis=-1) / math.sqrt(len(members))
        if rows.ndim == 2:  # of a single example
            return drop_single(xp.sum(rows * rows, axis=-1))
        rows = xp.permute_dims(rows, (1, 0, 2))
        return drop_single(xp.permute_dims(xp.matmul(rows, rows.mT), (1, 2, 0)))


def sample_functions(value: Value, x: Any, n: int) -> Array:
    """Compute the values of n functions, (n, m, n_targets); see `Network.sample`."""
    n, factor = count("n", n, 1), get_laplace(value).factor
    z = np.random.default_rng(value.seeds.dropout).standard_normal((n, len(factor)))
    parts, xp = compute_in_units(value, x, outputs_with_changes, factor @ z.T), value.xp
    with value.scope(), value.output_scope():
        functions = parts[..., :1] + parts[..., 1:]
        return xp.permute_dims(functions, (functions.ndim - 1, *range(functions.ndim - 1)))


def _require_laplace(bars: Bars, what: str) -> None:
    bars.require_alike(what)
    if not bars.has_laplace:
        raise ArgumentError(f"{what} needs the uncertainty of the weights; call fit_laplace(train_data) first")
