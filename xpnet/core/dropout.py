"""Dropout: random masks of units, computed on the device and the same on every backend.

A mask is a pure function of (seed, step, layer, row in the minibatch, unit) in 32-bit integer arithmetic alone, so
every backend computes the same bits, and each row can be computed independently. Dropout is inverted: kept units are
multiplied by 1 / (1 − rate), so nothing changes outside training (Srivastava et al., JMLR 2014).

To the rest of the mathematics, a layer with dropout just has another activation function: σ times a mask.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from xpnet.core.activations import Activation
from xpnet.core.arrays import Array, Layers, Namespace, positions

__all__ = [
    "Dropout",
    "drop",
    "init_dropout",
    "keep_mask",
    "make_masks",
]

_GOLDEN = 0x9E3779B9 - 2**32  # 2³² divided by the golden ratio, as a signed number


class Dropout(NamedTuple):
    """The state of dropout; one threshold and scale for the inputs and each hidden layer, None without dropout."""

    seed: Array  # (1,) int32
    step: Array  # (1,) int32, counted from the network's first step; or one for each row, (m, 1)
    thresholds: tuple[Array | None, ...]  # (1,) int32, rate · 2³¹
    scales: tuple[Array | None, ...]  # (1,), 1 / (1 − rate)


def init_dropout(seed: int, rates: Sequence[float]) -> Dropout | None:
    """Make the first state, of NumPy arrays; None if all rates are 0.

    Examples
    --------
    >>> init_dropout(0, [0.0, 0.5]).scales
    (None, array([2.]))
    """
    if not any(rates):
        return None
    return Dropout(
        seed=np.array([seed], dtype=np.uint32).view(np.int32),
        step=np.zeros(1, np.int32),
        thresholds=tuple(np.array([rate * 2**31]).astype(np.int32) if rate else None for rate in rates),
        scales=tuple(np.array([1.0 / (1.0 - rate)]) if rate else None for rate in rates),
    )


def keep_mask(
    seed: Array, step: Array, layer: int, rows: Array, units: Array, threshold: Array, xp: Namespace
) -> Array:
    """Compute which units of a layer are kept, (..., m, n) booleans; each with probability 1 − threshold / 2³¹.

    Parameters
    ----------
    seed, step
        Integers, (1,) int32, or (..., 1, 1) for several networks; or a step for each row, (m, 1).
    layer
        Number of the layer; 0 for the inputs.
    rows
        Row numbers in the minibatch, (..., m) int32.
    units
        Unit numbers in the layer, (..., n) int32.
    threshold
        The rate times 2³¹, (1,) int32, or (..., 1, 1).
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> one = lambda number: np.array([number], np.int32)
    >>> numbers = np.arange(6, dtype=np.int32)
    >>> keep_mask(one(0), one(0), 1, numbers[:2], numbers, one(2**30), np)
    array([[ True,  True, False,  True,  True,  True],
           [ True, False, False,  True,  True,  True]])
    """
    key = _mix(_mix(_mix(seed) ^ step) ^ (layer + 1))
    row = _mix(key ^ rows[..., None])
    # Each row is a segment of one long pseudo-random sequence, with its own starting point
    return (_mix(row + (units * _GOLDEN)[..., None, :]) & 0x7FFFFFFF) >= threshold


def drop(
    state: Dropout | None,
    sigmas: Sequence[Activation],
    x: Array,
    layers: Layers,
    xp: Namespace,
    rows: Array | None = None,
) -> tuple[Array, Sequence[Activation], Dropout | None]:
    """Apply the masks of a step: return masked inputs, masked activation functions, and the state for the next step.

    Parameters
    ----------
    state
        The state of dropout; None changes nothing.
    sigmas
        Activation functions of the layers.
    x
        Inputs, shape (..., m, n_in).
    layers
        The layers, for their numbers of units.
    xp
        Namespace of the arrays.
    rows
        Row numbers of the inputs, (..., m) int32; 0, 1, 2, ... unless given.
    """
    if state is None:
        return x, sigmas, None
    rows = positions(x[..., 0], xp) if rows is None else rows
    masked = list(sigmas)
    for layer, mask in enumerate(make_masks(state, x, layers, xp, rows)):
        if mask is None:
            continue
        if layer == 0:
            x = x * mask
        else:
            masked[layer - 1] = _times_mask(sigmas[layer - 1], mask)
    return x, masked, state._replace(step=state.step + 1)


def make_masks(state: Dropout, x: Array, layers: Layers, xp: Namespace, rows: Array) -> Iterator[Array | None]:
    """Compute the masks of a step, (..., m, n) for the inputs and for each hidden layer; None where nothing is dropped.

    A mask is 0 for units that are dropped, and 1 / (1 − rate) for the others. `x` are the inputs, (..., m, n_in).
    """
    for layer, (threshold, scale) in enumerate(zip(state.thresholds, state.scales)):
        if threshold is None:
            yield None
            continue
        units = positions(x[..., 0, :] if layer == 0 else layers[layer - 1][1][..., 0, :], xp)
        keep = keep_mask(state.seed, state.step, layer, rows, units, threshold, xp)
        yield scale * xp.astype(keep, x.dtype)


def _times_mask(sigma: Activation, mask: Array) -> Activation:
    """Make the activation σ times a mask."""

    def value(z: Array, xp: Namespace) -> Array:
        return sigma.value(z, xp) * mask

    def pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return sigma.pullback(g * mask, z, sigma.value(z, xp), xp)  # a is masked; σ′ needs σ(z)

    return sigma._replace(value=value, pullback=pullback)


def _mix(h: Array) -> Array:
    """Mix the bits: changing one changes half of the result on average (C. Wellons, "Hash Prospector", 2018)."""
    h = h ^ ((h >> 16) & 0xFFFF)  # the masks make signed shifts behave like unsigned ones
    h = h * 0x7FEB352D
    h = h ^ ((h >> 15) & 0x1FFFF)
    h = h * (0x846CA68B - 2**32)
    return h ^ ((h >> 16) & 0xFFFF)
