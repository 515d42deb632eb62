"""Floor 5: the Hydra application. Overrides become a config, then an experiment, then a recorded run."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from framework import config, sweep
from framework.cli import complain
from framework.problems import explain
from framework.recorder import given, record
from framework.registry import PluginError, PluginWarning, Registry, registry
from framework.show import Terminal, console, short_result, show_diagnosis
from framework.tracking import Terminated, terminate_on_sigterm
from framework.training import Pruned

if TYPE_CHECKING:
    from framework.experiment import Prepared

#: Exit codes of what ends a process from outside, as shells have them.
CTRL_C, SIGTERM = 130, 143


def conf_dir() -> Path:
    """The configs: beside the package in a checkout, inside it in a wheel."""
    inside = Path(__file__).parent / "conf"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "conf"


def train(args: list[str]) -> int:
    """`backproof train ...`: one run or a sweep; all of Hydra's own options work."""
    # Hydra prints errors in a form of its own and exits with 1, unless it is asked to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Hydra's parser does not take overrides on both sides of an option.
    args = sorted(map(_quoted, args), key=lambda each: each not in ("-m", "--multirun"))
    with _setup() as plugins:
        return _guarded(plugins, lambda session: _hydra(args, session))


def _quoted(override: str) -> str:
    """An id of a run in quotes: Hydra would read one such as 437367e5 as a number."""
    key, _, value = override.partition("=")
    ids = key in ("sweep.resume", "tracking.parent") and value and set(value) <= set("0123456789abcdef")
    return f"{key}='{value}'" if ids else override


def check(args: list[str]) -> int:
    """`backproof check ...`: the gradient check alone, of fresh parameters and of moved ones."""
    if any(each in ("-h", "--help") for each in args):
        print(CHECK_HELP, end="")
        return 0
    as_json = "--json" in args
    overrides = [each for each in args if each != "--json"]
    reports: list[str] = []
    while "--report" in overrides:
        at = overrides.index("--report")
        reports += overrides[at + 1 : at + 2]
        if not overrides[at + 1 :]:
            return complain(
                f"--report needs the file to write, as --report check.html\n\n{CHECK_HELP.rstrip()}"
            )
        del overrides[at : at + 2]
    flags = [each for each in overrides if each.startswith("-")]
    if flags:
        return complain(f"check has no option {flags[0]!r}\n\n{CHECK_HELP.rstrip()}")
    with _setup() as plugins:
        return _guarded(plugins, lambda session: _check(overrides, session, as_json, reports))


CHECK_HELP = """\
usage: backproof check [--json] [--report FILE.html] [KEY=VALUE ...]

Check the hand-derived gradients of an experiment against its loss; nothing is trained or recorded. The keys are
those of `backproof train`. Exit code 0 if every gradient is right, 1 if one is wrong.

  --json          the report as JSON on stdout
  --report FILE   the report as one HTML page

Try:
  backproof check experiment=cs446
  backproof check activation=gelu model.hidden=[7,5] gradcheck.samples=11
"""


def completion(args: list[str]) -> int:
    """`backproof -sc ...`: what the shell's completion asks, and the script that makes it ask."""
    line = os.environ.get("COMP_LINE", "")
    if any(each.startswith("query=") for each in args) and line:
        from framework.cli import COMMANDS

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
    sweep.register()
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
        sweep.register()
        with terminate_on_sigterm():
            yield plugins


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"backproof: warning: {message}", file=sys.stderr)


def _guarded(plugins: Registry, action: Callable[[sweep.Session], int]) -> int:
    """Run `action` on a new session, and turn what a person can act on into a message and an exit code."""
    session = sweep.use(sweep.Session(plugins))
    try:
        return action(session)
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


def _hydra(args: list[str], session: sweep.Session) -> int:
    """Hydra's own main. A single run is prepared before Hydra makes its folder: bad input leaves nothing."""
    prepared: dict[str, Any] = {}
    if not any(each.startswith("-") for each in args):
        composed = _compose(args)
        if composed.hydra.mode != RunMode.MULTIRUN:
            prepared["settings"], prepared["experiment"] = session.prepare(_without_hydra(composed))
            prepared["store"] = session.store(prepared["settings"].tracking, prepared["settings"].outputs)
    failed: list[BaseException] = []

    def job(cfg: Any) -> Any:
        context = HydraConfig.get()
        if context.mode == RunMode.MULTIRUN:
            return sweep_job(cfg)
        try:
            _single(cfg, session, prepared.get("experiment"))
        except Exception as error:  # noqa: BLE001
            # Hydra would write lines of its own above the message; it is raised again below.
            failed.append(error)
        return None

    _run_hydra(args, job)
    if failed:
        raise failed[0]
    return _swept(session) if session.outcome is not None else 0


def _run_hydra(args: list[str], job: Callable[[Any], Any]) -> None:
    """Call Hydra's main with these arguments."""
    before = sys.argv
    sys.argv = [before[0] if "-sc" in args else "backproof train", *args]
    try:
        hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(job)()
    finally:
        sys.argv = before


def _compose(overrides: list[str]) -> Any:
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3", job_name="backproof"):
        return hydra.compose("config", overrides, return_hydra_config=True)


def _without_hydra(composed: Any) -> Any:
    values = OmegaConf.masked_copy(composed, [key for key in composed if key != "hydra"])
    return OmegaConf.to_container(values, resolve=True)


def _single(cfg: Any, session: sweep.Session, prepared: Prepared | None) -> None:
    """One run, shown as it goes."""
    chosen, experiment = (
        session.prepare(cfg) if prepared is None else (config.settings(cfg, session.plugins), prepared)
    )
    store = session.store(chosen.tracking, chosen.outputs)
    context = HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    out = console()
    terminal = Terminal(out)
    result, run = record(experiment, chosen.tracking, store, folder, context.overrides.task, terminal)
    terminal.results(result)
    out.print(f"[bold]files   [/] {_relative(folder)}")
    if run is not None and store is not None:
        out.print(f"[bold]recorded[/] {store.experiment} / {run.info.run_name} in {_relative_uri(store.uri)}")
        out.print(f"[bold]compare [/] backproof ui{_ui_arguments(chosen)}")


def sweep_job(cfg: Any) -> dict[str, Any]:
    """One point of a sweep, in this process or in a launcher's worker; what the sweeper is told of it."""
    session = sweep.current()
    context = HydraConfig.get()
    chosen, experiment = session.prepare(cfg)
    # Of all points the sweeper logs the model of the best one; the weights of each are kept.
    tracking = dataclasses.replace(chosen.tracking, model=False)
    store = session.store(tracking, chosen.outputs)
    folder = Path(context.runtime.output_dir)
    out = console()
    number = context.job.num - session.first + 1
    label = f"{number}/{session.jobs}" if session.jobs else str(number)
    shown = " ".join(given(context.overrides.task))
    name, greater = experiment.objective
    told: dict[str, Any] = {"objective": name, "greater": greater, "folder": str(folder.absolute())}
    try:
        with sweep.running(folder):
            observer = sweep.observer(chosen.sweep, name)
            result, run = record(experiment, tracking, store, folder, context.overrides.task, observer)
    except Pruned as pruned:
        out.print(f"  {label:>7}  [dim]pruned[/] after epoch {pruned.epoch}  {shown}")
        return told | {"metrics": pruned.metrics, "pruned": True, "seconds": "", "run_id": pruned.run_id}
    except Exception as error:
        out.print(f"  {label:>7}  [red]failed[/]  {shown}\n           {str(error).partition(chr(10))[0]}")
        raise
    out.print(f"  {label:>7}  {short_result(result)}  {shown}")
    return told | {
        "metrics": result.summary,
        "seconds": result.seconds,
        "run_id": run.id if run is not None else "",
        "gradcheck": None if result.report is None else result.report.passed,
    }


def _swept(session: sweep.Session) -> int:
    """The end of a sweep: the best points, what failed, and the exit code."""
    out, outcome = console(), session.outcome
    ranked = outcome.ranked
    if ranked and outcome.objective:
        # Of several objectives, every point that no other one beats.
        for point in outcome.front if len(outcome.objectives) > 1 else ranked[:1]:
            metrics = point.values["metrics"]
            shown = "  ".join(
                f"{each.name} {metrics.get(each.name, math.nan):.4g}" for each in outcome.objectives
            )
            out.print(f"[bold]best    [/] {shown}  {' '.join(point.overrides)}")
    counts = {status: len(outcome.of(status)) for status in ("pruned", "not run")}
    if any(counts.values()):
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        out.print(f"[bold]others  [/] {shown} of {len(outcome.points)} points")
    if outcome.failed:
        out.print(f"[bold red]failed  [/] {len(outcome.failed)} of {len(outcome.points)} runs")
        for point in outcome.failed:
            out.print(f"  {' '.join(point.overrides)}\n    {point.error}")
    out.print("[bold]compare [/] backproof ui")
    return 1 if outcome.failed else 0


def _check(overrides: list[str], session: sweep.Session, as_json: bool, reports: list[str]) -> int:
    from framework import check_page, describe
    from framework.gradcheck.render import notes, table

    chosen, prepared = session.prepare(_without_hydra(_compose(overrides)))
    report = prepared.check_alone()
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
    out.print(table(report))
    for note in notes(report):
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


def _ui_arguments(chosen: config.Settings) -> str:
    """What `backproof ui` needs to open the store that was used."""
    if chosen.tracking.uri:
        return f" --uri {chosen.tracking.uri}"
    return "" if chosen.outputs == config.PlaceOptions().outputs else f" --outputs {chosen.outputs}"
