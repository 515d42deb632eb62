"""Save a trained stack of networks to a folder and load it: arrays in weights.npz, the rest in model.json.

Loading executes nothing from these files; the plugins that they name must be installed.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from backproof.contracts import TASKS, Activation, Array, Loss, Plugin
from backproof.contracts.errors import ModelFileError
from backproof.data import Scaler, SplitData
from backproof.nn.mlp import MLP, Layout

VERSION = 1
DESCRIPTION, WEIGHTS = "model.json", "weights.npz"
DTYPES = ("float32", "float64")


class PluginBuilder(Protocol):
    """Builds a plugin by kind, name and hyperparameters, as `discovery.Registry` does."""

    def build(self, kind: str, name: str, params: Mapping[str, Any] | None = None) -> Any: ...


@dataclass(frozen=True)
class SavedModel:
    """Everything needed for predictions."""

    sizes: tuple[int, ...]
    activation: tuple[str, dict[str, Any]]  # name and hyperparameters
    loss: tuple[str, dict[str, Any]]
    task: str
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    theta: Array  # (R, P)
    scaler: Scaler
    prediction: str  # of the loss: probability, score or value

    @classmethod
    def of(cls, net: MLP, theta: Array, data: SplitData) -> SavedModel:
        """Return a trained network with the scaling of its training data."""
        return cls(
            net.sizes,
            (net.activation.name, _params(net.activation)),
            (net.loss.name, _params(net.loss)),
            data.task,
            data.feature_names,
            data.target_names,
            theta,
            data.scaler,
            net.loss.prediction,
        )

    def network(self, plugins: PluginBuilder) -> MLP:
        """Build the network from installed plugins. Raise PluginError if one is missing."""
        activation: Activation = plugins.build("activation", *self.activation)
        loss: Loss = plugins.build("loss", *self.loss)
        return MLP(self.sizes, activation, loss)


def save(folder: Path, model: SavedModel) -> None:
    """Write model.json and weights.npz into `folder`, and create it if necessary."""
    folder.mkdir(parents=True, exist_ok=True)
    scaler = {f"scaler_{key}": value for key, value in vars(model.scaler).items() if value is not None}
    with (folder / WEIGHTS).open("wb") as file:
        np.savez(file, theta=model.theta, **scaler)
    description = {
        "format": "backproof",
        "version": VERSION,
        "task": model.task,
        "sizes": model.sizes,
        "members": len(model.theta),
        "dtype": str(model.theta.dtype),
        "activation": _to_json(model.activation),
        "loss": _to_json(model.loss),
        "prediction": model.prediction,
        "feature_names": model.feature_names,
        "target_names": model.target_names,
    }
    text = json.dumps(description, indent=2, ensure_ascii=False)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")


def load(folder: Path) -> SavedModel:
    """Load what `save` wrote. Raise ModelFileError, naming the file and what is wrong with it."""
    description = _description(folder / DESCRIPTION)
    arrays = _arrays(folder / WEIGHTS)
    try:
        model = SavedModel(
            sizes=tuple(int(size) for size in description["sizes"]),
            activation=_from_json(description["activation"]),
            loss=_from_json(description["loss"]),
            task=description["task"],
            feature_names=tuple(map(str, description["feature_names"])),
            target_names=tuple(map(str, description["target_names"])),
            theta=arrays["theta"],
            scaler=Scaler(
                arrays["scaler_offset"],
                arrays["scaler_scale"],
                arrays.get("scaler_y_offset"),
                arrays.get("scaler_y_scale"),
            ),
            prediction=description["prediction"],
        )
        expected = int(description["members"]), Layout(model.sizes).P
        dtype = description["dtype"]
    except KeyError as error:
        raise ModelFileError(f"the model in {folder} lacks {error.args[0]!r}: it is damaged") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelFileError(f"{folder / DESCRIPTION} is damaged: {error}") from None
    _check_consistency(folder, model, expected, dtype)
    return model


def _description(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFileError(f"there is no model in {file.parent}: {file.name} is missing") from None
    except ValueError as error:
        raise ModelFileError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(content, dict) or cast("dict[str, Any]", content).get("format") != "backproof":
        raise ModelFileError(f"{file} does not describe a backproof model")
    description = cast("dict[str, Any]", content)
    if description.get("version") != VERSION:
        raise ModelFileError(
            f"{file} has format version {description.get('version')!r}, this backproof reads {VERSION}: "
            "load it with the backproof that wrote it"
        )
    return description


def _arrays(file: Path) -> dict[str, Array]:
    try:
        # Opened here because np.load does not close a file that it cannot read.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise ModelFileError(f"there is no model in {file.parent}: {file.name} is missing") from None
    # The file is truncated, has another format, or holds pickled objects, which would be executed.
    except (ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{file} cannot be read: {error}") from None


def _check_consistency(folder: Path, model: SavedModel, expected: tuple[int, int], dtype: object) -> None:
    """Raise ModelFileError if arrays and description contradict each other."""
    D, scaler, T = model.sizes[0], model.scaler, len(model.target_names)
    shapes = {
        "theta": (model.theta, expected),
        "scaler_offset": (scaler.offset, (D,)),
        "scaler_scale": (scaler.scale, (D,)),
        "scaler_y_offset": (scaler.y_offset, (T,)),
        "scaler_y_scale": (scaler.y_scale, (T,)),
    }
    for name, (array, shape) in shapes.items():
        if array is not None and array.shape != shape:
            raise ModelFileError(
                f"{folder / WEIGHTS}: {name} has shape {array.shape}, but {DESCRIPTION} requires {shape}"
            )
    if str(model.theta.dtype) != dtype or dtype not in DTYPES:
        raise ModelFileError(
            f"{folder / WEIGHTS}: theta is {model.theta.dtype}, but {DESCRIPTION} says {dtype}"
        )
    if len(model.feature_names) != D:
        raise ModelFileError(
            f"{folder / DESCRIPTION} names {len(model.feature_names)} features, but sizes has {D}"
        )
    if model.task not in TASKS:
        raise ModelFileError(
            f"{folder / DESCRIPTION}: task must be one of {', '.join(TASKS)}, got {model.task!r}"
        )


def _params(plugin: Plugin) -> dict[str, Any]:
    return {field.name: getattr(plugin, field.name) for field in dataclasses.fields(plugin)}


def _to_json(plugin: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a plugin's name and hyperparameters for JSON; an (R, 1) array, one number per member, is marked."""
    name, params = plugin
    values = {
        key: {"array": value.tolist()} if isinstance(value, np.ndarray) else value
        for key, value in params.items()
    }
    return {"name": name, "params": values}


def _from_json(plugin: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the name and hyperparameters that `_to_json` wrote."""
    params = {
        key: np.array(cast("Any", value["array"])) if isinstance(value, dict) else value
        for key, value in plugin["params"].items()
    }
    return str(plugin["name"]), params
