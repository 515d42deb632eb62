"""The scripts that set up tab completion in bash, zsh and fish, and the answers that they ask for."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

from backproof.cli.completion import VARIABLE

BASH = """\
%(complete_func)s() {
    local IFS=$'\\n' prefix="" line type value
    local words="${COMP_LINE:0:$COMP_POINT}"
    # bash splits words at = and :, and replaces only what follows the last of them.
    local word="${words##*[[:space:]]}"
    while [[ -n "$word" ]]; do
        case "$COMP_WORDBREAKS" in
            *"${word: -1}"*) prefix="$word"; break;;
        esac
        word="${word%%?}"
    done
    COMPREPLY=()
    for line in $(env COMP_WORDS="$words" %(complete_var)s=bash_complete "$1"); do
        type="${line%%%%,*}"
        value="${line#*,}"
        case "$type" in
            dir) compopt -o dirnames;;
            file) compopt -o default;;
            *)
                case "$value" in *[=./]) compopt -o nospace;; esac
                COMPREPLY+=("${value#"$prefix"}");;
        esac
    done
}
complete -F %(complete_func)s %(prog_name)s
"""

ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local line type value
    local -a closed open_ended
    for line in "${(@f)$(env COMP_WORDS="${words[1,CURRENT]}" %(complete_var)s=zsh_complete %(prog_name)s)}"; do
        type="${line%%%%,*}"
        value="${line#*,}"
        case "$type" in
            dir) _path_files -/;;
            file) _path_files;;
            plain)
                case "$value" in
                    *[=./]) open_ended+=("$value");;
                    *) closed+=("$value");;
                esac;;
        esac
    done
    (( $#closed )) && compadd -U -- $closed
    (( $#open_ended )) && compadd -U -S '' -- $open_ended
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

FISH = """\
function %(complete_func)s
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp | string collect) %(prog_name)s)
        set -l item (string split -m 1 "," $line)
        switch $item[1]
            case dir
                __fish_complete_directories (commandline -ct)
            case file
                __fish_complete_path (commandline -ct)
            case plain
                echo $item[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""


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


class _Bash(_Words):
    name, source_template = BashComplete.name, BASH


class _Zsh(_Words):
    name, source_template = ZshComplete.name, ZSH


class _Fish(_Words):
    name, source_template = FishComplete.name, FISH


_CLASSES: dict[str, type[ShellComplete]] = {cls.name: cls for cls in (_Bash, _Zsh, _Fish)}


def script(command: click.Command, shell: str) -> str:
    """Return the script that sets up completion in a shell."""
    return _CLASSES[shell](command, {}, "backproof", VARIABLE).source().rstrip()


def complete(command: click.Command, instruction: str) -> int:
    """Answer a shell's question, such as `bash_complete`; the exit code."""
    shell = instruction.removesuffix("_complete")
    if shell not in _CLASSES:
        return 1
    print(_CLASSES[shell](command, {}, "backproof", VARIABLE).complete())
    return 0
