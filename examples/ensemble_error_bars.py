"""Error bars: sixteen networks learn a noisy curve, and disagree where there are no examples.

Needs matplotlib for the picture: pip install -e '.[plots]'
"""

import argparse

import numpy as np

from xpnet import Adam, Ensemble, OneCycle


def draw_examples(rng, n):
    """Draw x outside a gap, and y = sin 2x with noise that grows with x."""
    x = rng.uniform(-2.0, 2.0, n)
    x = np.where(np.abs(x) < 0.6, x + np.copysign(0.7, x), x)
    return x[:, None], np.sin(2.0 * x) + (0.05 + 0.05 * (x + 2.0)) * rng.standard_normal(n)


def train(members=16, epochs=100):
    """Train networks that predict mean and variance."""
    train_data = draw_examples(np.random.default_rng(0), 400)
    ensemble = Ensemble([1, 50, 50, 2], members, activation="tanh", cost="gaussian", standardize=True, seed=0)
    ensemble.train(train_data, epochs, 20, OneCycle(0.01), optimizer=Adam(), progress=False)
    return ensemble, train_data


def coverage(ensemble, x, y, sigmas):
    """Compute the fraction of targets within so many standard deviations of the mean."""
    mean, std = ensemble.predict(x, return_std=True)
    return np.mean(np.abs(y - mean) < sigmas * std)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plot", metavar="FILE", help="save a picture, such as error-bars.png")
    args = parser.parse_args()
    ensemble, train_data = train()
    test_data = draw_examples(np.random.default_rng(1), 10_000)
    for sigmas, normal in ((1, 0.683), (2, 0.954)):
        print(f"within {sigmas}σ: {coverage(ensemble, *test_data, sigmas):.3f} of new targets; normal noise: {normal}")
    for x, name in ((1.0, "among the examples"), (0.0, "in the gap"), (3.0, "outside")):
        spread = np.std([network.predict([[x]])[0] for network in ensemble])
        print(f"disagreement {name}, at x = {x}: {spread:.3f}")
    if args.plot:
        from xpnet import plots

        plots.error_bars(ensemble, *train_data).savefig(args.plot, dpi=150)


if __name__ == "__main__":
    main()
