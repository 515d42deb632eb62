"""The subcommands: their arguments, help and completion. Each imports what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from backproof import __version__
from backproof.cli import completion

EPILOG = """\
\b
Try:
  backproof train experiment=cs446
  backproof train -m activation=relu,tanh,gelu optimizer=sgd,adam seed=0,1,2

\b
Exit codes: 0 success; 1 a check or a run failed; 2 bad input; 130 Ctrl-C;
143 SIGTERM.
"""


class Commands(click.Group):
    """The command `backproof`, in the order of its subcommands here."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which they are declared."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the subcommand. Raise UsageError for an unknown one, with the nearest name."""
        if args[0] in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        from backproof.contracts.errors import did_you_mean

        override = f"\nTo train with an override: backproof train {args[0]}" if "=" in args[0] else ""
        hint = did_you_mean(args[0], self.commands, n=1)
        raise click.UsageError(
            f"no command is called {args[0]!r}{hint}{override}\nCommands: {', '.join(COMMANDS)}", ctx
        )


class WholeNumber(click.IntRange):
    """A whole number in a range; click's messages would call it an integer range."""

    name = "whole number"


class TrainCommand(click.Command):
    """A command whose options are Hydra's, and reach it as they are."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Return the completions of an option of Hydra."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in completion.hydra_options(incomplete)]


@click.group(
    cls=Commands,
    epilog=EPILOG,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, "-V", "--version", message="backproof %(version)s")
@click.pass_context
def backproof(ctx: click.Context) -> None:
    """Train a NumPy network whose hand-derived gradients are checked
    numerically first.

    `backproof COMMAND --help` shows the options of a command.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


overrides = click.argument(
    "overrides", nargs=-1, metavar="[KEY=VALUE]...", type=click.UNPROCESSED, shell_complete=completion.overrides
)


def store_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that choose a store: --outputs, --uri, --experiment."""
    for option in (
        click.option("--experiment", metavar="NAME", help="The MLflow experiment."),
        click.option(
            "--uri",
            metavar="URI",
            help="Another MLflow store.  [default: MLFLOW_TRACKING_URI, or that of the folder]",
        ),
        click.option(
            "--outputs", metavar="DIR", type=click.Path(), help="The folder that the runs were written to."
        ),
    ):
        function = option(function)
    return function


@backproof.command(
    cls=TrainCommand,
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    short_help="Check the gradients, train and record a run; -m: a sweep.",
)
@overrides
def train(overrides: tuple[str, ...]) -> int:
    """Train one network, or a sweep of them."""
    from backproof.cli.train import train

    return train(list(overrides))


@backproof.command(short_help="Run the gradient check alone.")
@overrides
@click.option(
    "--parts",
    multiple=True,
    metavar="LIST",
    help="What to check, separated by commas.  [default: parameters]",
    shell_complete=completion.parts,
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option("--report", metavar="FILE", type=click.Path(), help="Write the report as one HTML page.")
@click.option(
    "--config-dir",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Another folder with configs, as in train.",
)
def check(
    overrides: tuple[str, ...],
    parts: tuple[str, ...],
    as_json: bool,
    report: str | None,
    config_dir: str | None,
) -> int:
    """Check the hand-derived gradients of an experiment against its loss.

    Nothing is trained or recorded. The keys are those of `backproof train`.
    Exit code 0 if every gradient is right, 1 if one is wrong.

    \b
    Parts:
      parameters  W1, b1, ... at several points, with a diagnosis of mistakes
      activation  φ' alone
      loss        ∂Err/∂z alone
      penalty     ∂Ω/∂θ alone
      inputs      ∂Err/∂x
      hessian     second derivatives: Hessian-vector products of the gradient
      all         all of them

    \b
    Try:
      backproof check experiment=cs446
      backproof check activation=gelu model.hidden=[7,5] gradcheck.samples=11
      backproof check --parts activation,hessian activation=gelu
    """  # noqa: D301 -- \\b keeps click from wrapping the paragraph
    from backproof.cli.check import check

    return check(overrides, parts, report, as_json=as_json, config_dir=config_dir)


@backproof.command()
@click.argument("kind", required=False, shell_complete=completion.kinds)
def plugins(kind: str | None) -> int:
    """List the installed plugins.

    With KIND also their hyperparameters, defaults, bounds and files.
    """
    from backproof.cli.plugins import list_plugins

    return list_plugins(kind)


@backproof.command()
@click.argument("kind", shell_complete=completion.kinds)
@click.argument("name")
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(),
    help="Where to write it.  [default: the first folder of BACKPROOF_PLUGINS, or mine]",
)
@click.option("--code", is_flag=True, help="Write a derivation as Python instead of index formulas.")
def new(kind: str, name: str, folder: str | None, code: bool) -> int:
    """Write a working plugin file and its test, to start from.

    The files are DIR/KIND/NAME.py and DIR/KIND/test_NAME.py.
    """
    from backproof.cli.plugins import new_plugin

    return new_plugin(kind, name, folder, code=code)


@backproof.command()
@click.argument("kind", required=False, shell_complete=completion.kinds)
@click.argument("name", required=False, shell_complete=completion.plugins)
@click.option("--all", "every", is_flag=True, help="Check every plugin, or every one of KIND.")
def verify(kind: str | None, name: str | None, every: bool) -> int:
    """Check whether a plugin keeps the contract of its kind.

    Exit code 1 if it does not.
    """
    if every == (name is not None):
        raise click.UsageError("give KIND and NAME, or --all", click.get_current_context())
    from backproof.cli.plugins import verify_plugins

    return verify_plugins(kind, name)


@backproof.command(
    epilog="\b\nTry:\n  backproof runs last --best\n  backproof runs last --format json | jq '.[].metrics'"
)
@click.argument("sweep", required=False, shell_complete=completion.sweeps)
@click.option("--best", is_flag=True, help="Show the best point, and the command that runs it again.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "tsv", "csv", "json"]),
    help="The output.  [default: table on a terminal, tsv in a pipe]",
)
@click.option(
    "--limit", type=WholeNumber(min=0), metavar="N", help="Show at most N; 0: all.  [default: 20 in a table]"
)
@click.option("--sort", metavar="METRIC", help="Sort by a metric such as val/loss, the best first.")
@store_options
def runs(sweep: str | None, **options: Any) -> int:
    """List recorded runs, the newest first.

    With SWEEP list its runs, the best first. SWEEP is its id, the beginning of
    its id, its name, or `last`.
    """
    from backproof.cli.runs import list_runs

    return list_runs(sweep, **options)


@backproof.command()
@click.argument("sweep", default="last", shell_complete=completion.sweeps)
@click.option("--out", metavar="FILE", type=click.Path(), help="The file.  [default: report-ID.html]")
@store_options
def report(sweep: str, **options: Any) -> int:
    """Write one HTML page on a sweep; it needs no network.

    SWEEP is its id, the beginning of its id, its name, or `last`, the default.
    """
    from backproof.cli.runs import report

    return report(sweep, **options)


@backproof.command()
@click.option(
    "--port",
    type=WholeNumber(1, 65535),
    default=5000,
    help="The port.  [default: 5000, or the next free one]",
)
@click.option(
    "--host", default="127.0.0.1", help="The address to listen on.  [default: 127.0.0.1, this machine alone]"
)
@store_options
def ui(**options: Any) -> int:
    """Serve the MLflow UI on the recorded runs until Ctrl-C."""
    from backproof.cli.ui import serve

    return serve(**options)


@backproof.command("completion", short_help="Print a script for tab completion.")
@click.argument("shell", type=click.Choice(completion.SHELLS), metavar="SHELL")
def completion_script(shell: str) -> int:
    """Print the script that sets up tab completion in SHELL.

    \b
    bash  echo 'eval "$(backproof completion bash)"' >> ~/.bashrc
    zsh   echo 'eval "$(backproof completion zsh)"' >> ~/.zshrc
    fish  backproof completion fish > ~/.config/fish/completions/backproof.fish

    In zsh the line must come after `compinit`. Start a new shell to use it.
    """  # noqa: D301
    from backproof.cli.shells import script

    click.echo(script(backproof, shell))
    return 0


@backproof.command("help", hidden=True)
@click.argument("command", required=False)
def show_help(command: str | None) -> Any:
    """Show the help of a command."""
    with backproof.make_context("backproof", [*([command] if command else []), "--help"]) as context:
        return backproof.invoke(context)


#: The names of the subcommands, without hidden ones.
COMMANDS = tuple(name for name, command in backproof.commands.items() if not command.hidden)
