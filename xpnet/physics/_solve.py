"""Solving differential equations: Levenberg-Marquardt on the residuals of terms."""

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet._checks import count
from xpnet.core.arrays import Array, count_elements, join_layers, map_arrays, split_layers
from xpnet.core.least_squares import LARGEST_GROWTH, LinearProblem, descend
from xpnet.core.minibatch import Examples
from xpnet.core.optimizers import LevenbergMarquardt
from xpnet.data.sampling import IN_ORDER, make_generator
from xpnet.data.source import Chunk, Resident
from xpnet.errors import DivergenceError
from xpnet.physics._residuals import Present, Term, evaluate, linearize, mean_cost, weigh_terms
from xpnet.physics._sampling import find_sampling
from xpnet.physics._terms import (
    check_network,
    draw_points,
    make_present,
    parse_bounds,
    parse_coefficients,
    parse_edges,
    parse_terms,
)
from xpnet.training import ChunkResults, Data, Job, Plan, Stream, refuse_rates, train, warn_of_no_step
from xpnet.training.callback import Callback, Trainee, Watcher
from xpnet.value import Objective, Value, init_optimizer

CANDIDATES = 10  # points that are drawn for each one that is chosen
RENEWAL = 10  # steps after which weights of terms are found anew
DRIFT = 2.0  # the factor from which weights are wrong
NOT_FINITE = (
    "the residuals of terms {} or their derivatives are not finite; the network has the weights before them. Look for "
    "divisions, roots and logarithms, for missing observations, and at the units of x and of the coefficients"
)


def solve(
    net: Trainee,
    terms: Sequence[Term],
    steps: int,
    coefficients: dict[str, float] | None,
    bounds: dict[str, tuple[float | None, float | None]] | None,
    redraw: int,
    time: int | None,
    edges: Sequence[float] | None,
    damping: float,
    callbacks: Sequence[Callback],
    progress: bool,
) -> Stream:
    """Fit a network to the residuals of terms; see `Network.solve`."""
    value, steps, redraw = net.value, count("steps", steps, 0), count("redraw", redraw, 1)
    check_network(value)
    optimizer, first = LevenbergMarquardt(damping=damping), parse_coefficients(coefficients)
    plan = Plan(epochs=steps, callbacks=callbacks, progress=progress)
    refuse_rates(plan.callbacks, "solve")
    with value.scope():
        parsed, intervals = parse_terms(terms, make_present(value, first), value), parse_bounds(bounds, first)
        ends = parse_edges(time, edges, parsed, steps, value)
        descent = Descent(value, parsed, first, intervals, optimizer, redraw, time or 0, ends)
        points = value.xp.concat([value.xp.reshape(term.x, (-1, value.model.n_in)) for term in parsed], axis=0)
    learnt = f", learning {', '.join(first)}" if first else ""
    plan = replace(
        plan,
        batch_size=points.shape[0],
        sampling=IN_ORDER._replace(name=f"residuals of {len(terms)} terms{learnt}"),
        callbacks=[descent, *plan.callbacks],
    )
    data = Data(Resident(value.reader, Examples(points, points)))  # the steps use those of the terms
    return train([Job(value, data, plan, net)], runner=nullcontext(descent))


@dataclass(eq=False)
class Descent(Watcher):
    """The runner of `solve`: in each step, weights and coefficients change if the cost of all points then falls.

    Its parameters (P, 1) are weights, biases and coefficients. As a callback, it adds the coefficients to the logs, and
    ends the training where no step lowers the cost any more.

    Parameters
    ----------
    value
        The value of the network at first.
    terms
        The terms at their first points, on the device.
    first
        The first values of the coefficients.
    bounds
        The least and the largest value of each coefficient, (2, k).
    optimizer
        Says how the damping begins.
    redraw
        The number of steps after which points are drawn anew.
    time, edges
        The input that is time; and the end of the window of each step.
    """

    value: Value
    terms: Sequence[Term]
    first: dict[str, float]
    bounds: np.ndarray
    optimizer: LevenbergMarquardt
    redraw: int
    time: int
    edges: Sequence[float]

    division = ()  # a lone network has no group

    def __post_init__(self) -> None:
        """Begin at the value."""
        value = self.value
        self.finds_weights = self.terms[0].weight is None  # terms have them all from the first step on
        self.draws = any(term.draw is not None for term in self.terms)
        state = init_optimizer(self.optimizer, value.layers, value.place)
        self.damping, self.memory = state.hyperparameters.damping, state.memory
        self.run_fields = {"optimizer": repr(self.optimizer), "lr": ""}
        self.steps, self.has_moved, self.edge = 0, False, math.inf
        self.coefficients, self.adds = self.first, tuple(self.first)
        free = np.outer([-np.inf, np.inf], np.ones(count_elements(value.layers)))
        ends = np.concatenate([free, self.bounds], axis=1)[..., None]
        self.ends = [value.backend.asarray(end, value.dtype) for end in ends]  # of all parameters
        self._begin(value)

    def _begin(self, value: Value) -> None:
        """Begin at a value: with its coefficients, if they have begun at the same first ones, else with the present."""
        fitted = value.objective.coefficients or {}
        if {name: first for name, (first, *_) in fitted.items()} == self.first:
            self.coefficients = {name: fitted[name][1] for name in self.first}
        numbers = value.backend.asarray(np.array([*self.coefficients.values()]).reshape(-1, 1), value.dtype)
        self.parameters = self._clip(value.xp.concat([join_layers(value.layers, value.xp), numbers], axis=0))
        self.linear: LinearProblem | None = None  # at these parameters; computed when it is needed
        # What the next step begins from, unless a callback gives another value
        self.stored, self.objective = value.stored, value.objective

    def unpack(self, parameters: Array) -> Present:
        """Split parameters into layers and coefficients, with which residuals are computed."""
        value, first = self.value, parameters.shape[0] - len(self.first)
        numbers = {name: parameters[first + k, 0] for k, name in enumerate(self.first)}
        layers = split_layers(parameters, value.layers, value.xp)
        return Present(layers, value.model.sigmas, numbers, value.xp, self.time, self.edge)

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Take a step from a value, which callbacks may have given. Synchronizes."""
        value, changes = values[0], dict[str, Any]()
        if value.stored is not self.stored or value.objective is not self.objective:
            self._begin(value)
        if moves := self.edges[self.steps] != self.edge:
            self.edge, self.linear = self.edges[self.steps], None
            self.memory = map_arrays(lambda part: 0.0 * part, self.memory)
        if draws := self.draws and self.steps > 0 and self.steps % self.redraw == 0:
            rng = make_generator(value.generator)
            self.terms = [self._draw(term, k, rng) if term.draw else term for k, term in enumerate(self.terms)]
            self.linear = None
            changes["generator"] = rng.bit_generator.state
        if self.finds_weights and (draws or moves or self.steps % RENEWAL == 0):
            self._weigh()
        linear, self.steps = value.backend.take_steps(self._step), self.steps + 1
        present = self.unpack(self.parameters)
        self.coefficients = {name: float(number) for name, number in present.coefficients.items()}
        parts = zip(self.first.items(), self.coefficients.values(), self.bounds.T)
        self.objective = Objective(
            coefficients={name: (first, number, number in ends) for (name, first), number, ends in parts}
        )
        self.stored = value.state._replace(layers=map_arrays(value.backend.copy, present.layers))
        changes |= {"stored": self.stored, "objective": self.objective}
        return {0: (changes, float(linear.cost), 1.0, "")}

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Look at what the step has led to: the damping at its bound means that no step lowers the cost any more."""
        logs.update(self.coefficients)
        can_change = self.draws or self.edge < math.inf
        self.training.stopped |= not can_change and float(self.memory.growth) >= LARGEST_GROWTH

    def on_train_end(self) -> None:
        """Warn if no step has lowered the cost; else add the standard errors of coefficients to the last logs."""
        if self.training.completed and not self.has_moved:
            warn_of_no_step("solve", self.training.history)
        elif self.has_moved and self.first and any(term.noise for term in self.terms):
            pairs = zip(self.first, find_sampling(self.terms, self.training.value).standard_errors)
            self.training.history.rows[-1] |= {f"{name}_standard_error": error for name, error in pairs}

    def _weigh(self) -> None:
        """Weigh terms by their present Jacobians, unless the weights before are still about right. Synchronizes."""
        terms = weigh_terms([replace(term, weight=None) for term in self.terms], self.unpack(self.parameters))
        ratios = [(old.weight or 0.0) / new.weight for old, new in zip(self.terms, terms)]
        if not all(1.0 / DRIFT < ratio < DRIFT for ratio in ratios):
            self.terms, self.linear = terms, None

    def _step(self) -> LinearProblem:
        """Change the parameters, if the cost then falls; return the linear problem at them. Synchronizes."""
        linear, xp = self.linear or self._linearize(self.parameters), self.value.xp

        def measure(parameters: Array) -> Array:
            return mean_cost(self.terms, self.unpack(self._clip(parameters)))

        new, self.memory, falls = descend(self.parameters, self._hold(linear), measure, self.memory, self.damping, xp)
        if bool(falls):
            self.parameters, self.has_moved = self._clip(new), True
            linear = self._linearize(self.parameters)
        self.linear = linear
        return linear

    def _linearize(self, parameters: Array) -> LinearProblem:
        present = self.unpack(parameters)

        def is_finite(linear: LinearProblem) -> bool:
            return self.value.backend.all_finite([linear.matrix, linear.gradient, linear.cost[None]])

        if not is_finite(linear := linearize(self.terms, present)):
            wrong = [k for k, term in enumerate(self.terms) if not is_finite(linearize([term], present))]
            raise DivergenceError(NOT_FINITE.format(wrong))
        return linear

    def _clip(self, parameters: Array) -> Array:
        """Move coefficients that are beyond a bound to it."""
        (low, high), xp = self.ends, self.value.xp
        return xp.minimum(xp.maximum(parameters, low), high)

    def _hold(self, linear: LinearProblem) -> LinearProblem:
        """Leave parameters out of a linear problem that its step does not move within the bounds."""
        xp, (low, high), at, mu = self.value.xp, self.ends, self.parameters, self.memory.mu
        if not xp.any((at == low) | (at == high)):
            return linear
        change = linear.solve(xp.where(mu > 0.0, mu, self.damping * linear.largest), xp)
        free = xp.astype(self._clip(at + change) != at, at.dtype)
        linear = linear._replace(gradient=linear.gradient * free)
        if linear.few is None:
            return linear._replace(matrix=linear.matrix * free * free.mT)
        r, rows = linear.few[0], linear.few[1] * free.mT
        return linear._replace(matrix=xp.matmul(rows, rows.mT), few=(r, rows))

    def _draw(self, term: Term, k: int, rng: np.random.Generator) -> Term:
        """Draw points anew for term k, in proportion to |r| plus its mean. Synchronizes."""
        value, m = self.value, term.x.shape[0]
        candidates = draw_points(term, k, CANDIDATES * m, rng, value)
        r = evaluate(candidates, self.unpack(self.parameters))
        size = np.abs(value.backend.to_numpy(r)[:, 0]) + np.finfo(np.float64).tiny
        if not np.isfinite(size).all():
            raise DivergenceError(NOT_FINITE.format([k]))
        chances = (size + size.mean()) / (2.0 * size.sum())
        chosen = rng.choice(np.arange(len(size), dtype=np.int32), m, replace=False, p=chances)
        return replace(term, x=value.place.take(candidates.x, chosen))
