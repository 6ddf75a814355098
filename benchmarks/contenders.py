"""The contenders of peers.py and gpu.py: training epochs with xpnet, with loops by hand, and with other libraries.

Each contender is a function of (row, x, labels) that prepares everything and returns a function of (report, epochs).
That trains this many epochs, each from the same start, and calls `report` with each as an `Epoch`. Creating the initial
state and moving the data to the device are not timed. The first epochs take longer, because most contenders compile,
record or capture something in them that the later ones use again.

The loops by hand are references: fast, with preallocated buffers, and short enough to read. They use the same initial
weights, order of examples, gathering of minibatches, sum of the cost, update and smaller last minibatch as xpnet.
"""

import copy
import functools
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpnet import SGD, Callback, Network, get_backend
from xpnet.backends import Backend

SEED = 0


class Row(NamedTuple):
    """A network and its training: with sigmoid and quadratic cost, or with ReLU, softmax and cross-entropy."""

    sizes: tuple[int, ...]
    batch_size: int
    lr: float
    relu: bool = False
    momentum: float = 0.0
    examples: int = 60_000  # fewer for large networks, to keep an epoch short
    without: tuple[str, ...] = ()  # libraries to leave out

    def __str__(self):
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch_size}"

    @property
    def steps(self):
        """Steps per epoch."""
        return -(-self.examples // self.batch_size)


BOOK = {
    "r1": Row((784, 30, 10), 10, 3.0),
    "r2": Row((784, 20, 10), 30, 3.0),
    "r3": Row((784, 100, 10), 30, 3.0, without=("thinc",)),
    "r4": Row((784, 100, 10), 128, 3.0, without=("thinc",)),
    "r5": Row((784, 512, 512, 10), 128, 0.1, relu=True, examples=25_600, without=("thinc",)),
    "r6": Row((784, 2048, 2048, 10), 512, 0.1, relu=True, examples=12_800, without=("thinc", "sklearn")),
}
# With momentum all networks use ReLU and softmax; these are learning rates that work for them
RATES = {"r1": 0.01, "r2": 0.02, "r3": 0.02, "r4": 0.05, "r5": 0.02, "r6": 0.02}
MOMENTUM = {
    name: row._replace(lr=RATES[name], relu=True, momentum=0.9, without=(*row.without, "thinc"))
    for name, row in BOOK.items()
}
KINDS = {"book": BOOK, "momentum": MOMENTUM}
SOFTMAX_LR = 0.5  # for scikit-learn, which has softmax instead of the rows' sigmoid and quadratic cost


class Epoch(NamedTuple):
    """Result of an epoch from the start with one contender."""

    seconds: float
    cost: float
    layers: list[Any]  # pairs (w, b), as in Network
    stream: Any = None  # state of xpnet's generator afterwards, if it shuffled the examples
    engine: str = ""  # how xpnet ran the steps


def start(row, **options):
    """Create the network from which all contenders start."""
    kind = {"activation": "relu", "task": "classification"} if row.relu else {}
    return Network(row.sizes, seed=SEED, **kind, **options)


def one_hot(labels):
    return np.eye(10, dtype=np.float32)[labels]


def repeat(epoch):
    """Return a contender of a function that trains one epoch from the start and returns it."""

    def train(report, epochs):
        for _ in range(epochs):
            report(epoch())

    return train


def in_minibatches(row, n, enter, steps, leave):
    """Wrap the steps of a contender: initial state, timing, order of examples, and the smaller last minibatch.

    `enter` converts layers [(w, b), ...] to a state, and `leave` converts a state to layers. `steps` trains a state on
    minibatches, each a row of indices, and returns the new state and the sum of the examples' costs.
    """
    net = start(row)

    def epoch():
        layers = [(np.array(w), np.array(b)) for w, b in net.layers]  # writable
        state, rng, m = enter(layers), copy.deepcopy(net.rng), row.batch_size
        started = time.perf_counter()
        order, whole = rng.permutation(n), n - n % m
        state, cost = steps(state, order[:whole].reshape(-1, m))
        if whole < n:
            state, more = steps(state, order[None, whole:])
            cost += more
        seconds = time.perf_counter() - started
        return Epoch(seconds, cost / n, leave(state), rng.bit_generator.state)

    return repeat(epoch)


# xpnet


def xpnet(backend, form, row, x, labels, device="cpu", plain=False, fuse=True):
    """The epochs of one call of Network.train, timed by its history, which excludes only the checks of the data.

    There are three forms of the data: "rows", float32 pixels and one-hot rows, as in the loops by hand; "labels",
    float32 pixels and integer labels; "uint8", byte pixels that the network scales, and integer labels.
    """
    place = open_backend(backend, device, plain, fuse)
    options = {"backend": place}
    if form == "uint8":
        x, options["scale"] = np.rint(255 * x).astype(np.uint8), 1 / 255
    data = place.asarray(x), place.asarray(one_hot(labels) if form == "rows" else labels)
    settings = {"batch_size": row.batch_size, "lr": row.lr, "optimizer": SGD(momentum=row.momentum)}

    def train(report, epochs):
        net = start(row, **options)
        net.train(data, epochs, callbacks=[Restart(net, report)], progress=False, **settings)

    return train


class Restart(Callback):
    """Reports each epoch of a training, and lets the next one begin as the first did."""

    def __init__(self, net, report):
        self.net, self.report, self.begun = net, report, None

    def on_epoch_begin(self, epoch):
        """Restore the state of the network, the optimizer's included, and that of the generator of minibatches."""
        if self.begun is None:
            self.begun = self.net.state, self.net.rng.bit_generator.state
        self.net.state, self.net.rng.bit_generator.state = self.begun

    def on_epoch_end(self, logs):
        """Report the epoch."""
        net = self.net
        layers = [tuple(map(net.backend.to_numpy, layer)) for layer in net.layers]
        self.report(Epoch(logs["seconds"], logs["cost"], layers, net.rng.bit_generator.state, engine(net)))


def open_backend(name, device, plain=False, fuse=True):
    """Open a backend; `plain` repeats steps in the plain loop, and without `fuse` CuPy fuses no operations."""
    backend = get_backend(name, device)
    if plain:
        backend.loop = Backend.loop.__get__(backend)
    if not fuse:
        backend.fuse = False
    return backend


def engine(net):
    """Say how a network ran the steps of its last training; nothing where its backend does not tell."""
    return getattr(net, "engine", None) or ""


# NumPy


def numpy_by_hand(row, x, labels, folded=False):
    """A loop over ufuncs that write into preallocated buffers: a step creates no arrays.

    It computes the same operations as xpnet, in the same order; or with lr/m folded into δ, which saves a product per
    gradient. Weights are (n_in, n_out), which is faster.
    """
    images, targets, (relu, lr, momentum) = x, one_hot(labels), (row.relu, row.lr, row.momentum)
    empty, last = functools.partial(np.empty, dtype=np.float32), len(row.sizes) - 2

    def enter(layers):
        parameters = [(np.ascontiguousarray(w.T), b) for w, b in layers]
        return parameters, [(np.zeros_like(w), np.zeros_like(b)) for w, b in parameters]

    @functools.cache
    def buffers(m):
        activations = [empty((m, n)) for n in row.sizes]
        zs = [empty((m, n)) for n in row.sizes[1:]]  # weighted inputs; reused for the errors of hidden layers
        slopes = [empty((m, n)) for n in row.sizes[1:]]  # σ′(z)
        gradients = [(empty((n_in, n_out)), empty(n_out)) for n_in, n_out in zip(row.sizes, row.sizes[1:])]
        return activations, zs, slopes, gradients, empty((m, 10)), empty((m, 10)), empty((m, 1)), empty(m)

    def steps(state, index):
        m, (parameters, velocities) = index.shape[1], state
        activations, zs, slopes, gradients, y, delta, of_rows, c = buffers(m)
        x, a_out, z_out, d_out, (gw_1, gb_1) = activations[0], activations[-1], zs[-1], slopes[-1], gradients[0]
        forward, backward, update = [], [], []
        for l, (w, b) in enumerate(parameters):
            forward.append((activations[l], w, b, zs[l], slopes[l], activations[l + 1], l < last))
        for l in range(last, 0, -1):
            a, error = activations[l], zs[l] if l < last else delta
            # the sign of a ReLU activation is its slope; for large arrays a comparison is faster
            slope = (np.sign, a) if a.size < 5000 else (np.greater, a, 0.0)
            backward.append((error, a.T, *gradients[l], parameters[l][0].T, zs[l - 1], a, slopes[l - 1], *slope))
        for three in zip(parameters, gradients, velocities):
            update.extend(zip(*three))
        take_x, take_y, x_t, error_1 = images.take, targets.take, x.T, zs[0]
        matmul, add, subtract, multiply, divide = np.matmul, np.add, np.subtract, np.multiply, np.divide
        minimum, maximum, exp, log, vecdot = np.minimum, np.maximum, np.exp, np.log, np.vecdot
        total, largest = np.add.reduce, np.maximum.reduce
        scale = lr / m if folded else 1.0 / m
        cost = np.zeros(m, np.float32)
        for i in index:
            take_x(i, axis=0, out=x, mode="clip")
            take_y(i, axis=0, out=y, mode="clip")
            for a_in, w, b, z, d, a, hidden in forward:
                matmul(a_in, w, out=z)
                add(z, b, out=z)
                if not relu:
                    minimum(z, 88.0, out=z)
                    exp(z, out=z)
                    add(1.0, z, out=d)
                    divide(z, d, out=a)
                elif hidden:
                    maximum(z, 0.0, out=a)
            if relu:  # softmax, and cross-entropy from z: the logarithm of the sum of e^z, minus the z of the class
                largest(z_out, axis=1, keepdims=True, out=of_rows)
                subtract(z_out, of_rows, out=z_out)
                exp(z_out, out=a_out)
                total(a_out, axis=1, keepdims=True, out=of_rows)
                divide(a_out, of_rows, out=a_out)
                subtract(a_out, y, out=delta)
                log(of_rows, out=of_rows)
                add(cost, of_rows[:, 0], out=cost)
                vecdot(y, z_out, out=c)
                subtract(cost, c, out=cost)
            else:
                subtract(a_out, y, out=delta)
                vecdot(delta, delta, out=c)
                add(cost, c, out=cost)
                subtract(1.0, a_out, out=d_out)
                multiply(a_out, d_out, out=d_out)
                multiply(delta, d_out, out=delta)
            multiply(delta, scale, out=delta)
            for error, a_t, gw, gb, w_t, below, a, d, sloping, *of in backward:
                matmul(a_t, error, out=gw)
                total(error, axis=0, out=gb)
                matmul(error, w_t, out=below)
                if relu:
                    sloping(*of, out=d)
                else:
                    subtract(1.0, a, out=d)
                    multiply(a, d, out=d)
                multiply(below, d, out=below)
            matmul(x_t, error_1, out=gw_1)
            total(error_1, axis=0, out=gb_1)
            for p, g, v in update:
                if not folded:
                    multiply(g, lr, out=g)
                if momentum:
                    multiply(v, momentum, out=v)
                    subtract(v, g, out=v)
                    add(p, v, out=p)
                else:
                    subtract(p, g, out=p)
        return state, (1.0 if relu else 0.5) * float(cost.sum(dtype=np.float64))

    return in_minibatches(row, len(x), enter, steps, lambda state: [(w.T, b) for w, b in state[0]])


# JAX


def jax_by_hand(row, x, labels, device="cpu"):
    """jax.value_and_grad inside a compiled lax.scan over an epoch, with a donated state.

    The fastest of the forms tried: jax.nn.sigmoid (1 to 4 % faster than the formula used for NumPy), weights
    (n_out, n_in) (10 to 35 % faster than the transpose), plain indexing. Products use full float32, as in all
    contenders; by default JAX would round their factors on a GPU.
    """
    import jax
    import jax.numpy as jnp

    there = jax.devices(device)[0]
    images, targets = jax.device_put((x, one_hot(labels)), there)
    sigma = jax.nn.relu if row.relu else jax.nn.sigmoid

    def enter(layers):
        layers = jax.device_put([(w, b) for w, b in layers], there, may_alias=False)
        return layers, jax.tree.map(jnp.zeros_like, layers) if row.momentum else ()

    def cost_of(layers, x, y):
        *hidden, (w_out, b_out) = layers
        for w, b in hidden:
            x = sigma(x @ w.T + b)
        z = x @ w_out.T + b_out
        if row.relu:
            return -jnp.sum(y * jax.nn.log_softmax(z)) / len(y)
        return 0.5 * jnp.sum((sigma(z) - y) ** 2) / len(y)

    def update(layers, velocity, grads):
        if not row.momentum:
            return jax.tree.map(lambda p, g: p - row.lr * g, layers, grads), velocity
        velocity = jax.tree.map(lambda v, g: row.momentum * v - row.lr * g, velocity, grads)
        return jax.tree.map(jnp.add, layers, velocity), velocity

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, index, images, targets):
        def step(state, i):
            layers, velocity, total = state
            cost, grads = jax.value_and_grad(cost_of)(layers, images[i], targets[i])
            return (*update(layers, velocity, grads), total + len(i) * cost), None

        with jax.default_matmul_precision("float32"):
            return jax.lax.scan(step, state, index)[0]

    def steps(state, index):
        cost, index = jax.device_put((np.zeros((), np.float32), index.astype(np.int32)), there)
        *state, cost = run((*state, cost), index, images, targets)
        return state, float(cost)

    return in_minibatches(row, len(x), enter, steps, lambda state: [tuple(map(np.array, layer)) for layer in state[0]])


# PyTorch


def torch_by_hand(row, x, labels, folded=False):
    """A loop without autograd over functions that write into preallocated buffers.

    The products with σ′ use the kernels that autograd calls, and sums of columns are products with ones; both are
    faster than the usual functions. If `folded`, the product that would give a gradient updates the weights or the
    velocity directly, so no gradient array exists. The contributions of the examples are then added one by one to much
    larger numbers, which loses more to rounding: after an epoch, weights differ by up to 7e-4 of their change instead
    of 1e-5. Weights are (n_out, n_in), as in torch.nn.Linear.
    """
    import torch
    from torch import addmm, dot, exp, index_select, log_softmax, mm, mv, sub

    images, targets = torch.from_numpy(x), torch.from_numpy(one_hot(labels))
    relu, lr, momentum, last = row.relu, row.lr, row.momentum, len(row.sizes) - 2
    times_slope = torch.ops.aten.threshold_backward if relu else torch.ops.aten.sigmoid_backward
    times_slope, threshold = times_slope.grad_input, (0.0,) if relu else ()

    def enter(layers):
        parameters = [(torch.tensor(w), torch.tensor(b)) for w, b in layers]
        return parameters, [(torch.zeros_like(w), torch.zeros_like(b)) for w, b in parameters]

    @functools.cache
    def buffers(m):
        activations = [torch.empty(m, n) for n in row.sizes]
        errors = [torch.empty(m, n) for n in row.sizes[1:]]
        gradients = [(torch.empty(n_out, n_in), torch.empty(n_out)) for n_in, n_out in zip(row.sizes, row.sizes[1:])]
        return activations, errors, gradients, torch.empty(m, 10), torch.ones(m)

    @torch.no_grad()
    def steps(state, index):
        m, (parameters, velocities) = index.shape[1], state
        activations, errors, gradients, y, ones = buffers(m)
        x, a_out, delta = activations[0], activations[-1], errors[-1]
        flat_a, flat_y, flat_delta = a_out.view(-1), y.view(-1), delta.view(-1)
        forward = [(activations[l], w.t(), b, activations[l + 1], l < last) for l, (w, b) in enumerate(parameters)]
        backward = [(errors[l], parameters[l][0], errors[l - 1], activations[l]) for l in range(last, 0, -1)]
        descent = [(error.t(), a, *gradient) for error, a, gradient in zip(errors, activations, gradients)]
        update = [each for three in zip(parameters, gradients, velocities) for each in zip(*three)]
        folded_update = [
            (error.t(), a, *layer, *velocity)
            for error, a, layer, velocity in zip(errors, activations, parameters, velocities)
        ]
        cost, rate = torch.zeros(()), lr / m  # dividing the rate by m gives the mean at no cost
        for i in torch.from_numpy(index):
            index_select(images, 0, i, out=x)
            index_select(targets, 0, i, out=y)
            for a_in, w_t, b, a, hidden in forward:
                addmm(b, a_in, w_t, out=a)
                if not relu:
                    a.sigmoid_()
                elif hidden:
                    a.relu_()
            if relu:  # softmax and cross-entropy, from the logarithms
                log_softmax(a_out, 1, out=a_out)
                cost.sub_(dot(flat_a, flat_y))
                exp(a_out, out=a_out)
                sub(a_out, y, out=delta)
            else:
                sub(a_out, y, out=delta)
                cost.add_(dot(flat_delta, flat_delta))
                times_slope(delta, a_out, grad_input=delta)
            for error, w, below, a in backward:
                mm(error, w, out=below)
                times_slope(below, a, *threshold, grad_input=below)
            if folded:
                for error_t, a_in, w, b, vw, vb in folded_update:
                    if momentum:
                        vw.addmm_(error_t, a_in, beta=momentum, alpha=-rate)
                        vb.addmv_(error_t, ones, beta=momentum, alpha=-rate)
                        w.add_(vw)
                        b.add_(vb)
                    else:
                        w.addmm_(error_t, a_in, alpha=-rate)
                        b.addmv_(error_t, ones, alpha=-rate)
                continue
            for error_t, a_in, gw, gb in descent:
                mm(error_t, a_in, out=gw)
                mv(error_t, ones, out=gb)
            for p, g, v in update:
                if momentum:
                    v.mul_(momentum).sub_(g, alpha=rate)
                    p.add_(v)
                else:
                    p.sub_(g, alpha=rate)
        return state, (1.0 if relu else 0.5) * float(cost)

    return in_minibatches(row, len(x), enter, steps, lambda state: [(w.numpy(), b.numpy()) for w, b in state[0]])


class TorchTraining:
    """PyTorch's usual loop: a module that returns the loss, backward, torch.optim.SGD.

    Its momentum, with the rate outside the velocity, equals the book's while the rate is constant. Cross-entropy takes
    integer labels. The module contains the data, so a step only needs indices.
    """

    def __init__(self, row, x, labels, device):
        import torch
        from torch import nn

        class Loss(nn.Module):
            def __init__(self):
                super().__init__()
                self.linears = nn.ModuleList(nn.Linear(*pair) for pair in zip(row.sizes, row.sizes[1:]))
                between = [module for linear in self.linears for module in (linear, sigma())]
                self.net = nn.Sequential(*(between[:-1] if row.relu else between))  # cross_entropy includes the softmax
                self.register_buffer("images", torch.from_numpy(x))
                self.register_buffer("targets", torch.from_numpy(labels if row.relu else one_hot(labels)))

            def forward(self, i):
                outputs, y = self.net(self.images[i]), self.targets[i]
                if row.relu:
                    return nn.functional.cross_entropy(outputs, y)
                return 0.5 * (outputs - y).square().sum() / len(y)

        sigma = nn.ReLU if row.relu else nn.Sigmoid
        self.torch, self.device = torch, device
        self.loss = Loss().to(device)
        self.optimizer = torch.optim.SGD(self.loss.parameters(), lr=row.lr, momentum=row.momentum)
        self.cost = torch.zeros((), device=device)
        self.loss_of, self.descend = self.loss, self.optimizer.step

    def enter(self, layers):
        """Set the initial weights and clear the velocities."""
        with self.torch.no_grad():
            for linear, (w, b) in zip(self.loss.linears, layers):
                linear.weight.copy_(self.torch.from_numpy(w))
                linear.bias.copy_(self.torch.from_numpy(b))
            for velocity in self.velocities():
                velocity.zero_()

    def leave(self, state):
        """Return weights and biases as in Network."""
        return [tuple(np.array(p.detach().cpu()) for p in (each.weight, each.bias)) for each in self.loss.linears]

    def velocities(self):
        """Momentum buffers of the optimizer."""
        return [v for each in self.optimizer.state.values() if (v := each.get("momentum_buffer")) is not None]

    def step(self, i):
        """Update the weights with the examples of these indices, and add their cost to that of the epoch."""
        self.optimizer.zero_grad()
        loss = self.loss_of(i)
        loss.backward()
        self.descend()
        self.cost.add_(loss.detach(), alpha=len(i))

    def steps(self, state, index):
        """Train on minibatches, rows of indices; return the state and their cost."""
        self.cost.zero_()
        self.loop(self.torch.from_numpy(index).to(self.device))
        return state, float(self.cost)

    def loop(self, index):
        """Call the step for each minibatch."""
        for i in index:
            self.step(i)

    @classmethod
    def contender(cls, row, x, labels, device="cpu"):
        """Build the contender."""
        training = cls(row, x, labels, device)
        return in_minibatches(row, len(x), training.enter, training.steps, training.leave)


class TorchGraph(TorchTraining):
    """The same step, captured once per minibatch size as a CUDA graph, and replayed.

    As in PyTorch's notes on CUDA graphs, a few steps run on a side stream before the capture. Weights, velocities and
    cost are then restored. On the CPU, which has no graphs, the step is called directly.
    """

    def __init__(self, row, x, labels, device):
        super().__init__(row, x, labels, device)
        self.replay_of = functools.cache(self.captured)

    def captured(self, m):
        """Capture the step for minibatches of m; return the tensor for their indices, and the replay function."""
        i = self.torch.zeros(m, dtype=self.torch.int64, device=self.device)
        if self.device == "cpu":
            return i, functools.partial(self.step, i)
        cuda, changed = self.torch.cuda, [*self.loss.parameters(), self.cost]
        begun, beside = [each.detach().clone() for each in changed + self.velocities()], cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            for _ in range(3):
                self.step(i)
        cuda.current_stream().wait_stream(beside)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            self.step(i)
        with self.torch.no_grad():
            for velocity in self.velocities():  # the first steps have created them
                velocity.zero_()
            for each, before in zip(changed + self.velocities(), begun):
                each.copy_(before)
        return i, graph.replay

    def loop(self, index):
        """Replay the step for each minibatch."""
        static, replay = self.replay_of(index.shape[1])
        for i in index:
            static.copy_(i)
            replay()


class TorchCompiled(TorchTraining):
    """The same step with torch.compile(mode="reduce-overhead"): the loss with its backward, and the optimizer."""

    def __init__(self, row, x, labels, device):
        super().__init__(row, x, labels, device)
        compiled = functools.partial(self.torch.compile, mode="reduce-overhead", dynamic=False)
        self.loss_of, self.descend = compiled(self.loss), compiled(self.optimizer.step)

    def step(self, i):
        """Run a step, after telling PyTorch that the memory of the last step is free."""
        self.torch.compiler.cudagraph_mark_step_begin()
        super().step(i)


# Other libraries: only their test accuracy is compared


def sklearn_mlp(row, x, labels):
    """scikit-learn's MLPClassifier, for one epoch of `fit`.

    It starts from the same weights, with a warm start, but shuffles the examples in its own order. Its output is always
    softmax with log loss: for rows with sigmoid and quadratic cost, only its hidden layer is sigmoid, and its learning
    rate is SOFTMAX_LR. Its time includes encoding the labels.
    """
    from sklearn import config_context
    from sklearn.neural_network import MLPClassifier

    net = MLPClassifier(
        row.sizes[1:-1],
        activation="relu" if row.relu else "logistic",
        solver="sgd",
        alpha=0.0,
        batch_size=row.batch_size,
        learning_rate_init=row.lr if row.relu else SOFTMAX_LR,
        momentum=row.momentum,
        nesterovs_momentum=False,
        max_iter=1,
        warm_start=True,
        random_state=SEED,
    )
    warnings.simplefilter("ignore")  # ten examples are less than a batch, and one epoch does not converge
    net.fit(x[:10], np.arange(10))  # creates the weights; needs every class
    layers = start(row).layers

    def epoch():
        for w, b, (w_0, b_0) in zip(net.coefs_, net.intercepts_, layers):
            w[...], b[...] = w_0.T, b_0
        with config_context(assume_finite=True):  # skips the check of the data, which is not timed for the others
            started = time.perf_counter()
            net.fit(x, labels)
            seconds = time.perf_counter() - started
        return Epoch(seconds, net.loss_, [(w.T.copy(), b.copy()) for w, b in zip(net.coefs_, net.intercepts_)])

    return repeat(epoch)


def thinc_chain(row, x, labels):
    """Thinc: a chain of Linear and Logistic, begin_update, backprop, and its optimizer as plain SGD."""
    from thinc.api import Linear, Logistic, Optimizer, chain

    targets = one_hot(labels)

    def enter(layers):
        linears = [Linear(n_out, n_in) for n_in, n_out in zip(row.sizes, row.sizes[1:])]
        model = chain(*(part for linear in linears for part in (linear, Logistic()))).initialize()
        for linear, (w, b) in zip(linears, layers):
            linear.set_param("W", w)
            linear.set_param("b", b)
        return model, linears, Optimizer(row.lr, L2=0.0, beta1=0.0, beta2=0.0, grad_clip=0.0, use_averages=False)

    def steps(state, index):
        model, _, optimizer = state
        cost = 0.0
        for i in index:
            outputs, backprop = model.begin_update(x[i])
            difference = outputs - targets[i]
            cost += 0.5 * float(np.vdot(difference, difference))
            backprop(difference / len(i))
            model.finish_update(optimizer)
        return state, cost

    def leave(state):
        return [(linear.get_param("W"), linear.get_param("b")) for linear in state[1]]

    return in_minibatches(row, len(x), enter, steps, leave)


class Contender(NamedTuple):
    """Title in the report, function that builds the contender, and its properties."""

    title: str
    make: Callable[..., Callable[[Callable[[Epoch], None], int], None]]
    bound: float | None = 1e-3  # largest difference of the weights, relative to their change; None: not compared
    all_threads: bool = True  # whether it can use more than one thread
    momentum: bool = True  # whether it supports the rows with momentum


# The first word of a name is the library.
CONTENDERS = {
    "numpy by hand": Contender("NumPy by hand", numpy_by_hand),
    "numpy by hand, lr/m in δ": Contender(
        "NumPy by hand, lr/m in δ", functools.partial(numpy_by_hand, folded=True), momentum=False
    ),
    "jax by hand": Contender("JAX by hand", jax_by_hand),
    "torch by hand": Contender("PyTorch by hand", torch_by_hand),
    "torch by hand, no gradients": Contender(
        "PyTorch by hand, no gradients", functools.partial(torch_by_hand, folded=True), bound=1e-2
    ),
    "torch autograd": Contender("PyTorch, autograd", TorchTraining.contender),
    "sklearn": Contender("scikit-learn", sklearn_mlp, bound=None),
    "thinc": Contender("Thinc", thinc_chain, bound=None, all_threads=False, momentum=False),
}
FORMS = {"rows": "", "labels": ", labels", "uint8": ", uint8 and labels"}
CONTENDERS |= {
    f"{library} xpnet, {form}": Contender(f"xpnet on {library}{title}", functools.partial(xpnet, library, form))
    for library in ("numpy", "jax", "torch")
    for form, title in FORMS.items()
}
