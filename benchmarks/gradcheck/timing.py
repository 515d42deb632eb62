"""What one check costs: all checkers on one 64-32-10 network, and ours beside torch's on two sizes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl

from benchmarks.gradcheck.checkers import Checker, ours
from benchmarks.gradcheck.problems import Problem, problem

SMALL, LARGE = (64, 32, 10), (784, 512, 10)


@dataclass(frozen=True)
class Cost:
    """One line: what was done, median seconds of so many calls, and what it is to stay below."""

    what: str
    seconds: float
    calls: int
    target: float | None = None


def table(checkers: Sequence[Checker], calls: int) -> dict[str, float]:
    """Median seconds of each for one right gradient of 64-32-10, ReLU, float64, 23 samples; in turns."""
    right = relu(SMALL)
    checks = {each.name: each.make() for each in checkers}
    times: dict[str, list[float]] = {name: [] for name in checks}
    for call in range(calls + 1):
        for name, check in checks.items():
            seconds = _timed(lambda check=check: check(right.given(None)))
            if call:  # the first is for what is imported and compiled
                times[name].append(seconds)
    return {name: statistics.median(each) for name, each in times.items()}


def sizes(calls: int, *, torch: bool) -> list[Cost]:
    """Ours beside torch.autograd.gradcheck of the same function as torch itself computes and differentiates it."""
    small, large = relu(SMALL), relu(LARGE)
    check = ours()
    costs = [
        _cost("ours, 64-32-10, all 2,410 coordinates", lambda: check(small.given(None)), calls, 0.2),
        _cost("ours, 784-512-10, screen of 407,050 parameters", lambda: check(large.given(None)), calls, 0.5),
    ]
    with threadpoolctl.threadpool_limits(2, "blas"):
        costs.append(_cost("the same, two BLAS threads", lambda: check(large.given(None)), calls, 0.5))
    if torch:
        costs += [
            _cost("torch gradcheck, 64-32-10, slow", _torch(small, fast=False), calls),
            _cost("torch gradcheck, 64-32-10, fast", _torch(small, fast=True), calls),
            _cost("torch gradcheck, 784-512-10, fast", _torch(large, fast=True), calls),
        ]
        one = _forward(large)
        costs.append(Cost("torch gradcheck, 784-512-10, slow: 814,100 forward passes alone", 814_100 * one, 0))
    return costs


def relu(sizes: tuple[int, ...]) -> Problem:
    """A fresh ReLU network in float64."""
    return problem("relu", sizes, "fresh", "float64", np.random.default_rng(0))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _cost(what: str, call: Callable[[], object], calls: int, target: float | None = None) -> Cost:
    call()
    return Cost(what, statistics.median(_timed(call) for _ in range(calls)), calls, target)


def _torch(given: Problem, *, fast: bool) -> Callable[[], object]:
    """gradcheck of torch's own forward and backward pass of this network."""
    import torch

    loss, inputs = _network(given)
    return lambda: torch.autograd.gradcheck(loss, inputs, fast_mode=fast)


def _forward(given: Problem) -> float:
    """Seconds of one forward pass in torch, which its slow mode makes twice for every parameter."""
    loss, inputs = _network(given)
    return _cost("", lambda: loss(*inputs), 50).seconds


def _network(given: Problem) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import torch
    from torch.nn.functional import cross_entropy, linear, relu

    X, classes = torch.from_numpy(given.X), torch.from_numpy(given.y.argmax(axis=1))
    tensors = given.given(None).split(given.theta)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        h, pairs = X, list(zip(tensors[::2], tensors[1::2], strict=True))
        for W, b in pairs[:-1]:
            h = relu(linear(h, W, b))
        return cross_entropy(linear(h, *pairs[-1]), classes)

    return loss, tuple(torch.from_numpy(each).requires_grad_() for each in tensors)
