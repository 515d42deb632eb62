"""Runs commands of many cases in children forked from a process that has imported everything once.

A command takes 0.3 s in a fork instead of 3 s in a process of its own, most of which are imports.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from tests.campaign.case import SILENCE, Case, Outcome, faults, slowdown
from tests.campaign.stores import SWEEPS

#: The most memory of a command, in bytes. More is an error of the command: it must estimate its work first.
MEMORY = 6 << 30
#: The most seconds of a command, with output or without.
LONGEST = 240.0
#: The folders of recorded sweeps.
_roots: dict[str, Path] = {}


def preload() -> None:
    """Import what commands import, but find no plugins and open no store."""
    import importlib

    import backproof.cli.main  # noqa: F401
    from backproof.tracking.store import import_mlflow

    rooms = "app.single_run cli.train cli.check cli.runs cli.errors report.build sweeps.sweeper sweeps.jobs"
    for module in (*rooms.split(), "netcheck.diagnose", "render.plots", "tracking.recorder"):
        importlib.import_module(f"backproof.{module}")
    for module in ("sklearn.datasets", "sklearn.model_selection", "scipy.stats", "optuna", "pandas"):
        importlib.import_module(module)
    import_mlflow()
    _warm_up()
    if threading.active_count() > 1:
        raise RuntimeError(f"a process with threads cannot be forked safely: {threading.enumerate()}")


def _warm_up() -> None:
    """Run one command here: the tables of Hydra's grammar and most of its imports are made at the first run."""
    from backproof.cli.main import main

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        os.chdir(folder)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            if main(["train", "dataset=iris", "model.hidden=[5]", "train.epochs=1", "tracking=off"]):
                raise RuntimeError("the command does not run at all")
        os.chdir(before)
    # A child that collects garbage would copy every page of memory that it shares with this process.
    gc.collect()
    gc.freeze()


def attack(case: Case) -> tuple[Outcome, list[str]]:
    """Run a case in an empty folder. Return its outcome, and the rules that it breaks."""
    root = _recorded(case.store) if case.store else Path(tempfile.mkdtemp(prefix="campaign-"))
    folder = root / "work"
    folder.mkdir(exist_ok=True)
    try:
        for name, content in case.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(
                content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
            )
        if case.prepare is not None:
            in_child(case.prepare, folder)
        before = _contents(folder)
        outcome = _run(case, root, before)
        broken = faults(case, outcome)
        if case.inspect is not None and not outcome.hung:
            broken += case.inspect(folder, outcome)
        return outcome, broken
    finally:
        if not case.store:
            shutil.rmtree(root, ignore_errors=True)


def in_child(function: Callable[[Path], None], folder: Path) -> None:
    """Call a function in a fork, so that what MLflow keeps open of a store ends with it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function(folder)
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(code)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError(f"a store could not be prepared in {folder}")


def _recorded(sweep: str) -> Path:
    """Return a folder whose `work/` holds the record of a sweep, as it was at first.

    It is always the same folder, since the record holds absolute paths.
    """
    root = _roots.get(sweep)
    if root is None:
        root = _roots[sweep] = Path(tempfile.mkdtemp(prefix="campaign-store-"))
        atexit.register(shutil.rmtree, root, ignore_errors=True)
        (root / "work").mkdir()
        words, finish = SWEEPS[sweep]
        outcome = _run(Case("stores", sweep, words), root, set())
        if outcome.code:
            raise RuntimeError(f"the sweep to attack could not be recorded:\n{outcome.err}")
        in_child(finish, root / "work")
        shutil.move(root / "work", root / "first")
    shutil.rmtree(root / "work", ignore_errors=True)
    shutil.copytree(root / "first", root / "work", symlinks=True)
    for name in ("out", "err"):
        (root / name).unlink(missing_ok=True)
    return root


def _run(case: Case, root: Path, before: set[str]) -> Outcome:
    folder, out, err = root / "work", root / "out", root / "err"
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _child(case, folder, out, err)
    hung, spoken, size = False, started, 0
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        now = time.monotonic()
        written = sum(file.stat().st_size for file in (out, err) if file.exists())
        if written != size:
            spoken, size = now, written
        if now - spoken > SILENCE * slowdown() or now - started > LONGEST * slowdown():
            hung = True
            os.killpg(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            break
        time.sleep(0.01)
    return Outcome(
        os.waitstatus_to_exitcode(status),
        out.read_text(errors="replace"),
        err.read_text(errors="replace"),
        time.monotonic() - started,
        hung,
        tuple(sorted(_contents(folder) - before)),
    )


def _child(case: Case, folder: Path, out: Path, err: Path) -> None:
    """Run the command in this forked process, and end it."""
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        for target, file, flags in (
            (0, Path(os.devnull), os.O_RDONLY),
            (1, out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, err, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            os.dup2(os.open(file, flags, 0o600), target)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        for name in ("MLFLOW_TRACKING_URI", "BACKPROOF_PLUGINS"):
            os.environ.pop(name, None)
        os.environ.update({key: value.replace("@D", str(folder)) for key, value in case.env.items()})
        code = _command([arg.replace("@D", str(folder)) for arg in case.args])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _command(args: list[str]) -> int:
    """Run the command as its process would: what it raises is a traceback, and exit code 1."""
    from backproof.cli.main import main
    from backproof.discovery.registry import registry

    # A case may have plugins of its own.
    registry.cache_clear()
    sys.argv = ["backproof", *args]
    try:
        return main(args)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        return 1


def _contents(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}
