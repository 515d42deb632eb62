"""The sweeper: every point checked before the first one runs, a parent run that is ours, and nothing run twice."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from backproof import __version__
from backproof.app.session import get_session, processors, writable
from backproof.app.sweep_options import AUTO, GRID, OFF, ON
from backproof.contracts.errors import InvalidValue, TrackingError
from backproof.render.terminal import print_status
from backproof.sweeps import resume
from backproof.sweeps.engines.launcher import AsyncLauncher, BatchLauncher
from backproof.sweeps.execute import SweepExecution
from backproof.sweeps.locks import sweeping, writer_lock
from backproof.sweeps.plan import Plan, Planner
from backproof.sweeps.worker_check import SameCode, WritableStore
from backproof.tracking import Run, Store, Writer
from backproof.tracking.recorder import command
from backproof.tracking.schema import SWEEP, Tag

NAME = "backproof"
#: Stacked points from which on a process that writes their runs is at work soon enough.
WORTH_A_WRITER = 48


class PointSweeper:
    """The grid of Hydra's basic sweeper, `a=1,2,3`, `range` and `glob`, lists that are walked together, Optuna's
    samplers, and around them what a sweep of runs needs:

    every point is composed, built and fitted to its data before anything runs; the parent run is opened before and
    closed after the jobs, whatever happens; a job that fails costs the others nothing; a sweep that was broken off
    is continued, and ends with exactly the points that were asked for.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params or {}
        self.config: DictConfig | None = None
        self.hydra_context: HydraContext | None = None
        self.launcher: AsyncLauncher | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`."""
        self.config, self.hydra_context = config, hydra_context
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        # Hydra's thin class hides what else our own launcher can do.
        launcher = getattr(launcher, "implementation", launcher)
        self.launcher = launcher if isinstance(launcher, AsyncLauncher) else BatchLauncher(launcher)

    def sweep(self, arguments: list[str]) -> Any:
        """Run all points; raises nothing for failed jobs: the session's outcome tells."""
        if self.config is None or self.hydra_context is None or self.launcher is None:
            raise RuntimeError("setup() must be called before sweep()")
        config, session = self.config, get_session()
        planner = Planner(config, self.hydra_context, session, keeps=self.launcher.in_process)
        plan = planner.plan([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        if plan.options.resume not in (AUTO, OFF) and plan.settings.tracking.enabled:
            # Where nothing is recorded there is nothing to go on with, and nothing is made.
            try:
                Store.find(plan.settings.tracking, Path(plan.settings.outputs))
            except TrackingError as error:
                raise InvalidValue("sweep.resume", plan.options.resume, f"auto or off: {error}") from None
        folder = Path(config.hydra.sweep.dir).absolute()
        writable(folder)
        with contextlib.ExitStack() as stack:
            # Begun now, so that it imports MLflow while this process does.
            writer = stack.enter_context(Writer()) if _worth_a_writer(plan, self.launcher) else None
            store = session.store(plan.settings.tracking, plan.settings.outputs)
            earlier = self._earlier(plan, store)
            for each in {folder, earlier.folder or folder} if earlier else {folder}:
                stack.enter_context(sweeping(each))
            if earlier is not None and store is not None:
                earlier = resume.finalize_dead_runs(store, earlier, print_status)
            OmegaConf.save(config, folder / "multirun.yaml")
            if not self.launcher.blocking:
                most = plan.options.n_trials if plan.adaptive else len(plan.points)
                tracking = dataclasses.replace(plan.settings.tracking, uri=store.uri if store else None)
                can_record = WritableStore(str(folder), tracking, plan.settings.outputs)
                stack.enter_context(self.launcher.at_work(most, SameCode(), can_record))
            parent = (
                stack.enter_context(self._parent(plan, store, earlier, folder, arguments)) if store else None
            )
            if writer is not None and store is not None:
                stack.enter_context(writer.at_work(store, writer_lock(folder)))
                session.writer = writer
                stack.callback(setattr, session, "writer", None)
            returned = SweepExecution(planner, plan, folder, store, parent, earlier).run(
                self.launcher, self.max_batch_size
            )
            if parent is not None:
                parent.tags({Tag.NOTE: f"{_note(arguments)}\n\n{session.outcome.markdown()}"})
            return returned

    def _earlier(self, plan: Plan, store: Store | None) -> resume.PreviousSweep | None:
        """The sweep that this one goes on with, and a line that says so."""
        given = plan.options.resume
        if store is None:
            if given not in (AUTO, OFF):
                raise InvalidValue("sweep.resume", given, "a store that has the sweep: tracking=off has none")
            return None
        found = resume.earlier(store, given, plan.hash, plan.complete, print_status)
        if found is None:
            return None
        tags = found.parent.tags
        if plan.adaptive or Tag.SPACE_HASH in tags:
            if tags.get(Tag.SPACE_HASH) != (plan.space_hash if plan.adaptive else None):
                raise InvalidValue(
                    "sweep.resume",
                    given,
                    f"a sweep with the same space, sampler, seed and objectives; {found.parent.name} has others",
                )
        elif tags.get(Tag.SWEEP_HASH) != plan.hash and found.children:
            hashes = {child.tags.get(Tag.CONFIG_HASH) for child in found.children}
            if not hashes & {point.hash for point in plan.points}:
                raise InvalidValue(
                    "sweep.resume", given, f"a sweep of these points; {found.parent.name} has none"
                )
        total = plan.options.n_trials if plan.adaptive else len(plan.points)
        done = len(found.finished) if plan.adaptive else len(found.match(plan.points))
        print_status(
            f"resumed {found.parent.name} ({found.parent.id[:8]}): "
            f"{done}{f' of {total}' if total else ''} points are done"
            + ("; sweep.resume=off starts afresh" if given == AUTO else "")
        )
        return found

    def _parent(
        self, plan: Plan, store: Store, earlier: resume.PreviousSweep | None, folder: Path, arguments: list[str]
    ) -> Run:
        """The run above the points, new or opened again."""
        tracking, options, swept = plan.settings.tracking, plan.options, plan.space.swept
        tags = {
            Tag.SWEEP_HASH: plan.hash,
            Tag.FOLDER: str(folder),
            Tag.HOST: socket.gethostname(),
            Tag.OBJECTIVE: ",".join(each.name for each in plan.wanted),
            Tag.DIRECTION: ",".join(each.direction for each in plan.wanted),
            Tag.NOTE: _note(arguments),
            **({Tag.SPACE_HASH: plan.space_hash} if plan.adaptive else {}),
        }
        if earlier is not None:
            resume.reopen(store, earlier, tags)
            return store.resume(earlier.parent.id)
        sampling: dict[str, Any] = {} if options.sampler == GRID else {"sweep.seed": options.seed}
        if plan.adaptive:
            sampling |= {"sweep.n_trials": options.n_trials, "sweep.timeout": options.timeout}
        return store.start(
            tracking.run_name or f"sweep-{plan.space.title}",
            params={
                **({} if plan.adaptive else _counts(plan)),
                "sweep.over": ", ".join(swept),
                "sweep.sampler": options.sampler,
                **sampling,
                **({"sweep.space": plan.space.conditional.text} if plan.space.conditional else {}),
                **{f"space.{_legal(name)}": text for name, text in plan.space.texts.items()},
            },
            tags={Tag.KIND: SWEEP, Tag.VERSION: __version__, **tags, **tracking.tags},
            parent=tracking.parent,
        )


def _counts(plan: Plan) -> dict[str, int]:
    return {"sweep.runs": len(plan.points), "sweep.points": len({run.point for run in plan.points})}


def _worth_a_writer(plan: Plan, launcher: AsyncLauncher) -> bool:
    """Whether a process of its own writes the runs."""
    if not launcher.in_process or not plan.settings.tracking.enabled:
        return False
    if plan.options.writer != AUTO:
        return plan.options.writer == ON
    stacked = sum(point.alike is not None for point in plan.points)
    return stacked >= WORTH_A_WRITER and processors() > 1


def _note(arguments: list[str]) -> str:
    """The description of the sweep in the UI."""
    return f"```\n{command(arguments, sweep=True)}\n```"


def _legal(name: str) -> str:
    """A name that MLflow takes for a parameter."""
    return "".join(each if each.isalnum() or each in "_-./ :" else "_" for each in name)
