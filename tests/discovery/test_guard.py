"""Tests of `backproof.discovery.guard`: whatever a plugin does, one message names its file and line."""

import dataclasses
import enum
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backproof.app.config import mutable_copy
from backproof.cli.main import main
from backproof.contracts.errors import PluginError
from backproof.contracts.fields import declaration_problem
from backproof.discovery import guard
from backproof.discovery.entry import Entry
from backproof.discovery.registry import registry
from omegaconf import OmegaConf

from tests.helpers.command import BACKPROOF, QUICK

SOURCE = """\
from dataclasses import dataclass
import sys
import numpy as np
from backproof.contracts import Activation, hyper
{top}

@dataclass(frozen=True)
class Mine(Activation):
    {field}

    def __post_init__(self):
        {init}
        super().__post_init__()

    def forward(self, a, out):
        {forward}
        np.maximum(a, 0, out=out)

    def backward(self, a, h, grad, work):
        np.multiply(grad, a > 0, out=grad)
"""
#: Statements that end a program or a function, and what the message says about each.
ENDINGS = {
    "raise RuntimeError('boom')": "RuntimeError: boom",
    "raise ValueError('boom')": "ValueError: boom",
    "raise BaseException('boom')": "BaseException: boom",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "raise SystemExit": "SystemExit: the code ended the process",
    "sys.exit(0)": "exit code 0",
    "sys.exit('done')": "exit code done",
    "exit(0)": "exit code 0",
    "nothing": "NameError",
    "np.zeros(3) + np.zeros(4)": "ValueError: operands could not be broadcast",
    "np.linalg.inv(np.zeros((2, 2)))": "LinAlgError",
    "raise GeneratorExit": "GeneratorExit",
    "raise __import__('asyncio').CancelledError('boom')": "CancelledError: boom",
}
FIELDS = {
    "m: complex = 1j": "a config cannot hold complex",
    "m: np.ndarray = None": "a config cannot hold",
    "m: 'Nope' = 1": "cannot be resolved",
    "m: int | list[int] = 1": "a config cannot hold",
    "m: int = hyper('notint', 'x')": "its default must be a whole number, got 'notint'",
    "m: set[int] = frozenset()": "a config cannot hold",
    "name: str = 'x'": "reserved",
}


def write(plugin_folder, top="", field="pass", init="pass", forward="pass"):
    (plugin_folder / "activation").mkdir(exist_ok=True)
    file = plugin_folder / "activation" / "mine.py"
    file.write_text(SOURCE.format(top=top, field=field, init=init, forward=forward))
    return file


def line_of(file, text):
    return 1 + next(i for i, line in enumerate(file.read_text().splitlines()) if text in line)


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_import_that_ends_is_one_error(plugin_folder, ending):
    file = write(plugin_folder, top=ending)
    with pytest.raises(PluginError) as caught:
        registry().get("activation", "mine")
    assert f"{file}, line {line_of(file, ending)}" in str(caught.value)
    assert ENDINGS[ending] in str(caught.value)
    # Others can be used.
    assert registry().get("activation", "relu")


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(ending, marks=[] if ending in ("sys.exit(0)", "nothing") else pytest.mark.slow)
        for ending in ENDINGS
    ],
)
@pytest.mark.parametrize(
    ("command", "place"),
    [("train", "init"), ("train", "forward"), ("check", "forward"), ("verify", "init"), ("verify", "forward")],
)
def test_a_call_that_ends_is_one_block(plugin_folder, workdir, monkeypatch, capsys, command, place, ending):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugin_folder))
    file = write(plugin_folder, **{place: ending})
    if command == "verify":
        code = main(["verify", "activation", "mine"])
        text = capsys.readouterr().out
        assert code == 1
    else:
        code = main([command, "activation=mine", *QUICK, *(["tracking=off"] * (command == "train"))])
        text = capsys.readouterr().err
        assert code == 2
        assert text.count("backproof: ") == 1
        assert len(text.splitlines()) == 1
    assert "Traceback" not in text
    assert f"{file}, line {line_of(file, ending)}" in text
    assert ENDINGS[ending] in text


def test_a_point_that_ends_the_process_fails_alone(plugin_folder, workdir, monkeypatch, capsys):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugin_folder))
    write(plugin_folder, field="m: int = 0", forward="if self.m: sys.exit(0)")
    overrides = ["-m", "activation=mine", "activation.m=0,1", *QUICK, "tracking=off", "gradcheck=off"]
    assert main(["train", *overrides]) == 1
    shown = capsys.readouterr().out
    assert "1 of 2 runs" in shown
    assert "mine.py, line" in shown


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_that_a_config_cannot_hold_is_named(plugin_folder, workdir, monkeypatch, capsys, field):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugin_folder))
    file = write(plugin_folder, field=field)
    assert main(["train", "activation=mine", *QUICK, "tracking=off"]) == 2
    errors = capsys.readouterr().err
    assert FIELDS[field] in errors
    assert f"{file}, line {line_of(file, field)}" in errors
    # Who does not use it, does not notice it.
    assert main(["check", "activation=relu", *QUICK]) == 0
    assert capsys.readouterr().err == ""


def test_a_method_with_other_parameters_is_named(plugin_folder):
    file = write(plugin_folder)
    file.write_text(file.read_text().replace("forward(self, a, out)", "forward(self, a)"))
    with pytest.raises(
        PluginError, match=r"Mine.forward must take \(self, a, out\), got \(self, a\)"
    ) as caught:
        registry().get("activation", "mine")
    assert f"{file}, line {line_of(file, 'def forward')}" in str(caught.value)


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Nested:
    x: int = 1


class Other: ...


SINGLE = [bool, int, float, str, bytes, Path, Colour]
HINTS = [
    *SINGLE,
    *(hint | None for hint in SINGLE),
    *(left | right for left in SINGLE for right in SINGLE),
    *(container[hint] for container in (list, set, type) for hint in [*SINGLE, Other, int | None, int | str]),
    *(tuple[hint, ...] for hint in [*SINGLE, Any, Other, list[int], tuple[int, ...], Nested]),
    *(dict[key, int] for key in [*SINGLE, tuple, Other]),
    *(dict[str, hint] for hint in [*SINGLE, Any, Other, list[int], tuple[int, ...], Nested]),
    *(list, dict, tuple, set, object, Any, type(None), Nested, Other, complex, np.ndarray),
    *(list[int] | None, tuple[int, ...] | None, int | list[int], list[int] | dict[str, int], Nested | int),
    *(tuple[int], tuple[int, int], list[list[int]], list[tuple[int, ...]]),
]


@pytest.mark.parametrize("hint", HINTS, ids=str)
def test_a_field_is_refused_if_omegaconf_refuses_it(hint):
    cls = dataclasses.make_dataclass("Mine", [("m", hint, dataclasses.field())], frozen=True)
    try:
        OmegaConf.structured(mutable_copy(cls, "mine"))
    except Exception:  # noqa: BLE001 - whatever OmegaConf raises
        accepted = False
    else:
        accepted = True
    assert (declaration_problem(cls, dataclasses.fields(cls)[0]) is None) == accepted


def test_signals_are_not_errors_of_the_plugin(plugin_folder):
    write(
        plugin_folder, top="import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor i in range(10**7): pass"
    )
    with pytest.raises(KeyboardInterrupt):
        registry().get("activation", "mine")


def test_an_endless_import_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(guard, "PATIENCE", 0.05)
    file = tmp_path / "slow.py"
    file.write_text("import time\ntime.sleep(0.3)\n")
    with pytest.raises(PluginError):
        _ = Entry("activation", "slow", file).cls
    assert f"still importing {file}" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_ends_an_endless_import(plugin_folder, workdir):
    file = write(plugin_folder, top="while True: pass")
    environment = {**os.environ, "BACKPROOF_PLUGINS": str(plugin_folder)}
    process = subprocess.Popen(
        [*BACKPROOF, "check", "activation=mine"], env=environment, stderr=subprocess.PIPE, text=True
    )
    assert str(file) in process.stderr.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "Traceback" not in errors


def test_what_is_no_dataset_is_named(plugin_folder, workdir, monkeypatch, capsys):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugin_folder))
    (plugin_folder / "dataset").mkdir()
    file = plugin_folder / "dataset" / "mine.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom backproof.contracts import DatasetLoader\n"
        "@dataclass(frozen=True)\nclass Mine(DatasetLoader):\n    def load(self): return 3\n"
    )
    assert main(["check", "dataset=mine"]) == 2
    assert f"dataset=mine failed in load: {file}: it must return a Dataset, got int" in capsys.readouterr().err


def test_a_name_that_no_file_can_have_leaves_nothing(workdir, capsys):
    assert main(["new", "activation", "a" * 300]) == 2
    assert "at most 100" in capsys.readouterr().err
    assert not list(workdir.iterdir())
