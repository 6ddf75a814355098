"""What each name stands for that users may give in place of an object."""

from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet import activations, costs, initializers, rectifiers, schedules
from xpnet.activations import Activation
from xpnet.adaptive import Adam, AdamHat, AdamW, RMSProp
from xpnet.costs import Cost
from xpnet.initializers import Initializer
from xpnet.modifiers import L1, Clip, MaxNorm
from xpnet.optimizers import SGD

ACTIVATIONS: dict[str, Activation] = {
    each.name: each
    for each in (
        *(activations.sigmoid, activations.tanh, activations.relu, activations.identity, activations.softmax),
        *(rectifiers.leaky_relu, rectifiers.elu, rectifiers.selu, rectifiers.softplus),
        *(rectifiers.silu, rectifiers.gelu, rectifiers.gelu_tanh, rectifiers.exp),
    )
}

# name -> what makes an activation of numbers; "leaky_relu(0.2)" is make_leaky_relu(0.2)
ACTIVATIONS_OF = {"leaky_relu": rectifiers.make_leaky_relu, "elu": rectifiers.make_elu}

COSTS: dict[str, Cost] = {
    each.name: each
    for each in (
        *(costs.quadratic, costs.cross_entropy, costs.log_likelihood),
        *(costs.absolute, costs.huber, costs.poisson),
    )
}

COSTS_OF = {"huber": costs.make_huber}

INITIALIZERS: dict[str, Initializer] = {
    each.__name__: each
    for each in (
        *(initializers.normal, initializers.scaled_normal, initializers.he_normal, initializers.he_uniform),
        *(initializers.glorot_normal, initializers.glorot_uniform, initializers.lecun_normal),
        *(initializers.orthogonal, initializers.zeros),
    )
}

OPTIMIZERS: dict[str, type] = {each.__name__: each for each in (SGD, RMSProp, Adam, AdamHat, AdamW, L1, Clip, MaxNorm)}

# name -> a schedule of a given largest rate
SCHEDULES: dict[str, Callable[[float], Any]] = {
    "constant": schedules.Constant,
    "step": schedules.Step,
    "exponential": lambda lr: schedules.Exponential(lr, 0.01 * lr),
    "inverse-scaling": schedules.InverseScaling,
    "cosine": lambda lr: schedules.Cosine(lr, warmup=0.05),
    "one-cycle": schedules.OneCycle,
}


class Task(NamedTuple):
    """The output activations and costs that go with a kind of problem; the first is taken where none is given."""

    activations: tuple[str, ...]
    costs: tuple[str, ...]


TASKS = {
    "classification": Task(("softmax",), ("cross_entropy", "log_likelihood")),
    "binary": Task(("sigmoid",), ("cross_entropy",)),
    "multilabel": Task(("sigmoid",), ("cross_entropy",)),
    "regression": Task(
        ("identity", *(name for name in ACTIVATIONS if name not in ("identity", "softmax"))),
        ("quadratic", "huber", "absolute", "poisson"),
    ),
}
DTYPES = ("float32", "float64")
