"""`backproof check`: the gradient check alone, without training or recording."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra

from backproof.app import config
from backproof.app.config import Settings
from backproof.app.single_run import without_hydra
from backproof.cli.train import new_session
from backproof.contracts.errors import UsageError, did_you_mean
from backproof.discovery.guard import guarded
from backproof.experiment import describe
from backproof.experiment.experiment import PreparedExperiment
from backproof.netcheck.points import CHOICES, PARAMETERS, check_alone
from backproof.render import check_page, check_tables
from backproof.render.terminal import console, labelled, show_diagnosis, styled, verdict


def check(
    overrides: Sequence[str], parts: Sequence[str], report: str | None, *, as_json: bool, config_dir: str | None
) -> int:
    """Run `backproof check` and return the exit code: 1 if a gradient is wrong."""
    chosen = _parts(parts)
    file = None if report is None else Path(report)
    # `--report --json` would name the file --json.
    if file is not None and (not file.parent.is_dir() or file.is_dir() or file.name.startswith("-")):
        raise UsageError(f"--report {file}: expected a file in a folder that exists, as --report check.html")
    with new_session() as session:
        settings, prepared = session.prepare(without_hydra(_compose(overrides, config_dir)))
        with guarded():
            result = check_alone(prepared, chosen)
        if file is not None:
            facts = [("dataset", describe.dataset(prepared)), ("network", describe.network(prepared))]
            facts.append(("derivation", settings.experiment.derivation.name))
            file.write_text(check_page.page(result, "Gradient check", facts), encoding="utf-8")
        if as_json:
            print(json.dumps(result.to_dict(), indent=2))
        else:
            _show(settings, prepared, result)
        return 0 if result.passed else 1


def _parts(lists: Sequence[str]) -> list[str]:
    """Return the parts to check. Raise UsageError for an unknown one."""
    names = [name for text in lists for name in text.split(",") if name]
    for name in names:
        if name not in (*CHOICES, "all"):
            raise UsageError(
                f"no part is called {name!r}{did_you_mean(name, CHOICES)}\n"
                f"There are: {', '.join(CHOICES)}, all\n`backproof check --help` explains them"
            )
    return list(CHOICES) if "all" in names else names or [PARAMETERS]


def _compose(overrides: Sequence[str], config_dir: str | None) -> Any:
    """Return the composed config, Hydra's part included."""
    added = [] if config_dir is None else [f"hydra.searchpath=['file://{Path(config_dir).absolute()}']"]
    with hydra.initialize_config_dir(str(config.conf_dir()), job_name="backproof", **config.VERSION_BASE):
        return hydra.compose("config", [*overrides, *added], return_hydra_config=True)


def _show(settings: Settings, prepared: PreparedExperiment, report: Any) -> None:
    """Print the report, with the diagnosis if a gradient is wrong."""
    out, samples = console(), settings.experiment.gradcheck.samples
    out.print(labelled("dataset", describe.dataset(prepared)))
    out.print(labelled("network", f"{describe.network(prepared)}, {prepared.net.layout.P:,} parameters"))
    count = "all" if samples is None else min(samples, len(prepared.y))
    out.print(labelled("samples", f"{count} of the training part"))
    for table in check_tables.tables(report):
        out.print(table)
    out.print("conditions under which a mistake shows", style="bold")
    for line in check_tables.looked_at(report):
        out.print(line)
    remainders = check_tables.taylor(report)
    if remainders:
        orders = ("(order 2 for a right gradient, order 1 for a wrong one)", "dim")
        out.print(styled(("Taylor remainders", "bold"), " ", orders))
    for line in remainders:
        out.print(f"  {line}")
    for note in check_tables.notes(report):
        out.print(note, style="dim")
    out.print(verdict(report.status, report.summary()))
    if not report.passed:
        out.print(report.failure_message() or report.untested_message())
        if report.diagnosis is not None:
            show_diagnosis(out, report.diagnosis)
