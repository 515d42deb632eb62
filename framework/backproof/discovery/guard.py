"""The border around plugins: what their code raises becomes one PluginError, with file and line."""

from __future__ import annotations

import contextlib
import dis
import sys
import threading
from collections.abc import Generator
from pathlib import Path
from types import TracebackType

import backproof.plugins
from backproof.contracts.errors import BackproofError, PluginError

#: Seconds until a line says that a file is still being imported, and between later lines.
PATIENCE, INTERVAL = 5.0, 20.0
#: The imported plugins, as `activation=relu`, by the names of their files as tracebacks have them.
_plugins: dict[str, str] = {}


def remember(plugin: str, file: str) -> None:
    """Remember that the code in a file is that of a plugin."""
    _plugins[file] = plugin


@contextlib.contextmanager
def guarded() -> Generator[None, None, None]:
    """Raise a PluginError for what the code of a plugin raises in the block, `sys.exit` included.

    Errors that a user can act on, and signals, remain as they are.
    """
    try:
        yield
    except BaseException as error:
        failure = plugin_failure(error)
        if failure is None:
            raise
        raise failure from error


def plugin_failure(error: BaseException) -> PluginError | None:
    """Return the PluginError for what a plugin's code has raised; None for an error that is not the plugin's fault.

    A ValueError or OSError that a plugin of the package raises is a message to the user.
    """
    if isinstance(error, BackproofError | MemoryError) or stopped_by_signal(error):
        return None
    if isinstance(error, OSError) and error.filename is not None:
        return None
    frames = [trace for trace in _frames(error) if trace.tb_frame.f_code.co_filename in _plugins]
    if not frames:
        return None
    code = frames[-1].tb_frame.f_code
    if isinstance(error, ValueError | OSError) and _raised(error) and _shipped(code.co_filename):
        return None
    return PluginError(
        f"the plugin {_plugins[code.co_filename]} failed in {code.co_name}: {code.co_filename}, "
        f"line {frames[-1].tb_lineno}: {reason(error)}"
    )


def stopped_by_signal(error: BaseException) -> bool:
    """Return whether an exception is that of a signal, such as Ctrl-C, and not one that a plugin's code raises.

    A signal interrupts any instruction, or is raised by a handler; a plugin needs a `raise` statement in its file.
    """
    if isinstance(error, Exception | SystemExit):
        return False
    frames = _frames(error)
    in_plugin = bool(frames) and frames[-1].tb_frame.f_code.co_filename in _plugins
    return not (in_plugin and _raised(error))


def reason(error: BaseException) -> str:
    """Return the type and the message of an exception."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    if isinstance(error, SystemExit):
        text = f"the code ended the process with exit code {error.code}: raise an error instead"
    return f"{type(error).__name__}: {text}".rstrip(": ")


@contextlib.contextmanager
def announced(file: Path) -> Generator[None, None, None]:
    """Say on stderr which file is being imported, if that takes long: its code may never end."""
    done = threading.Event()

    def announce() -> None:
        seconds = PATIENCE
        pause = PATIENCE
        while not done.wait(pause):
            print(
                f"backproof: warning: still importing {file} after {seconds:.0f} s; Ctrl-C stops it",
                file=sys.stderr,
                flush=True,
            )
            pause = INTERVAL
            seconds += INTERVAL

    thread = threading.Thread(target=announce, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _frames(error: BaseException) -> list[TracebackType]:
    """Return the entries of a traceback, the innermost last."""
    frames: list[TracebackType] = []
    entry = error.__traceback__
    while entry is not None:
        frames.append(entry)
        entry = entry.tb_next
    return frames


def _raised(error: BaseException) -> bool:
    """Return whether a `raise` statement has raised an exception, not a function of C or a signal."""
    frames = _frames(error)
    if not frames:
        return False
    code = frames[-1].tb_frame.f_code.co_code
    return dis.opname[code[frames[-1].tb_lasti]] == "RAISE_VARARGS"


def _shipped(file: str) -> bool:
    """Return whether a file is in the package's own folder of plugins."""
    return any(Path(file).is_relative_to(folder) for folder in backproof.plugins.__path__)
