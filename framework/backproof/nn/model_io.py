"""Save a trained stack of networks to a folder and load it: arrays in weights.npz, the rest in model.json.

Loading executes nothing from these files; the plugins that they name must be installed.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from backproof.contracts import REGRESSION, TASKS, Activation, Array, Loss, Plugin
from backproof.contracts.errors import ModelFileError, PluginError
from backproof.data import Scaler, SplitData
from backproof.nn.mlp import MLP, Layout

VERSION = 1
DESCRIPTION, WEIGHTS = "model.json", "weights.npz"
DTYPES = ("float32", "float64")
#: The header of an array that NumPy writes.
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<dtype>[<>]f[48])', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<shape>(?:[0-9]{1,18}, ?)*(?:[0-9]{1,18})?)\), \} *\n",
    re.DOTALL,
)


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
        """Build the network from installed plugins.

        Raise PluginError if one is missing, ModelFileError if this is not a model of these plugins.
        """
        try:
            activation: Activation = plugins.build("activation", *self.activation)
            loss: Loss = plugins.build("loss", *self.loss)
            K = loss.outputs(self.task, len(self.target_names))
        except PluginError:
            raise
        except ValueError as error:
            raise ModelFileError(f"the model does not fit its plugins: {error}") from None
        if self.task not in loss.tasks or self.sizes[-1] != K or self.prediction != loss.prediction:
            raise ModelFileError(
                f"the model has {self.sizes[-1]} outputs for {self.task}, each a {self.prediction!r}; loss "
                f"{loss.name!r} has {K} for {' and '.join(loss.tasks)}, each a {loss.prediction!r}"
            )
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
    file = folder / DESCRIPTION
    description = _description(file)
    arrays = _arrays(folder / WEIGHTS)
    try:
        model = SavedModel(
            sizes=tuple(_whole(size) for size in _list(description["sizes"])),
            activation=_from_json(description["activation"]),
            loss=_from_json(description["loss"]),
            task=description["task"],
            feature_names=tuple(map(str, _list(description["feature_names"]))),
            target_names=tuple(map(str, _list(description["target_names"]))),
            theta=arrays["theta"],
            scaler=Scaler(
                arrays["scaler_offset"],
                arrays["scaler_scale"],
                arrays.get("scaler_y_offset"),
                arrays.get("scaler_y_scale"),
            ),
            prediction=description["prediction"],
        )
        if len(model.sizes) < 2:
            raise ValueError(f"sizes must be at least inputs and outputs, got {list(model.sizes)}")
        expected = _whole(description["members"]), Layout(model.sizes).P
        dtype = description["dtype"]
    except KeyError as error:
        raise ModelFileError(f"the model in {folder} lacks {error.args[0]!r}: it is damaged") from None
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{file} is damaged: {error}") from None
    _check_consistency(folder, model, expected, dtype)
    return model


def _description(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(_regular(file).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
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


def _regular(file: Path) -> Path:
    """Return the path of a file. Raise ModelFileError if it is missing, a folder, a device or a pipe."""
    if not file.exists():
        raise ModelFileError(f"there is no model in {file.parent}: {file.name} is missing")
    if not file.is_file():
        raise ModelFileError(f"{file} is not a regular file")
    return file


def _arrays(file: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file that `save` wrote.

    np.load would believe what a file says about its sizes, evaluate its headers, and decompress without end.
    """
    try:
        with zipfile.ZipFile(_regular(file)) as archive:
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in archive.infolist()}
    # RuntimeError: encrypted. NotImplementedError: a feature of the format that zipfile does not have.
    except (ValueError, EOFError, OSError, RuntimeError, zipfile.BadZipFile) as error:
        raise ModelFileError(f"{file} cannot be read: {error}") from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Array:
    """Return one array of an .npz file. Raise ValueError for one that `save` does not write."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{info.filename} is compressed")
    # As it is not compressed, there is no more to read than the file holds.
    content = archive.read(info)
    header = _HEADER.match(content)
    if header is None:
        raise ValueError(f"{info.filename} is not an array of float32 or float64")
    shape = tuple(int(length) for length in header["shape"].split(b",") if length.strip())
    dtype = np.dtype(header["dtype"].decode())
    if math.prod(shape) * dtype.itemsize != len(content) - header.end():
        raise ValueError(
            f"{info.filename} has {len(content) - header.end()} bytes for an array of shape {shape}"
        )
    numbers = np.frombuffer(content, dtype, offset=header.end())
    order = "F" if header["fortran"] == b"True" else "C"
    array: Array = numbers.reshape(shape, order=order).astype(dtype.newbyteorder("="))
    if not np.isfinite(array).all():
        raise ValueError(f"{info.filename} holds numbers that are not finite")
    return array


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, got {value!r}")
    return cast("list[Any]", value)


def _whole(value: object) -> int:
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"expected a whole number from 1 to 2^31, got {value!r}")
    return value


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
    # Without its scaling, a regression would predict in other units.
    for name in ("scaler_y_offset", "scaler_y_scale"):
        if (shapes[name][0] is not None) != (model.task == REGRESSION):
            raise ModelFileError(
                f"{folder / WEIGHTS}: {name} belongs to a regression, the task is {model.task}"
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
    name, params = plugin["name"], plugin["params"]
    if not isinstance(name, str) or not isinstance(params, dict):
        raise TypeError(f"expected a plugin's name and hyperparameters, got {plugin!r}")
    return name, {key: _member_values(value) for key, value in cast("dict[str, Any]", params).items()}


def _member_values(value: Any) -> Any:
    """Return a hyperparameter; a marked array, one number per member, as (R, 1)."""
    if not isinstance(value, dict):
        return value
    array = np.array(cast("dict[str, Any]", value)["array"], dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != 1 or not np.isfinite(array).all():
        raise ValueError(f"expected one finite number for each member, got {value!r}")
    return array
