"""The scripts that set up tab completion in bash, zsh and fish, and the answers that they ask for."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

from backproof.cli.completion import SHELLS, VARIABLE

#: One template for each shell, in the form of click's `source_template`.
SCRIPTS = Path(__file__).with_name("shell_scripts")


class _Words(ShellComplete):
    """Reads the line up to the cursor, and answers with a type and a value."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the complete words, and the one that is being typed."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)[1:]
        incomplete = words.pop() if words and not line[-1:].isspace() else ""
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return the answer for one completion."""
        return f"{item.type},{item.value}"


def _completion(command: click.Command, shell: str) -> ShellComplete:
    class Completion(_Words):
        name = shell
        source_template = (SCRIPTS / f"{shell}.txt").read_text(encoding="utf-8")

    return Completion(command, {}, "backproof", VARIABLE)


def script(command: click.Command, shell: str) -> str:
    """Return the script that sets up completion in a shell."""
    return _completion(command, shell).source().rstrip()


def complete(command: click.Command, instruction: str) -> int:
    """Answer a shell's question, such as `bash_complete`; the exit code."""
    shell = instruction.removesuffix("_complete")
    if shell not in SHELLS:
        return 1
    print(_completion(command, shell).complete())
    return 0
