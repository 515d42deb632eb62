"""The sweeper: Hydra's grid, with every job checked before the first one runs, and a parent run that is ours."""

from __future__ import annotations

import contextlib
import csv
import importlib
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from framework import __version__
from framework.config import Settings
from framework.recorder import command
from framework.show import console
from framework.sweep.session import Session, current
from framework.tracking import Run

NAME = "backproof"


class BackproofSweeper(Sweeper):
    """The grid of Hydra's basic sweeper, `a=1,2,3`, `range` and `glob`, and around it what a sweep of runs needs:

    every point is composed, built and fitted to its data before anything runs; the parent run is opened before and
    closed after the jobs, whatever happens; a job that fails costs the others nothing.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params or {}
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: Launcher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`."""
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        """Run all points; raises nothing for failed jobs: the session's outcome tells."""
        # Hydra executes its own plugins' modules anew when it looks for plugins: a base class or a name from there
        # that is taken before would be another one.
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        config, context, launcher = self.config, self.hydra_context, self.launcher
        if config is None or context is None or launcher is None:
            raise RuntimeError("setup() must be called before sweep()")
        parser = OverridesParser.create(config_loader=context.config_loader)
        parsed = parser.parse_overrides([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        swept = [each.get_key_element() for each in parsed if each.is_sweep_override()]
        batches = BasicSweeper.split_arguments(parsed, self.max_batch_size)
        points = [list(job) for batch in batches for job in batch]
        session = current()
        session.jobs = len(points)
        first = self._validate(points, session)
        store = session.store(first.tracking, first.outputs)
        out = console()
        out.print(f"[bold]sweep   [/] {len(points)} runs over {', '.join(swept) or 'nothing'}")
        folder = Path(config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(config, folder / "multirun.yaml")
        with contextlib.ExitStack() as stack:
            parent: Run | None = None
            if store is not None:
                parent = stack.enter_context(
                    store.start(
                        first.tracking.run_name or f"sweep-{'-'.join(swept) or 'one'}",
                        params={"sweep.points": len(points), "sweep.over": ", ".join(swept)},
                        tags={
                            "backproof.kind": "sweep",
                            "backproof.version": __version__,
                            "mlflow.note.content": f"```\n{command(arguments, sweep=True)}\n```",
                            **first.tracking.tags,
                        },
                        parent=first.tracking.parent,
                    )
                )
                own = [f"tracking.parent={parent.id}", "tracking.run_name=null"]
                batches = [[[*job, *own] for job in batch] for batch in batches]
            returns: list[Sequence[JobReturn]] = []
            done = 0
            for batch in batches:
                returns.append(launcher.launch(batch, initial_job_idx=done))
                done += len(batch)
            outcome = Outcome(
                swept, [_point(job, each) for job, each in zip(points, _flat(returns), strict=True)]
            )
            session.outcome = outcome
            outcome.write(folder)
            if parent is not None and store is not None:
                _close(parent, outcome, folder)
                if outcome.ranked and first.tracking.model:
                    best = outcome.ranked[0].values
                    store.resume(best["run_id"]).model(Path(best["folder"]) / "weights")
        return returns

    def _validate(self, points: list[list[str]], session: Session) -> Settings:
        """Compose and build every point; the settings of the first. An error names the point."""
        found: Settings | None = None
        for overrides in points:
            try:
                chosen, _ = session.prepare(self._compose(overrides))
            except Exception as error:
                if len(points) > 1:
                    error.add_note(f"in the point {' '.join(overrides)} of the sweep; nothing was run")
                raise
            found = found or chosen
        if found is None:
            raise ValueError("the sweep has no points: one of the lists is empty")
        return found

    def _compose(self, overrides: list[str]) -> Any:
        if self.config is None or self.hydra_context is None:
            raise RuntimeError("setup() must be called before sweep()")
        composed = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with_hydra = OmegaConf.to_container(composed, resolve=False)
        values = {key: value for key, value in cast("dict[str, Any]", with_hydra).items() if key != "hydra"}
        return OmegaConf.create(values)


@dataclass(frozen=True)
class Point:
    """One job of a sweep and what came of it."""

    overrides: list[str]
    status: str  # done | failed
    values: dict[str, Any]  # what the job returned
    error: str = ""


@dataclass(frozen=True)
class Outcome:
    """What a sweep came to."""

    swept: list[str]
    points: list[Point]

    @property
    def failed(self) -> list[Point]:
        return [point for point in self.points if point.status == "failed"]

    @property
    def objective(self) -> tuple[str, bool] | None:
        """The metric that points are ranked by, and whether a greater one is better."""
        done = [point for point in self.points if point.status == "done"]
        return (done[0].values["objective"], done[0].values["greater"]) if done else None

    @property
    def ranked(self) -> list[Point]:
        """The points that are done, the best first; those whose metric is no number last."""
        if self.objective is None:
            return []
        name, greater = self.objective
        done = [point for point in self.points if point.status == "done"]

        def key(point: Point) -> tuple[bool, float]:
            value = point.values["metrics"].get(name, float("nan"))
            return value != value, -value if greater else value

        return sorted(done, key=key)

    def write(self, folder: Path) -> None:
        """The table of points as points.csv."""
        metrics = list(dict.fromkeys(name for point in self.points for name in point.values.get("metrics", {})))
        with (folder / "points.csv").open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(["overrides", "status", "run_id", "seconds", *metrics, "error"])
            for point in self.points:
                own = point.values.get("metrics", {})
                rows.writerow(
                    [
                        " ".join(point.overrides),
                        point.status,
                        point.values.get("run_id", ""),
                        point.values.get("seconds", ""),
                        *(own.get(name, "") for name in metrics),
                        point.error,
                    ]
                )


def _close(parent: Run, outcome: Outcome, folder: Path) -> None:
    """What the parent run tells of its points."""
    parent.metrics(
        {"sweep/points": len(outcome.points), "sweep/failed": len(outcome.failed)},
        step=0,
    )
    parent.file(folder / "points.csv")
    parent.file(folder / "multirun.yaml")
    if outcome.ranked and outcome.objective:
        best, (name, _) = outcome.ranked[0], outcome.objective
        value = best.values["metrics"].get(name)
        if value is not None:
            parent.metrics({f"best/{name}": value}, step=0)
        parent.tags(
            {"backproof.best_run": str(best.values["run_id"]), "backproof.best": " ".join(best.overrides)}
        )
    if outcome.failed:
        parent.tags({"backproof.failed": str(len(outcome.failed))})


def _flat(returns: list[Sequence[JobReturn]]) -> Iterator[JobReturn]:
    for batch in returns:
        yield from batch


def _point(overrides: list[str], job: JobReturn) -> Point:
    if job.status == JobStatus.COMPLETED:
        return Point(overrides, "done", cast("dict[str, Any]", job.return_value))
    # `return_value` would raise the job's error, and print it.
    error = cast("object", job._return_value)  # pyright: ignore[reportPrivateUsage]
    return Point(overrides, "failed", {}, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")


def register() -> None:
    """Make `hydra/sweeper=backproof` known to Hydra.

    Hydra takes plugins from a package `hydra_plugins` alone, and finds them by their path in it. Ours is put there
    while the process runs, instead of a top-level folder of the project that holds one line.
    """
    known = Plugins.instance()
    try:
        package = importlib.import_module("hydra_plugins")
    except ImportError:
        package = sys.modules["hydra_plugins"] = types.ModuleType("hydra_plugins")
    module = types.ModuleType(f"{package.__name__}.{NAME}")
    setattr(module, BackproofSweeper.__name__, BackproofSweeper)
    setattr(package, NAME, module)
    sys.modules[module.__name__] = module
    BackproofSweeper.__module__ = module.__name__
    known.register(BackproofSweeper)
    node = {
        "_target_": f"{module.__name__}.{BackproofSweeper.__name__}",
        "max_batch_size": None,
        "params": None,
    }
    ConfigStore.instance().store(group="hydra/sweeper", name=NAME, node=node, provider=NAME)
