"""The sweeper: it checks every point before the first one runs, records a parent run, and runs nothing twice."""

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
from backproof.experiment.describe import counted
from backproof.render.terminal import print_status
from backproof.sweeps import resume
from backproof.sweeps.engines.launcher import AsyncLauncher, BatchLauncher
from backproof.sweeps.execute import SweepExecution
from backproof.sweeps.locks import sweeping, writer_lock
from backproof.sweeps.plan import Plan, Planner
from backproof.sweeps.worker_check import SameCode, WritableStore
from backproof.tracking import Run, Store
from backproof.tracking.recorder import command
from backproof.tracking.schema import SWEEP, Tag
from backproof.tracking.writer_process import Writer

NAME = "backproof"
#: The fewest stacked points for which starting a separate writer process saves time.
WORTH_A_WRITER = 48


class PointSweeper:
    """Sweeps over the grid of Hydra's basic sweeper, lists that advance together, and points that Optuna chooses.

    Every point is composed, built and fitted to its data before anything runs. The parent run is opened before the
    jobs and closed after them, whatever happens. A failed job does not affect the others. An interrupted sweep
    resumes, and ends with exactly the points that were requested.
    """

    def __init__(
        self,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
    ) -> None:
        self.context, self.config = context, config
        self.max_batch_size, self.params = max_batch_size, params or {}
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )
        # The thin class that Hydra sees wraps our launcher, which takes jobs one by one.
        launcher = getattr(launcher, "implementation", launcher)
        self.launcher = launcher if isinstance(launcher, AsyncLauncher) else BatchLauncher(launcher)

    def sweep(self, arguments: list[str]) -> Any:
        """Run all points. Failed jobs raise nothing; they are in `Session.outcome`."""
        config, session = self.config, get_session()
        # Before any point is composed: each takes the value of ${now:...} from this config.
        folder = Path(config.hydra.sweep.dir).absolute()
        planner = Planner(config, self.context, session, caches=self.launcher.in_process)
        plan = planner.plan([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        if plan.options.resume not in (AUTO, OFF) and plan.settings.tracking.enabled:
            # Without a store there is no sweep to resume; do not create one.
            try:
                Store.find(plan.settings.tracking, Path(plan.settings.outputs))
            except TrackingError as error:
                raise InvalidValue("sweep.resume", plan.options.resume, f"auto or off: {error}") from None
        writable(folder)
        with contextlib.ExitStack() as stack:
            # Started now, so that it imports MLflow while this process does.
            writer = stack.enter_context(Writer()) if _worth_a_writer(plan, self.launcher) else None
            store = session.store(plan.settings.tracking, plan.settings.outputs)
            store = store.with_root(folder) if store is not None else None
            previous = self._previous(plan, store)
            for locked in {folder, previous.folder or folder} if previous else {folder}:
                stack.enter_context(sweeping(locked))
            if previous is not None and store is not None:
                # Until now, a writer process of the previous attempt may have been running.
                previous = self._settled(store, previous)
                if not plan.options.ignore_code:
                    changed = previous.other_code(session.plugins)
                    resume.mark_superseded(store, changed)
                    previous = previous.without(changed)
            OmegaConf.save(config, folder / "multirun.yaml")
            if not self.launcher.blocking:
                tracking = dataclasses.replace(plan.settings.tracking, uri=store.uri if store else None)
                can_record = WritableStore(str(folder), tracking, plan.settings.outputs)
                stack.enter_context(self.launcher.at_work(plan.total, SameCode(), can_record))
            parent = (
                stack.enter_context(self._parent(plan, store, previous, folder, arguments)) if store else None
            )
            if writer is not None and store is not None:
                stack.enter_context(writer.at_work(store, writer_lock(folder)))
                session.writer = writer
                stack.callback(setattr, session, "writer", None)
            returned = SweepExecution(planner, plan, folder, store, parent, previous).run(
                self.launcher, self.max_batch_size
            )
            if parent is not None:
                parent.tags({Tag.NOTE: f"{_note(arguments)}\n\n{session.outcome.markdown()}"})
            return returned

    def _settled(self, store: Store, previous: resume.PreviousSweep) -> resume.PreviousSweep:
        """Return a previous sweep once none of its runs has a process; what died is marked as KILLED."""
        name = previous.parent.name

        def on_wait(count: int) -> None:
            print_status(f"waiting for {count} runs of {name} that are still going on")

        # The parent too: it stays ended if no worker can be started for it.
        resume.end_dead(store, [previous.parent])
        children = resume.settled_runs(store, previous.parent.id, on_wait=on_wait)
        return resume.PreviousSweep(previous.parent, children)

    def _previous(self, plan: Plan, store: Store | None) -> resume.PreviousSweep | None:
        """Return the sweep that this one resumes, and print a line about it."""
        option = plan.options.resume
        if store is None:
            if option not in (AUTO, OFF):
                raise InvalidValue("sweep.resume", option, "a sweep in the store, but tracking=off uses none")
            return None
        previous = resume.find_previous(store, option, plan.hash, plan.complete, print_status)
        if previous is not None and not plan.options.ignore_code:
            previous = self._same_code(plan, previous)
        if previous is None:
            return None
        tags = previous.parent.tags
        if plan.adaptive or Tag.SPACE_HASH in tags:
            if tags.get(Tag.SPACE_HASH) != (plan.space_hash if plan.adaptive else None):
                raise InvalidValue(
                    "sweep.resume",
                    option,
                    f"a sweep with the same space, sampler, seed and objectives, unlike {previous.parent.name}",
                )
        elif tags.get(Tag.SWEEP_HASH) != plan.hash and previous.children:
            hashes = {child.tags.get(Tag.CONFIG_HASH) for child in previous.children}
            if not hashes & {point.hash for point in plan.points}:
                raise InvalidValue(
                    "sweep.resume", option, f"a sweep of these points; {previous.parent.name} has none of them"
                )
        print_status(
            f"resumed {previous.parent.name} ({previous.parent.id[:8]}): "
            f"{plan.done(previous)}{f' of {plan.total}' if plan.total else ''} points are done"
            + ("; sweep.resume=off starts a new sweep" if option == AUTO else "")
        )
        return previous

    def _same_code(self, plan: Plan, previous: resume.PreviousSweep) -> resume.PreviousSweep | None:
        """Return a previous sweep without the runs that were made with other code, and print a line about them.

        A search whose points were chosen by the results of other code is not continued.
        """
        changed = previous.other_code(get_session().plugins)
        if not changed:
            return previous
        names = ", ".join(sorted({name for names in changed.values() for name in names}))
        why, keep = f"the code of {names} has changed since", "sweep.ignore_code=true"
        if not plan.adaptive:
            runs = counted(len(changed), "run")
            print_status(f"{why}: {runs} of {previous.parent.name} no longer count; {keep} keeps them")
            return previous.without(changed)
        if plan.options.resume != AUTO:
            expected = f"a search made with the same code; {why}, and {keep} continues it"
            raise InvalidValue("sweep.resume", plan.options.resume, expected)
        print_status(f"{why} {previous.parent.name}: a new search; {keep} continues the old one")
        return None

    def _parent(
        self,
        plan: Plan,
        store: Store,
        previous: resume.PreviousSweep | None,
        folder: Path,
        arguments: list[str],
    ) -> Run:
        """Return the parent run, new or reopened."""
        tracking, options, swept = plan.settings.tracking, plan.options, plan.space.swept
        tags = {
            Tag.SWEEP_HASH: plan.hash,
            Tag.FOLDER: str(folder),
            Tag.HOST: socket.gethostname(),
            Tag.OBJECTIVE: ",".join(objective.name for objective in plan.wanted),
            Tag.DIRECTION: ",".join(objective.direction for objective in plan.wanted),
            Tag.NOTE: _note(arguments),
            **({Tag.SPACE_HASH: plan.space_hash} if plan.adaptive else {}),
        }
        if previous is not None:
            resume.reopen(store, previous, tags)
            return store.resume(previous.parent.id)
        counts: dict[str, float | None]
        if plan.adaptive:
            counts = {"sweep.n_trials": options.n_trials, "sweep.timeout": options.timeout}
        else:
            points = {run.point for run in plan.points}
            counts = {"sweep.runs": len(plan.points), "sweep.points": len(points)}
        return store.start(
            tracking.run_name or f"sweep-{plan.space.title}",
            params={
                **counts,
                "sweep.over": ", ".join(swept),
                "sweep.sampler": options.sampler,
                **({} if options.sampler == GRID else {"sweep.seed": options.seed}),
                **({"sweep.space": plan.space.conditional.text} if plan.space.conditional else {}),
                **{f"space.{_legal(name)}": text for name, text in plan.space.texts.items()},
            },
            tags={Tag.KIND: SWEEP, Tag.VERSION: __version__, **tags, **tracking.tags},
            parent=tracking.parent,
        )


def _worth_a_writer(plan: Plan, launcher: AsyncLauncher) -> bool:
    """Return whether a separate process should write the runs."""
    if not launcher.in_process or not plan.settings.tracking.enabled:
        return False
    if plan.options.writer != AUTO:
        return plan.options.writer == ON
    stacked = sum(point.stack is not None for point in plan.points)
    return stacked >= WORTH_A_WRITER and processors() > 1


def _note(arguments: list[str]) -> str:
    """Return the description of the sweep in MLflow."""
    return f"```\n{command(arguments, sweep=True)}\n```"


def _legal(name: str) -> str:
    """Return the name of a parameter with the characters that MLflow allows."""
    return "".join(letter if letter.isalnum() or letter in "_-./ :" else "_" for letter in name)
