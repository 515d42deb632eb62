"""Damaged models: bytes changed at random, and descriptions with every wrong value in every key."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.campaign.case import Trial
from tests.campaign.keys import VALUES

#: In JSON there are no references.
WRONG = {text: value for text, value in VALUES.items() if type(value) is not object}
WRONG |= {"10^400": 10**400, "{array}": {"array": 5}, "1,000 nested lists": json.loads("[" * 900 + "]" * 900)}
KEYS = (
    "sizes",
    "members",
    "dtype",
    "task",
    "prediction",
    "feature_names",
    "target_names",
    "activation",
    "loss",
)


def _saved(folder: Path) -> Path:
    from backproof.contracts import Dataset
    from backproof.data import DataOptions, split
    from backproof.discovery.registry import registry
    from backproof.nn import model_io
    from backproof.nn.mlp import MLP

    rng = np.random.default_rng(0)
    dataset = Dataset(
        rng.normal(size=(60, 4)), rng.normal(size=(60, 2)), "regression", tuple("abcd"), ("s", "t")
    )
    data = split(dataset, DataOptions())
    net = MLP(
        (4, 5, 2), registry().build("activation", "leaky_relu"), registry().build("loss", "squared_error")
    )
    theta = rng.normal(size=(3, net.layout.P))
    model_io.save(folder / "model", model_io.SavedModel.of(net, theta, data))
    return folder / "model"


def _loaded(damage: Callable[[Path], None]) -> Callable[[Path], list[str]]:
    """Return a trial: a damaged model is refused by our own error, or predicts finite numbers."""

    def run(folder: Path) -> list[str]:
        from backproof.contracts.errors import BackproofError
        from backproof.discovery.registry import registry
        from backproof.nn.predictor import Predictor

        model = _saved(folder)
        damage(model)
        try:
            prediction = Predictor.load(model, registry()).predict(np.zeros((2, 4)))
        except BackproofError:
            return []
        except BaseException as error:  # noqa: BLE001
            return [f"{type(error).__module__}.{type(error).__name__}: {error}"[:200]]
        return [] if np.isfinite(prediction).all() else ["predictions are not finite"]

    return run


def _description(key: str, value: Any) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        file = model / "model.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))

    return damage


def _bytes(name: str, seed: int) -> Callable[[Path], None]:
    def damage(model: Path) -> None:
        chance, content = random.Random(seed), bytearray((model / name).read_bytes())
        for _ in range(chance.choice([1, 1, 2, 10, 100])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        cut = chance.choice([None, None, None, chance.randrange(len(content))])
        (model / name).write_bytes(content[:cut])

    return damage


def cases() -> Iterator[Trial]:
    """Yield a trial for each key and wrong value, and for many random changes of the files."""
    for key in KEYS:
        for text, value in WRONG.items():
            yield Trial("models", f"{key} is {text}", _loaded(_description(key, value)))
    for seed in range(200):
        for name in ("weights.npz", "model.json"):
            yield Trial("models", f"{name} with random bytes, seed {seed}", _loaded(_bytes(name, seed)))
