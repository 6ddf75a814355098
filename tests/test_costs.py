import numpy as np
import pytest
from helpers import central_differences
from test_activations import on

from xpnet.activations import ACTIVATIONS, identity, sigmoid, softmax
from xpnet.costs import COSTS, Fused, cross_entropy, quadratic

PAIRS = [(output, name) for name, cost in COSTS.items() for output in cost.outputs]


def targets(output, rng, m=3, n_out=4):
    """Targets that an output activation can reach."""
    if output == "softmax":
        return np.eye(n_out)[rng.integers(n_out, size=m)]
    sigma = ACTIVATIONS[output]
    return rng.uniform(max(sigma.low, -2), min(sigma.high, 2), (m, n_out))


def test_the_table_of_pairs():
    assert {pair for pair in PAIRS if pair[1] == "cross_entropy"} == {
        ("sigmoid", "cross_entropy"),
        ("softmax", "cross_entropy"),
    }
    assert {output for output, name in PAIRS if name == "quadratic"} == set(ACTIVATIONS)


@pytest.mark.parametrize(("output", "name"), PAIRS)
def test_delta_is_the_gradient_of_the_value_by_z(backend, output, name):
    """BP1 by central differences over every z, for every valid pair."""
    sigma, rng = ACTIVATIONS[output], np.random.default_rng(1)
    z = rng.uniform(0.1, 2, (3, 4)) * rng.choice([-1, 1], (3, 4))
    y, pair = targets(output, rng), COSTS[name].of(sigma)

    def total(z):
        return on(backend, pair.value, z, on(backend, sigma.value, z), y).sum()

    expected = central_differences(total, z)
    found = on(backend, pair.delta, z, on(backend, sigma.value, z), y)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(("output", "name"), PAIRS)
def test_values_and_deltas_against_the_reference(backend, output, name):
    import reference

    rng = np.random.default_rng(2)
    z, y = rng.standard_normal((3, 4)), targets(output, rng)
    pair, a = COSTS[name].of(ACTIVATIONS[output]), on(backend, ACTIVATIONS[output].value, z)
    costs = [reference.cost(name, output, *row) for row in zip(a, y, strict=True)]
    np.testing.assert_allclose(on(backend, pair.value, z, a, y), costs, rtol=1e-12)
    deltas = [
        reference.jacobian(output, z[i]).T @ reference.cost_gradient(name, output, a[i], y[i]) for i in range(len(z))
    ]
    np.testing.assert_allclose(on(backend, pair.delta, z, a, y), deltas, rtol=1e-10, atol=1e-14)


def test_quadratic_worked_by_hand(backend, dtype):
    # ½ (0.5² + 1²) = 0.625, and ∇ₐC = a − y
    a, y = np.array([[0.5, 1.0]]), np.array([[0.0, 2.0]])
    np.testing.assert_array_equal(on(backend, quadratic.value, a, y, dtype=dtype), [0.625])
    np.testing.assert_array_equal(on(backend, quadratic.gradient, a, y, dtype=dtype), [[0.5, -1.0]])


@pytest.mark.parametrize("gap", [200.0, 1e4])
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_cross_entropy_of_a_confident_mistake_is_exact(backend, dtype, output, gap):
    """Where log(a) is −∞ and log(a + 1e-8) is −18.42, the cost is the gap itself."""
    sigma = ACTIVATIONS[output]
    z, y = ([[gap, 0.0]], [[0.0, 1.0]]) if output == "softmax" else ([[gap], [-gap]], [[0.0], [1.0]])
    a = on(backend, sigma.value, z, dtype=dtype)
    pair = cross_entropy.of(sigma)
    np.testing.assert_array_equal(on(backend, pair.value, z, a, y, dtype=dtype), [gap] * len(z))
    np.testing.assert_allclose(np.abs(on(backend, pair.delta, z, a, y, dtype=dtype)), 1.0, atol=1e-37)


def test_fused_pairs_are_fused_and_others_composed():
    assert isinstance(cross_entropy.of(softmax), Fused)
    assert cross_entropy.of(sigmoid) != cross_entropy.of(softmax)
    assert quadratic.of(sigmoid) == quadratic.of(sigmoid)
    assert hash(quadratic.of(sigmoid)) != hash(quadratic.of(identity))


def test_a_pair_that_does_not_go_together_names_the_choices():
    with pytest.raises(
        ValueError, match=r"cost='cross_entropy' does not go with output_activation='identity'"
    ) as error:
        cross_entropy.of(identity)
    assert "'sigmoid', 'softmax'" in str(error.value)
