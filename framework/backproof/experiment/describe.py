"""Descriptions of an experiment: its parameters and their hash, its name, its network in one line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Any, cast

from backproof.contracts import Plugin
from backproof.data import steps_per_epoch
from backproof.experiment.experiment import SINGLE, PreparedExperiment


def parameters(prepared: PreparedExperiment) -> dict[str, Any]:
    """Return everything that decides the result, flat: `optimizer`, `optimizer.lr`, `model.hidden`, `seed`, ...

    The values are those of the plugins as built, so that defaults, and a loss chosen by the task, are included.
    """
    experiment = dataclasses.replace(prepared.experiment, loss=prepared.net.loss)
    flat: dict[str, Any] = {}
    for kind in SINGLE:
        flat |= _plugin(kind, getattr(experiment, kind))
    flat["metrics"] = [metric.name for metric in prepared.metrics]
    for section in ("model", "train", "data"):
        flat |= dict(_fields(f"{section}.", getattr(experiment, section)))
    return flat | dict(_fields("", experiment.run))


def config_hash(parameters: dict[str, Any]) -> str:
    """Return a hash of the parameters that does not depend on their order, as twelve hexadecimal digits."""
    text = json.dumps(parameters, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _plugin(kind: str, plugin: Plugin) -> dict[str, Any]:
    return {kind: plugin.name} | dict(_fields(f"{kind}.", plugin))


def _fields(prefix: str, options: Any) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(f"{prefix}{field.name}.", value)
        else:
            value = list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
            yield prefix + field.name, value


def fields_of(plugin: Plugin) -> dict[str, Any]:
    """Return a plugin's hyperparameters by name."""
    return dict(_fields("", plugin))


def network(prepared: PreparedExperiment) -> str:
    """Return `64 → 32 relu → 10 softmax_cross_entropy`."""
    *inner, K = prepared.net.sizes
    hidden = [f"{H} {prepared.net.activation.name}" for H in inner[1:]]
    return " → ".join([str(inner[0]), *hidden, f"{K} {prepared.net.loss.name}"])


def dataset(prepared: PreparedExperiment) -> str:
    """Return `digits: 1,797 samples, 64 features, 10 classes`."""
    data = prepared.data
    kind = {"classification": "classes", "multilabel": "labels"}.get(data.task, "targets")
    kind = kind if data.targets != 1 else kind.removesuffix("s")
    total = sum(data.sizes.values())
    label = prepared.experiment.dataset.label
    return f"{label}: {total:,} samples, {data.features} features, {data.targets} {kind}"


def run_name(prepared: PreparedExperiment) -> str:
    """Return a name that distinguishes runs in a list: `digits-relu-sgd-lr0.1-seed0`.

    A derivation other than the network's own backward pass comes second.
    """
    experiment = prepared.experiment
    derivation = [] if experiment.derivation.native else [experiment.derivation.name]
    parts = [experiment.dataset.label, *derivation, experiment.activation.name, experiment.optimizer.name]
    parts.append(f"lr{experiment.optimizer.lr:g}")
    seeds = experiment.run
    parts.append(f"seed{seeds.seed}" + (f"-{seeds.seed + seeds.repeats - 1}" if seeds.repeats > 1 else ""))
    return "-".join(parts)


def wrong_name(name: str) -> str:
    """Return the name of a run whose gradient is wrong. `wrong` comes first: MLflow's table cuts off the end."""
    return f"wrong-{name}"


def counted(number: int, noun: str) -> str:
    """Return `1 epoch`, `2,000 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def training(prepared: PreparedExperiment) -> str:
    """Return `sgd, lr 0.1 constant, 50 epochs of 34 steps of 32 samples, float64, seed 0`."""
    experiment, N = prepared.experiment, len(prepared.y)
    B = experiment.train.batch_size or N
    seeds = experiment.run
    more = f" to {seeds.seed + seeds.repeats - 1}, as one stack" if seeds.repeats > 1 else ""
    return ", ".join(
        (
            experiment.optimizer.name,
            f"lr {experiment.optimizer.lr:g} {experiment.schedule.name}",
            f"{counted(experiment.train.epochs, 'epoch')} of {counted(steps_per_epoch(N, B), 'step')} "
            f"of {counted(B, 'sample')}",
            experiment.train.dtype,
            f"seed {seeds.seed}{more}",
        )
    )
