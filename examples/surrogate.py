"""A surrogate model: learn a function of two variables from samples, and differentiate the trained network."""

import numpy as np

from xpnet import Adam, Cosine, EarlyStopping, Network


def expensive(x):
    """A stand-in for a computation that takes hours, in physical units far from mean 0 and standard deviation 1."""
    pressure, temperature = x[:, 0], x[:, 1]
    return 1e5 + 300.0 * np.sin(pressure / 10.0) * (temperature - 300.0)


def gradient(x):
    """The exact derivatives of `expensive`, for comparison."""
    pressure, temperature = x[:, 0], x[:, 1]
    return np.stack([30.0 * np.cos(pressure / 10.0) * (temperature - 300.0), 300.0 * np.sin(pressure / 10.0)], axis=1)


def main():
    rng = np.random.default_rng(0)
    x = rng.uniform([0.0, 280.0], [40.0, 320.0], (4000, 2))
    train, validation, test = x[:3000], x[3000:3500], x[3500:]
    net = Network([2, 64, 64, 1], activation="silu", task="regression", standardize=True, dtype="float64", seed=0)
    net.train(
        (train, expensive(train)),
        epochs=150,
        batch_size=50,
        lr=Cosine(0.005),
        optimizer=Adam(),
        validation_data=(validation, expensive(validation)),
        metrics=["r2"],
        callbacks=[EarlyStopping(30)],
        progress=False,
    )
    print(net.summary())
    print(f"\nafter {len(net.history)} epochs, R² on validation data: {max(net.history['validation_r2']):.6f}")
    values, slopes = net.predict(test), net.jacobian(test)[:, 0, :]
    print("errors, relative to the standard deviation of the exact values:")
    print(f"  values: {relative(values, expensive(test)):.2%}")
    for i, name in enumerate(("pressure", "temperature")):
        print(f"  derivative with respect to {name}: {relative(slopes[:, i], gradient(test)[:, i]):.2%}")


def relative(computed, exact):
    """Divide the root-mean-square error by the standard deviation of the exact values."""
    return np.sqrt(np.mean((computed - exact) ** 2)) / np.std(exact)


if __name__ == "__main__":
    main()
