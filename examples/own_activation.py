"""An activation and a cost of your own: write them, check their derivatives, train with them, save and load."""

import tempfile
from pathlib import Path

import numpy as np

from xpnet import Adam, Network, check_gradients


class Sine:
    """The activation sin z, which suits functions with waves."""

    name, low, high = "sine", -1.0, 1.0

    def value(self, z, xp):
        """Compute a = σ(z)."""
        return xp.sin(z)

    def pullback(self, g, z, a, xp):
        """Compute g ⊙ σ′(z)."""
        return g * xp.cos(z)


class WrongSine(Sine):
    """The same with a mistake: a minus sign too many."""

    def pullback(self, g, z, a, xp):
        """Compute the wrong thing."""
        return -g * xp.cos(z)


class LogCosh:
    """The cost Σ ln cosh(a − y): quadratic for small errors, and linear for large ones, so outliers count less."""

    name = "log_cosh"

    def value(self, a, y, xp):
        """Compute the cost of each example; written so that nothing overflows."""
        d = xp.abs(a - y)
        return xp.sum(d + xp.log1p(xp.exp(-2.0 * d)) - 0.6931471805599453, axis=-1)

    def gradient(self, a, y, xp):
        """Compute ∇ₐC of each example."""
        return xp.tanh(a - y)


def f(x):
    return np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1])


def main():
    rng = np.random.default_rng(0)
    for activation in (Sine(), WrongSine()):
        net = Network([2, 5, 3, 1], activation=activation, cost=LogCosh(), task="regression", seed=0)
        check = check_gradients(net, rng.normal(size=(5, 2)), rng.normal(size=(5, 1)))
        print(f"{type(activation).__name__}: {'right' if check.passed else 'wrong'}, error {check.error:.1e}")

    x = rng.uniform(-2, 2, (2000, 2))
    y = f(x) + np.where(rng.random(2000) < 0.05, rng.normal(0, 10, 2000), 0)  # 5 % are outliers
    x_test = rng.uniform(-2, 2, (1000, 2))
    for cost in ("quadratic", LogCosh()):
        net = Network([2, 40, 40, 1], activation=Sine(), cost=cost, task="regression", seed=0)
        net.train((x, y), epochs=60, batch_size=20, lr=0.002, optimizer=Adam(), progress=False)
        error = np.sqrt(np.mean((net.predict(x_test) - f(x_test)) ** 2))
        print(f"error of a network with the cost {net.cost_name}: {error:.3f}")

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "waves.safetensors")
        net.save(path)
        again = Network.load(path, custom=[Sine(), LogCosh()])  # the file holds only their names
    print(f"loaded, with equal predictions: {np.array_equal(again.predict(x_test), net.predict(x_test))}")


if __name__ == "__main__":
    main()
