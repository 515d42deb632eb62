"""The numerical derivatives used by the conformance checks."""

import numpy as np
import pytest
from backproof.conformance import numeric


@pytest.mark.parametrize(
    ("f", "slope"),
    [(np.sin, np.cos), (np.exp, np.exp), (lambda x: x**3, lambda x: 3 * x**2)],
)
def test_derivatives(f, slope):
    x = np.linspace(-2, 2, 41)
    exact, errors = numeric.complex_step(f, x)
    np.testing.assert_allclose(exact, slope(x), rtol=1e-15, atol=1e-16)
    assert not errors.any()
    values, errors = numeric.central(f, x)
    np.testing.assert_allclose(values, slope(x), rtol=1e-10, atol=1e-11)
    assert (np.abs(values - slope(x)) <= errors).all()
    assert (errors <= 1e-8 * (1 + np.abs(slope(x)))).all()
    for h in (-1e-4, 1e-4):
        np.testing.assert_allclose(numeric.one_sided(f, x, h), slope(x), rtol=1e-6, atol=1e-7)


def test_central_differences_use_smaller_steps_near_a_kink():
    x = np.array([-1.0, -0.1, 0.002, 0.1, 1.0]) + 1
    values, errors = numeric.central(lambda x: np.abs(x - 1), x)
    np.testing.assert_allclose(values, [-1, -1, 1, 1, 1], rtol=1e-9)
    assert (errors <= 1e-9).all()


def test_one_sided_slopes_at_a_kink():
    x = np.array([0.0])
    assert numeric.one_sided(np.abs, x, 1e-4) == pytest.approx(1)
    assert numeric.one_sided(np.abs, x, -1e-4) == pytest.approx(-1)


def test_jumps():
    grid = np.linspace(-1, 1, 201)
    assert not len(numeric.jumps(lambda x: np.sin(50 * x), grid, 1e-3))
    jumps = numeric.jumps(lambda x: (x > 0.123) + 2.0 * (x > 0.7771), grid, 0.5)
    np.testing.assert_allclose(jumps, [0.123, 0.7771], atol=1e-8)


def test_a_nan_is_a_jump():
    assert len(numeric.jumps(lambda x: np.where(x == 0, np.nan, x), np.linspace(-1, 1, 201), 0.5))
