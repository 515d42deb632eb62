"""The subcommands: their arguments, help and completion. Each imports what it needs when it runs."""

from __future__ import annotations

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
        name = args[0]
        if name in self.commands or ctx.resilient_parsing:
            return super().resolve_command(ctx, args)
        import difflib

        near = difflib.get_close_matches(name, self.commands, n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        override = f"\nTo train with an override: backproof train {name}" if "=" in name else ""
        visible = [command for command in self.commands if not self.commands[command].hidden]
        raise click.UsageError(f"no command is called {name!r}{hint}{override}\nCommands: {', '.join(visible)}")


#: What the options take that need an example.
VALUES = {
    "--parts": "what to check, as --parts activation,loss",
    "--report": "the file to write, as --report check.html",
}


def no_option(ctx: click.Context, param: click.Parameter, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Raise BadOptionUsage if the value of an option is another option."""
    for value in values:
        if str(value).startswith("-"):
            raise click.BadOptionUsage(param.opts[0], "", ctx)
    return values


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
outputs = click.option(
    "--outputs", metavar="DIR", type=click.Path(), help="The folder that the runs were written to."
)
uri = click.option(
    "--uri", metavar="URI", help="Another MLflow store.  [default: MLFLOW_TRACKING_URI, or that of the folder]"
)
experiment = click.option("--experiment", metavar="NAME", help="The MLflow experiment.")


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
    callback=no_option,
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.option(
    "--report",
    "reports",
    multiple=True,
    metavar="FILE",
    type=click.Path(),
    help="Write the report as one HTML page.",
    callback=no_option,
)
@click.option(
    "--config-dir",
    metavar="DIR",
    type=click.Path(),
    help="Another folder with configs, as in train.",
)
def check(
    overrides: tuple[str, ...],
    parts: tuple[str, ...],
    as_json: bool,
    reports: tuple[str, ...],
    config_dir: str | None,
) -> int:
    """Check the hand-derived gradients of an experiment against its loss.

    Nothing is trained or recorded. The keys are those of `backproof train`.
    Exit code 0 if every gradient is right, 1 if one is wrong.

    
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

    return check(overrides, parts, reports, as_json=as_json, config_dir=config_dir)


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
    "--limit", type=click.IntRange(min=0), metavar="N", help="Show at most N; 0: all.  [default: 20 in a table]"
)
@click.option("--sort", metavar="METRIC", help="Sort by a metric such as val/loss, the best first.")
@outputs
@uri
@experiment
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
@outputs
@uri
@experiment
def report(sweep: str, **options: Any) -> int:
    """Write one HTML page on a sweep; it needs no network.

    SWEEP is its id, the beginning of its id, its name, or `last`, the default.
    """
    from backproof.cli.runs import report

    return report(sweep, **options)


@backproof.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=5000,
    help="The port.  [default: 5000, or the next free one]",
)
@click.option(
    "--host", default="127.0.0.1", help="The address to listen on.  [default: 127.0.0.1, this machine alone]"
)
@outputs
@uri
@experiment
def ui(**options: Any) -> int:
    """Serve the MLflow UI on the recorded runs until Ctrl-C."""
    from backproof.cli.ui import serve

    return serve(**options)


@backproof.command("completion", short_help="Print a script for tab completion.")
@click.argument("shell", type=click.Choice(completion.SHELLS))
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
