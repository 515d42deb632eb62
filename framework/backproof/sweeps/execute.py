"""Execute a planned sweep: run what is left, and record the result in the parent run."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backproof.app.session import Session
from backproof.app.sweep_options import NO_PRUNER
from backproof.contracts.errors import TrackingError
from backproof.experiment.describe import counted
from backproof.render.terminal import print_status
from backproof.sweeps import resume, search
from backproof.sweeps.engines.engine import Engine, packed
from backproof.sweeps.engines.launcher import AsyncLauncher
from backproof.sweeps.plan import Plan, Planner
from backproof.sweeps.planned import PlannedRun, digest, error_line
from backproof.sweeps.result import FAILED, NOT_RUN, RunResult, SweepResult, sort_records
from backproof.tracking import Run, Store
from backproof.tracking.query import RunRecord, runs
from backproof.tracking.recorder import draw
from backproof.tracking.schema import Artifact, Status, Tag


@dataclass(frozen=True)
class SweepExecution:
    """One attempt at a sweep: the first, or one that continues a previous one."""

    planner: Planner
    plan: Plan
    folder: Path
    store: Store | None
    parent: Run | None
    previous: resume.PreviousSweep | None

    @property
    def session(self) -> Session:
        return self.planner.session

    def run(self, launcher: AsyncLauncher, batch_size: int | None) -> Any:
        """Run what is left, and record the result in the parent run, however the sweep ends."""
        plan, parent = self.plan, self.parent
        engine = Engine(
            launcher,
            self.planner,
            plan,
            self.folder,
            self.store,
            parent.id if parent else None,
            plan.options.batch or batch_size,
        )
        points = engine.points
        try:
            if plan.adaptive:
                self._search(engine, self._study(engine))
            else:
                if plan.options.pruner != NO_PRUNER:
                    self._study(engine)
                self._enumerate(engine)
            # While the last runs are still being written.
            self._draw(self._result(points))
        finally:
            self.session.wait_until_written()
            points |= {i: self._checked_record(point) for i, point in points.items()}
            points |= self._missing(points)
            result = self._result(points)
            self.session.outcome = result
            result.write(self.folder)
            if parent is not None:
                parent.metrics(result.aggregates(), step=0)
                parent.file(self.folder / Artifact.POINTS)
                parent.file(self.folder / Artifact.MULTIRUN)
                parent.tags(result.tags())
        if parent is not None and self.store is not None:
            # Again, since another point is the best if the best one's run could not be recorded.
            self._draw(result)
            self._log_best(self.store, result)
            parent.flush()
            self.session.sweep = self.store, parent.id
            if result.failed and (engine.stopped or not result.ranked):
                parent.finish(Status.FAILED)
        return engine.returns

    def _result(self, points: dict[int, RunResult]) -> SweepResult:
        return SweepResult(self.plan.space.swept, [points[i] for i in sorted(points)], self.plan.wanted)

    def _checked_record(self, point: RunResult) -> RunResult:
        """Return the point as failed if its run could not be recorded."""
        error = self.session.lost.get(point.values.get("folder", ""))
        return point if error is None else RunResult(point.planned, FAILED, {}, error_line(error))

    def _missing(self, points: dict[int, RunResult]) -> dict[int, RunResult]:
        """Return the results of points that no job has returned. Of an interrupted stack, MLflow may have some."""
        missing = [run for run in self.plan.points if run.index not in points]
        recorded: dict[int, RunRecord] = {}
        if missing and self.parent is not None and self.store is not None:
            known = {point.values.get("run_id") for point in points.values()}
            with contextlib.suppress(TrackingError):  # The store is gone, so they count as not run.
                records = [run for run in runs(self.store, self.parent.id) if run.id not in known]
                recorded = resume.match(missing, records)
        return {
            run.index: RunResult.of_record(recorded[run.index], planned=run)
            if run.index in recorded
            else RunResult(run, NOT_RUN)
            for run in missing
        }

    def _study(self, engine: Engine) -> search.Study:
        """Open the study of a search, or of runs to be pruned. A continued search uses its old file."""
        plan = self.plan
        known = self.previous.parent.study if self.previous and plan.adaptive else None
        file = known if known is not None and known.is_file() else self.folder / Artifact.STUDY
        study = search.Study(file, plan.space, plan.options, plan.wanted)
        if self.parent is not None:
            self.parent.tags({Tag.STUDY: str(study.file)})
            self.parent.flush()
        engine.study = study
        return study

    def _enumerate(self, engine: Engine) -> None:
        """Run the planned points that are not done yet."""
        plan = self.plan
        matched = resume.match(plan.points, self.previous.children) if self.previous else {}
        if self.store is not None:
            resume.renumber(self.store, matched, plan.points)
        for i, run in matched.items():
            engine.points[i] = RunResult.of_record(run, planned=plan.points[i])
        planned = [run for run in plan.points if run.index not in matched]
        self.session.jobs = len(planned)
        swept = ", ".join(plan.space.swept)
        stacks = [batch for batch in packed(planned, engine.stack_size) if len(batch) > 1]
        stacked = f"; {sum(map(len, stacks))} of {len(planned)} points as {counted(len(stacks), 'stack')}"
        print_status(
            counted(len(planned), "run")
            + (f" over {swept}" if swept else "")
            + (f", {len(matched)} more are done" if matched else "")
            + (stacked if stacks else "")
        )
        self._supersede(planned)
        engine.run(planned, len(plan.points))

    def _search(self, engine: Engine, study: search.Study) -> None:
        """Run the points that the study chooses, until there are enough."""
        plan, total, points = self.plan, self.plan.options.n_trials, engine.points
        again = self._recall(study, points)
        self.session.jobs = None if total is None else max(0, total - len(points))
        number = "any number of runs" if self.session.jobs is None else counted(self.session.jobs, "run")
        print_status(f"{number} over {', '.join(plan.space.swept)}, chosen by {plan.options.sampler}")
        # Indices continue those of the previous runs, some of which may have failed.
        children = self.previous.children if self.previous else []
        first = max([len(points), *(run.index + 1 for run in children)])

        def chosen() -> Generator[PlannedRun, None, None]:
            """Yield points, each chosen when there is room for it."""
            indices = itertools.count(first)
            for index in indices if total is None else range(first, first + total - len(points)):
                if engine.over():
                    return
                trial, params = study.ask(again.pop(0) if again else None)
                overrides = plan.space.at(params)
                try:
                    _, _, planned = self.planner.prepare(overrides, params, trial)
                except Exception as error:  # noqa: BLE001
                    # Choices may exclude each other; only this trial fails.
                    study.tell(trial, None)
                    unplanned = PlannedRun(overrides, "", point=digest(overrides), index=index)
                    points[index] = RunResult(unplanned, FAILED, {}, f"{type(error).__name__}: {error}")
                    continue
                planned = dataclasses.replace(planned, index=index)
                self._supersede([planned])
                yield planned

        engine.run(chosen(), total)

    def _recall(self, study: search.Study, points: dict[int, RunResult]) -> list[dict[str, Any]]:
        """Add the finished points of the previous sweep. Return the parameters of those to be run again."""
        if self.previous is None:
            return []
        for run in sort_records(self.previous.finished):
            if run.trial is not None and self.plan.space.accepts(run.trial):
                point = RunResult.of_record(run)
                planned = dataclasses.replace(
                    point.planned, overrides=self.plan.space.at(run.trial), index=len(points)
                )
                points[len(points)] = dataclasses.replace(point, planned=planned)
        again = study.settle(list(points.values()))
        tried = [*again, *(point.planned.params for point in points.values())]
        for run in self.previous.children:
            # A failed run whose study is lost.
            if run.trial and run.trial not in tried and self.plan.space.accepts(run.trial):
                again.append(run.trial)
                tried.append(run.trial)
        return again

    def _draw(self, result: SweepResult) -> None:
        """Draw the plots of the best point's run, unless they exist or its files are on another machine."""
        best = result.best_run
        folder = best.folder if best is not None else None
        if best is None or folder is None or self.store is None or not self.plan.settings.tracking.plots:
            return
        if (folder / Artifact.WEIGHTS).is_dir() and not (folder / Artifact.PLOTS).is_dir():
            draw(self.planner.prepare(best.overrides)[1], folder)

    def _log_best(self, store: Store, result: SweepResult) -> None:
        """Log plots and model of the best point's run, where its files are on this machine."""
        best, tracking = result.best_run, self.plan.settings.tracking
        folder = best.folder if best is not None else None
        if best is None or folder is None or not (folder / Artifact.WEIGHTS).is_dir():
            return
        run = store.resume(best.run_id)
        if (folder / Artifact.PLOTS).is_dir():
            run.folder(folder / Artifact.PLOTS, Artifact.PLOTS)
        if tracking.model and not resume.has_model(store, run.id):
            run.model(folder / Artifact.WEIGHTS)

    def _supersede(self, again: list[PlannedRun]) -> None:
        if self.previous is not None and self.store is not None:
            resume.supersede(self.store, self.previous.children, again)
