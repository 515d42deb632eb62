"""The progress of a running sweep: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import math
import time
from collections import Counter
from types import TracebackType
from typing import Any

from backproof.render.terminal import console, labelled
from backproof.sweeps.objective import Objective
from backproof.sweeps.result import DONE, FAILED, PRUNED, RunResult

#: Seconds between two lines if the output is not a terminal.
PERIOD = 10.0


class Progress:
    """Counts the results in `points`, the engine's dictionary, as they arrive."""

    def __init__(
        self, total: int | None, timeout: float | None, objective: Objective, points: dict[int, RunResult]
    ) -> None:
        self.total, self.timeout, self.objective, self.points = total, timeout, objective, points
        self.visible = True  # false where the jobs print their own lines
        self.out = console()
        self._started = self._shown = time.monotonic()
        self._known = len(points)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self.visible and self.out.is_terminal:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("sweep   ", "bold", markup=False),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[text]}", markup=False),
            )
            self._bar = Bar(*columns, console=self.out, transient=True)
            self._task = self._bar.add_task("", total=self.total, text="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def print(self, text: str) -> None:
        """Print a job's output above the bar."""
        if text.strip():
            self.out.print(text.rstrip("\n"))

    def show(self, running: int) -> None:
        """Update the bar, or print a line if the last one was PERIOD seconds ago."""
        if self._bar is not None:
            self._bar.update(self._task, completed=len(self.points), text=self.text(running))
        elif self.visible and time.monotonic() - self._shown >= PERIOD:
            self._shown = time.monotonic()
            self.out.print(labelled("sweep", self.text(running)))

    def text(self, running: int) -> str:
        """Return `12 of 50 done, 2 running, 1 failed, best val/accuracy 0.9722, 0:31 left`."""
        counts = Counter(point.status for point in self.points.values())
        parts = [f"{counts[DONE] + counts[PRUNED]}{f' of {self.total}' if self.total else ''} done"]
        parts += [f"{running} running"] if running else []
        parts += [f"{counts[FAILED]} failed"] if counts[FAILED] else []
        name = self.objective.name
        values = [
            run.metrics[name] for run in self.points.values() if run.status == DONE and name in run.metrics
        ]
        best = min(values, key=self.objective.cost, default=math.nan)
        parts += [f"best run {name} {best:.4g}"] if not math.isnan(best) else []
        remaining = self._remaining()
        return ", ".join([*parts, f"{_clock(remaining)} left"] if remaining is not None else parts)

    def _remaining(self) -> float | None:
        """Return the estimated seconds until the end, at most until the time limit."""
        elapsed, ended = time.monotonic() - self._started, len(self.points) - self._known
        estimates: list[float] = []
        if self.total is not None and ended:
            estimates.append(elapsed / ended * (self.total - len(self.points)))
        if self.timeout is not None:
            estimates.append(max(0.0, self.timeout - elapsed))
        return min(estimates, default=None)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
