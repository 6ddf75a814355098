"""Regression: predict a number from ten inputs, with an error bar for each prediction."""

import numpy as np

from xpnet import Adam, EarlyStopping, Network


def draw_examples(rng, n):
    """Draw inputs, and targets with noise; only the first five inputs matter (Friedman, 1991)."""
    x = rng.uniform(0.0, 1.0, (n, 10))
    y = 10 * np.sin(np.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    noise = 0.5 + x[:, 3]  # the standard deviation, which the network has to learn too
    return x, y + noise * rng.standard_normal(n), noise


def main():
    rng = np.random.default_rng(0)
    x_train, y_train, _ = draw_examples(rng, 8000)
    x_validation, y_validation, _ = draw_examples(rng, 1000)
    x_test, y_test, noise = draw_examples(rng, 4000)

    # cost="gaussian" has two outputs for each target: a mean and a standard deviation
    net = Network([10, 30, 30, 2], activation="tanh", cost="gaussian", standardize=True, seed=0)
    history = net.train(
        (x_train, y_train),
        epochs=60,
        batch_size=50,
        lr=0.002,
        optimizer=Adam(),
        validation_data=(x_validation, y_validation),
        metrics=["r2"],
        callbacks=[EarlyStopping(10)],  # and go back to the best epoch
        progress=False,
    )
    print(f"R² on validation data: {max(history['validation_r2']):.3f} after {len(history)} epochs")

    mean, std = net.predict(x_test), net.predict_std(x_test)
    errors = np.abs(mean - y_test)
    print(f"root-mean-square error: {np.sqrt(np.mean(errors**2)):.2f}; of the noise: {np.sqrt(np.mean(noise**2)):.2f}")
    print(f"within one standard deviation: {np.mean(errors < std):.3f} of the test data; normal noise: 0.683")
    for i in range(3):
        print(f"predicted {mean[i]:5.2f} ± {std[i]:.2f}, measured {y_test[i]:5.2f}, true noise {noise[i]:.2f}")


if __name__ == "__main__":
    main()
