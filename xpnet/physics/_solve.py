"""Solving differential equations: Levenberg-Marquardt on the residuals of terms."""

import inspect
import math
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np

from xpnet._checks import choices, count, in_range, is_list, show, yes_or_no
from xpnet.backends import describe_versions
from xpnet.core.arrays import Array, Layers, join_layers, map_arrays, split_layers
from xpnet.core.optimizers import LARGEST_GROWTH, Damping, LevenbergMarquardt, descend
from xpnet.data.sampling import make_generator
from xpnet.errors import ArgumentError, DivergenceError
from xpnet.physics._residuals import LinearProblem, Term, compute_rows, evaluate, find_dependence, linearize, mean_cost
from xpnet.physics._taylor import find_jump
from xpnet.training import (
    Pauses,
    Progress,
    Stream,
    Values,
    accept_value,
    check_machine,
    ignore,
    parse_callbacks,
    refuse_rates,
    run_to_end,
    warn_of_no_step,
    write_optimizer,
)
from xpnet.training.callback import LOGS, Callback, Quantity, Trainee, Training, watching
from xpnet.value import FITTED_TO_WEIGHTS, History, Moment, Objective, Run, Value, init_optimizer

LEAST_JUMP = 1e-6  # of a derivative of an activation; of continuous ones, rounding makes less
CANDIDATES = 10  # points that are drawn for each one that is chosen
NOT_FINITE = (
    "residuals or their derivatives are not finite; the network has the weights before them. Look for divisions, roots "
    "and logarithms in the residuals, and at the units of x and of the coefficients"
)
ARGUMENTS = ("x", "u", "du", "ddu", "xp")  # of a residual


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


def check_network(value: Value) -> None:
    """Refuse a network that `solve` cannot fit."""
    model = value.model
    if value.dtype != "float64":
        raise ArgumentError(f'solve needs float64, and the network has {value.dtype}; give dtype="float64"')
    if model.standardize or model.scale is not None or value.scaling is not None:
        raise ArgumentError(
            "solve differentiates with respect to the inputs, so it does not go with standardize=True, a scaling or "
            "scale=; leave them out, and choose units in which x and u are about 1"
        )
    if any(model.dropout):
        raise ArgumentError(f"solve does not go with dropout={list(model.dropout)}; leave dropout out")
    with value.scope():
        z = value.backend.asarray(np.linspace(-1.0, 1.0, 4)[None, :], value.dtype)
        for sigma in model.sigmas:
            part, whole = (value.backend.to_numpy(sigma.value(rows, value.xp)) for rows in (z[:, :2], z))
            if not np.allclose(part, whole[:, :2], equal_nan=True):
                raise ArgumentError(
                    f"solve needs activations that act on each unit by itself, unlike {sigma.name!r}; give a smooth "
                    'one, such as activation="tanh" and output_activation="identity"'
                )
    check_machine(LevenbergMarquardt(), value.backend, model)


def parse_coefficients(coefficients: Any) -> dict[str, float]:
    """Check the first values of unknown coefficients."""
    if coefficients is None:
        return {}
    if not isinstance(coefficients, dict):
        raise ArgumentError(f"coefficients={show(coefficients)} must be a dict of first values, such as {{'c': 1.0}}")
    first = cast("dict[str, Any]", coefficients)
    for name in first:
        if name in (*ARGUMENTS, *LOGS):
            raise ArgumentError(
                f"coefficients has the name {name!r}, which means something else in a residual or a history; choose "
                f"another than {choices((*ARGUMENTS, *LOGS))}"
            )
    read = partial(in_range, low=-math.inf, high=math.inf, remedy="give a first guess", includes_low=False)
    return {name: read(f"coefficients[{name!r}]", number) for name, number in first.items()}


def parse_terms(terms: Any, names: Sequence[str], value: Value) -> tuple[Term, ...]:
    """Check terms; their points move to the device, and their residuals get only the coefficients that they take."""
    if not is_list(terms) or not terms or not all(isinstance(term, Term) for term in terms):
        raise ArgumentError(f"terms={show(terms)} must be a list of xpnet.Term, one for each equation")
    taken = [find_coefficients(term.residual, names) for term in terms]
    for k, (term, own) in enumerate(zip(terms, taken)):
        try:
            inspect.signature(term.residual).bind(*ARGUMENTS, **dict.fromkeys(own))
        except TypeError as error:
            raise ArgumentError(
                f"the residual of term {k} has other arguments than {', '.join([*ARGUMENTS, *own])} ({error}); each "
                f"coefficient among them needs a first value in coefficients, which has {choices(names) or 'none'}"
            ) from None
    for name in names:
        if not any(name in own for own in taken):
            raise ArgumentError(
                f"coefficients has {name!r}, which no residual takes; write it as a further argument, as in "
                f"residual(x, u, du, ddu, xp, {name})"
            )
    return tuple(
        replace(term, x=read_points(term.x, f"x of term {k}", value), residual=Residual(term.residual, own))
        for k, (term, own) in enumerate(zip(terms, taken))
    )


class Residual(NamedTuple):
    """A residual of the user's, and the names of the coefficients that it takes."""

    function: Any
    names: tuple[str, ...]

    def __call__(self, *arguments: Any, **coefficients: Any) -> Any:
        """Call it with these coefficients, and no others."""
        return self.function(*arguments, **{name: coefficients[name] for name in self.names})


def find_coefficients(residual: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Find the names that a residual takes as arguments.

    Examples
    --------
    >>> find_coefficients(lambda x, u, du, ddu, xp, nu: du[0] - nu * ddu[0], ["nu", "c"])
    ('nu',)
    """
    parameters = inspect.signature(residual).parameters
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return tuple(name for name in names if takes_all or name in parameters)


def read_points(x: Any, name: str, value: Value) -> Array:
    """Check points and move them to the device as rows."""
    return value.reader.read_inputs(value.reader.as_rows(x, name)[0], name)


def check_residuals(problem: Problem, first: Mapping[str, float]) -> None:
    """Compute and differentiate each residual once, to say what is wrong with it before anything has changed."""
    value, rng = problem.value, np.random.default_rng(0)
    layers, numbers = problem.unpack(problem.pack(value.layers, first))
    rest = layers, value.model.sigmas, numbers
    for k, term in enumerate(problem.terms):
        name = f"the residual of term {k}"
        try:
            evaluate(term, *rest, value.xp)
        except IndexError as error:
            raise ArgumentError(
                f"{name} has an index that is out of range ({error}); du and ddu have 0 to {value.model.n_in - 1}, for "
                f"each input, and u and each of these have the columns 0 to {value.model.n_out - 1}, for each output"
            ) from error
        if term.draw is not None:
            check_length(term, rest, name, value)
        try:
            next(compute_rows(term, *rest, value.xp))
            with np.errstate(all="ignore"):
                mixes_rows, takes_second = find_dependence(
                    term, *rest, lambda shape: value.backend.asarray(rng.standard_normal(shape), value.dtype), value.xp
                )
        except (TypeError, AttributeError) as error:
            raise ArgumentError(
                f"{name} cannot be differentiated ({error}); it must use operators and functions of xp alone, and so "
                "must activations of your own"
            ) from error
        if mixes_rows:
            raise ArgumentError(
                f"{name} mixes points: it must use each row of u, du and ddu by itself, without means, sums, "
                "differences or sorting over the rows; a coefficient, say, can stand for a mean"
            )
        if takes_second:
            check_smoothness(name, value)


def check_length(term: Term, rest: tuple[Any, Any, Any], name: str, value: Value) -> None:
    """Refuse a residual that cannot be computed at other points than those of its term, which are drawn anew."""
    try:
        evaluate(replace(term, x=value.xp.concat([term.x, term.x])), *rest, value.xp)
    except Exception as error:
        raise ArgumentError(
            f"{name} fails at other points than the {term.x.shape[0]} of x ({error}), and draw= draws others; compute "
            "from x what belongs to the points, in place of an array of fixed length, or leave draw out"
        ) from error


def check_smoothness(name: str, value: Value) -> None:
    """Refuse activations without the second derivative that a residual needs."""
    z = value.backend.asarray(np.linspace(-8.0, 8.0, 65)[None, :], value.dtype)
    for sigma in value.model.sigmas:
        if float(find_jump(sigma, z, value.xp)) > LEAST_JUMP:
            raise ArgumentError(
                f"{name} has second derivatives, and the activation {sigma.name!r} has none that is continuous; give "
                'a smooth one, such as activation="tanh"'
            )
