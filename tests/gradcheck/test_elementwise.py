"""`check_elementwise`: each point is judged by the size of its own slope."""

import numpy as np
import pytest
from backproof import check_elementwise
from scipy.special import erfc, expit

a = np.linspace(-40, 40, 81) + 0.013


def softplus(a):
    return np.logaddexp(0, np.real(a))


@pytest.mark.parametrize(
    ("f", "df"),
    [
        (np.exp, np.exp),
        (np.tanh, lambda a: 1 / np.cosh(a) ** 2),
        (softplus, lambda a: expit(np.real(a))),
        (lambda a: np.maximum(np.real(a), 0), lambda a: np.real(a) > 0),
        (
            lambda a: np.where(np.real(a) > 0, np.real(a), 0.01 * np.real(a)),
            lambda a: np.where(np.real(a) > 0, 1, 0.01),
        ),
    ],
    ids=["exp", "tanh", "softplus", "relu", "leaky relu"],
)
def test_right_slopes_pass(f, df):
    report = check_elementwise(f, df, a)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("f", "df"),
    [
        (np.exp, lambda a: np.where(a < 0, 0.5, 1) * np.exp(a)),
        (softplus, lambda a: np.where(a < -24, 0, expit(np.real(a)))),
        (erfc, lambda a: np.where(a > 5.5, 1, -1) * 2 / np.sqrt(np.pi) * np.exp(-(a**2))),
    ],
    ids=["exp wrong below 0", "softplus' of zero below −24", "erfc with the wrong sign above 5.5"],
)
def test_a_mistake_where_slopes_are_small_fails(f, df):
    assert check_elementwise(f, df, a[np.abs(a) < 26]).failed


def test_a_step_function_has_slope_zero():
    points = np.array([0.3, 1.7, -2.2])
    assert check_elementwise(np.floor, np.zeros_like, points).passed
    assert check_elementwise(np.floor, np.ones_like, points).failed


def test_points_of_any_shape_and_outside_of_the_domain():
    points = np.array([[0.5, 1.0], [2.0, 3.0]])
    report = check_elementwise(np.log, lambda a: 1 / a, points)
    assert report
    assert report.sections[0].results[0].shape == (2, 2)
    wrong = check_elementwise(np.log, lambda a: np.where(a == 3, 0.4, 1 / a), points)
    assert wrong.sections[0].results[0].worst.index == (1, 1)
