"""Floor 5: the command. Rooms are imported by the subcommand that needs them, so that `--help` is quick."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import os
import sys
from collections.abc import Callable, Sequence

from backproof import __version__

HELP = """\
backproof: hand-derived networks, proven before they are trained.

usage: backproof COMMAND [...]

  train [KEY=VALUE ...] [-m]   check the gradients, train, and record the run in MLflow; -m for a sweep
  check [KEY=VALUE ...]        the gradient check alone, or of pieces (--parts); exit code 1 if it fails
  plugins [KIND]               what is installed: hyperparameters, defaults and files
  new KIND NAME [--dir D]      a working plugin file to start from, with its test
  verify KIND NAME | --all     does a plugin keep its kind's contract?
  runs [SWEEP] [--best]        the runs that are recorded, or a sweep's points; --format json|csv for pipes
  report [SWEEP]               one self-contained HTML page on a sweep
  ui [--port N]                the MLflow UI on these runs

  backproof COMMAND --help     more on one of them

Try:
  backproof train experiment=cs446
  backproof train -m activation=relu,tanh,gelu optimizer=sgd,adam seed=0,1,2

Exit codes: 0 well; 1 a check or a run failed; 2 bad input; 130 Ctrl-C.
"""


def run() -> None:
    """The process of the command. It ends without Python taking apart all that was imported: that takes a second
    after a run that was recorded in MLflow."""
    # By default Python looks for garbage every 700 objects, and there are half a million when all is imported: that
    # takes a twentieth of a sweep's time.
    gc.set_threshold(50_000, 10, 10)
    code = 1

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)

    # What is registered first is called last: threads are waited for, and all others have cleared up.
    atexit.register(leave)
    try:
        code = main()
    except SystemExit as asked:
        code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        raise
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `backproof` with these arguments (those of the process, if none are given); the exit code."""
    args = list(sys.argv[1:] if argv is None else argv)
    if "-sc" in args or "--shell-completion" in args:
        from backproof.app.application import completion

        return completion([each for each in args if each != "train"])
    if not args or args[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if args[0] in ("-V", "--version"):
        print(f"backproof {__version__}")
        return 0
    if args[0] not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        override = "\nTo train with an override: backproof train " + args[0] if "=" in args[0] else ""
        return complain(
            f"no command is called {args[0]!r}{hint}{override}\nCommands: {', '.join(COMMANDS)} (backproof --help)"
        )
    return _guarded(COMMANDS[args[0]], args[1:])


def complain(message: str, code: int = 2) -> int:
    """Write an error block to stderr; the exit code."""
    print(f"backproof: {message}", file=sys.stderr)
    return code


def _guarded(command: Callable[[list[str]], int], args: list[str]) -> int:
    """Run a subcommand; Ctrl-C and a closed pipe end it quietly."""
    try:
        return command(args)
    except KeyboardInterrupt:
        return complain("stopped by Ctrl-C", 130)
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does. Python would complain again on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _train(args: list[str]) -> int:
    from backproof.app.application import train

    return train(args)


def _check(args: list[str]) -> int:
    from backproof.app.application import check

    return check(args)


def _plugins(args: list[str]) -> int:
    parser = argparse.ArgumentParser("backproof plugins", description="What is installed.")
    parser.add_argument("kind", nargs="?", help="one kind of plugin; all of them without it")
    from backproof.cli.plugins import list_plugins

    return list_plugins(parser.parse_args(args).kind)


def _new(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "backproof new",
        description="Write a plugin file that works, DIR/KIND/NAME.py, and its test beside it, to start from.",
    )
    parser.add_argument("kind", help="its kind, as activation (backproof plugins lists them)")
    parser.add_argument("name", help="its name, which is its file's")
    parser.add_argument("--dir", help="where; without it the first of BACKPROOF_PLUGINS, or mine")
    parser.add_argument("--code", action="store_true", help="a derivation as Python, not as index formulas")
    given = parser.parse_args(args)
    from backproof.cli.plugins import new_plugin

    return new_plugin(given.kind, given.name, given.dir, code=given.code)


def _verify(args: list[str]) -> int:
    parser = argparse.ArgumentParser(
        "backproof verify",
        description="Check that a plugin keeps its kind's contract. Exit code 1 if it does not.",
    )
    parser.add_argument("kind", nargs="?", help="its kind, as activation; with --all alone, every kind")
    parser.add_argument("name", nargs="?", help="its name; with --all, every plugin of the kind")
    parser.add_argument("--all", action="store_true", help="every plugin")
    given = parser.parse_args(args)
    if given.all == (given.name is not None) or (given.name is None and not given.all):
        parser.error("give KIND and NAME, or --all")
    from backproof.cli.plugins import verify_plugins

    return verify_plugins(given.kind, given.name)


def _runs(args: list[str]) -> int:
    from backproof.cli.runs import list_runs

    return list_runs(args)


def _report(args: list[str]) -> int:
    from backproof.cli.runs import report

    return report(args)


def _ui(args: list[str]) -> int:
    from backproof.cli.ui import serve

    return serve(args)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "check": _check,
    "plugins": _plugins,
    "new": _new,
    "verify": _verify,
    "runs": _runs,
    "report": _report,
    "ui": _ui,
}


if __name__ == "__main__":
    run()
