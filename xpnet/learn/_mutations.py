"""Mistakes in the four equations of backpropagation, which `check_backprop` looks for in a function of the user's own.

The mathematics in `xpnet.core` is unchanged: the equations are repeated here as functions that can be replaced one by
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from xpnet.core.activations import ACTIVATIONS, Activation, identity
from xpnet.core.arrays import Array, Layers, Namespace
from xpnet.core.backprop import forward as compute_forward
from xpnet.core.backprop import matmul_like_weights
from xpnet.core.costs import COSTS, Composed, Fused, Output


class Equations(NamedTuple):
    """The four equations, as functions of arrays with one row for each of m examples.

    Parameters
    ----------
    bp1
        ``(output, z, a, y, xp)`` -> ∂C/∂z of the output layer (m, n_out), for the mean cost C, so with its 1/m;
        `output` is a `xpnet.core.costs.Output`.
    bp2
        ``(delta, w, sigma, z, a, xp)`` -> ∂C/∂z of a hidden layer with z and a (m, n), from that and the w of the next.
    bp3
        ``(delta, xp)`` -> ∂C/∂b of a layer, (1, n_out).
    bp4
        ``(a, delta, xp)`` -> ∂C/∂w of a layer, (n_out, n_in), from the activations (m, n_in) of the one before.
    forward
        ``(layers, sigmas, x, xp)`` -> the lists of z and of a, as `xpnet.core.backprop.forward` returns them.
    bp1_scale
        ``(x, y)`` -> a factor of ∂C/∂z of the output layer.
    bp1_line, bp2_line, bp3_line, bp4_line
        In place of one of the first four, ``(s, l)`` -> the same array of layer l, from any arrays of the pass s.
    slope_of_a
        With another forward pass: whether σ′ is computed from its activations, as by a (1 − a), not from z.
    late
        Whether the gradients are divided by the number of examples at the end, not in BP1.
    returned
        ``(s, l, gw, gb)`` -> what is returned in place of the gradients of layer l.
    online
        The rates at which weights and biases are updated after each example, if they are.
    """

    bp1: Callable[[Output, Array, Array, Array, Namespace], Array]
    bp2: Callable[[Array, Array, Activation, Array, Array, Namespace], Array]
    bp3: Callable[[Array, Namespace], Array]
    bp4: Callable[[Array, Array, Namespace], Array]
    forward: Callable[[Layers, Sequence[Activation], Array, Namespace], tuple[list[Array], list[Array]]] = (
        compute_forward
    )
    bp1_scale: Callable[[Array, Array], float] | None = None
    bp1_line: Callable[[Backward, int], Array] | None = None
    bp2_line: Callable[[Backward, int], Array] | None = None
    bp3_line: Callable[[Backward, int], Array] | None = None
    bp4_line: Callable[[Backward, int], Array] | None = None
    slope_of_a: bool = False
    late: bool = False
    returned: Callable[[Backward, int, Array, Array], tuple[Array, Array]] | None = None
    online: tuple[float, float] | None = None


class Backward:
    """A pass backward by some equations. Its lines may use every array; layers are numbered from 0, x is a(−1).

    Parameters
    ----------
    equations
        The equations.
    layers, sigmas, output, zs, activations, y, xp
        As in `xpnet.core.backprop.backward`.
    last
        The equations whose BP3 and BP4 hold in the last layer, if they are others.
    factor
        What the gradients are multiplied by: the number of examples, for the sum over them.
    """

    def __init__(
        self,
        equations: Equations,
        layers: Layers,
        sigmas: Sequence[Activation],
        output: Output,
        zs: Sequence[Array],
        activations: Sequence[Array],
        y: Array,
        xp: Namespace,
        last: Equations | None = None,
        factor: float = 1.0,
    ) -> None:
        if equations.forward is not compute_forward:
            zs, activations = equations.forward(layers, sigmas, activations[0], xp)
            if isinstance(output, Composed):
                output = Composed(output.sigma._replace(pullback=self._pull_outputs_back), output.cost)
        self.equations, self.last, self.layers, self.sigmas, self.output = equations, last, layers, sigmas, output
        self.zs, self.activations, self.y, self.xp = zs, activations, y, xp
        self.factor, self.n, self.divisor = factor, len(layers), y.shape[-2]
        if equations.late:
            self.factor, self.divisor = factor / y.shape[-2], 1
        self._deltas: dict[int, Array] = {}

    def w(self, l: int) -> Array:
        """Return the weights of a layer."""
        return self.layers[l][0]

    def a(self, l: int) -> Array:
        """Return the activations of a layer; of −1, the inputs."""
        return self.activations[l + 1]

    def find_slope_arguments(self, l: int) -> tuple[Array, Array]:
        """Return the z and a from which σ′ of a layer is computed."""
        z, a = self.zs[l], self.a(l)
        if self.equations.forward is compute_forward:
            return z, a
        right = self.sigmas[l].value(z, self.xp)
        return (z, right) if bool(self.xp.all(a == right)) or not self.equations.slope_of_a else (a, a)

    def _pull_outputs_back(self, g: Array, z: Array, a: Array, xp: Namespace) -> Array:
        return self.sigmas[-1].pullback(g, *self.find_slope_arguments(self.n - 1), xp)

    def slope(self, l: int) -> Array:
        """Compute σ′(z) of a layer; after a softmax that of its diagonal, a (1 − a), as people write it."""
        z, a = self.find_slope_arguments(l)
        sigma = self.sigmas[l] if self.sigmas[l].name != "softmax" else ACTIVATIONS["sigmoid"]
        return sigma.pullback(self.xp.ones_like(z), z, a, self.xp)

    def error(self, l: int) -> Array:
        """Compute ∂C/∂a of a layer, which makes δ when it is multiplied by σ′(z)."""
        if l < self.n - 1:
            return self.xp.matmul(self.delta(l + 1), self.w(l + 1))
        if isinstance(self.output, Composed):
            return self.output.cost.gradient(self.a(l), self.y, self.xp) / self.divisor  # type: ignore
        return (self.a(l) - self.y) / self.slope(l) / self.divisor

    def delta(self, l: int) -> Array:
        """Compute the error of a layer."""
        if l not in self._deltas:
            equations, (z, a) = self.equations, self.find_slope_arguments(l)
            if l < self.n - 1 and equations.bp2_line:
                delta = equations.bp2_line(self, l)
            elif l < self.n - 1:
                delta = equations.bp2(self.delta(l + 1), self.w(l + 1), self.sigmas[l], z, a, self.xp)
            elif equations.bp1_line:
                delta = equations.bp1_line(self, l)
            else:
                delta = equations.bp1(self.output, self.zs[l], self.a(l), self.y, self.xp)
                delta = delta * self.y.shape[-2] if equations.late else delta
            if l == self.n - 1 and equations.bp1_scale:
                delta = equations.bp1_scale(self.a(-1), self.y) * delta
            self._deltas[l] = delta
        return self._deltas[l]

    def gb(self, l: int) -> Array:
        """Compute the gradient of the biases of a layer."""
        here = self.last if self.last and l == self.n - 1 else self.equations
        return self.factor * (here.bp3_line(self, l) if here.bp3_line else here.bp3(self.delta(l), self.xp))

    def gw(self, l: int) -> Array:
        """Compute the gradient of the weights of a layer."""
        here = self.last if self.last and l == self.n - 1 else self.equations
        gw = here.bp4_line(self, l) if here.bp4_line else here.bp4(self.a(l - 1), self.delta(l), self.xp)
        return self.factor * gw

    def run(self) -> Layers:
        """Compute all gradients."""
        returned = self.equations.returned or (lambda s, l, gw, gb: (gw, gb))
        return tuple([returned(self, l, self.gw(l), self.gb(l)) for l in reversed(range(self.n))][::-1])


# The equations as in `xpnet.core.backprop`


def _bp1(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    return output.delta(z, a, y, xp) / y.shape[-2]


def _bp2(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return sigma.pullback(xp.matmul(delta, w), z, a, xp)


def _bp3(delta: Array, xp: Namespace) -> Array:
    return xp.sum(delta, axis=-2, keepdims=True)


def _bp4(a: Array, delta: Array, xp: Namespace) -> Array:
    return matmul_like_weights(delta.mT, a, xp)


RIGHT = Equations(_bp1, _bp2, _bp3, _bp4)


# Mistakes: each function has one


def _forget_the_output_slope(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    if isinstance(output, Fused):  # has no σ′ to forget
        return _bp1(output, z, a, y, xp)
    return output.cost.gradient(a, y, xp) / y.shape[-2]  # type: ignore


def _repeat_the_output_slope(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    delta = _bp1(output, z, a, y, xp)
    if isinstance(output, Composed):
        return output.sigma.pullback(delta, z, a, xp)
    fused = next((name for cost in COSTS.values() for name, pair in cost.fused if pair == output), "identity")
    # The slope that people write after a softmax is that of its diagonal, which is the sigmoid's: a (1 − a)
    return ACTIVATIONS["sigmoid" if fused == "softmax" else fused].pullback(delta, z, a, xp)


def _take_the_output_slope_at_a(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    if isinstance(output, Fused):
        return _bp1(output, z, a, y, xp)
    g = output.cost.gradient(a, y, xp) / y.shape[-2]  # type: ignore
    return output.sigma.pullback(g, a, output.sigma.value(a, xp), xp)


def _put_z_for_a_in_the_output_slope(output: Output, z: Array, a: Array, y: Array, xp: Namespace) -> Array:
    if isinstance(output, Fused):
        return _bp1(output, z, a, y, xp)
    return output.sigma.pullback(output.cost.gradient(a, y, xp) / y.shape[-2], z, z, xp)  # type: ignore


def _forget_the_slope(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return xp.matmul(delta, w)


def _take_the_slope_at_a(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return sigma.pullback(xp.matmul(delta, w), a, sigma.value(a, xp), xp)


def _put_z_for_a_in_the_slope(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return sigma.pullback(xp.matmul(delta, w), z, z, xp)


def _take_z_of_the_next_layer(s: Backward, l: int) -> Array:
    sigma, z = s.sigmas[l], s.zs[l + 1]
    return s.error(l) * sigma.pullback(s.xp.ones_like(z), z, sigma.value(z, s.xp), s.xp)


def _divide_errors_again(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return _bp2(delta, w, sigma, z, a, xp) / delta.shape[-2]


def _forget_the_transpose(delta: Array, w: Array, sigma: Activation, z: Array, a: Array, xp: Namespace) -> Array:
    return sigma.pullback(xp.matmul(delta, w.mT), z, a, xp)


def _take_one_example(delta: Array, xp: Namespace) -> Array:
    return delta[..., :1, :]


def _take_the_last_example(delta: Array, xp: Namespace) -> Array:
    return delta[..., -1:, :]


def _sum_over_units(delta: Array, xp: Namespace) -> Array:
    return xp.sum(delta, axis=-1, keepdims=True).mT


def _sum_over_all(delta: Array, xp: Namespace) -> Array:
    return xp.sum(delta, axis=(-2, -1), keepdims=True)


def _forget_the_sum(delta: Array, xp: Namespace) -> Array:
    return delta


def _sum_biases_without_mean(delta: Array, xp: Namespace) -> Array:
    return _bp3(delta, xp) * delta.shape[-2]


def _divide_biases_again(delta: Array, xp: Namespace) -> Array:
    return _bp3(delta, xp) / delta.shape[-2]


def _mix_the_examples(a: Array, delta: Array, xp: Namespace) -> Array:
    return matmul_like_weights(delta.mT, xp.flip(a, axis=-2), xp)


def _transpose_the_product(a: Array, delta: Array, xp: Namespace) -> Array:
    return xp.matmul(a.mT, delta)


def _take_the_last_product(a: Array, delta: Array, xp: Namespace) -> Array:
    return _bp4(a[..., -1:, :], delta[..., -1:, :], xp)


def _sum_weights_without_mean(a: Array, delta: Array, xp: Namespace) -> Array:
    return _bp4(a, delta, xp) * delta.shape[-2]


def _divide_weights_again(a: Array, delta: Array, xp: Namespace) -> Array:
    return _bp4(a, delta, xp) / delta.shape[-2]


def _forget_the_biases(
    layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    return compute_forward([(w, xp.zeros_like(b)) for w, b in layers], sigmas, x, xp)  # type: ignore


def _transpose_the_weights(
    layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    return compute_forward([(w.mT, b) for w, b in layers], sigmas, x, xp)  # type: ignore


def _collect_z(
    layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    zs, _ = compute_forward(layers, sigmas, x, xp)
    return zs, [x, *zs]


def _pass_z_on(
    layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    return compute_forward(layers, [identity] * len(sigmas), x, xp)


def _leave_out_the_last_sigma(
    layers: Layers, sigmas: Sequence[Activation], x: Array, xp: Namespace
) -> tuple[list[Array], list[Array]]:
    return compute_forward(layers, [*sigmas[:-1], identity], x, xp)


class Mistake(NamedTuple):
    """A mistake in one of the four equations, or in the forward pass.

    Parameters
    ----------
    equation
        Its name, such as "BP2"; "forward" for the forward pass.
    formula
        The correct equation, in words and symbols.
    mistake
        The mistake, as a phrase that follows the name of the equation.
    equations
        The four equations with the mistake, such as ``RIGHT._replace(bp2=my_function)``.
    remedy
        How to mend it, as a sentence without a full stop.
    layers
        Where the mistake is, if it is in BP3 or BP4 and not in all layers: "hidden" or "last".
    """

    equation: str
    formula: str
    mistake: str
    equations: Equations
    remedy: str = ""
    layers: str = "all"


FORMULAS = {
    "BP1": "the error of the outputs: δ = ∇C ⊙ σ′(z); the mean over the examples comes once, here or in BP3 and BP4",
    "BP2": "the error of a hidden layer: δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
    "BP3": "the gradient of the biases: ∂C/∂b = δ for each example",
    "BP4": "the gradient of the weights: ∂C/∂w = δ aᵀ for each example",
    "forward": "z = w a + b and a = σ(z), layer by layer",
    "BP1 and BP2": "the errors: δ = ∇C ⊙ σ′(z) of the outputs, and δ = (wᵀ δ of the next layer) ⊙ σ′(z)",
    "BP3 and BP4": "the gradients: ∂C/∂b = δ and ∂C/∂w = δ aᵀ for each example",
}


def make_mistake(equation: str, mistake: str, remedy: str, **changes: Any) -> Mistake:
    """Make a mistake from the right equations and what is changed in them."""
    return Mistake(equation, FORMULAS[equation], mistake, RIGHT._replace(**changes), remedy)


# The plain name of an equation is that of its most frequent mistake
MISTAKES = {
    "BP1": make_mistake(
        "BP1",
        "does not divide by the number of examples in the minibatch",
        'divide by it once, in BP1 or at the end; or say reduction="sum" if you mean the sum over the examples',
        bp1_scale=lambda x, y: y.shape[-2],
    ),
    "BP1-twice": make_mistake(
        "BP1",
        "divides by the number of examples twice",
        "divide by it once, in BP1 or at the end, but not in both",
        bp1_scale=lambda x, y: 1 / y.shape[-2],
    ),
    "BP1-sign": make_mistake(
        "BP1",
        "has the wrong sign, as y − a in place of a − y has",
        "start from a − y; the minus sign belongs to the update, w − η ∂C/∂w",
        bp1_scale=lambda x, y: -1,
    ),
    "BP1-half": make_mistake(
        "BP1",
        "is twice as large, as without the ½ of the quadratic cost",
        "start from a − y, not 2 (a − y): the derivative of ½ (a − y)² is a − y",
        bp1_scale=lambda x, y: 2,
    ),
    "BP1-outputs": make_mistake(
        "BP1",
        "divides by the number of outputs too, as a mean over all entries does",
        "divide by the number of examples only: the cost of an example is a sum over its outputs",
        bp1_scale=lambda x, y: 1 / y.shape[-1],
    ),
    "BP1-slope": make_mistake(
        "BP1",
        "leaves out σ′(z)",
        "multiply ∇C by σ′(z) of the output layer. It cancels only for the cross-entropy after sigmoid or softmax: if "
        'you mean that cost, say cost="cross_entropy"',
        bp1=_forget_the_output_slope,
    ),
    "BP1-again": make_mistake(
        "BP1",
        "multiplies by σ′(z) once too often",
        "multiply ∇C by σ′(z) once; not at all where it has cancelled, as for the cross-entropy after sigmoid or "
        "softmax, whose δ is a − y",
        bp1=_repeat_the_output_slope,
    ),
    "BP1-of-a": make_mistake(
        "BP1",
        "takes σ′(a) in place of σ′(z)",
        "give σ′ the weighted inputs z of the output layer",
        bp1=_take_the_output_slope_at_a,
    ),
    "BP1-of-z": make_mistake(
        "BP1",
        "puts z into a formula for σ′ that takes a, such as a (1 − a)",
        "give this formula the activations a = σ(z) of the output layer",
        bp1=_put_z_for_a_in_the_output_slope,
    ),
    "BP2": make_mistake(
        "BP2", "leaves out σ′(z)", "multiply by σ′(z) of the layer whose δ it is", bp2=_forget_the_slope
    ),
    "BP2-of-a": make_mistake(
        "BP2",
        "takes σ′(a) in place of σ′(z)",
        "give σ′ the weighted inputs z of the layer whose δ it is",
        bp2=_take_the_slope_at_a,
    ),
    "BP2-of-z": make_mistake(
        "BP2",
        "puts z into a formula for σ′ that takes a, such as a (1 − a)",
        "give this formula the activations a = σ(z) of the layer whose δ it is",
        bp2=_put_z_for_a_in_the_slope,
    ),
    "BP2-transposed": make_mistake(
        "BP2",
        "multiplies by w where wᵀ belongs, or the other way round",
        "with w of shape (n_out, n_in), the product is wᵀ δ for examples in columns and δ w for examples in rows",
        bp2=_forget_the_transpose,
    ),
    "BP2-layer": make_mistake(
        "BP2",
        "is off by one layer: it takes the weights of the layer itself, in place of those of the next layer",
        "take the weights between the layer whose δ it is and the next one",
        bp2_line=lambda s, l: s.xp.matmul(s.delta(l + 1), s.w(l)) * s.slope(l),
    ),
    "BP2-z-layer": make_mistake(
        "BP2",
        "is off by one layer: it takes σ′(z) of the next layer, in place of that of the layer itself",
        "take z of the layer whose δ it is",
        bp2_line=_take_z_of_the_next_layer,
    ),
    "BP2-twice": make_mistake(
        "BP2",
        "divides by the number of examples again",
        "leave the division out: the δ of the next layer is divided already",
        bp2=_divide_errors_again,
    ),
    "BP3": make_mistake(
        "BP3",
        "takes the δ of the first example instead of the sum",
        "sum δ over all examples",
        bp3=_take_one_example,
    ),
    "BP3-last": make_mistake(
        "BP3",
        "takes the δ of the last example instead of the sum",
        "sum δ over all examples: add to what is there, in place of overwriting it",
        bp3=_take_the_last_example,
    ),
    "BP3-axis": make_mistake(
        "BP3",
        "sums over the units, not over the examples",
        "sum over the axis of the examples: 0 for examples in rows, 1 for columns",
        bp3=_sum_over_units,
    ),
    "BP3-all": make_mistake(
        "BP3",
        "sums over the units too",
        "sum over the axis of the examples only: 0 for examples in rows, 1 for columns",
        bp3=_sum_over_all,
    ),
    "BP3-unsummed": make_mistake(
        "BP3",
        "does not sum over the examples",
        "sum δ over the axis of the examples: 0 for examples in rows, 1 for columns",
        bp3=_forget_the_sum,
    ),
    "BP3-sum": make_mistake(
        "BP3",
        "does not divide by the number of examples, as BP4 does",
        "divide the biases' gradients too, or δ in BP1 for both",
        bp3=_sum_biases_without_mean,
    ),
    "BP3-twice": make_mistake(
        "BP3",
        "divides by the number of examples again",
        "take the sum over the examples, not the mean: δ is divided already",
        bp3=_divide_biases_again,
    ),
    "BP4": make_mistake(
        "BP4",
        "multiplies the δ of an example by the activations of another example",
        "keep the examples of a and δ in the same order",
        bp4=_mix_the_examples,
    ),
    "BP4-transposed": make_mistake(
        "BP4",
        "gives the transposed gradient, a δᵀ",
        "exchange the factors: δ aᵀ for examples in columns, δᵀ a for rows, of the shape of the weights",
        bp4=_transpose_the_product,
    ),
    "BP4-layer": make_mistake(
        "BP4",
        "is off by one layer: it takes the activations of the layer itself, in place of those of the layer before",
        "take the activations that go into the layer; for the first layer these are the inputs x",
        bp4_line=lambda s, l: _bp4(s.a(l), s.delta(l), s.xp),
    ),
    "BP4-sum": make_mistake(
        "BP4",
        "does not divide by the number of examples, as BP3 does",
        "divide the weights' gradients too, or δ in BP1 for both",
        bp4=_sum_weights_without_mean,
    ),
    "BP4-twice": make_mistake(
        "BP4",
        "divides by the number of examples again",
        "take the product alone: δ is divided already",
        bp4=_divide_weights_again,
    ),
    "BP34-last": make_mistake(
        "BP3 and BP4",
        "keep the last example only, instead of the sum",
        "add the gradients of the examples, in place of overwriting them",
        bp3=_take_the_last_example,
        bp4=_take_the_last_product,
    ),
}

_LEAVES_OUT_SIGMA = (
    "leaves out σ: its activations are z",
    "append a = σ(z) to the activations, and give it to the next layer",
)
_KEEPS_Z = "keeps z in its list of activations, in place of σ(z)", "append a = σ(z) to the activations"
_FORGETS_THE_OUTPUT_SIGMA = "leaves out σ at the outputs", "end with a = σ(z) in the last layer too"
# Those that "of-a" ends the name of have σ′ of a formula that takes a, such as a (1 − a), and gets z there.
FORWARD_MISTAKES = {
    "forward-biases": make_mistake("forward", "forgets the biases", "add b: z = w a + b", forward=_forget_the_biases),
    **{
        name + end: make_mistake("forward", *words, forward=forward, slope_of_a=bool(end))
        for name, words, forward in (
            ("forward-output", _FORGETS_THE_OUTPUT_SIGMA, _leave_out_the_last_sigma),
            ("forward-list", _KEEPS_Z, _collect_z),
            ("forward-linear", _LEAVES_OUT_SIGMA, _pass_z_on),
        )
        for end in ("", "-of-a")
    },
    "forward-transposed": make_mistake(
        "forward",
        "multiplies by wᵀ where w belongs, or the other way round",
        "with w of shape (n_out, n_in), the product is w a for examples in columns and a wᵀ for examples in rows",
        forward=_transpose_the_weights,
    ),
}


def backpropagate(
    equations: Equations,
    layers: Layers,
    sigmas: Sequence[Activation],
    output: Output,
    zs: Sequence[Array],
    activations: Sequence[Array],
    y: Array,
    xp: Namespace,
    last: Equations | None = None,
    factor: float = 1.0,
) -> Layers:
    """Compute the gradient as `core.backprop.backward` does, but with these equations.

    `last` and `factor` are as in `Backward`.
    """
    if not equations.online:
        return Backward(equations, layers, sigmas, output, zs, activations, y, xp, last, factor).run()
    sums, rates, equations = [(0.0, 0.0) for _ in layers], equations.online, equations._replace(online=None)
    for i in range(y.shape[-2]):
        forward = compute_forward(layers, sigmas, activations[0][..., i : i + 1, :], xp)
        grads = backpropagate(equations, layers, sigmas, output, *forward, y[..., i : i + 1, :], xp, last)
        share = factor / y.shape[-2]
        sums = [(sw + share * gw, sb + share * gb) for (sw, sb), (gw, gb) in zip(sums, grads)]
        layers = tuple((w - rates[0] * gw, b - rates[1] * gb) for (w, b), (gw, gb) in zip(layers, grads))
    return tuple(sums)  # type: ignore
