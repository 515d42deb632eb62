"""The network against the homework's equations written as loops, and the complex step; stacks, dtypes, layouts."""

import itertools

import numpy as np
import pytest
from backproof.discovery.registry import registry
from backproof.gradcheck import taylor_test
from backproof.nn.mlp import MLP, Layout, Pass
from backproof.nn.objective import DataLoss
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzz import examples

REG = registry()


def network(sizes, activation="relu", loss="softmax_cross_entropy"):
    return MLP(tuple(sizes), REG.build("activation", activation), REG.build("loss", loss))


def theta_for(net, seed=0, R=1, scale=1.0):
    return np.random.default_rng(seed).normal(0, scale, (R, net.layout.P))


def data_for(net, N=7, seed=1):
    rng = np.random.default_rng(seed)
    X, K = rng.standard_normal((N, net.sizes[0])), net.sizes[-1]
    if "multilabel" in net.loss.tasks:
        y = rng.integers(0, 2, (N, K))
    elif "classification" in net.loss.tasks:
        y = rng.integers(0, K, N)
    else:
        y = rng.standard_normal((N, K))
    return X, net.loss.encode(y, K, np.float64)


def complex_gradient(objective, theta):
    """Return ∂Err/∂theta (P,) by the complex step, entry by entry."""
    points = theta + 1e-30j * np.eye(theta.size)
    return objective.value(points).imag / 1e-30


class TestHomework:
    """The equations as on paper, written as loops over n, k, h, d."""

    D, H, K, N = 5, 4, 3, 7

    @pytest.fixture
    def setting(self):
        net = network((self.D, self.H, self.K))
        theta = theta_for(net)
        X, y = data_for(net, self.N)
        return net, theta, X, y

    def by_loops(self, net, theta, X, y):
        t = net.layout.tensors(theta[0])
        W1, b1, W2, b2 = t["W1"], t["b1"], t["W2"], t["b2"]
        D, H, K, N = self.D, self.H, self.K, self.N
        g = {name: np.zeros_like(value) for name, value in t.items()}
        for n in range(N):
            a = [sum(W1[h, m] * X[n, m] for m in range(D)) + b1[h] for h in range(H)]
            phi = [max(a_h, 0) for a_h in a]
            dphi = [1.0 if a_h > 0 else 0.0 for a_h in a]
            z = [sum(W2[k, h] * phi[h] for h in range(H)) + b2[k] for k in range(K)]
            total = sum(np.exp(z_k) for z_k in z)
            p = [np.exp(z_k) / total for z_k in z]
            alpha = [p[k] - y[n, k] for k in range(K)]  # (α)
            for k in range(K):
                g["b2"][k] += alpha[k] / N  # (b)
                for h in range(H):
                    g["W2"][k, h] += alpha[k] * phi[h] / N  # (b)
            for h in range(H):
                back = sum(alpha[k] * W2[k, h] for k in range(K)) * dphi[h]
                g["b1"][h] += back / N  # (c)
                for d in range(D):
                    g["W1"][h, d] += back * X[n, d] / N  # (c)
        return g

    def test_backward_equals_the_four_equations(self, setting):
        net, theta, X, y = setting
        ours = net.layout.tensors(DataLoss(net, X, y).gradient(theta)[0])
        for name, expected in self.by_loops(*setting).items():
            np.testing.assert_allclose(ours[name], expected, rtol=1e-13, atol=1e-15)

    def test_the_loss_is_that_of_the_homework(self, setting):
        net, theta, X, y = setting
        objective = DataLoss(net, X, y)
        z = objective.logits(theta)[0]
        expected = np.mean([-(y[n] @ z[n]) + np.log(np.exp(z[n]).sum()) for n in range(self.N)])
        assert objective.value(theta)[0] == pytest.approx(expected, rel=1e-14)

    def test_at_a_kink_the_slope_is_zero(self):
        net = network((2, 3, 2))
        theta = theta_for(net)
        tensors = net.layout.tensors(theta)
        tensors["b1"][...] = 0
        grad = DataLoss(net, np.zeros((4, 2)), net.loss.encode(np.array([0, 1, 1, 0]), 2, np.float64)).gradient(
            theta
        )
        assert np.all(net.layout.tensors(grad)["b1"] == 0)  # every a is exactly 0


ALL = list(itertools.product(REG.names("activation"), REG.names("loss")))


@pytest.mark.parametrize(("activation", "loss"), ALL)
@pytest.mark.parametrize("hidden", [(), (6,), (5, 4, 6)])
def test_gradient_is_the_derivative_of_the_loss(activation, loss, hidden):
    net = network((4, *hidden, 3), activation, loss)
    theta = theta_for(net)
    objective = DataLoss(net, *data_for(net))
    got, expected = objective.gradient(theta)[0], complex_gradient(objective, theta[0])
    assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)
    assert np.linalg.norm(expected) > 0


def test_taylor_remainder_has_order_two():
    net = network((4, 6, 3), "tanh")
    theta, objective = theta_for(net)[0], DataLoss(net, *data_for(net))
    direction = np.random.default_rng(5).standard_normal(net.layout.P)
    test = taylor_test(
        lambda t: objective.value(t[None])[0],
        objective.gradient(theta[None])[0].copy(),
        theta,
        direction,
        h=1e-3,
    )
    assert len(test.used) >= 4
    assert test.order == pytest.approx(2, abs=0.05)


@pytest.mark.slow
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    activation=st.sampled_from(REG.names("activation")),
    loss=st.sampled_from(REG.names("loss")),
    R=st.integers(1, 4),
    N=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
@examples(120)
def test_any_shape_any_stack(sizes, activation, loss, R, N, seed):
    """Gradients are right for any network, and each member of a stack equals the network alone, bit for bit."""
    if REG.get("loss", loss).tasks == ("classification",):
        sizes[-1] = max(2, sizes[-1])
    net = network(sizes, activation, loss)
    theta = theta_for(net, seed, R)
    objective = DataLoss(net, *data_for(net, N, seed))
    values, grads = objective.value(theta).copy(), objective.gradient(theta).copy()
    for r in range(R):
        alone = DataLoss(net, *data_for(net, N, seed))
        assert alone.value(theta[r : r + 1])[0] == values[r]
        np.testing.assert_array_equal(alone.gradient(theta[r : r + 1])[0], grads[r])
    expected = complex_gradient(objective, theta[0])
    scale = max(np.linalg.norm(expected), np.linalg.norm(grads[0]), 1e-12)
    assert np.linalg.norm(grads[0] - expected) <= 1e-10 * scale


@pytest.mark.parametrize("activation", REG.names("activation"))
@pytest.mark.parametrize("loss", REG.names("loss"))
def test_float32_stays_float32_and_is_close(activation, loss):
    net = network((4, 6, 3), activation, loss)
    X, y = data_for(net, 8)
    theta = theta_for(net)
    low = DataLoss(net, X, y, np.float32).gradient(theta.astype(np.float32))
    assert low.dtype == np.float32
    high = DataLoss(net, X, y).gradient(theta)
    assert np.linalg.norm(low - high) < 1e-5 * np.linalg.norm(high)


def test_a_step_allocates_no_array():
    """Forward and backward of a batch use existing memory: the peak stays below the size of one activation."""
    import tracemalloc

    net = network((64, 256, 10))
    theta = theta_for(net, R=2)
    grad = np.empty_like(theta)
    B = 128
    network_pass = Pass(net, theta, grad, B)
    x = np.ones((2, B, 65))
    y = np.zeros((2, 10, B)).swapaxes(1, 2)
    z = np.empty((2, 10, B))
    for measured in (False, True):
        if measured:
            tracemalloc.start()
        network_pass.forward(x.swapaxes(1, 2), z)
        network_pass.backward(x, y, z.swapaxes(1, 2))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < network_pass.a[0].nbytes / 8


class TestLayout:
    layout = Layout((4, 3, 2))

    def test_tensors_are_views_of_the_blocks(self):
        theta = np.zeros((2, self.layout.P))
        tensors = self.layout.tensors(theta)
        assert {name: tensor.shape for name, tensor in tensors.items()} == {
            "W1": (2, 3, 4),
            "b1": (2, 3),
            "W2": (2, 2, 3),
            "b2": (2, 2),
        }
        for tensor in tensors.values():
            tensor += 1
        assert np.all(theta == 1)

    def test_indices_and_pack_are_inverse(self):
        theta = np.arange(self.layout.P, dtype=float)
        packed = self.layout.pack(self.layout.tensors(theta))
        np.testing.assert_array_equal(packed, theta)
        assert sorted(np.concatenate([i.ravel() for i in self.layout.indices.values()])) == list(
            range(self.layout.P)
        )

    def test_pack_rejects_wrong_shapes(self):
        tensors = self.layout.tensors(np.zeros(self.layout.P))
        with pytest.raises(ValueError, match=r"W2 must have shape \(2, 3\), got \(3, 2\)"):
            self.layout.pack({**tensors, "W2": np.zeros((3, 2))})
        with pytest.raises(ValueError, match="b2 must have shape"):
            self.layout.pack({name: tensor for name, tensor in tensors.items() if name != "b2"})

    def test_mask(self):
        weights = self.layout.tensors(self.layout.mask(np.float64, biases=False))
        assert all(np.all(mask == (name[0] == "W")) for name, mask in weights.items())
        assert self.layout.mask(np.float64, biases=True).all()
