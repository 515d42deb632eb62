"""Floor 5: the Hydra application. Overrides become a config, then an experiment, then a recorded run."""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from backproof.app import config
from backproof.app.session import Session, get_session, set_session, writable
from backproof.cli.errors import explain
from backproof.cli.main import complain
from backproof.contracts.errors import PluginError, did_you_mean
from backproof.discovery.registry import PluginWarning, Registry, registry
from backproof.experiment.run import run
from backproof.render.terminal import Terminal, console, show_diagnosis, ui_command
from backproof.sweeps import jobs
from backproof.tracking import Terminated, check_terminated, environment, terminate_on_sigterm
from backproof.tracking.recorder import Recording

if TYPE_CHECKING:
    from backproof.experiment.experiment import PreparedExperiment

#: Exit codes of what ends a process from outside, as shells have them.
CTRL_C, SIGTERM = 130, 143


def train(args: list[str]) -> int:
    """`backproof train ...`: one run or a sweep; all of Hydra's own options work."""
    # Hydra prints errors in a form of its own and exits with 1, unless it is asked to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra's parser does not take overrides on both sides of an option.
    nameless = next((each for each in args if each.startswith("=")), None)
    if nameless is not None:
        return complain(f"{nameless!r} is no override\nExpected KEY=VALUE without spaces, as optimizer.lr=0.1")
    args = sorted(map(_quoted, args), key=lambda each: each not in ("-m", "--multirun"))
    wrong = _misspelt(args)
    if wrong:
        return complain(wrong)
    with _setup() as plugins:
        return _guarded(plugins, lambda session: _hydra(args, session))


def _quoted(override: str) -> str:
    """An id of a run in quotes: Hydra would read one such as 437367e5 as a number."""
    key, _, value = override.partition("=")
    ids = key in ("sweep.resume", "tracking.parent") and value and set(value) <= set("0123456789abcdef")
    return f"{key}='{value}'" if ids else override


def _misspelt(args: list[str]) -> str | None:
    """What is wrong with the options among the arguments; Hydra itself would print how it is used, in ten lines."""
    parser = get_args_parser()
    wrong: list[str] = []
    parser.error = wrong.append  # type: ignore[method-assign, assignment]
    _, unknown = parser.parse_known_args(args)
    if not wrong and not unknown:
        return None
    if not wrong:
        flag = unknown[0].partition("=")[0]
        close = difflib.get_close_matches(
            flag, re.findall(r"--[a-z-]+", parser.format_usage()), n=1, cutoff=0.8
        )
        hint = f", did you mean {close[0]}?" if close else ""
        wrong.append(f"train has no option {flag!r}{hint}\nValues are given without dashes: KEY=VALUE")
    return f"{wrong[0]}\n`backproof train --hydra-help` shows all options"


def check(args: list[str]) -> int:
    """`backproof check ...`: the gradient check alone, of fresh parameters and of moved ones."""
    if any(each in ("-h", "--help") for each in args):
        print(CHECK_HELP, end="")
        return 0
    overrides = [each for each in args if each != "--json"]
    try:
        reports, parts = _taken(overrides, "--report"), _parts(_taken(overrides, "--parts"))
    except ValueError as error:
        return complain(f"{error}\n\n{CHECK_HELP.rstrip()}")
    for file in reports:
        if not Path(file).parent.is_dir() or Path(file).is_dir():
            return complain(f"--report {file}: that is no file in a folder that is there")
    flags = [each for each in overrides if each.startswith("-")]
    if flags:
        return complain(f"check has no option {flags[0]!r}\n\n{CHECK_HELP.rstrip()}")
    with _setup() as plugins:
        return _guarded(plugins, lambda session: _check(overrides, session, "--json" in args, reports, parts))


def _taken(args: list[str], option: str) -> list[str]:
    """The values of an option, --option VALUE or --option=VALUE, which are taken out of the arguments."""
    values: list[str] = []
    while found := [at for at, each in enumerate(args) if each.partition("=")[0] == option]:
        at = found[0]
        name, given, value = args.pop(at).partition("=")
        if not given:
            value = args.pop(at) if args[at:] else ""
        if not value or value.startswith("-"):
            raise ValueError(f"{name} needs {OPTIONS[name]}")
        values.append(value)
    return values


#: What `check`'s options take.
OPTIONS = {
    "--report": "the file to write, as --report check.html",
    "--parts": "what to check, as --parts activation,loss",
}


def _parts(given: list[str]) -> list[str]:
    """The parts to check. Raises ValueError for one that there is not."""
    from backproof.netcheck.points import CHOICES, PARAMETERS

    named = [name for each in given for name in each.split(",") if name]
    for name in named:
        if name not in (*CHOICES, "all"):
            raise ValueError(
                f"no part is called {name!r}{did_you_mean(name, list(CHOICES))}\n"
                f"There are: {', '.join(CHOICES)}, all"
            )
    return list(CHOICES) if "all" in named else named or [PARAMETERS]


CHECK_HELP = """\
usage: backproof check [--parts LIST] [--json] [--report FILE.html] [KEY=VALUE ...]

Check the hand-derived gradients of an experiment against its loss; nothing is trained or recorded. The keys are
those of `backproof train`. Exit code 0 if every gradient is right, 1 if one is wrong.

  --parts LIST    what to check, of these, by commas (parameters, if nothing is said):
                    parameters  W1, b1, ... at several points, with a diagnosis of what is wrong
                    activation  φ' by itself         loss    ∂Err/∂z by itself
                    penalty     ∂Ω/∂θ by itself      inputs  ∂Err/∂x
                    hessian     second derivatives: Hessian-vector products of the gradient
                    all         all of them
  --json          the report as JSON on stdout
  --report FILE   the report as one HTML page

Try:
  backproof check experiment=cs446
  backproof check activation=gelu model.hidden=[7,5] gradcheck.samples=11
  backproof check --parts activation,hessian activation=gelu
"""


def completion(args: list[str]) -> int:
    """`backproof -sc ...`: what the shell's completion asks, and the script that makes it ask."""
    line = os.environ.get("COMP_LINE", "")
    if any(each.startswith("query=") for each in args) and line:
        from backproof.cli.main import COMMANDS

        words = line.split()
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            print(" ".join(name for name in COMMANDS if name.startswith(words[1] if len(words) > 1 else "")))
            return 0
        if words[1] not in ("train", "check"):
            return 0
        # Hydra completes the words behind the name of an application.
        os.environ["COMP_LINE"] = line.replace(f" {words[1]}", "", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        plugins = registry()
    config.register(plugins)
    _run_hydra(args, _no_job)
    return 0


def _no_job(_: Any) -> None:
    """What Hydra runs when it is asked for completions: it does not."""


@contextlib.contextmanager
def _setup() -> Generator[Registry, None, None]:
    """The plugins, registered with Hydra; a broken one is a line on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        warnings.showwarning = _show_warning
        try:
            plugins = registry()
        except PluginError as error:
            sys.exit(complain(str(error)))
        config.register(plugins)
        with terminate_on_sigterm():
            yield plugins


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"backproof: warning: {message}", file=sys.stderr)


def _guarded(plugins: Registry, action: Callable[[Session], int]) -> int:
    """Run `action` on a new session, and turn what a person can act on into a message and an exit code."""
    session = set_session(Session(plugins))
    try:
        try:
            return action(session)
        except Exception:
            # What a signal raises in the middle of an import comes out as an ImportError.
            check_terminated()
            raise
    except Terminated as error:
        return complain(str(error), SIGTERM)
    except KeyboardInterrupt:
        return complain("stopped by Ctrl-C; what was measured is recorded", CTRL_C)
    except Exception as error:
        explained = explain(error, plugins)
        if explained is None:
            raise
        message, code = explained
        return complain("\n".join([message, *getattr(error, "__notes__", [])]), code)


def _hydra(args: list[str], session: Session) -> int:
    """Hydra's own main. A single run is prepared before Hydra makes its folder: bad input leaves nothing."""
    prepared: dict[str, Any] = {}
    if not any(each.startswith("-") for each in args):
        composed = _compose(args)
        if composed.hydra.mode != RunMode.MULTIRUN:
            prepared["settings"], prepared["experiment"] = session.prepare(_without_hydra(composed))
            writable(Path(composed.hydra.run.dir).absolute())
            prepared["store"] = session.store(prepared["settings"].tracking, prepared["settings"].outputs)
    job = _Job(session, prepared.get("experiment"))
    _run_hydra(args, job)
    if job.failed:
        raise job.failed[0]
    return _swept(session) if session.outcome is not None else 0


class _Job:
    """What Hydra calls for a run or for each point. In another process it is the function that runs a point."""

    def __init__(self, session: Session, prepared: PreparedExperiment | None) -> None:
        self.session, self.prepared = session, prepared
        self.failed: list[Exception] = []

    def __call__(self, cfg: Any) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return sweep_job(cfg)
        try:
            _single(cfg, self.session, self.prepared)
        except Exception as error:  # noqa: BLE001
            # Hydra would write lines of its own above the message; it is raised again by `_hydra`.
            self.failed.append(error)
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A session, with its plugins and its open store, does not travel.
        return _sweep_job, ()


def _sweep_job() -> Callable[[Any], Any]:
    return sweep_job


def _run_hydra(args: list[str], job: Callable[[Any], Any]) -> None:
    """Call Hydra's main with these arguments."""
    before = sys.argv
    sys.argv = [before[0] if "-sc" in args else "backproof train", *args]
    try:
        hydra.main(version_base="1.3", config_path=str(config.conf_dir()), config_name="config")(job)()
    finally:
        sys.argv = before


def _compose(overrides: list[str]) -> Any:
    with hydra.initialize_config_dir(str(config.conf_dir()), version_base="1.3", job_name="backproof"):
        return hydra.compose("config", overrides, return_hydra_config=True)


def _without_hydra(composed: Any) -> Any:
    values = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    return OmegaConf.to_container(values, resolve=True)


def _single(cfg: Any, session: Session, prepared: PreparedExperiment | None) -> None:
    """One run, shown as it goes."""
    chosen, experiment = (
        session.prepare(cfg) if prepared is None else (config.settings(cfg, session.plugins), prepared)
    )
    store = session.store(chosen.tracking, chosen.outputs)
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    out = console()
    terminal = Terminal(out)
    overrides = context.overrides.task
    with Recording(experiment, chosen.tracking, store, folder, overrides, terminal, environment()) as recording:
        result = run(experiment, recording)
    terminal.results(result)
    out.print(f"[bold]files   [/] {_relative(folder)}")
    if recording.run is not None and store is not None:
        name = f"{store.experiment} / {recording.run.name}"
        out.print(f"[bold]recorded[/] {name} in {_relative_uri(store.uri)}")
        out.print(f"[bold]compare [/] {ui_command(chosen.tracking, chosen.outputs)}")


def sweep_job(cfg: Any) -> dict[str, Any]:
    """A job of a sweep, in this process or in a launcher's worker: one point, or some that are trained as a stack.
    What the sweeper is told of it."""
    session = get_session()
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    if cfg.sweep.stacked is not None:
        return {"points": [told for told, _ in jobs.run_stacked(session, cfg, folder)]}
    job = jobs.Job(*session.prepare(cfg), folder, context.overrides.task)
    told, error = jobs.run_points(session, [job])[0]
    if error is not None:
        raise error
    return told


def _swept(session: Session) -> int:
    """The end of a sweep: the best points, what failed, and the exit code."""
    from rich.markup import escape

    from backproof.report.build import log_report

    out, outcome = console(), session.outcome
    # Of several objectives, every point that no other one beats.
    for point in outcome.front or filter(None, [outcome.best]):
        out.print(f"[bold]best    [/] {escape(outcome.describe(point))}")
    counts = {status: len(outcome.of(status)) for status in ("pruned", "not run")}
    if any(counts.values()):
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        out.print(f"[bold]others  [/] {shown} of {len(outcome.runs)} runs")
    if outcome.failed:
        out.print(f"[bold red]failed  [/] {len(outcome.failed)} of {len(outcome.runs)} runs")
        for run in outcome.failed:
            out.print(f"  {outcome.words(run)}\n    {run.error}", markup=False)
    if session.sweep is not None:
        log_report(*session.sweep)
    if session.recorded is not None:
        out.print(f"[bold]compare [/] {ui_command(*session.recorded)}; backproof report writes one page")
    return 1 if outcome.failed else 0


def _check(overrides: list[str], session: Session, as_json: bool, reports: list[str], parts: list[str]) -> int:
    from backproof.experiment import describe
    from backproof.netcheck.points import check_alone
    from backproof.render import check_page, check_tables

    chosen, prepared = session.prepare(_without_hydra(_compose(overrides)))
    report = check_alone(prepared, parts)
    facts = [("dataset", describe.dataset(prepared)), ("network", describe.network(prepared))]
    facts.append(("derivation", chosen.experiment.derivation.name))
    for file in reports:
        Path(file).write_text(check_page.page(report, "Gradient check", facts))
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
        return 0 if report.passed else 1
    out = console()
    samples = chosen.experiment.gradcheck.samples
    out.print(f"[bold]dataset [/] {describe.dataset(prepared)}")
    out.print(f"[bold]network [/] {describe.network(prepared)}, {prepared.net.layout.P:,} parameters")
    out.print(
        f"[bold]samples [/] {'all' if samples is None else min(samples, len(prepared.y))} of the training part"
    )
    for table in check_tables.tables(report):
        out.print(table)
    out.print("[bold]looked at so that a mistake shows[/]")
    for line in check_tables.looked_at(report):
        out.print(f"  {line}")
    remainders = check_tables.taylor(report)
    if remainders:
        out.print("[bold]Taylor remainders[/] [dim](a right gradient: order 2, a wrong one: order 1)[/]")
    for line in remainders:
        out.print(f"  {line}")
    for note in check_tables.notes(report):
        out.print(f"[dim]{note}[/]")
    mark = "[green]✓[/]" if report.passed else "[bold red]✗[/]"
    out.print(f"[bold]gradient[/] {mark} {report.summary()}")
    if not report.passed:
        print(report.failure_message(), file=sys.stderr)
        if report.diagnosis is not None:
            show_diagnosis(console(stderr=True), report.diagnosis)
    return 0 if report.passed else 1


def _relative(folder: Path) -> str:
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _relative_uri(uri: str) -> str:
    return _relative(Path(uri.removeprefix("sqlite:///"))) if uri.startswith("sqlite:///") else uri
