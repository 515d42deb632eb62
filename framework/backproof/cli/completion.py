"""Tab completion for bash, zsh and fish: click's protocol, and Hydra's completions for overrides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

#: The environment variable by which the shell asks for completions.
VARIABLE = "_BACKPROOF_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
#: Completions that go on after this: the shell adds no space.
OPEN_ENDED = ("=", ".", "/")

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


def _starting(names: Any, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the kind of a plugin."""
    from backproof.contracts import KINDS

    return _starting(KINDS, incomplete)


def plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a plugin of the kind before it."""
    from backproof.contracts import KINDS

    kind = ctx.params.get("kind")
    return _starting(_registry().names(kind), incomplete) if kind in KINDS else []


def parts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a list of parts, separated by commas."""
    from backproof.netcheck.points import CHOICES

    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in (*CHOICES, "all") if name.startswith(last)]


def sweeps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete `last`, and the names and ids of the recorded sweeps."""
    from backproof.cli.store_options import outputs_folder, tracking_options
    from backproof.contracts.errors import TrackingError
    from backproof.tracking import Store
    from backproof.tracking.query import runs

    try:
        options = tracking_options(ctx.params.get("uri"), ctx.params.get("experiment"))
        store = Store.find(options, outputs_folder(ctx.params.get("outputs")))
        recorded = [run for run in runs(store) if run.is_sweep]
    except TrackingError:
        return _starting(["last"], incomplete)  # nothing is recorded yet
    known = ["last", *(run.name for run in recorded), *(run.id[:8] for run in recorded)]
    return _starting(dict.fromkeys(known), incomplete)


def hydra_options(incomplete: str) -> list[CompletionItem]:
    """Complete one of Hydra's own options."""
    from backproof.cli.hydra_options import names

    return _starting(names(), incomplete)


def overrides(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an override by what Hydra composes: config groups, their choices, keys."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from backproof.app import config

    config.register(_registry())
    words = [str(word) for word in ctx.params.get("overrides") or ()]
    folder = ctx.params.get("config_dir") or _value_of(words, ("--config-dir", "-cd"))
    if folder:
        words.append(f"hydra.searchpath=[file://{Path(folder).absolute()}]")
    with initialize_config_dir(str(config.conf_dir()), **config.VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        line = " ".join([*(word for word in words if "=" in word), incomplete])
        matches: list[str] = DefaultCompletionPlugin(loader)._query("config", line)  # pyright: ignore[reportPrivateUsage]
    return [CompletionItem(match) for match in matches if not match.startswith("hydra")]


def _value_of(words: list[str], names: tuple[str, ...]) -> str | None:
    """Return the value of an option of Hydra."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(words[index + 1 :]), None)
    return None


def _registry() -> Any:
    import warnings

    from backproof.discovery.registry import PluginWarning, registry

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        return registry()
