"""Solving differential equations: Levenberg-Marquardt on the residuals of terms."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np

from xpnet._checks import count, yes_or_no
from xpnet.backends import describe_versions
from xpnet.core.arrays import Array, Layers, join_layers, map_arrays, split_layers
from xpnet.core.optimizers import LARGEST_GROWTH, Damping, LevenbergMarquardt, descend
from xpnet.data.sampling import make_generator
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.physics._residuals import LinearProblem, Term, evaluate, linearize, mean_cost
from xpnet.physics._terms import check_network, check_residuals, parse_coefficients, parse_terms, read_points
from xpnet.training import (
    Pauses,
    Progress,
    Stream,
    Values,
    accept_value,
    ignore,
    parse_callbacks,
    refuse_rates,
    run_to_end,
    warn_of_no_step,
    write_optimizer,
)
from xpnet.training.callback import LOGS, Callback, Quantity, Trainee, Training, watching
from xpnet.value import FITTED_TO_WEIGHTS, History, Moment, Objective, Run, Value, init_optimizer

CANDIDATES = 10  # points that are drawn for each one that is chosen
NOT_FINITE = (
    "residuals or their derivatives are not finite; the network has the weights before them. Look for divisions, roots "
    "and logarithms in the residuals, and at the units of x and of the coefficients"
)


class Problem(NamedTuple):
    """Terms at points on the device, as a function of parameters (P, 1): weights, biases and coefficients."""

    terms: tuple[Term, ...]
    names: tuple[str, ...]  # of the coefficients
    value: Value

    @property
    def n_points(self) -> int:
        """Number of points of all terms."""
        return sum(term.x.shape[0] for term in self.terms)

    @property
    def draws(self) -> bool:
        """Whether points can be drawn anew."""
        return any(term.draw is not None for term in self.terms)

    def pack(self, layers: Layers, numbers: Mapping[str, float]) -> Array:
        """Join layers and coefficients into parameters."""
        backend, dtype, _ = self.value.place
        column = backend.asarray(np.array([*numbers.values()]).reshape(-1, 1), dtype)
        return (
            backend.xp.concat([join_layers(layers, backend.xp), column], axis=0)
            if numbers
            else join_layers(layers, backend.xp)
        )

    def unpack(self, parameters: Array) -> tuple[Layers, dict[str, Array]]:
        """Split parameters into layers and coefficients."""
        first = parameters.shape[0] - len(self.names)
        numbers = {name: parameters[first + k, 0] for k, name in enumerate(self.names)}
        return split_layers(parameters, self.value.layers, self.value.xp), numbers

    def measure(self, parameters: Array) -> Array:
        """Compute the cost."""
        layers, numbers = self.unpack(parameters)
        return mean_cost(self.terms, layers, self.value.model.sigmas, numbers, self.value.xp)

    def linearize(self, parameters: Array) -> LinearProblem:
        """Compute the linear problem. Synchronizes."""
        layers, numbers = self.unpack(parameters)
        linear = linearize(self.terms, layers, self.value.model.sigmas, numbers, self.value.xp)
        if not self.value.backend.all_finite([linear.matrix, linear.gradient, linear.cost[None]]):
            raise DivergenceError(NOT_FINITE)
        return linear

    def redraw(self, parameters: Array, rng: np.random.Generator) -> "Problem":
        """Draw points anew for the terms that can, in proportion to |r| plus its mean. Synchronizes."""
        layers, numbers = self.unpack(parameters)
        terms = list(self.terms)
        for k, term in enumerate(terms):
            if term.draw is not None:
                m = term.x.shape[0]
                points = read_points(term.draw(rng, CANDIDATES * m), f"draw of term {k}", self.value)
                r = evaluate(replace(term, x=points), layers, self.value.model.sigmas, numbers, self.value.xp)
                if (n := points.shape[0]) != CANDIDATES * m:
                    raise ArgumentError(f"draw of term {k} has {n} points, but must have {CANDIDATES * m}")
                size = np.abs(self.value.backend.to_numpy(r)[:, 0]) + np.finfo(np.float64).tiny
                if not np.isfinite(size).all():
                    raise DivergenceError(NOT_FINITE)
                chances = (size + size.mean()) / (2.0 * size.sum())
                chosen = rng.choice(np.arange(len(size), dtype=np.int32), m, replace=False, p=chances)
                terms[k] = replace(term, x=self.value.place.take(points, chosen))
        return self._replace(terms=tuple(terms))


class Search(NamedTuple):
    """Where a search for the least cost is."""

    problem: Problem
    parameters: Array
    linear: LinearProblem
    memory: Damping

    @property
    def is_stuck(self) -> bool:
        """Whether no step lowers the cost: the damping is at its bound. Synchronizes."""
        return float(self.memory.growth) >= LARGEST_GROWTH

    def step(self, damping: Array) -> "Search":
        """Take a step if it lowers the cost. Synchronizes."""
        problem, linear, xp = self.problem, self.linear, self.problem.value.xp
        solve, slope = partial(linear.solve, xp=xp), (linear.gradient, linear.largest, linear.cost)
        new, memory, falls = descend(self.parameters, solve, *slope, problem.measure, self.memory, damping, xp)
        here = self._replace(memory=memory)
        return here._replace(parameters=new, linear=problem.linearize(new)) if bool(falls) else here


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
    callbacks = parse_callbacks(callbacks) + ([Progress()] if yes_or_no("progress", progress) else [])
    refuse_rates(callbacks, "solve")
    moment = Moment(value._replace(history=History()))
    training = Training(net, partial(accept_value, None), moment, steps, 1, dict(LOGS))
    return Stream(run(training, terms, first, optimizer, redraw, callbacks), [training], {})


def run(
    training: Training,
    terms: Sequence[Term],
    first: dict[str, float],
    optimizer: LevenbergMarquardt,
    redraw: int,
    callbacks: Sequence[Callback],
) -> Generator[Values, None, None]:
    """Check the terms, take the steps of `solve`, and yield the network's values."""
    with ExitStack() as stack:
        stack.enter_context(training.value.scope())
        problem = Problem(parse_terms(terms, list(first), training.value), tuple(first), training.value)
        numbers = find_present(training.value, first) or first
        check_residuals(problem, numbers)
        training.quantities |= dict.fromkeys(first, Quantity())
        begun = stack.enter_context(watching(callbacks, training))
        steps = run_steps(problem, first, numbers, optimizer, redraw, training, callbacks)
        yield from run_to_end(steps, {0: training}, [begun], nullcontext(ignore))


def run_steps(
    problem: Problem,
    first: dict[str, float],
    numbers: dict[str, float],
    optimizer: LevenbergMarquardt,
    redraw: int,
    training: Training,
    callbacks: Sequence[Callback],
) -> Pauses:
    """Take the steps of `solve`; yields as `run_steps` of the training loop does."""
    value = training.value
    provenance = value.provenance.add(describe_run(problem, training.epochs, optimizer))
    state, rng = init_optimizer(optimizer, value.layers, problem.value.place), make_generator(value.generator)
    parameters = problem.pack(value.layers, numbers)
    search, has_moved = Search(problem, parameters, problem.linearize(parameters), state.memory), False
    for step in range(1, training.epochs + 1):
        if training.stopped or (search.is_stuck and not problem.draws):
            break
        for callback in callbacks:
            callback.on_epoch_begin(step)
        started = time.perf_counter()
        if problem.draws and step > 1 and (step - 1) % redraw == 0:
            problem = problem.redraw(search.parameters, rng)
            search = Search(problem, search.parameters, problem.linearize(search.parameters), search.memory)
        before, search = search.parameters, search.step(state.hyperparameters.damping)
        has_moved |= search.parameters is not before
        layers, coefficients = problem.unpack(search.parameters)
        numbers = {name: float(number) for name, number in coefficients.items()}
        objective = Objective(coefficients={name: (first[name], numbers[name]) for name in first})
        value = replace_layers(training.value, layers)._replace(objective=objective)
        value = value._replace(provenance=provenance, generator=rng.bit_generator.state)
        cost, seconds = float(search.linear.cost), time.perf_counter() - started
        shape = 1, problem.n_points
        moment = training.position.after_chunk(value, shape, cost, weight=1.0, lr=1.0, seconds=seconds)
        logs = moment.row() | numbers
        training.history.rows.append(logs)
        training.position = moment.next_epoch()
        yield None
        for callback in callbacks:
            callback.on_chunk_end(1)
        for callback in callbacks:
            callback.on_epoch_end(logs)  # may add to the logs
        yield [0], ()
        if training.value is not value:  # callbacks have given another one
            numbers = find_present(training.value, first) or numbers
            parameters = problem.pack(training.value.layers, numbers)
            search = Search(problem, parameters, problem.linearize(parameters), search.memory)
    training.completed = True
    if not has_moved:
        warn_of_no_step("solve", training.history)


def find_present(value: Value, first: dict[str, float]) -> dict[str, float] | None:
    """Find the values that coefficients have reached from these first ones; None if they have not begun there."""
    pairs = value.objective.coefficients or {}
    return {name: pairs[name][1] for name in first} if {name: pairs[name][0] for name in pairs} == first else None


def replace_layers(value: Value, layers: Layers) -> Value:
    """Return a value with other layers, without what was fitted to the old ones."""
    state = value.state._replace(layers=map_arrays(value.backend.copy, layers))
    return value._replace(stored=state, **FITTED_TO_WEIGHTS, novelty=None)


def describe_run(problem: Problem, steps: int, optimizer: LevenbergMarquardt) -> Run:
    """Describe the call for the provenance of the network."""
    backend, learnt = problem.value.backend, f", learning {', '.join(problem.names)}" if problem.names else ""
    return Run(
        epochs=steps,
        batch_size=problem.n_points,
        sampling=f"residuals of {len(problem.terms)} terms{learnt}",
        optimizer=write_optimizer(optimizer),
        lr="",
        alpha=0.0,
        backend=backend.name,
        device=backend.device_name,
        processes=1,
        versions=describe_versions(backend.name),
    )
