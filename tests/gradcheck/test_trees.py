"""Parameters in nests of any form, and gradients of the same."""

from typing import NamedTuple

import numpy as np
import pytest
from backproof import check
from backproof.gradcheck.trees import Tree
from hypothesis import given
from hypothesis import strategies as st


class Weights(NamedTuple):
    W: np.ndarray
    b: np.ndarray


def squares(theta):
    """Return Σ θ² and its gradient, of any nest."""
    if isinstance(theta, dict):
        parts = {key: squares(value) for key, value in theta.items()}
        return sum(loss for loss, _ in parts.values()), {key: grad for key, (_, grad) in parts.items()}
    if isinstance(theta, (list, tuple)):
        parts = [squares(value) for value in theta]
        gradients = [grad for _, grad in parts]
        form = type(theta)
        return sum(loss for loss, _ in parts), form(*gradients) if hasattr(theta, "_fields") else form(
            gradients
        )
    return np.sum(theta**2), 2 * theta


NESTS = {
    "a number": 1.5,
    "a vector": np.array([1.0, 2.0]),
    "a dict": {"W": np.ones((2, 3)), "b": np.array([0.5])},
    "a tuple": (np.ones((2, 3)), np.array([0.5, 1.0])),
    "a list of pairs": [(np.ones((2, 2)), np.ones(2)), (np.full((1, 2), 3.0), np.ones(1))],
    "a named tuple": Weights(np.ones((2, 2)), np.ones(2)),
    "nested dicts": {"layers": [{"W": np.ones((2, 2))}, {"W": np.ones(3)}], "scale": 2.0},
}


@pytest.mark.parametrize("form", NESTS)
def test_any_nest(form):
    seen = []

    def f(theta):
        seen.append(type(theta))
        return squares(theta)

    assert check(f, NESTS[form])
    if form not in ("a number",):
        assert set(seen) == {type(NESTS[form])}

    def doubled(theta):
        return 2 * squares(theta)[0], squares(theta)[1]

    assert check(doubled, NESTS[form]).failed


def test_tensors_are_named_by_their_path():
    assert list(Tree(NESTS["nested dicts"]).tensors) == ["layers[0].W", "layers[1].W", "scale"]
    assert list(Tree(NESTS["a list of pairs"]).tensors) == [
        "theta[0][0]",
        "theta[0][1]",
        "theta[1][0]",
        "theta[1][1]",
    ]


nests = st.recursive(
    st.lists(st.floats(-5, 5), min_size=1, max_size=3).map(np.array),
    lambda inner: (
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3)
        | st.lists(inner, min_size=1, max_size=3).map(tuple)
    ),
    max_leaves=6,
)


@given(nests)
def test_flat_and_back(nest):
    tree = Tree(nest)
    built = tree.build(tree.theta)
    np.testing.assert_equal(built, nest)
    np.testing.assert_array_equal(tree.flat(built), tree.theta)
    assert sum(index.size for index in tree.tensors.values()) == len(tree.theta)


@pytest.mark.parametrize(
    ("gradient", "message"),
    [
        ({"W": np.ones(2)}, "W, b, got W \\(missing b\\)"),
        ({"W": np.ones(2), "b": np.ones(1), "c": np.ones(1)}, "W, b, got W, b, c"),
        ({}, "got none"),
        (np.ones(3), "a dict with W, b, got ndarray"),
        ({"W": np.ones(3), "b": np.ones(1)}, "gradient of W must have its shape \\(2,\\), got \\(3,\\)"),
    ],
)
def test_a_gradient_of_another_form_is_named(gradient, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check(lambda t: (np.sum(t["W"]), gradient), {"W": np.ones(2), "b": np.ones(1)})


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        ([], "holds no number"),
        (np.array([1.0, np.nan]), "theta\\[1\\] is nan: theta must be finite"),
        (np.array([1j]), "must be real, got complex128"),
        ("abc", "must be numbers, got str"),
    ],
)
def test_what_cannot_be_differentiated_by_is_named(theta, message):
    with pytest.raises((ValueError, TypeError), match=message):
        check(lambda t: (np.sum(t), t), theta)


def test_f_must_leave_its_parameters_alone():
    def f(t):
        t *= 2
        return np.sum(t), np.full(2, 2.0)

    with pytest.raises(ValueError, match="f wrote into its parameters, at theta\\[0\\]"):
        check(f, np.array([1.0, 2.0]))


def test_torch_tensors():
    torch = pytest.importorskip("torch")

    def f(theta):
        W = theta["W"].requires_grad_()
        loss = (W**3).sum()
        return loss, {"W": torch.autograd.grad(loss, W)[0]}

    assert check(f, {"W": torch.tensor([1.0, -2.0], dtype=torch.float64)})


def test_jax_arrays():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    f = jax.value_and_grad(lambda t: (t["W"] ** 3).sum())
    assert check(f, {"W": jax.numpy.array([1.0, -2.0])})
