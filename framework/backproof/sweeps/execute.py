"""A sweep at work: what is left to run is run, and the run above it tells what came of it."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backproof.app.session import Session, processors
from backproof.app.sweep_options import NO_PRUNER
from backproof.contracts.errors import TrackingError
from backproof.experiment.describe import counted
from backproof.render.terminal import print_status
from backproof.sweeps import resume, search
from backproof.sweeps.engines.engine import Engine, line, packed
from backproof.sweeps.engines.job_overrides import JobOverrides
from backproof.sweeps.engines.launcher import AsyncLauncher
from backproof.sweeps.plan import Plan, Planner
from backproof.sweeps.planned import PlannedRun, digest
from backproof.sweeps.result import FAILED, NOT_RUN, RunResult, SweepResult, sort_records
from backproof.tracking import Run, Store
from backproof.tracking.query import runs
from backproof.tracking.recorder import draw
from backproof.tracking.schema import Artifact, Status, Tag


@dataclass(frozen=True)
class SweepExecution:
    """One go at a sweep: the first, or one that continues an earlier one."""

    planner: Planner
    plan: Plan
    folder: Path
    store: Store | None
    parent: Run | None
    earlier: resume.PreviousSweep | None

    @property
    def session(self) -> Session:
        return self.planner.session

    def run(self, launcher: AsyncLauncher, most: int | None) -> Any:
        """Run what is left, `most` at once, and record the result in the parent run, however it ends."""
        plan, parent, engine = self.plan, self.parent, self._engine(launcher, most)
        points = engine.points
        try:
            if plan.adaptive:
                self._search(engine, self._study(engine), points)
            else:
                if plan.options.pruner != NO_PRUNER:
                    self._study(engine)
                self._enumerate(engine, points)
            # While the last runs are still being written.
            self._draw(self._result(points))
        finally:
            self.session.wait_until_written()
            points |= {i: self._recorded(point) for i, point in points.items()}
            # What was interrupted is told as far as it came.
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
            # Another point may be the best now, if a run could not be recorded.
            self._draw(result)
            self._complete(self.store, result)
            parent.flush()
            self.session.sweep = self.store, parent.id
            if result.failed and (engine.stopped or not result.ranked):
                parent.finish(Status.FAILED)
        return engine.returns

    def _result(self, points: dict[int, RunResult]) -> SweepResult:
        return SweepResult(self.plan.space.swept, [points[i] for i in sorted(points)], self.plan.wanted)

    def _recorded(self, point: RunResult) -> RunResult:
        """The point, failed if its run could not be recorded: what is not recorded has not been done."""
        lost = self.session.lost.get(point.values.get("folder", ""))
        return point if lost is None else RunResult(point.planned, FAILED, {}, line(lost))

    def _missing(self, points: dict[int, RunResult]) -> dict[int, RunResult]:
        """The points that no job has brought back: some of a stack may be recorded as finished all the same."""
        missing = [i for i in range(len(self.plan.points)) if i not in points]
        matched: dict[int, Any] = {}
        if missing and self.parent is not None and self.store is not None:
            known = {point.values.get("run_id") for point in points.values()}
            with contextlib.suppress(TrackingError):  # Without the store nothing more is known of them.
                children = [run for run in runs(self.store, self.parent.id) if run.id not in known]
                now = resume.PreviousSweep(resume.get(self.store, self.parent.id), children)
                matched = now.match([self.plan.points[i] for i in missing])
        planned = [self.plan.points[i] for i in missing]
        return {
            i: RunResult.of_record(matched[j], planned=run) if j in matched else RunResult(run, NOT_RUN)
            for j, (i, run) in enumerate(zip(missing, planned, strict=True))
        }

    def _study(self, engine: Engine) -> search.Study:
        """The study of a search, that of an earlier go where its file is within reach; or of runs to be pruned."""
        plan = self.plan
        left = self.earlier.parent.tags.get(Tag.STUDY) if self.earlier and plan.adaptive else None
        file = Path(left) if left and Path(left).is_file() else self.folder / "study.journal"
        study = search.Study(file, plan.space, plan.options, [each.direction for each in plan.wanted])
        if self.parent is not None:
            self.parent.tags({Tag.STUDY: str(study.file)})
            self.parent.flush()
        engine.study = study
        return study

    def _enumerate(self, engine: Engine, points: dict[int, RunResult]) -> None:
        """Run the points that are not done yet."""
        plan = self.plan
        matched = self.earlier.match(plan.points) if self.earlier else {}
        if self.store is not None:
            resume.renumber(self.store, matched, plan.points)
        for i, run in matched.items():
            points[i] = RunResult.of_record(run, planned=plan.points[i])
        left = [i for i in range(len(plan.points)) if i not in matched]
        self.session.jobs = len(left)
        swept = ", ".join(plan.space.swept)
        planned = [plan.points[i] for i in left]
        stacks = [pack for pack in packed(enumerate(planned), engine.most) if len(pack) > 1]
        print_status(
            counted(len(left), "run")
            + (f" over {swept}" if swept else "")
            + (f", {len(matched)} more are done" if matched else "")
            + (
                f"; {sum(map(len, stacks))} of {len(left)} points as {len(stacks)} stack{'s' * (len(stacks) > 1)}"
                if stacks
                else ""
            )
        )
        self._supersede(planned)
        engine.run(planned, lambda j, point: points.__setitem__(left[j], point), len(plan.points))

    def _search(self, engine: Engine, study: search.Study, points: dict[int, RunResult]) -> None:
        """Ask for points and tell what came of them, until there are enough."""
        plan, most = self.plan, self.plan.options.n_trials
        again = self._recall(study, points)
        self.session.jobs = None if most is None else max(0, most - len(points))
        number = "any number of runs" if self.session.jobs is None else counted(self.session.jobs, "run")
        print_status(f"{number} over {', '.join(plan.space.swept)}, chosen by {plan.options.sampler}")
        places: list[int] = []
        # Positions go on from those of the earlier runs, some of which may have failed.
        children = self.earlier.children if self.earlier else []
        after = max((int(run.tags.get(Tag.INDEX, "-1")) for run in children), default=-1) + 1
        after = max(after, len(points)) - len(points)

        def asked() -> Generator[PlannedRun, None, None]:
            """Points, each chosen when there is room for it."""
            for place in itertools.count(len(points)) if most is None else range(len(points), most):
                if engine.over():
                    return
                trial, params = study.ask(again.pop(0) if again else None)
                overrides = plan.space.at(params)
                try:
                    _, _, planned = self.planner.prepare(overrides, params, trial)
                except Exception as error:  # noqa: BLE001
                    # Choices may exclude each other; that costs this trial alone.
                    study.tell(trial, None)
                    unplanned = PlannedRun(overrides, "", point=digest(overrides))
                    points[place] = RunResult(unplanned, FAILED, {}, f"{type(error).__name__}: {error}")
                    continue
                planned = dataclasses.replace(planned, index=after + place)
                self._supersede([planned])
                places.append(place)
                yield planned

        engine.run(asked(), lambda j, point: points.__setitem__(places[j], point), most)

    def _recall(self, study: search.Study, points: dict[int, RunResult]) -> list[dict[str, Any]]:
        """The points of an earlier go that are done; the parameters of those that are to be run again."""
        if self.earlier is None:
            return []
        known: list[search.Known] = []
        for run in sort_records(self.earlier.finished):
            if (params := resume.params_of(run)) is not None:
                point = RunResult.of_record(run)
                planned = dataclasses.replace(point.planned, overrides=self.plan.space.at(params))
                point = dataclasses.replace(point, planned=planned)
                points[len(points)] = point
                known.append(search.Known(params, point.numbers(self.plan.wanted), run.pruned))
        again = study.settle(known)
        tried = [*again, *(each.params for each in known)]
        for run in self.earlier.children:
            # Of a run that failed, where its study is lost.
            if (params := resume.params_of(run)) and params not in tried:
                again.append(params)
                tried.append(params)
        return again

    def _stack_size(self, launcher: AsyncLauncher) -> int:
        """Return the most runs of a stack: not so many that workers are left without one."""
        most = self.plan.options.stack_size
        if launcher.in_process:
            return most
        workers = processors() if launcher.blocking else launcher.width
        return max(1, min(most, len(self.plan.points) // (2 * workers)))

    def _draw(self, result: SweepResult) -> None:
        """Draw the plots of the best point's run, unless they exist or its files are on another machine."""
        best = result.best_run
        if best is None or self.store is None or not self.plan.settings.tracking.plots:
            return
        if (best.folder / Artifact.WEIGHTS).is_dir() and not (best.folder / Artifact.PLOTS).is_dir():
            draw(self.planner.prepare(best.overrides)[1], best.folder)

    def _complete(self, store: Store, result: SweepResult) -> None:
        """Log plots and model of the best point's run, where its files are on this machine."""
        best, tracking = result.best_run, self.plan.settings.tracking
        if best is None or not (best.folder / Artifact.WEIGHTS).is_dir():
            return
        run = store.resume(best.run_id)
        if (best.folder / Artifact.PLOTS).is_dir():
            run.folder(best.folder / Artifact.PLOTS, Artifact.PLOTS)
        if tracking.model and not resume.has_model(store, run.id):
            run.model(best.folder / Artifact.WEIGHTS)

    def _supersede(self, again: list[PlannedRun]) -> None:
        if self.earlier is not None and self.store is not None:
            resume.supersede(self.store, self.earlier, again)

    def _engine(self, launcher: AsyncLauncher, most: int | None) -> Engine:
        options = self.plan.options
        width = options.batch or most
        if width is None and launcher.blocking:
            one_by_one = self.plan.adaptive or launcher.in_process or options.fail_fast
            width = 1 if one_by_one else None
        parent = self.parent.id if self.parent else None
        numbers = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        return Engine(
            launcher,
            options,
            self.plan.wanted,
            JobOverrides(
                self.plan.space.swept,
                self.folder,
                parent,
                options.pruner,
                self.plan.wanted[0].name,
                self.planner.folder_of,
            ),
            number=max(numbers, default=-1) + 1,
            width=width,
            most=self._stack_size(launcher),
            store=self.store,
            parent=parent,
        )
