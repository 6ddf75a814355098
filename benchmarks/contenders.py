"""The contenders of peers.py and gpu.py: a training by xpnet, by loops written by hand, and by other libraries.

Each contender is a function of (row, x, labels) that prepares everything and returns a function of (report, epochs).
That trains this many epochs, each from the same start, and calls `report` with each as an `Epoch`. Creating the initial
state and moving the data to the device are not timed. The first epochs take longer, because most contenders compile,
record or capture something in them that the later ones use again.

The loops by hand are references: fast, with preallocated buffers, and short enough to read. They use the same initial
weights, order of examples, gathering of minibatches, sum of the cost, update and smaller last minibatch as xpnet.
"""

import functools
import time
from typing import Any, NamedTuple

import numpy as np

from xpnet import Callback, Network, get_backend
from xpnet.backends.base import Loop

SEED = 0


class Row(NamedTuple):
    """A network and its training: with sigmoid and quadratic cost, or with ReLU, softmax and cross-entropy."""

    sizes: tuple[int, ...]
    batch_size: int
    lr: float
    relu: bool = False
    examples: int = 60_000  # fewer for large networks, to keep an epoch short

    def __str__(self):
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch_size}"

    @property
    def steps(self):
        """Steps per epoch."""
        return -(-self.examples // self.batch_size)


ROWS = {
    "r1": Row((784, 30, 10), 10, 3.0),
    "r2": Row((784, 20, 10), 30, 3.0),
    "r3": Row((784, 100, 10), 30, 3.0),
    "r4": Row((784, 100, 10), 128, 3.0),
    "r5": Row((784, 512, 512, 10), 128, 0.1, relu=True, examples=25_600),
    "r6": Row((784, 2048, 2048, 10), 512, 0.1, relu=True, examples=12_800),
    "r7": Row((784, 4096, 4096, 10), 1024, 0.1, relu=True, examples=20_480),
}


class Epoch(NamedTuple):
    """Result of an epoch from the start with one contender."""

    seconds: float
    cost: float
    layers: list[Any]  # pairs (w, b), as in Network
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
        state, rng, m = enter(layers), net.make_rng(), row.batch_size
        started = time.perf_counter()
        order, whole = rng.permutation(n), n - n % m
        state, cost = steps(state, order[:whole].reshape(-1, m))
        if whole < n:
            state, more = steps(state, order[None, whole:])
            cost += more
        return Epoch(time.perf_counter() - started, cost / n, leave(state))

    return repeat(epoch)


# xpnet


def xpnet(backend, row, x, labels, device="cpu", plain=False):
    """The epochs of one call of Network.train, timed by its history, which excludes only the checks of the data."""
    place = open_backend(backend, device, plain)
    data = place.asarray(x), place.asarray(one_hot(labels))

    def train(report, epochs):
        net = start(row, backend=place)
        net.train(data, epochs, row.batch_size, row.lr, callbacks=[Restart(report)], progress=False)

    return train


class Restart(Callback):
    """Reports each epoch of a training, and lets the next one begin as the first did."""

    def __init__(self, report):
        self.report = report

    def on_train_begin(self, training):
        """Remember the value of the network."""
        self.training, self.begun = training, training.value

    def on_epoch_begin(self, epoch):
        """Go back to it: to weights, optimizer and generator."""
        self.training.value = self.begun

    def on_epoch_end(self, logs):
        """Report the epoch."""
        net = self.training.net
        layers = [tuple(map(net.backend.to_numpy, layer)) for layer in net.layers]
        self.report(Epoch(logs["seconds"], logs["cost"], layers, net.engine))


def open_backend(name, device, plain=False):
    """Open a backend; `plain` repeats steps in the plain loop."""
    backend = get_backend(name, device)
    if plain:
        backend.loop_type = Loop
    return backend


# NumPy


def numpy_by_hand(row, x, labels):
    """A loop over ufuncs that write into preallocated buffers: a step creates no arrays.

    It computes the same operations as xpnet, in the same order. Weights are (n_in, n_out), which is faster.
    """
    images, targets, relu, lr = x, one_hot(labels), row.relu, row.lr
    empty, last = functools.partial(np.empty, dtype=np.float32), len(row.sizes) - 2

    def enter(layers):
        return [(np.ascontiguousarray(w.T), b) for w, b in layers]

    @functools.cache
    def buffers(m):
        activations = [empty((m, n)) for n in row.sizes]
        zs = [empty((m, n)) for n in row.sizes[1:]]  # weighted inputs; reused for the errors of hidden layers
        slopes = [empty((m, n)) for n in row.sizes[1:]]  # σ′(z)
        gradients = [(empty((n_in, n_out)), empty(n_out)) for n_in, n_out in zip(row.sizes, row.sizes[1:])]
        return activations, zs, slopes, gradients, empty((m, 10)), empty((m, 10)), empty((m, 1)), empty(m)

    def steps(parameters, index):
        m = index.shape[1]
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
        for pair in zip(parameters, gradients):
            update.extend(zip(*pair))
        take_x, take_y, x_t, error_1 = images.take, targets.take, x.T, zs[0]
        matmul, add, subtract, multiply, divide = np.matmul, np.add, np.subtract, np.multiply, np.divide
        minimum, maximum, exp, log, vecdot = np.minimum, np.maximum, np.exp, np.log, np.vecdot
        total, largest = np.add.reduce, np.maximum.reduce
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
            multiply(delta, 1.0 / m, out=delta)
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
            for p, g in update:
                multiply(g, lr, out=g)
                subtract(p, g, out=p)
        return parameters, (1.0 if relu else 0.5) * float(cost.sum(dtype=np.float64))

    return in_minibatches(row, len(x), enter, steps, lambda parameters: [(w.T, b) for w, b in parameters])


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
        return jax.device_put(layers, there, may_alias=False)

    def cost_of(layers, x, y):
        *hidden, (w_out, b_out) = layers
        for w, b in hidden:
            x = sigma(x @ w.T + b)
        z = x @ w_out.T + b_out
        if row.relu:
            return -jnp.sum(y * jax.nn.log_softmax(z)) / len(y)
        return 0.5 * jnp.sum((sigma(z) - y) ** 2) / len(y)

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, index, images, targets):
        def step(state, i):
            layers, total = state
            cost, grads = jax.value_and_grad(cost_of)(layers, images[i], targets[i])
            return (jax.tree.map(lambda p, g: p - row.lr * g, layers, grads), total + len(i) * cost), None

        with jax.default_matmul_precision("float32"):
            return jax.lax.scan(step, state, index)[0]

    def steps(layers, index):
        cost, index = jax.device_put((np.zeros((), np.float32), index.astype(np.int32)), there)
        layers, cost = run((layers, cost), index, images, targets)
        return layers, float(cost)

    return in_minibatches(row, len(x), enter, steps, lambda layers: [tuple(map(np.array, layer)) for layer in layers])


# PyTorch


class TorchTraining:
    """PyTorch's usual loop: a module that returns the loss, backward, torch.optim.SGD.

    Cross-entropy takes integer labels. The module contains the data, so a step only needs indices.
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
        self.optimizer = torch.optim.SGD(self.loss.parameters(), lr=row.lr)
        self.cost = torch.zeros((), device=device)
        self.loss_of, self.descend = self.loss, self.optimizer.step

    def enter(self, layers):
        """Set the initial weights."""
        with self.torch.no_grad():
            for linear, (w, b) in zip(self.loss.linears, layers):
                linear.weight.copy_(self.torch.from_numpy(w))
                linear.bias.copy_(self.torch.from_numpy(b))

    def leave(self, state):
        """Return weights and biases as in Network."""
        return [tuple(p.numpy(force=True).copy() for p in (each.weight, each.bias)) for each in self.loss.linears]

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

    As in PyTorch's notes on CUDA graphs, a few steps run on a side stream before the capture. Weights and cost are then
    restored. On the CPU, which has no graphs, the step is called directly.
    """

    def __init__(self, row, x, labels, device):
        super().__init__(row, x, labels, device)
        self.replay_of = functools.cache(self.capture)

    def capture(self, m):
        """Capture the step for minibatches of m; return the tensor for their indices, and the replay function."""
        i = self.torch.zeros(m, dtype=self.torch.int64, device=self.device)
        if self.device == "cpu":
            return i, functools.partial(self.step, i)
        cuda, changed = self.torch.cuda, [*self.loss.parameters(), self.cost]
        begun, beside = [each.detach().clone() for each in changed], cuda.Stream()
        beside.wait_stream(cuda.current_stream())
        with cuda.stream(beside):
            for _ in range(3):
                self.step(i)
        cuda.current_stream().wait_stream(beside)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            self.step(i)
        with self.torch.no_grad():
            for each, before in zip(changed, begun):
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
