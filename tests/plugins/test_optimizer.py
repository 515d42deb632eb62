"""Optimizers against the papers' formulas, written out plainly in float64; schedules and metrics likewise."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from backproof.conformance import metric as metric_conformance
from backproof.conformance import optimizer as conformance
from backproof.conformance import schedule as schedule_conformance
from backproof.contracts import Metric, Optimizer, Schedule
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry

REG = registry()


def sgd(lr=0.1, momentum=0.0, nesterov=False):
    v = 0

    def step(theta, g, t):
        nonlocal v
        v = momentum * v + g
        return theta - lr * (g + momentum * v if nesterov else v)

    return step


def adam(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False):
    m = v = largest = 0

    def step(theta, g, t):
        nonlocal m, v, largest
        theta = theta - lr * weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        largest = np.maximum(largest, v) if amsgrad else v
        return theta - lr * (m / (1 - beta1**t)) / (np.sqrt(largest / (1 - beta2**t)) + eps)

    return step


def nadam(lr=1e-3, beta1=0.9, beta2=0.999, eps=1e-8):
    m = v = 0

    def step(theta, g, t):
        nonlocal m, v
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        ahead = beta1 * m / (1 - beta1 ** (t + 1)) + (1 - beta1) * g / (1 - beta1**t)
        return theta - lr * ahead / (np.sqrt(v / (1 - beta2**t)) + eps)

    return step


def rmsprop(lr=1e-3, rho=0.9, eps=1e-8, momentum=0.0):
    v = velocity = 0

    def step(theta, g, t):
        nonlocal v, velocity
        v = rho * v + (1 - rho) * g**2
        velocity = momentum * velocity + g / (np.sqrt(v) + eps)
        return theta - lr * velocity

    return step


def adagrad(lr=0.01, eps=1e-10, initial_accumulator=0.0):
    s = initial_accumulator

    def step(theta, g, t):
        nonlocal s
        s = s + g**2
        return theta - lr * g / (np.sqrt(s) + eps)

    return step


def adadelta(lr=1.0, rho=0.9, eps=1e-6):
    v = squares = 0

    def step(theta, g, t):
        nonlocal v, squares
        v = rho * v + (1 - rho) * g**2
        delta = np.sqrt(squares + eps) / np.sqrt(v + eps) * g
        squares = rho * squares + (1 - rho) * delta**2
        return theta - lr * delta

    return step


def lion(lr=1e-4, beta1=0.9, beta2=0.99, weight_decay=0.0):
    m = 0

    def step(theta, g, t):
        nonlocal m
        c = beta1 * m + (1 - beta1) * g
        m = beta2 * m + (1 - beta2) * g
        return theta - lr * (np.sign(c) + weight_decay * theta)

    return step


REFERENCES = [
    ("sgd", sgd, {}),
    ("sgd", sgd, {"lr": 0.03, "momentum": 0.9}),
    ("sgd", sgd, {"lr": 0.03, "momentum": 0.9, "nesterov": True}),
    ("adam", adam, {}),
    ("adam", adam, {"lr": 0.1, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3}),
    ("adamw", lambda **p: adam(**{"weight_decay": 1e-2, **p}), {}),
    ("adamw", adam, {"lr": 0.05, "weight_decay": 0.3}),
    ("amsgrad", lambda **p: adam(amsgrad=True, **p), {}),
    ("amsgrad", lambda **p: adam(amsgrad=True, **p), {"lr": 0.1, "beta2": 0.7}),
    ("nadam", nadam, {}),
    ("nadam", nadam, {"lr": 0.1, "beta1": 0.8}),
    ("rmsprop", rmsprop, {}),
    ("rmsprop", rmsprop, {"lr": 0.1, "rho": 0.5, "momentum": 0.8, "eps": 1e-2}),
    ("adagrad", adagrad, {}),
    ("adagrad", adagrad, {"lr": 0.5, "initial_accumulator": 0.1}),
    ("adadelta", adadelta, {}),
    ("adadelta", adadelta, {"lr": 0.5, "rho": 0.95}),
    ("lion", lion, {}),
    ("lion", lion, {"lr": 0.01, "beta1": 0.7, "beta2": 0.9, "weight_decay": 0.1}),
]


def test_every_optimizer_has_a_reference():
    ours = {e.name for e in REG.entries("optimizer") if "backproof_plugin" not in e.cls.__module__}
    assert ours == {name for name, *_ in REFERENCES}


@pytest.mark.parametrize("problem", ["noise", "quadratic"])
@pytest.mark.parametrize(
    ("name", "reference", "params"), REFERENCES, ids=[f"{n}-{p}" for n, _, p in REFERENCES]
)
def test_trajectory_equals_that_of_the_paper_to_1e_12(name, reference, params, problem):
    optimizer = REG.build("optimizer", name, params)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((1, 30))
    expected, step = theta.copy(), reference(**params)
    curvature = np.linspace(0.1, 2, 30)
    state = tuple(np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots)
    start = theta.copy()
    for t in range(1, 101):
        noise = rng.standard_normal((1, 30)) * 10 ** rng.uniform(-3, 1)
        g, h = (noise, noise) if problem == "noise" else (curvature * theta, curvature * expected)
        optimizer.step(theta, g.copy(), state, t, optimizer.lr, np.empty_like(theta))
        expected = step(expected, h, t)
        np.testing.assert_allclose(theta, expected, rtol=1e-12, atol=1e-12)
    assert np.abs(theta - start).max() > 1e-3


class TestPlantedErrors:
    def wrong(self, check, **members):
        @dataclass(frozen=True)
        class Right(Optimizer):
            slots: ClassVar = ("v",)

            def step(self, theta, grad, state, t, lr, work):
                state[0][...] = 0.5 * state[0] + grad
                np.multiply(state[0], lr, out=work, casting="same_kind")
                theta -= work

        check(
            dataclass(frozen=True)(type("Fine", (Right,), {}))()
        ) if check is conformance.check_descends else None
        with pytest.raises(ConformanceError):
            check(dataclass(frozen=True)(type("Broken", (Right,), members))())

    def test_descends(self):
        def step(self, theta, grad, state, t, lr, work):
            theta += lr * grad

        self.wrong(conformance.check_descends, step=step)

    def test_members(self):
        def step(self, theta, grad, state, t, lr, work):
            theta -= lr * grad / np.linalg.norm(grad)

        self.wrong(conformance.check_members, step=step)
        self.wrong(conformance.check_blocks, step=step)

    def test_rates_of_a_stack(self):
        def step(self, theta, grad, state, t, lr, work):
            theta -= np.max(lr) * grad

        self.wrong(conformance.check_rates_of_a_stack, step=step)

    def test_dtype(self):
        def step(self, theta, grad, state, t, lr, work):
            theta -= lr * grad + (0.1 if theta.dtype == np.float32 else 0)

        self.wrong(conformance.check_dtype, step=step)

    def test_zero_gradient(self):
        def step(self, theta, grad, state, t, lr, work):
            with np.errstate(all="ignore"):
                theta -= lr * grad / np.sqrt(grad * grad)

        self.wrong(conformance.check_zero_gradient, step=step)

    def test_state(self):
        hidden = []

        def step(self, theta, grad, state, t, lr, work):
            hidden.append(1)
            theta -= lr * grad / len(hidden)

        self.wrong(conformance.check_state, step=step)

    def test_memory(self):
        def step(self, theta, grad, state, t, lr, work):
            theta -= lr * grad

        self.wrong(conformance.check_memory, step=step)


class TestSchedules:
    """Closed forms, for 100 steps."""

    CASES: ClassVar = [
        ("constant", {}, lambda t: 1.0),
        ("step", {}, lambda t: 1.0 if t < 50 else 0.1 if t < 75 else 0.01),
        ("step", {"at": (0.2,), "gamma": 0.5}, lambda t: 1.0 if t < 20 else 0.5),
        ("exponential", {}, lambda t: math.exp(math.log(0.01) * t / 100)),
        ("cosine", {}, lambda t: math.cos(math.pi * t / 200) ** 2),
        ("cosine", {"final": 0.2}, lambda t: 0.2 + 0.8 * math.cos(math.pi * t / 200) ** 2),
        ("warmup_cosine", {}, lambda t: (t + 1) / 10 if t < 10 else math.cos(math.pi * (t - 10) / 180) ** 2),
        (
            "one_cycle",
            {},
            lambda t: (
                1 / 25 + (1 - 1 / 25) * math.sin(math.pi * t / 60) ** 2
                if t < 30
                else 4e-6 + (1 - 4e-6) * math.cos(math.pi * (t - 30) / 140) ** 2
            ),
        ),
    ]

    def test_every_schedule_is_tested(self):
        ours = {e.name for e in REG.entries("schedule") if "backproof_plugin" not in e.cls.__module__}
        assert ours == {name for name, *_ in self.CASES}

    @pytest.mark.parametrize(("name", "params", "expected"), CASES, ids=[f"{n}-{p}" for n, p, _ in CASES])
    def test_factors(self, name, params, expected):
        schedule = REG.build("schedule", name, params)
        for t in range(100):
            assert schedule.factor(t, 100) == pytest.approx(expected(t), rel=1e-12, abs=1e-15)

    @pytest.mark.parametrize(
        ("check", "factor"),
        [
            (schedule_conformance.check_factors, lambda self, t, total: 1.5),
            (schedule_conformance.check_factors, lambda self, t, total: 1),
            (schedule_conformance.check_factors, lambda self, t, total: math.nan),
            (schedule_conformance.check_starts, lambda self, t, total: t / total),
            (schedule_conformance.check_starts, lambda self, t, total: 0.5),
            (
                schedule_conformance.check_repeatable,
                lambda self, t, total, calls=[]: 1 / (calls.append(0) or len(calls)),
            ),
            (schedule_conformance.check_scales, lambda self, t, total: 0.999**t),
        ],
    )
    def test_planted_errors(self, check, factor):
        with pytest.raises(ConformanceError):
            check(type("Broken", (Schedule,), {"factor": factor})())


class TestMetrics:
    """Metrics worked by hand: most plugins call scikit-learn, so it is not an independent reference."""

    P: ClassVar = np.array([[[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]]])
    Y: ClassVar = np.array([0, 1, 2, 2])

    def value(self, name, prediction, y, **params):
        return REG.build("metric", name, params)(prediction, y)

    def test_classification(self):
        assert self.value("accuracy", self.P, self.Y)[0] == 0.75
        assert self.value("top_k", self.P, self.Y, k=1)[0] == 0.75
        assert self.value("top_k", self.P, np.array([1, 1, 1, 2]), k=2)[0] == 1.0
        expected = -np.mean(np.log([0.7, 0.6, 0.3, 0.6]))
        assert self.value("log_loss", self.P, self.Y)[0] == pytest.approx(expected, rel=1e-12)
        # F1 of the classes: 1, 2·1/(2+1), 2·1/(2+1)
        assert self.value("f1_macro", self.P, self.Y)[0] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)

    def test_accuracy_equals_that_of_scikit_learn(self):
        from sklearn.metrics import accuracy_score

        rng = np.random.default_rng(0)
        prediction, y = rng.uniform(size=(3, 50, 4)), rng.integers(0, 4, 50)
        labels = rng.integers(0, 2, (50, 4))
        for r, (value, label_value) in enumerate(
            zip(self.value("accuracy", prediction, y), self.value("accuracy", prediction, labels), strict=True)
        ):
            assert value == accuracy_score(y, prediction[r].argmax(-1))
            assert label_value == accuracy_score(labels, prediction[r] > 0.5)

    def test_roc_auc_counts_pairs(self):
        scores = np.array([0.1, 0.4, 0.35, 0.8])
        prediction = np.stack([1 - scores, scores], axis=-1)[None]
        y = np.array([0, 0, 1, 1])
        pairs = [(scores[i] > scores[j]) for i in (2, 3) for j in (0, 1)]
        assert self.value("roc_auc", prediction, y)[0] == np.mean(pairs)

    def test_roc_auc_without_a_class_is_nan(self):
        assert np.isnan(self.value("roc_auc", self.P, np.array([0, 1, 1, 1]))[0])

    def test_regression(self):
        y, prediction = np.array([[1.0], [2.0], [4.0]]), np.array([[[1.5], [2.0], [3.0]]])
        assert self.value("mae", prediction, y)[0] == pytest.approx(0.5)
        assert self.value("rmse", prediction, y)[0] == pytest.approx(np.sqrt(1.25 / 3))
        assert self.value("r2", prediction, y)[0] == pytest.approx(1 - 1.25 / np.sum((y - y.mean()) ** 2))
        assert np.isnan(self.value("r2", prediction[:, :1], y[:1])[0])

    def test_top_k_needs_more_classes(self):
        with pytest.raises(ValueError, match="k must be below the number of classes, 3, got 3"):
            self.value("top_k", self.P, self.Y, k=3)

    @pytest.mark.parametrize(
        "name", [n for n in REG.names("metric") if "classification" in REG.get("metric", n).tasks]
    )
    def test_no_warning_if_a_part_lacks_a_class(self, name):
        params = {"k": 1} if name == "top_k" else {}
        assert self.value(name, self.P, np.array([0, 0, 1, 1]), **params).shape == (1,)

    @pytest.mark.parametrize(
        ("check", "call"),
        [
            (metric_conformance.check_members, lambda self, p, y: np.mean(p)),
            (metric_conformance.check_members, lambda self, p, y: np.full(len(p), p.max())),
            (metric_conformance.check_direction, lambda self, p, y: -np.mean(p.argmax(-1) == y, axis=-1)),
        ],
    )
    def test_planted_errors(self, check, call):
        broken = type("Broken", (Metric,), {"__call__": call, "tasks": ("classification",)})
        with pytest.raises(ConformanceError):
            check(broken())
