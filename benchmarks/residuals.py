"""Differential equations: errors and processor seconds of `Network.solve`, beside PyTorch's L-BFGS and DeepXDE.

Each contender has the same network, equations and points, and on each seed as many seconds of the processor as xpnet
took, or more. xpnet finds the weights of the terms by itself, the others have those of `Term.weight`. PyTorch has
xpnet's initial weights, and L-BFGS with a strong Wolfe line search. DeepXDE trains as in its examples, by Adam and then
by L-BFGS, each for half of the time; its L-BFGS looks at the clock after every 1,000 iterations.

Prints a table of medians; exits with status 1 if xpnet misses a claim of docs/use/differential-equations.md, or if
another contender has a smaller median error. `sizes` compares sizes of networks.
"""

import argparse
import os
import sys
import time
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from harness import Report, machine
from scipy.integrate import solve_ivp

from xpnet import Network, Term

PI = np.pi
NU = 0.01 / PI


class Problem(NamedTuple):
    """Terms, the equation first; points with exact values to compare with; what is claimed."""

    sizes: tuple[int, ...]
    steps: int
    terms: list[Term]
    points: np.ndarray
    exact: np.ndarray
    error: float  # relative, in the 2-norm
    seconds: float
    coefficients: Any = MappingProxyType({})  # first and true values, by name; residuals then take all of them


def line(n, low, high):
    return np.linspace(low, high, n)[:, None]


def grid(x, y):
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def be(value):
    """The residual of u = value."""
    return lambda x, u, du, ddu, xp: u - value


def poisson_1d(rng):
    """u″ = f with u = sin πx + 0.3 sin 4πx."""

    def equation(x, u, du, ddu, xp):
        return ddu[0] + PI**2 * (xp.sin(PI * x) + 4.8 * xp.sin(4 * PI * x))

    terms = [Term(equation, line(100, -1, 1), weight=0.01), Term(be(0.0), line(2, -1, 1), weight=10.0)]
    x = line(400, -1, 1)
    return Problem((1, 20, 20, 1), 800, terms, x, np.sin(PI * x) + 0.3 * np.sin(4 * PI * x), 2e-6, 2.0)


def oscillator(rng):
    """u″ + 2c u′ + ω² u = 0, from u = 1 at rest."""
    c, omega = 2.0, 20.0

    def equation(x, u, du, ddu, xp):
        return (ddu[0] + 2 * c * du[0] + omega**2 * u) / omega**2

    def rest(x, u, du, ddu, xp):
        return du[0] / omega

    terms = [Term(equation, line(150, 0, 1), 1.0), Term(be(1.0), line(1, 0, 0), 1.0), Term(rest, line(1, 0, 0), 1.0)]
    t, w = line(400, 0, 1), np.sqrt(omega**2 - c**2)
    exact = np.exp(-c * t) * (np.cos(w * t) + c / w * np.sin(w * t))
    return Problem((1, 20, 20, 1), 500, terms, t, exact, 3e-5, 2.0)


def poisson_2d(rng):
    """Δu = f with u = sin πx sin πy."""

    def equation(x, u, du, ddu, xp):
        return ddu[0] + ddu[1] + 2 * PI**2 * xp.sin(PI * x[:, :1]) * xp.sin(PI * x[:, 1:])

    s, ends = np.linspace(-1, 1, 20), np.array([-1.0, 1.0])
    edges = np.concatenate([grid(s, ends), grid(ends, s)])
    terms = [Term(equation, rng.uniform(-1, 1, (300, 2)), weight=0.01), Term(be(0.0), edges, weight=10.0)]
    points = grid(np.linspace(-1, 1, 50), np.linspace(-1, 1, 50))
    exact = np.sin(PI * points[:, :1]) * np.sin(PI * points[:, 1:])
    return Problem((2, 20, 20, 1), 300, terms, points, exact, 4e-5, 3.0)


def burgers(rng):
    """u_t + u u_x = ν u_xx from −sin πx, which becomes steep at x = 0."""

    def equation(x, u, du, ddu, xp):
        return du[1] + u * du[0] - NU * ddu[0]

    def start(x, u, du, ddu, xp):
        return u + xp.sin(PI * x[:, :1])

    def draw(rng, n):
        return rng.uniform([-1, 0], [1, 1], (n, 2))

    begin, sides = grid(np.linspace(-1, 1, 100), [0.0]), grid([-1.0, 1.0], np.linspace(0, 1, 50))
    terms = [Term(equation, draw(rng, 1500), 1.0, draw), Term(start, begin, 10.0), Term(be(0.0), sides, 10.0)]
    points = grid(np.linspace(-1, 1, 101), np.linspace(0.05, 1, 20))
    return Problem((2, 20, 20, 20, 1), 350, terms, points, cole_and_hopf(points), 2e-3, 25.0)


def cole_and_hopf(points):
    """Burgers' equation from −sin πx, by Gauss-Hermite quadrature."""
    z, w = np.polynomial.hermite.hermgauss(200)
    y = points[:, :1] - np.sqrt(4 * NU * points[:, 1:]) * z
    f = np.exp(np.log(w) - np.cos(PI * y) / (2 * PI * NU))
    return -(np.sin(PI * y) * f).sum(axis=1, keepdims=True) / f.sum(axis=1, keepdims=True)


def van_der_pol(rng):
    """u″ − 2 (1 − u²) u′ + u = 0 from u = 2 at rest, with t = 5 (x + 1)."""

    def equation(x, u, du, ddu, xp):
        return ddu[0] / 25 - 2 * (1 - u**2) * du[0] / 5 + u

    def rest(x, u, du, ddu, xp):
        return du[0] / 5

    def slope(t, z):
        return [z[1], 2 * (1 - z[0] ** 2) * z[1] - z[0]]

    x, start = line(401, -1, 1), line(1, -1, -1)
    exact = solve_ivp(slope, [0, 10], [2.0, 0.0], t_eval=5 * (x[:, 0] + 1), rtol=1e-10, atol=1e-12).y[0]
    terms = [Term(equation, line(200, -1, 1)), Term(be(2.0), start), Term(rest, start)]
    return Problem((1, 20, 20, 1), 300, terms, x, exact[:, None], 3e-4, 2.0)


def wave(rng):
    """u_tt = u_xx on a string that begins at rest as sin πx + ½ sin 4πx."""

    def equation(x, u, du, ddu, xp):
        return ddu[1] - ddu[0]

    def start(x, u, du, ddu, xp):
        return u - xp.sin(PI * x[:, :1]) - 0.5 * xp.sin(4 * PI * x[:, :1])

    def rest(x, u, du, ddu, xp):
        return du[1]

    begin, ends = grid(np.linspace(0, 1, 40), [0.0]), grid([0.0, 1.0], np.linspace(0, 1, 20))
    terms = [Term(equation, rng.uniform(0, 1, (400, 2))), Term(start, begin), Term(rest, begin), Term(be(0.0), ends)]
    points = grid(np.linspace(0, 1, 51), np.linspace(0, 1, 41))
    x, t = points[:, :1], points[:, 1:]
    exact = np.sin(PI * x) * np.cos(PI * t) + 0.5 * np.sin(4 * PI * x) * np.cos(4 * PI * t)
    return Problem((2, 20, 20, 1), 300, terms, points, exact, 1e-3, 8.0)


WINDOWS = {"time": 0, "edges": [-0.5, 0.0, 0.5]}
SIZED = {"poisson-1d": (poisson_1d, {}), "poisson-2d": (poisson_2d, {})}
SIZED |= {"van der Pol": (van_der_pol, WINDOWS), "wave": (wave, {})}
PROBLEMS = {"poisson-1d": poisson_1d, "oscillator": oscillator, "poisson-2d": poisson_2d, "burgers": burgers}


def make(problem, seed):
    return Network(list(problem.sizes), activation="tanh", task="regression", dtype="float64", seed=seed)


def unweigh(terms):
    return [replace(term, weight=None) for term in terms]


def solve_by_xpnet(problem, seed, seconds):
    net = make(problem, seed)
    net.solve(unweigh(problem.terms), problem.steps, progress=False)
    return net.forward(problem.points)


class Columns:
    """What the residuals need of a namespace, for PyTorch."""

    def __init__(self, torch):
        self.sin, self.exp, self.sum, self.asarray = torch.sin, torch.exp, torch.sum, torch.as_tensor


def differentiate(torch, u, x):
    """First derivatives of the outputs by input, and second ones by input and by pair of inputs."""

    def slopes(values):
        parts = [torch.autograd.grad(value.sum(), x, create_graph=True)[0] for value in values.unbind(-1)]
        return torch.stack(parts, dim=-1).unbind(-2)

    du = slopes(u)
    second = [slopes(part) for part in du]
    pairs = {(j, k): part for j, parts in enumerate(second) for k, part in enumerate(parts)}
    return du, pairs | {k: pairs[k, k] for k in range(len(du))}


def solve_by_torch(problem, seed, seconds):
    import torch

    torch.set_num_threads(1)
    parameters = [
        torch.tensor(np.ascontiguousarray(part), dtype=torch.float64, requires_grad=True)
        for layer in make(problem, seed).layers
        for part in layer
    ]
    numbers = {
        name: torch.tensor(first, dtype=torch.float64, requires_grad=True)
        for name, (first, _) in problem.coefficients.items()
    }
    points = [torch.tensor(np.array(term.x), dtype=torch.float64, requires_grad=True) for term in problem.terms]

    def forward(x):
        for k in range(0, len(parameters), 2):
            x = (torch.tanh(x) if k else x) @ parameters[k].T + parameters[k + 1]
        return x

    def closure():
        optimizer.zero_grad()
        total = 0.0
        for term, x in zip(problem.terms, points, strict=True):
            u = forward(x)
            r = term.residual(x, u, *differentiate(torch, u, x), Columns(torch), **numbers)
            total = total + 0.5 * term.weight * r.square().mean()
        total.backward()
        return total

    options = {"max_iter": 20, "history_size": 50, "tolerance_change": 0.0, "tolerance_grad": 0.0}
    optimizer = torch.optim.LBFGS([*parameters, *numbers.values()], line_search_fn="strong_wolfe", **options)
    started = time.process_time()
    while time.process_time() - started < seconds:
        optimizer.step(closure)
    with torch.no_grad():
        return forward(torch.tensor(problem.points)).numpy()


def solve_by_deepxde(problem, seed, seconds):
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde
    import torch

    class Timer(deepxde.callbacks.Callback):
        def on_train_begin(self):
            self.started = time.process_time()

        def on_epoch_end(self):
            self.model.stop_training |= time.process_time() - self.started > 0.5 * seconds

    def residual(term):
        def of_outputs(x, u):
            n = x.shape[1]
            du = [deepxde.grad.jacobian(u, x, i=0, j=k) for k in range(n)]
            ddu = [deepxde.grad.hessian(u, x, i=k, j=k) for k in range(n)]
            return term.residual(x, u, du, ddu, Columns(torch))

        return of_outputs

    def condition(term):
        function = residual(term)
        zeros = np.zeros((len(term.x), 1))
        return deepxde.icbc.PointSetOperatorBC(np.array(term.x), zeros, lambda x, u, _: function(x, u))

    torch.set_num_threads(1)
    deepxde.config.set_default_float("float64")
    deepxde.config.set_random_seed(seed)
    equation, *others = problem.terms
    low, high = (
        getattr(np, name)(np.concatenate([term.x for term in problem.terms]), axis=0) for name in ("min", "max")
    )
    region = deepxde.geometry.Hypercube(low, high) if len(low) > 1 else deepxde.geometry.Interval(low[0], high[0])
    conditions = [condition(term) for term in others]
    data = deepxde.data.PDE(region, residual(equation), conditions, num_domain=0, anchors=np.array(equation.x))
    model = deepxde.Model(data, deepxde.nn.FNN(list(problem.sizes), "tanh", "Glorot normal"))
    weights = [term.weight for term in problem.terms]
    quiet: dict[str, Any] = {"display_every": 10**9, "verbose": 0}
    model.compile("adam", lr=1e-3, loss_weights=weights, verbose=0)
    model.train(iterations=10**7, callbacks=[Timer()], **quiet)
    deepxde.optimizers.set_LBFGS_options(maxiter=10**7, ftol=0.0, gtol=0.0)
    model.compile("L-BFGS", loss_weights=weights, verbose=0)
    model.train(callbacks=[Timer()], **quiet)
    return model.predict(problem.points)


CONTENDERS = {"xpnet": solve_by_xpnet, "torch": solve_by_torch, "deepxde": solve_by_deepxde}
NAMES = {"xpnet": "xpnet", "torch": "PyTorch, L-BFGS", "deepxde": "DeepXDE"}


def compare_sizes(report, seeds):
    """Compare sizes of networks and numbers of steps."""
    report.head("problem", "steps", "units", "relative error, median", "seconds, median")
    for name, (make_problem, windows) in SIZED.items():
        for steps in (100, 300):
            for hidden in ((20,), (10, 10), (20, 20), (30, 30)):
                errors, seconds = [], []
                for seed in range(seeds):
                    problem = make_problem(np.random.default_rng(0))
                    problem = problem._replace(sizes=(problem.sizes[0], *hidden, 1))
                    net, started = make(problem, seed), time.process_time()
                    net.solve(unweigh(problem.terms), steps, progress=False, **windows)
                    seconds.append(time.process_time() - started)
                    errors.append(measure(net.forward(problem.points), problem))
                row = f"{np.median(errors):.0e}", f"{np.median(seconds):.1f}"
                report.row(name, steps, "-".join(map(str, hidden)), *row)


def measure(u, problem):
    """Compute the relative error of a solution."""
    return np.linalg.norm(u - problem.exact) / np.linalg.norm(problem.exact)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", nargs="?", choices=["sizes"], help="in place of that with other programs")
    parser.add_argument("--problems", nargs="+", choices=PROBLEMS, default=list(PROBLEMS), help="them (all)")
    parser.add_argument(
        "--contenders", nargs="*", choices=CONTENDERS, default=list(CONTENDERS), help="contenders (all)"
    )
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, starting at 0 (5)")
    args = parser.parse_args()
    report = Report()
    report.line(f"{machine()}; seeds 0 to {args.seeds - 1}, processor seconds.")
    if args.comparison:
        compare_sizes(report, args.seeds)
        return report.end()
    report.head("problem", "contender", "relative error, median", "least", "largest", "seconds, median")
    for name in args.problems:
        errors, seconds = {key: [] for key in CONTENDERS}, {key: [] for key in CONTENDERS}
        for seed in range(args.seeds):
            for key in [key for key in CONTENDERS if key == "xpnet" or key in args.contenders]:
                problem = PROBLEMS[name](np.random.default_rng(seed))
                started = time.process_time()
                u = CONTENDERS[key](problem, seed, seconds["xpnet"][-1] if seconds["xpnet"] else 0.0)
                seconds[key].append(time.process_time() - started)
                errors[key].append(measure(u, problem))
        for key in [key for key in CONTENDERS if errors[key]]:
            shown = [f"{value:.1e}" for value in (np.median(errors[key]), min(errors[key]), max(errors[key]))]
            report.row(name, NAMES[key], *shown, f"{np.median(seconds[key]):.1f}")
            if np.median(errors[key]) < np.median(errors["xpnet"]):
                report.problems.append(f"{name}: {NAMES[key]} has a smaller error than xpnet")
        if np.median(errors["xpnet"]) > problem.error:
            report.problems.append(f"{name}: the median error is above {problem.error:g}")
        if np.median(seconds["xpnet"]) > problem.seconds:
            report.problems.append(f"{name}: the median of the seconds is above {problem.seconds:g}")
    return report.end()


if __name__ == "__main__":
    sys.exit(main())
