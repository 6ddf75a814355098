"""Sixty mistakes in backpropagation as people write them, in seven styles, to measure `check_backprop`.

They were collected from memory of forums, courses and notebooks, before any rule was written to name them. Then 30
were put aside by a seeded random choice, `PUT_ASIDE`. The author of the list extended the checker with a view to the
other 30 only. When those put aside were first measured, 29 were located and 28 named in 100 of 100 networks. Three
things have changed since: the words expected for "one example too few" have a plural; a function whose gradients all
are infinite is called without hidden layers, too; and no network is drawn in which a rate of 0.1 is 1 / (2 n_out).
"""

import random
import re
from typing import NamedTuple

import numpy as np

# Right programs. act is σ; slope is σ′ as a function of a = σ(z).

PROGRAMS = {
    "rows": """
def backward(weights, biases, x, y):
    m, L = len(x), len(weights)
    a, z = [x], []
    for w, b in zip(weights, biases):
        z.append(a[-1] @ w.T + b)
        a.append(act(z[-1]))
    gw, gb = [None] * L, [None] * L
    delta = (a[-1] - y) * slope(a[-1]) / m
    for l in range(L - 1, -1, -1):
        gw[l] = delta.T @ a[l]
        gb[l] = delta.sum(axis=0)
        if l > 0:
            delta = delta @ weights[l] * slope(a[l])
    return gw, gb
""",
    "columns": """
def backward(weights, biases, x, y):
    L, m = len(weights), x.shape[1]
    A, Z, dW, db = {0: x}, {}, {}, {}
    for l in range(1, L + 1):
        Z[l] = np.dot(weights[l - 1], A[l - 1]) + biases[l - 1]
        A[l] = act(Z[l])
    dA = A[L] - y
    for l in range(L, 0, -1):
        dZ = dA * slope(A[l])
        dW[l] = np.dot(dZ, A[l - 1].T) / m
        db[l] = np.sum(dZ, axis=1, keepdims=True) / m
        dA = np.dot(weights[l - 1].T, dZ)
    return [dW[l] for l in range(1, L + 1)], [db[l] for l in range(1, L + 1)]
""",
    # One example at a time, as the book's program
    "examples": """
def backward(weights, biases, x, y):
    m = x.shape[1]
    sum_w = [np.zeros(w.shape) for w in weights]
    sum_b = [np.zeros(b.shape) for b in biases]
    for i in range(m):
        nabla_w, nabla_b = backprop(weights, biases, x[:, i : i + 1], y[:, i : i + 1])
        sum_w = [s + n for s, n in zip(sum_w, nabla_w)]
        sum_b = [s + n for s, n in zip(sum_b, nabla_b)]
    return [s / m for s in sum_w], [s / m for s in sum_b]


def backprop(weights, biases, x, y):
    nabla_w = [np.zeros(w.shape) for w in weights]
    nabla_b = [np.zeros(b.shape) for b in biases]
    activation, activations, zs = x, [x], []
    for w, b in zip(weights, biases):
        z = np.dot(w, activation) + b
        zs.append(z)
        activation = act(z)
        activations.append(activation)
    delta = (activations[-1] - y) * slope(activations[-1])
    nabla_b[-1] = delta
    nabla_w[-1] = np.dot(delta, activations[-2].T)
    for l in range(2, len(weights) + 1):
        delta = np.dot(weights[-l + 1].T, delta) * slope(activations[-l])
        nabla_b[-l] = delta
        nabla_w[-l] = np.dot(delta, activations[-l - 1].T)
    return nabla_w, nabla_b
""",
    # One example at a time, as vectors
    "vectors": """
def backward(weights, biases, x, y):
    m, L = len(x), len(weights)
    gw = [np.zeros_like(w) for w in weights]
    gb = [np.zeros_like(b) for b in biases]
    for i in range(m):
        a = [x[i]]
        for w, b in zip(weights, biases):
            a.append(act(w @ a[-1] + b))
        d = (a[-1] - y[i]) * slope(a[-1])
        for l in reversed(range(L)):
            gw[l] += np.outer(d, a[l])
            gb[l] += d
            if l > 0:
                d = (weights[l].T @ d) * slope(a[l])
    return [g / m for g in gw], [g / m for g in gb]
""",
    # Two layers, written out
    "two": """
def backward(weights, biases, x, y):
    w1, w2 = weights
    b1, b2 = biases
    m = len(x)
    l1 = act(x.dot(w1.T) + b1)
    l2 = act(l1.dot(w2.T) + b2)
    l2_error = l2 - y
    l2_delta = l2_error * slope(l2)
    l1_error = l2_delta.dot(w2)
    l1_delta = l1_error * slope(l1)
    gw2 = l2_delta.T.dot(l1) / m
    gb2 = l2_delta.sum(axis=0) / m
    gw1 = l1_delta.T.dot(x) / m
    gb1 = l1_delta.sum(axis=0) / m
    return [gw1, gw2], [gb1, gb2]
""",
    # Number by number
    "loops": """
def backward(weights, biases, x, y):
    m, L = len(x), len(weights)
    gw = [np.zeros(w.shape) for w in weights]
    gb = [np.zeros(b.shape) for b in biases]
    for i in range(m):
        a = [list(x[i])]
        for w, b in zip(weights, biases):
            a.append([act(sum(w[j][k] * a[-1][k] for k in range(len(a[-1]))) + b[j]) for j in range(len(b))])
        d = [(a[-1][j] - y[i][j]) * slope(a[-1][j]) for j in range(len(a[-1]))]
        for l in range(L - 1, -1, -1):
            for j in range(len(d)):
                gb[l][j] += d[j] / m
                for k in range(len(a[l])):
                    gw[l][j][k] += d[j] * a[l][k] / m
            if l > 0:
                w = weights[l]
                d = [sum(w[j][k] * d[j] for j in range(len(d))) * slope(a[l][k]) for k in range(len(a[l]))]
    return gw, gb
""",
    # All errors first, then all gradients
    "deltas": """
def backward(weights, biases, x, y):
    m, L = len(x), len(weights)
    a, zs = [x], []
    for l in range(L):
        zs.append(a[l] @ weights[l].T + biases[l])
        a.append(act(zs[l]))
    deltas = [None] * L
    deltas[-1] = (a[-1] - y) * slope(a[-1])
    for l in reversed(range(L - 1)):
        deltas[l] = (deltas[l + 1] @ weights[l + 1]) * slope(a[l + 1])
    gw = [deltas[l].T @ a[l] / m for l in range(L)]
    gb = [deltas[l].sum(axis=0) / m for l in range(L)]
    return gw, gb
""",
}
LAYOUTS = dict.fromkeys(PROGRAMS, "rows") | {"columns": "columns", "examples": "columns"}


class Misprint(NamedTuple):
    """A mistake in the source of a program.

    `where` holds the accepted values of `check.equation`; `words` is searched in the report, with hyphens for minus
    signs. `needs` says what else the network must be: "sigmoid", "tanh", "deep" (a hidden layer), "deeper" (two),
    "square" (all layers alike), "one output", "cross_entropy", "softmax".
    """

    what: str
    style: str
    edits: dict[str, str]
    where: tuple[str, ...]
    words: str
    needs: tuple[str, ...] = ()


ALL_LAYERS = ("BP1", "BP1 or forward")
BOTH = ("BP1 and BP2", *ALL_LAYERS)
FORWARD = ("forward", "BP1 or forward")
FOR = r"(in place of|instead of|where|for)"
SIGMA = rf"(σ\(z\)|\ba\b)[^.]*{FOR} (it needs |we need )?σ′"

MISPRINTS = {
    # σ′
    "sigma everywhere": Misprint(
        "σ(z) for σ′(z) in BP1 and BP2",
        "rows",
        {"slope(a[-1])": "act(z[-1])", "slope(a[l])": "act(z[l - 1])"},
        BOTH,
        SIGMA,
        ("deep",),
    ),
    "sigma in BP2": Misprint(
        "σ(z) for σ′(z) in BP2", "examples", {"slope(activations[-l])": "act(zs[-l])"}, ("BP2",), SIGMA, ("deep",)
    ),
    "sigma in BP1": Misprint("σ(z) for σ′(z) in BP1", "deltas", {"slope(a[-1])": "act(zs[-1])"}, ALL_LAYERS, SIGMA),
    "a alone in BP2": Misprint(
        "a for a (1 − a) in BP2", "loops", {"slope(a[l][k])": "a[l][k]"}, ("BP2",), SIGMA, ("deep",)
    ),
    "1 - a in BP2": Misprint(
        "1 − a for σ′ in BP2", "vectors", {"slope(a[l])": "(1 - a[l])"}, ("BP2",), r"\b1 - a\b(?! ?²)", ("deep",)
    ),
    "1 - a everywhere": Misprint(
        "1 − a for σ′ in BP1 and BP2", "columns", {"slope(A[l])": "(1 - A[l])"}, BOTH, r"\b1 - a\b(?! ?²)", ("deep",)
    ),
    "a (a - 1) everywhere": Misprint(
        "a (a − 1) for σ′ in BP1 and BP2",
        "columns",
        {"slope(A[l])": "A[l] * (A[l] - 1)"},
        BOTH,
        r"a \(a - 1\)|sign[^.]*σ′|-σ′",
        ("deep", "sigmoid"),
    ),
    "a (1 + a) in BP2": Misprint(
        "a (1 + a) for σ′ in BP2",
        "rows",
        {"slope(a[l])": "a[l] * (1 + a[l])"},
        ("BP2",),
        r"a \(1 \+ a\)",
        ("deep", "sigmoid"),
    ),
    "a (1 + a) everywhere": Misprint(
        "a (1 + a) for σ′ in BP1 and BP2",
        "examples",
        {
            "slope(activations[-1])": "act(zs[-1]) * (1 + act(zs[-1]))",
            "slope(activations[-l])": "act(zs[-l]) * (1 + act(zs[-l]))",
        },
        BOTH,
        r"a \(1 \+ a\)",
        ("deep", "sigmoid"),
    ),
    "1 - a² everywhere": Misprint(
        "1 − a², the slope of tanh, for that of the sigmoid",
        "deltas",
        {"slope(a[-1])": "(1 - a[-1] ** 2)", "slope(a[l + 1])": "(1 - a[l + 1] ** 2)"},
        BOTH,
        r"1 - a²|tanh",
        ("deep", "sigmoid"),
    ),
    "a (1 - a) for tanh": Misprint(
        "a (1 − a), the slope of the sigmoid, for that of tanh",
        "rows",
        {"slope(a[-1])": "a[-1] * (1 - a[-1])", "slope(a[l])": "a[l] * (1 - a[l])"},
        BOTH,
        r"a \(1 - a\)|sigmoid's",
        ("deep", "tanh"),
    ),
    "slope of a": Misprint(
        "σ′ as a function of z gets a, in BP1 and BP2",
        "examples",
        {
            "slope(activations[-1])": "slope(act(activations[-1]))",
            "slope(activations[-l])": "slope(act(activations[-l]))",
        },
        BOTH,
        r"σ′\(a\)",
        ("deep",),
    ),
    "slope of a ReLU": Misprint(
        "1 where z > 0, the slope of a ReLU, in BP2",
        "rows",
        {"slope(a[l])": "(z[l - 1] > 0)"},
        ("BP2",),
        "ReLU",
        ("deep",),
    ),
    "slope added": Misprint(
        "adds σ′ where it multiplies, in BP2",
        "deltas",
        {"weights[l + 1]) * slope": "weights[l + 1]) + slope"},
        ("BP2",),
        r"\badd",
        ("deep",),
    ),
    "slope squared": Misprint(
        "multiplies by σ′ twice in BP2",
        "two",
        {"l1_delta = l1_error": "l1_delta = slope(l1) * l1_error"},
        ("BP2",),
        r"σ′[^.]*(twice|too often|squared|again)|σ′\(z\)²",
        ("deep",),
    ),
    "no slope": Misprint(
        "leaves out σ′ everywhere", "columns", {" * slope(A[l])": ""}, BOTH, r"leaves out σ′", ("deep",)
    ),
    "slope of y": Misprint(
        "takes σ′ of the targets, y (1 − y), in BP1",
        "two",
        {"slope(l2)": "slope(y)"},
        ALL_LAYERS,
        r"targets|\by \(1 - y\)",
    ),
    # BP1
    "squared error": Misprint(
        "(a − y)² in place of its derivative",
        "rows",
        {"(a[-1] - y) *": "(a[-1] - y) ** 2 *"},
        ALL_LAYERS,
        r"\(a - y\)²|squared? (of )?(the )?(error|difference)|cost itself",
    ),
    "mean error": Misprint(
        "one mean error for all outputs and examples",
        "two",
        {"l2_error = l2 - y": "l2_error = np.mean(l2 - y)"},
        ALL_LAYERS,
        r"mean[^.]*a - y|mean error|mean of the errors",
    ),
    "half": Misprint(
        "½ (a − y)", "examples", {"(activations[-1] - y)": "0.5 * (activations[-1] - y)"}, ALL_LAYERS, r"half|½"
    ),
    "first half of the cross-entropy": Misprint(
        "−y/a without (1 − y)/(1 − a), for cross-entropy",
        "columns",
        {"dA = A[L] - y": "dA = -y / A[L]"},
        ALL_LAYERS,
        r"y ?/ ?a|1 - y",
        ("cross_entropy", "sigmoid"),
    ),
    "mean over inputs": Misprint(
        "divides by the number of inputs, not of examples",
        "deltas",
        {"m, L = len(x)": "m, L = x.shape[1]"},
        (*ALL_LAYERS, "BP3 and BP4"),
        r"number of inputs",
    ),
    # BP2
    "error for delta": Misprint(
        "BP2 takes the error of the outputs without σ′",
        "two",
        {"l1_error = l2_delta": "l1_error = l2_error"},
        ("BP2",),
        r"(without|before)[^.]*σ′|∇C|a - y",
        ("deep",),
    ),
    "updated weights": Misprint(
        "weights updated before BP2 uses them",
        "rows",
        {
            "        if l > 0:": "        weights[l] = weights[l] - 0.5 * gw[l]\n        if l > 0:",
            "    m, L": "    weights = list(weights)\n    m, L",
        },
        ("BP2",),
        r"update",
        ("deep",),
    ),
    "weights updated in place": Misprint(
        "weights changed in place before BP2 uses them",
        "two",
        {
            "    l1_error = l2_delta": "    w2 -= 0.1 * l2_delta.T.dot(l1) / m\n    l1_error = l2_delta",
        },
        ("BP2",),
        r"update|changes its arguments: the weights",
        ("deep",),
    ),
    "updates within the minibatch": Misprint(
        "weights updated after each example of the minibatch",
        "vectors",
        {
            "            gb[l] += d": "            gb[l] += d\n            new[l] = new[l] - 0.1 * np.outer(d, a[l])",
            "        a = [x[i]]\n": "        a, new = [x[i]], list(weights)\n",
            "    return [g / m": "        weights = new\n    return [g / m",
        },
        ALL_LAYERS,
        r"(updat|chang)[^.]*example",
    ),
    "error of the outputs everywhere": Misprint(
        "BP2 takes the δ of the outputs in every layer",
        "deltas",
        {"deltas[l + 1] @": "deltas[-1] @"},
        ("BP2",),
        r"δ of the (outputs?|last) ",
        ("deeper", "square"),
    ),
    "no weights in BP2": Misprint(
        "leaves out w in BP2",
        "rows",
        {"delta @ weights[l] *": "delta *"},
        ("BP2",),
        r"leaves out (the )?(w\b|wᵀ|weights)",
        ("deep", "square"),
    ),
    "gradient for weights": Misprint(
        "BP2 takes the gradient of the weights in place of the weights",
        "rows",
        {"delta @ weights[l] *": "delta @ gw[l] *"},
        ("BP2",),
        rf"gradients?[^.]*{FOR} (the |their )?(w\b|weights)|∂C/∂w[^.]*{FOR}",
        ("deep",),
    ),
    "biases in BP2": Misprint(
        "adds the biases in BP2, as the forward pass does",
        "examples",
        {
            "(weights[-l + 1].T, delta)": "(weights[-l + 1].T, delta) + biases[-l]",
            "delta = np.dot": "delta = (np.dot",
            "biases[-l] *": "biases[-l]) *",
        },
        ("BP2",),
        r"adds?[^.]*bias",
        ("deep",),
    ),
    "sigma of the error": Misprint(
        "σ of the error that comes back in BP2",
        "vectors",
        {"(weights[l].T @ d) * slope(a[l])": "act(weights[l].T @ d)"},
        ("BP2",),
        r"σ\(wᵀ ?δ\)|σ (of|to) (the error|wᵀ ?δ|δ)",
        ("deep",),
    ),
    "transposed in BP2": Misprint(
        "w for wᵀ in BP2", "loops", {"sum(w[j][k] * d[j]": "sum(w[k][j] * d[j]"}, ("BP2",), r"wᵀ", ("deep", "square")
    ),
    "slope of the layer before": Misprint(
        "σ′ of the layer before in BP2",
        "deltas",
        {"slope(a[l + 1])": "slope(a[l])"},
        ("BP2",),
        r"σ′[^.]*(layer before|previous layer)|off by one",
        ("deep", "square"),
    ),
    "first layer left out": Misprint(
        "the loop ends before the first layer",
        "examples",
        {"range(2, len(weights) + 1)": "range(2, len(weights))"},
        ("BP2", "BP3 and BP4"),
        r"layer 1 are 0|loop",
        ("deep",),
    ),
    "loop begins too early": Misprint(
        "the loop begins with the last layer again",
        "examples",
        {"range(2, len(weights) + 1)": "range(1, len(weights) + 1)"},
        ALL_LAYERS,
        r"loop|last layer (again|too|twice)",
        ("deep", "square"),
    ),
    "overwritten errors": Misprint(
        "δ is overwritten before BP3 and BP4 use it",
        "rows",
        {
            "        gw[l] = delta.T @ a[l]\n        gb[l] = delta.sum(axis=0)\n": "",
            "    return": "        gw[l] = delta.T @ a[l]\n        gb[l] = delta.sum(axis=0)\n    return",
        },
        ("BP3 and BP4", *ALL_LAYERS),
        r"overwr|δ of the layer before|off by one[^.]*δ",
        ("deep", "square"),
    ),
    # BP3
    "mean over units": Misprint(
        "the mean over units in place of examples",
        "rows",
        {"delta.sum(axis=0)": "delta.mean(axis=1)"},
        ("BP3",),
        r"over the units",
    ),
    "times biases": Misprint(
        "multiplies δ by the biases in BP3",
        "vectors",
        {"gb[l] += d\n": "gb[l] += d * biases[l]\n"},
        ("BP3",),
        r"by (the|its) biases|\bδ b\b|by b\b",
    ),
    "times activations": Misprint(
        "multiplies δ by the activations in BP3",
        "deltas",
        {"deltas[l].sum(axis=0)": "(deltas[l] * a[l + 1]).sum(axis=0)"},
        ("BP3",),
        r"by (the|its) activations|by a\b",
    ),
    "error of the next layer": Misprint(
        "the biases get the δ of the next layer",
        "examples",
        {
            "        nabla_b[-l] = delta\n": "",
            "        delta = np": "        nabla_b[-l] = delta\n        delta = np",
        },
        ("BP3",),
        r"δ of the next layer(?!\))[^ᵀ]*(in place|instead)|off by one",
        ("deep", "square"),
    ),
    # BP4
    "inputs everywhere": Misprint(
        "BP4 takes the inputs in every layer",
        "rows",
        {"delta.T @ a[l]": "delta.T @ x"},
        ("BP4",),
        rf"inputs[^.]*{FOR}[^.]*(activations|\ba\b)|inputs (x )?in every layer",
        ("deep", "square"),
    ),
    "activations for inputs": Misprint(
        "BP4 takes the hidden activations in place of the inputs",
        "two",
        {"l1_delta.T.dot(x)": "l1_delta.T.dot(l1)"},
        ("BP4",),
        rf"activations[^.]*{FOR}[^.]*(inputs|layer before)",
        ("deep", "square"),
    ),
    "weighted inputs": Misprint(
        "BP4 takes z in place of a",
        "columns",
        {"A[l - 1].T) / m": "(Z[l - 1] if l > 1 else x).T) / m"},
        ("BP4",),
        rf"\bz\b[^.]*{FOR} (the activations|a\b|σ\(z\))",
        ("deep",),
    ),
    "error for delta in BP4": Misprint(
        "BP4 takes the error without σ′ in the last layer",
        "two",
        {"gw2 = l2_delta": "gw2 = l2_error"},
        ("BP4",),
        r"(without|before)[^.]*σ′|a - y|∇C",
        ("deep",),
    ),
    "no outer product": Misprint(
        "multiplies δ and a unit by unit",
        "vectors",
        {"np.outer(d, a[l])": "d * a[l]"},
        ("BP4",),
        r"outer|(unit|element|entry) by (unit|element|entry)|elementwise",
        ("square",),
    ),
    # The forward pass
    "squashed inputs": Misprint(
        "applies σ to the inputs",
        "rows",
        {"a, z = [x]": "a, z = [act(x)]"},
        FORWARD,
        r"σ[^.]*(to|of) (the )?(inputs|x)|σ\(x\)",
    ),
    "squashed inputs in BP4": Misprint(
        "BP4 takes σ(x) in the first layer",
        "two",
        {"l1_delta.T.dot(x)": "l1_delta.T.dot(act(x))"},
        ("BP4",),
        r"σ[^.]*(to|of) (the )?(inputs|x)|σ\(x\)",
        ("deep",),
    ),
    "sigmoid of -z": Misprint(
        "1 / (1 + exp(z)) for the sigmoid",
        "rows",
        {"act(z[-1])": "1 / (1 + np.exp(z[-1]))"},
        FORWARD,
        r"exp\(z\)|-z\b|minus",
        ("sigmoid",),
    ),
    "sigmoid without brackets": Misprint(
        "1 / 1 + exp(−z) for the sigmoid",
        "loops",
        {
            "act(sum(w[j][k] * a[-1][k] for k in range(len(a[-1]))) + b[j])": (
                "1 / 1 + np.exp(-b[j] - sum(w[j][k] * a[-1][k] for k in range(len(w[j]))))"
            )
        },
        FORWARD,
        r"bracket|parenthes|1 \+ exp",
        ("sigmoid",),
    ),
    "biases after sigma": Misprint(
        "σ(w a) + b",
        "vectors",
        {"act(w @ a[-1] + b)": "act(w @ a[-1]) + b"},
        FORWARD,
        r"biases? (b )?(after|outside)|σ\(w a\) \+ b",
    ),
    "sigma twice": Misprint(
        "applies σ twice in the hidden layer",
        "two",
        {"l1 = act(x.dot(w1.T) + b1)": "l1 = act(act(x.dot(w1.T) + b1))"},
        (*FORWARD, "BP2"),
        r"σ twice|σ\(σ|σ again|twice",
        ("deep",),
    ),
    "softmax over the examples": Misprint(
        "normalizes the softmax over the examples",
        "rows",
        {"act(z[-1])": "act(z[-1]) if len(z) < L else np.exp(z[-1]) / np.exp(z[-1]).sum(axis=0)", "slope(a[-1])": "1"},
        FORWARD,
        r"softmax[^.]*examples",
        ("softmax",),
    ),
    "softmax over everything": Misprint(
        "normalizes the softmax over the whole minibatch",
        "columns",
        {
            "act(Z[l])\n": "act(Z[l]) if l < L else np.exp(Z[l]) / np.sum(np.exp(Z[l]))\n",
            "slope(A[l])": "(slope(A[l]) if l < L else 1)",
        },
        FORWARD,
        r"softmax[^.]*(whole|minibatch|examples|everything|all)",
        ("softmax",),
    ),
    "overflow": Misprint(
        "exp(z) / (1 + exp(z)) in float32, which overflows",
        "rows",
        {"act(z[-1])": "np.exp(np.float32(z[-1])) / (1 + np.exp(np.float32(z[-1])))"},
        (*FORWARD,),
        r"overflow",
        ("sigmoid",),
    ),
    # What is done with the gradients
    "one example too few": Misprint(
        "the loop leaves out the last example",
        "vectors",
        {"for i in range(m)": "for i in range(m - 1)"},
        (*ALL_LAYERS, "BP3 and BP4"),
        r"(leaves? out|miss(es)?|skips?|without) (the last|an|one) example",
    ),
    "times the rate": Misprint(
        "returns the gradients times the learning rate",
        "rows",
        {"return gw, gb": "return [0.1 * g for g in gw], [0.1 * g for g in gb]"},
        ALL_LAYERS,
        r"learning rate",
    ),
    "new weights": Misprint(
        "returns the new weights, not the gradients",
        "two",
        {"return [gw1, gw2], [gb1, gb2]": "return [w1 - 0.5 * gw1, w2 - 0.5 * gw2], [b1 - 0.5 * gb1, b2 - 0.5 * gb2]"},
        ALL_LAYERS,
        r"(new|updated) (weights|parameters)",
        ("deep",),
    ),
    "weight decay": Misprint(
        "adds weight decay to the gradient",
        "columns",
        {"A[l - 1].T) / m": "A[l - 1].T) / m + 0.1 * weights[l - 1]"},
        ("BP4",),
        r"weight decay|times the weights|regulari",
    ),
    "sums begin at the weights": Misprint(
        "the sums begin at the weights, not at 0",
        "examples",
        {"np.zeros(w.shape) for w in weights]\n    sum_b": "w for w in weights]\n    sum_b"},
        ("BP4",),
        r"begin at 0|start at 0|times the weights|weight decay",
    ),
    "flat targets": Misprint(
        "y has lost an axis, and a − y is a square",
        "rows",
        {"(a[-1] - y)": "(a[-1] - y.ravel())"},
        ALL_LAYERS,
        r"broadcast|axis|shape \(m,\)|every (example|output)[^.]*target",
        ("one output",),
    ),
}
PUT_ASIDE = frozenset(random.Random(43).sample(sorted(MISPRINTS), 30))


def compile_program(style, activation, misprint=None):
    """Run the source of a program, with a mistake if one is given; for softmax outputs in its own words."""
    source = PROGRAMS[style]
    for old, new in misprint.edits.items() if misprint else ():
        assert old in source, old
        source = source.replace(old, new, 1)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    names = {"np": np, "act": np.tanh, "slope": lambda a: 1 - a**2}
    if activation == "sigmoid":
        names |= {"act": sigmoid, "slope": lambda a: a * (1 - a)}
    exec(source, names)
    return names["backward"]


def draw_question(misprint, rng):
    """Draw sizes and settings of a network for a mistake."""
    needs = misprint.needs
    activation = next((name for name in ("sigmoid", "tanh") if name in needs), None) or str(
        rng.choice(["sigmoid", "tanh"])
    )
    fewest = 4 if "deeper" in needs else 3 if "deep" in needs else 2
    n_layers = 3 if misprint.style == "two" else int(rng.integers(fewest, 6))
    square = "square" in needs or rng.random() < 0.25
    sizes = [int(rng.integers(2, 7))] * n_layers if square else rng.integers(1, 8, size=n_layers).tolist()
    settings = {"activation": activation, "output_activation": activation}
    if "cross_entropy" in needs:
        settings["cost"] = "cross_entropy"
    if "softmax" in needs:
        settings |= {"output_activation": "softmax", "cost": "cross_entropy"}
        sizes[-1] = max(sizes[-1], 2)
    if "one output" in needs:
        sizes[-1] = 1
    return sizes, settings


def is_located(misprint, check):
    """Tell whether the equation of a check is one of those expected."""
    return check.equation in misprint.where


def is_named(misprint, check):
    """Tell whether a mistake or a note of the report says the mistake, not only the table or a formula."""
    mistakes = [f"{mistake.equation} {mistake.mistake}" for mistakes in check.explanations for mistake in mistakes]
    text = "\n".join([*mistakes, *check.notes]).replace("−", "-")
    return re.search(misprint.words, text, re.IGNORECASE) is not None
