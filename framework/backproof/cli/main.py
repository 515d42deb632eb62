"""The process of the command `backproof`: exit codes, signals and errors."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Sequence

import click

from backproof.cli import commands, completion
from backproof.render.console import print_error, print_warning, shield_output


def run() -> None:
    """Run the command as a process, and exit with os._exit: interpreter shutdown takes 1 s after MLflow."""
    # By default Python collects garbage every 700 objects, and half a million are alive after all imports: 5 % of
    # the time of a sweep.
    gc.set_threshold(50_000, 10, 10)
    shield_output()
    code = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    # Registered first and so called last, after threads have been joined and all other handlers have run.
    atexit.register(leave)
    try:
        code = _shown(main())
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    sys.exit(code)


def _shown(code: int) -> int:
    """Return the exit code of a command; 1 if its output, which is its result, could not be written."""
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    if error is None or isinstance(error, BrokenPipeError):
        return code
    print_warning(f"the output could not be written: {error.strerror}")
    # The result of `train` is recorded.
    return code or int(sys.argv[1:2] != ["train"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run `backproof` with these arguments (by default those of the process) and return the exit code.

    click's own `main` would print errors in another form and hide Ctrl-C.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    question = os.environ.get(completion.VARIABLE)
    try:
        if question is not None:
            from backproof.cli.shells import complete

            return complete(commands.backproof, question)
        with commands.backproof.make_context(
            "backproof", list(sys.argv[1:] if argv is None else argv)
        ) as context:
            code = commands.backproof.invoke(context)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        return print_error(_usage(error, args), error.exit_code)
    except KeyboardInterrupt:
        return print_error("stopped by Ctrl-C", 130)
    except BrokenPipeError:
        # The consumer of a pipe has closed it, as `head` does. Python would complain again as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except BaseException as error:
        if isinstance(error, SystemExit) and not _by_plugin(error):
            raise  # Hydra's parser of arguments ends `--version` so.
        return print_error(*_explain(error))


def _usage(error: click.UsageError, args: Sequence[str]) -> str:
    """Return an error in the arguments as one block: what is wrong, the usage, and where to read on."""
    message = error.format_message().rstrip(".")
    lines = [message[:1].lower() + message[1:]]
    if error.ctx is not None and error.ctx.parent is not None:
        lines.append(error.ctx.get_usage())
    # The parser of click names no command if an option lacks its value.
    command = next((arg for arg in args if arg in commands.COMMANDS), "")
    path = f"backproof {command}".strip() if error.ctx is None else error.ctx.command_path
    return "\n".join([*lines, f"`{path} --help` shows how it is used"])


def _by_plugin(error: BaseException) -> Exception | None:
    """Return the error that names the plugin's file and line, if the code of a plugin raised this one."""
    if "backproof.discovery.guard" not in sys.modules:
        return None  # No plugin was imported.
    from backproof.discovery.guard import plugin_failure

    return plugin_failure(error)


def _explain(error: BaseException) -> tuple[str, int]:
    """Return the message and the exit code for an error."""
    from backproof.contracts.errors import BAD_INPUT, FAILED, BackproofError

    error = _by_plugin(error) or error
    if isinstance(error, BackproofError):
        message, code = error.explain(), error.exit_code
    elif isinstance(error, MemoryError):
        message, code = f"out of memory: {error}", FAILED
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        # A missing file, a folder that cannot be written.
        message, code = f"{error.filename}: {error.strerror}", BAD_INPUT
    else:
        message, code = _unforeseen(error), FAILED
    return "\n".join([message, *getattr(error, "__notes__", [])]), code


def _unforeseen(error: BaseException) -> str:
    """Return the message about an error that nothing explains, which is a bug; a file gets the traceback."""
    import tempfile
    import traceback

    where = traceback.extract_tb(error.__traceback__)[-1]
    message = (
        f"unexpected {type(error).__name__}: {error}\n"
        f"raised in {where.filename}, line {where.lineno}: a bug of backproof, or of a library that it uses"
    )
    try:
        with tempfile.NamedTemporaryFile("w", prefix="backproof-", suffix=".txt", delete=False) as file:
            file.write("".join(traceback.format_exception(error)))
    except OSError:
        return f"{message}\n{''.join(traceback.format_exception(error))}"
    return f"{message}\nPlease report it, with the command and the traceback in {file.name}"


if __name__ == "__main__":
    run()
