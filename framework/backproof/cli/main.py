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
from backproof.render.console import print_error

#: The names of the subcommands.
COMMANDS = tuple(name for name, command in commands.backproof.commands.items() if not command.hidden)


def run() -> None:
    """Run the command as a process, and exit with os._exit: interpreter shutdown takes 1 s after MLflow."""
    # By default Python collects garbage every 700 objects, and half a million are alive after all imports: 5 % of
    # the time of a sweep.
    gc.set_threshold(50_000, 10, 10)
    code = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    # Registered first and so called last, after threads have been joined and all other handlers have run.
    atexit.register(leave)
    try:
        code = main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        raise
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `backproof` with these arguments (by default those of the process) and return the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    instruction = os.environ.get(completion.VARIABLE)
    try:
        if instruction is not None:
            from backproof.cli.shells import complete

            return complete(commands.backproof, instruction)
        return _invoke(args)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        return print_error(_usage(error, args))
    except KeyboardInterrupt:
        return print_error("stopped by Ctrl-C", 130)
    except BrokenPipeError:
        # The consumer of a pipe has closed it, as `head` does. Python would complain again as it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from backproof.cli.errors import explain

        explained = explain(error)
        if explained is None:
            raise
        return print_error(*explained)


def _invoke(args: list[str]) -> int:
    """Run a subcommand. click's own `main` would print errors in its form and hide Ctrl-C."""
    with commands.backproof.make_context("backproof", args) as context:
        code = commands.backproof.invoke(context)
    return code if isinstance(code, int) else 0


def _usage(error: click.UsageError, args: Sequence[str]) -> str:
    """Return a usage error of click in the form of ours."""
    context = error.ctx
    name = context.command.name if context is not None else next((arg for arg in args if arg in COMMANDS), None)
    if isinstance(error, click.NoSuchOption):
        import difflib

        options = [option for param in context.command.params for option in param.opts] if context else []
        close = difflib.get_close_matches(error.option_name, options, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        message = f"{name} has no option {error.option_name!r}{hint}"
    elif isinstance(error, click.BadOptionUsage):
        message = f"{error.option_name} needs {commands.VALUES.get(error.option_name, 'a value')}"
    elif isinstance(error, click.MissingParameter) and error.param is not None:
        message = f"{name} needs {(error.param.name or '').upper()}"
    else:
        message = error.format_message().rstrip(".")
        message = message[:1].lower() + message[1:]
    command = name if name == "backproof" else f"backproof {name}" if name else "backproof"
    return f"{message}\n`{command} --help` shows how it is used"


if __name__ == "__main__":
    run()
