"""Dropout: which units a step leaves out, computed on the device, and the same on every backend.

A mask is a pure function of (seed, step, layer, row in the minibatch, unit). It is made of 32-bit integer arithmetic
alone, so every backend finds the same bits, and rows can be computed apart. Dropping is inverted: what is kept is
multiplied by 1 / (1 − rate), so nothing is to be done outside training (Srivastava et al., JMLR 2014).

To the rest of the mathematics a layer that drops is a layer with another activation: σ, times a mask.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xpnet.activations import Activation
from xpnet.arrays import Array, Layers, Namespace

_ODD = 0x9E3779B9 - 2**32  # 2³² divided by the golden ratio, as a signed number


class Seeds(NamedTuple):
    """Of what is random in a network besides its weights and the order of examples."""

    dropout: int
    split: int


class Dropout(NamedTuple):
    """What masks are made of. Rates are of the inputs and of each hidden layer, None where nothing is dropped."""

    seed: Array  # (1,) int32
    step: Array  # (1,) int32, counted over the life of the network
    thresholds: tuple[Array | None, ...]  # (1,) int32, rate · 2³¹
    scales: tuple[Array | None, ...]  # (1,), 1 / (1 − rate)


def start(seed: int, rates: Sequence[float]) -> Dropout | None:
    """Make the first state on the host, of NumPy arrays; None if nothing is ever dropped.

    Examples
    --------
    >>> start(0, [0.0, 0.5]).scales
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


def kept(seed: Array, step: Array, layer: int, rows: Array, units: Array, threshold: Array, xp: Namespace) -> Array:
    """Tell which units of a layer stay, (m, n), of booleans: each stays with probability 1 − threshold / 2³¹.

    Parameters
    ----------
    seed, step
        Integers, (1,) int32.
    layer
        Its number; 0 is the inputs.
    rows
        Which rows of the minibatch, (m,) int32.
    units
        Which units of the layer, (n,) int32.
    threshold
        The rate times 2³¹, (1,) int32.
    xp
        Namespace of the arrays.

    Examples
    --------
    >>> one = lambda number: np.array([number], np.int32)
    >>> places = np.arange(6, dtype=np.int32)
    >>> kept(one(0), one(0), 1, places[:2], places, one(2**30), np)
    array([[ True,  True, False,  True,  True,  True],
           [ True, False, False,  True,  True,  True]])
    """
    key = _mix(_mix(_mix(seed) ^ step) ^ (layer + 1))
    row = _mix(key ^ rows)
    # Each row is a stretch of one long sequence, begun at a place of its own
    return (_mix(row[:, None] + (units * _ODD)[None, :]) & 0x7FFFFFFF) >= threshold


def drop(
    state: Dropout | None, sigmas: Sequence[Activation], x: Array, layers: Layers, xp: Namespace
) -> tuple[Array, Sequence[Activation], Dropout | None]:
    """Inputs and activations of a step with its masks in them, and the state for the next step.

    Parameters
    ----------
    state
        What masks are made of; None changes nothing.
    sigmas
        Activation functions of the layers.
    x
        Inputs, shape (m, n_in).
    layers
        The layers, for their number of units.
    xp
        Namespace of the arrays.
    """
    if state is None:
        return x, sigmas, None
    rows = _places(x[:, 0], xp)
    dropped = list(sigmas)
    for layer, (threshold, scale) in enumerate(zip(state.thresholds, state.scales)):
        if threshold is None:
            continue
        units = _places(x[0, :] if layer == 0 else layers[layer - 1][1][0, :], xp)
        mask = scale * xp.astype(kept(state.seed, state.step, layer, rows, units, threshold, xp), x.dtype)
        if layer == 0:
            x = x * mask
        else:
            dropped[layer - 1] = _masked(sigmas[layer - 1], mask)
    return x, dropped, state._replace(step=state.step + 1)


def _masked(sigma: Activation, mask: Array) -> Activation:
    """σ times a mask."""

    def value(z: Array, xp: Namespace) -> Array:
        return sigma.value(z, xp) * mask

    def pullback(g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return sigma.pullback(g * mask, z, sigma.value(z, xp), xp)  # a has the mask in it

    return sigma._replace(value=value, pullback=pullback)


def _places(x: Array, xp: Namespace) -> Array:
    """Integers 0, 1, 2, ... as many as x has, and where x is: a traced array of JAX has no device for arange."""
    return xp.cumulative_sum(xp.ones_like(x, dtype=xp.int32), dtype=xp.int32) - 1


def _mix(h: Array) -> Array:
    """Scatter the bits: each one that changes changes half of the result (C. Wellons, "Hash Prospector", 2018)."""
    h = h ^ ((h >> 16) & 0xFFFF)  # the masks make shifts of signed numbers those of unsigned ones
    h = h * 0x7FEB352D
    h = h ^ ((h >> 15) & 0x1FFFF)
    h = h * (0x846CA68B - 2**32)
    return h ^ ((h >> 16) & 0xFFFF)
