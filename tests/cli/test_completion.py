"""Tab completion: the answers of the command, and the scripts in real shells."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from backproof.cli import completion
from backproof.cli.main import main

from tests.helpers.command import QUICK


def complete(line, monkeypatch, capsys):
    monkeypatch.setenv(completion.VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    capsys.readouterr()
    assert main([]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return [answer.partition(",")[2] for answer in captured.out.splitlines() if answer]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("backproof ", ["train", "check", "plugins", "new", "verify", "runs", "report", "ui", "completion"]),
        ("backproof tr", ["train"]),
        ("backproof train activation=ge", ["activation=gelu", "activation=gelu_tanh"]),
        ("backproof train optimizer=adam optimizer.be", ["optimizer.beta1=", "optimizer.beta2="]),
        (
            "backproof train -m seed=0,1 optimizer=ada",
            ["optimizer=adadelta", "optimizer=adagrad", "optimizer=adam", "optimizer=adamw"],
        ),
        ("backproof train --conf", ["--config-path", "--config-name", "--config-dir"]),
        ("backproof check loss=hin", ["loss=hinge"]),
        ("backproof check --js", ["--json"]),
        ("backproof check --parts activation,he", ["activation,hessian"]),
        ("backproof train experiment=", ["experiment=cs446", "experiment=cs446_as_written"]),
        ("backproof plugins sch", ["schedule"]),
        ("backproof new der", ["derivation"]),
        ("backproof verify activation soft", ["softplus", "softsign"]),
        ("backproof verify nothing soft", []),
        ("backproof runs ", ["last"]),
        ("backproof runs --format js", ["json"]),
    ],
)
def test_answers(workdir, monkeypatch, capsys, line, offered):
    assert complete(line, monkeypatch, capsys) == offered


def test_configs_of_another_folder_are_completed(workdir, monkeypatch, capsys):
    Path("mine/experiment").mkdir(parents=True)
    Path("mine/experiment/a.yaml").write_text("# @package _global_\nseed: 7\n")
    for option in ("--config-dir mine", "-cd mine", "--config-dir=mine"):
        assert "experiment=a" in complete(f"backproof train {option} experiment=", monkeypatch, capsys)
    assert "experiment=a" in complete("backproof check --config-dir mine experiment=", monkeypatch, capsys)


@pytest.mark.slow
def test_recorded_sweeps_are_completed(workdir, monkeypatch, capsys):
    options = ["tracking.run_name=first", "tracking.model=false", "tracking.plots=false", "gradcheck=off"]
    assert main(["train", "-m", *QUICK, *options, "seed=0,1"]) == 0
    names = complete("backproof report ", monkeypatch, capsys)
    assert names[0] == "last"
    assert names[1] == "first"
    assert re.fullmatch("[0-9a-f]{8}", names[2])
    assert complete("backproof runs fi", monkeypatch, capsys) == ["first"]


def type_in(shell, arguments, steps):
    """Type keys in a shell on a terminal. After each step, wait for the expected text on the screen."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(shell, [shell, *arguments])
    screen = ""
    try:
        for keys, expected in steps:
            os.write(terminal, keys.encode())
            deadline = time.monotonic() + 60
            while expected not in screen:
                assert time.monotonic() < deadline, screen
                if select.select([terminal], [], [], 0.2)[0]:
                    written = os.read(terminal, 65536).decode(errors="replace").replace("\a", "")
                    screen += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written)  # no colours, no cursor movements
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


@pytest.fixture
def command(workdir, monkeypatch):
    """Put a command `backproof` on the PATH, and hide the start-up files of the user's shells."""
    folder = workdir / "bin"
    folder.mkdir()
    script = folder / "backproof"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m backproof "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(workdir))
    monkeypatch.setenv("TERM", "dumb")
    return script


BASH_LINES = [
    ("backproof tr", ["train"]),
    # bash replaces only what follows the last = of a word.
    ("backproof train activation=gel", ["gelu", "gelu_tanh"]),
    ("backproof train optimizer=adam optimizer.bet", ["optimizer.beta1=", "optimizer.beta2="]),
    ("backproof verify activation soft", ["softplus", "softsign"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "replies"), BASH_LINES)
def test_bash(command, line, replies):
    words = re.findall(r"[^ =]+|=", line)
    script = f"""
        eval "$(backproof completion bash)"
        COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
        compopt() {{ :; }}
        _backproof_completion backproof
        printf '%s\\n' "${{COMPREPLY[@]}}"
        """
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == replies


TERMINALS = {
    "bash": (["--norc", "--noprofile", "-i"], "PS1='> '"),
    "zsh": (["-f", "-i"], "PS1='> '; autoload -Uz compinit; compinit -u -D"),
}


@pytest.mark.slow
@pytest.mark.parametrize("shell", TERMINALS)
def test_the_tab_key_in_a_terminal(command, shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    arguments, setup = TERMINALS[shell]
    ready = f"{setup}; eval \"$(backproof completion {shell})\"; echo REA''DY\n"
    line = "backproof train optimizer=adam activation=gelu_\t"
    type_in(shell, arguments, [(ready, "READY"), (line, "activation=gelu_tanh")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("backproof tr", ["train"]),
        ("backproof train optimizer=adam activation=gelu", ["activation=gelu", "activation=gelu_tanh"]),
        ("backproof verify activation soft", ["softplus", "softsign"]),
    ],
)
def test_fish(command, line, offered):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    script = f"backproof completion fish | source; complete --do-complete {line!r}"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    assert [answer.split("\t")[0] for answer in done.stdout.splitlines()] == offered


def test_unknown_shells_are_rejected(capsys):
    assert main(["completion", "csh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
