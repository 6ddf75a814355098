"""Solving differential equations: Levenberg-Marquardt on the residuals of terms."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from xpnet._checks import count
from xpnet.core.arrays import Array, Layers, Namespace, join_layers, map_arrays, split_layers
from xpnet.core.least_squares import LARGEST_GROWTH, descend
from xpnet.core.minibatch import Examples
from xpnet.core.optimizers import LevenbergMarquardt
from xpnet.core.step import State
from xpnet.data.sampling import IN_ORDER, make_generator
from xpnet.data.source import Chunk, Resident
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.physics._residuals import LinearProblem, Present, Term, evaluate, linearize, mean_cost
from xpnet.physics._terms import check_network, check_residuals, parse_coefficients, parse_terms, read_points
from xpnet.training import ChunkResults, Data, Job, Plan, Stream, refuse_rates, train, warn_of_no_step
from xpnet.training.callback import Callback, Trainee, Training
from xpnet.value import Objective, Value, init_optimizer

CANDIDATES = 10  # points that are drawn for each one that is chosen
NOT_FINITE = (
    "residuals or their derivatives are not finite; the network has the weights before them. Look for divisions, roots "
    "and logarithms in the residuals, and at the units of x and of the coefficients"
)


def solve(
    net: Trainee,
    terms: Sequence[Term],
    steps: int,
    coefficients: dict[str, float] | None,
    redraw: int,
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
        problem = Problem(parse_terms(terms, list(first), value), tuple(first), value)
        parameters = problem.pack(value.layers, find_present(value, first) or first)
        check_residuals(problem.terms, problem.unpack(parameters), value)
        points = value.xp.concat([term.x for term in problem.terms], axis=0)
        targets = value.backend.asarray(np.zeros((points.shape[0], 1)), value.dtype)  # what residuals should be
    descent, data = Descent(problem, first, optimizer, redraw), Data(Resident(Examples(points, targets), value.reader))
    learnt = f", learning {', '.join(first)}" if first else ""
    sampling = IN_ORDER._replace(name=f"residuals of {len(terms)} terms{learnt}")
    watching = [Coefficients(descent), *plan.callbacks]
    plan = replace(plan, batch_size=points.shape[0], sampling=sampling, callbacks=watching)
    return train([Job(value, data, plan, net)], runner=nullcontext(descent))


def find_present(value: Value, first: dict[str, float]) -> dict[str, float] | None:
    """Find the values that coefficients have reached from these first ones; None if they have not begun there."""
    pairs = value.objective.coefficients or {}
    return {name: pairs[name][1] for name in first} if {name: pairs[name][0] for name in pairs} == first else None


class Problem(NamedTuple):
    """Terms at points on the device, as a function of parameters (P, 1): weights, biases and coefficients."""

    terms: tuple[Term, ...]
    names: tuple[str, ...]  # of the coefficients
    value: Value

    def pack(self, layers: Layers, numbers: Mapping[str, float]) -> Array:
        """Join layers and coefficients into parameters."""
        column = self.value.backend.asarray(np.array([*numbers.values()]).reshape(-1, 1), self.value.dtype)
        return self.value.xp.concat([join_layers(layers, self.value.xp), column], axis=0)

    def unpack(self, parameters: Array) -> Present:
        """Split parameters into layers and coefficients, with which residuals are computed."""
        value, first = self.value, parameters.shape[0] - len(self.names)
        numbers = {name: parameters[first + k, 0] for k, name in enumerate(self.names)}
        return split_layers(parameters, value.layers, value.xp), value.model.sigmas, numbers, value.xp

    def measure(self, parameters: Array) -> Array:
        """Compute the cost."""
        return mean_cost(self.terms, *self.unpack(parameters))

    def linearize(self, parameters: Array) -> LinearProblem:
        """Compute the linear problem. Synchronizes."""
        linear = linearize(self.terms, *self.unpack(parameters))
        if not self.value.backend.all_finite([linear.matrix, linear.gradient, linear.cost[None]]):
            raise DivergenceError(NOT_FINITE)
        return linear

    def redraw(self, parameters: Array, rng: np.random.Generator) -> "Problem":
        """Draw points anew for the terms that can, in proportion to |r| plus its mean. Synchronizes."""
        terms = list(self.terms)
        for k, term in enumerate(terms):
            if term.draw is not None:
                m = term.x.shape[0]
                points = read_points(term.draw(rng, CANDIDATES * m), f"draw of term {k}", self.value)
                if (n := points.shape[0]) != CANDIDATES * m:
                    raise ArgumentError(f"draw of term {k} has {n} points, but must have {CANDIDATES * m}")
                r = evaluate(replace(term, x=points), *self.unpack(parameters))
                size = np.abs(self.value.backend.to_numpy(r)[:, 0]) + np.finfo(np.float64).tiny
                if not np.isfinite(size).all():
                    raise DivergenceError(NOT_FINITE)
                chances = (size + size.mean()) / (2.0 * size.sum())
                chosen = rng.choice(np.arange(len(size), dtype=np.int32), m, replace=False, p=chances)
                terms[k] = replace(term, x=self.value.place.take(points, chosen))
        return self._replace(terms=tuple(terms))


class Descent:
    """The runner of `solve`: in each step, weights and coefficients change if the cost of all points then falls.

    Parameters
    ----------
    problem
        The terms at their first points.
    first
        The first values of the coefficients.
    optimizer
        Says how the damping begins.
    redraw
        The number of steps after which points are drawn anew.
    """

    division = ()  # a lone network has no group

    def __init__(self, problem: Problem, first: dict[str, float], optimizer: LevenbergMarquardt, redraw: int) -> None:
        self.problem, self.first, self.coefficients, self.redraw = problem, first, first, redraw
        state = init_optimizer(optimizer, problem.value.layers, problem.value.place)
        self.damping, self.memory = state.hyperparameters.damping, state.memory
        self.run_fields = {"optimizer": repr(optimizer), "lr": ""}
        self.stored: State | None = None  # what the last step led to, as the objective is
        self.objective: Objective | None = None
        self.steps, self.has_moved = 0, False

    @property
    def draws(self) -> bool:
        """Whether points can be drawn anew."""
        return any(term.draw is not None for term in self.problem.terms)

    @property
    def is_stuck(self) -> bool:
        """Whether no step lowers the cost any more: the damping is at its bound. Synchronizes."""
        return not self.draws and float(self.memory.growth) >= LARGEST_GROWTH

    def run(self, values: Mapping[int, Value], chunks: Mapping[int, Chunk]) -> ChunkResults:
        """Take a step from a value, which callbacks may have given. Synchronizes."""
        value, changes = values[0], dict[str, Any]()
        if value.stored is not self.stored or value.objective is not self.objective:
            self.coefficients = find_present(value, self.first) or self.coefficients
            self.parameters, self.linear = self.problem.pack(value.layers, self.coefficients), None
        if self.draws and self.steps and self.steps % self.redraw == 0:
            rng = make_generator(value.generator)
            self.problem, self.linear = self.problem.redraw(self.parameters, rng), None
            changes["generator"] = rng.bit_generator.state
        linear = self._step(value.xp)
        layers, _, coefficients, _ = self.problem.unpack(self.parameters)
        self.coefficients = {name: float(number) for name, number in coefficients.items()}
        self.objective = Objective(
            coefficients={name: (self.first[name], self.coefficients[name]) for name in self.first}
        )
        self.stored, self.steps = value.state._replace(layers=map_arrays(value.backend.copy, layers)), self.steps + 1
        changes |= {"stored": self.stored, "objective": self.objective}
        return {0: (changes, float(linear.cost), 1.0, "")}

    def _step(self, xp: Namespace) -> LinearProblem:
        """Change the parameters, if the cost then falls; return the linear problem at them. Synchronizes."""
        linear = self.problem.linearize(self.parameters) if self.linear is None else self.linear
        solve, slope = partial(linear.solve, xp=xp), (linear.gradient, linear.largest, linear.cost)
        measure, memory = self.problem.measure, self.memory
        new, self.memory, falls = descend(self.parameters, solve, *slope, measure, memory, self.damping, xp)
        if bool(falls):
            self.parameters, linear, self.has_moved = new, self.problem.linearize(new), True
        self.linear = linear
        return linear


class Coefficients(Callback):
    """Adds the coefficients to the logs, and ends the steps where none lowers the cost.

    Parameters
    ----------
    descent
        Takes the steps.
    """

    def __init__(self, descent: Descent) -> None:
        self.descent, self.adds = descent, descent.problem.names

    def on_train_begin(self, training: Training) -> None:
        """Remember the training."""
        self.training = training

    def on_epoch_end(self, logs: dict[str, Any]) -> None:
        """Look at what the step has led to."""
        logs.update(self.descent.coefficients)
        self.training.stopped |= self.descent.is_stuck

    def on_train_end(self) -> None:
        """Warn if no step has lowered the cost."""
        if self.training.completed and not self.descent.has_moved:
            warn_of_no_step("solve", self.training.history)
