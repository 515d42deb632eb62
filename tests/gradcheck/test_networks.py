"""The check on random networks of the whole registry: what is right passes, one entry that is not is found."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from backproof.contracts import Derivation
from backproof.discovery.registry import registry
from backproof.gradcheck import CheckOptions
from backproof.netcheck.network import NetworkCheck
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss
from backproof.nn.training import slice_members
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzz import examples

REG = registry()
PENALTY = REG.build("penalty", "none")
PLUGINS = {
    kind: [(e.name, params) for e in REG.entries(kind) for params in e.cls.examples()]
    for kind in ("activation", "loss")
}


@dataclass(frozen=True)
class OneWrong(Derivation):
    """The network's own gradient with one entry scaled."""

    name: ClassVar[str] = "one_wrong"
    pick: float = 0.0
    factor: Any = 1.0

    def gradients(self, trace):
        grads = trace.backprop()
        at = int(self.pick * sum(each.size for each in grads.values()))
        for each in grads.values():
            if at < each.size:
                each[np.unravel_index(at, each.shape)] *= self.factor
                return grads
            at -= each.size
        raise AssertionError("pick is below 1")


def network(activation, loss, hidden, D, K, rng, R=1, spread=1.0):
    """A random network with random samples and targets, R members."""
    phi, err = REG.build("activation", *activation), REG.build("loss", *loss)
    if loss[1].get("class_weights"):
        K = len(loss[1]["class_weights"])
    net = MLP((D, *hidden, K), phi, err)
    N = int(rng.integers(2, 24))
    task = err.tasks[-1]
    targets = {
        "classification": lambda: rng.integers(0, K, N),
        "multilabel": lambda: rng.integers(0, 2, (N, K)),
        "regression": lambda: rng.standard_normal((N, K)),
    }[task]()
    y = err.encode(targets, K, np.float64)
    theta = np.empty((R, net.layout.P))
    for tensor in net.layout.tensors(theta).values():
        tensor[...] = rng.normal(0, spread / np.sqrt(tensor.shape[-1]), tensor.shape)
    return net, rng.standard_normal((N, D)), y, theta


def checked(net, X, y, theta):
    options = CheckOptions(samples=None)
    return NetworkCheck(net, X, y, slice_members(PENALTY, slice(0, 1)), options, 0).section(theta, "random")


@given(
    activation=st.sampled_from(PLUGINS["activation"]),
    loss=st.sampled_from(PLUGINS["loss"]),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    D=st.integers(1, 9),
    K=st.integers(1, 6),
    R=st.integers(1, 3),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 2**32 - 1),
)
@examples(60)
def test_the_networks_own_gradient_is_accepted(activation, loss, hidden, D, K, R, dtype, seed):
    net, X, y, theta = network(activation, loss, hidden, D, K, np.random.default_rng(seed), R)
    section = checked(net, X, y, theta.astype(dtype))
    assert section.status != "failed", [
        (r.part, r.tensor, r.relative_error, r.tolerance) for r in section.results
    ]


@pytest.mark.slow
@given(
    activation=st.sampled_from(PLUGINS["activation"]),
    loss=st.sampled_from(PLUGINS["loss"]),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    pick=st.floats(0, 1, exclude_max=True),
    factor=st.sampled_from([-1.0, 0.0, 0.5, 0.999, 1.001, 2.0]),
    seed=st.integers(0, 2**32 - 1),
)
@examples(60)
def test_one_wrong_entry_is_rejected(activation, loss, hidden, pick, factor, seed):
    net, X, y, theta = network(activation, loss, hidden, 5, 4, np.random.default_rng(seed))
    section = checked(dataclasses.replace(net, derivation=OneWrong(pick, factor)), X, y, theta)
    own = checked(net, X, y, theta)
    at = int(pick * net.layout.P)
    entry = np.concatenate([index.ravel() for index in net.layout.indices.values()])[at]
    name, index = next(each for each in net.layout.indices.items() if entry in each[1])
    gradient = DataLoss(net, X, y).gradient(theta)[0]
    (result,) = [r for r in own.results if (r.part, r.tensor) == ("loss", name)]
    # By norm: an entry so small that its error is within the tensor's rounding cannot be seen, and does no harm.
    off = abs(gradient[entry] * (factor - 1))
    if result.status == "untested" or off <= 4 * result.tolerance * np.linalg.norm(gradient[index]):
        return
    assert {(r.part, r.tensor) for r in section.results if r.status == "failed"} == {("loss", name)}
    (wrong,) = [r for r in section.results if r.status == "failed"]
    assert index[wrong.worst.index] == entry


@pytest.mark.slow
def test_no_right_gradient_of_300_random_networks_is_rejected():
    """Every activation and loss of the registry with all their examples, depths 0 to 3, small and large numbers."""
    rng = np.random.default_rng(0)
    rejected, untested, compared = [], 0, 0
    for number in range(300):
        activation = PLUGINS["activation"][number % len(PLUGINS["activation"])]
        loss = PLUGINS["loss"][number % len(PLUGINS["loss"])]
        hidden = rng.integers(1, 12, rng.integers(0, 4)).tolist()
        D, K = map(int, rng.integers(1, 10, 2))
        net, X, y, theta = network(activation, loss, hidden, D, K, rng, spread=10.0 ** rng.uniform(-2, 0.7))
        section = checked(net, X, y, theta.astype(["float64", "float32"][number // 2 % 2]))
        rejected += [(activation, loss, r) for r in section.results if r.status == "failed"]
        untested += sum(r.status == "untested" for r in section.results)
        compared += len(section.results)
    assert not rejected
    assert untested < 0.1 * compared
