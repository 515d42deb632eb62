"""How far a sweep has come, while it is at work: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import time
from collections import Counter
from types import TracebackType
from typing import Any

from backproof.render.terminal import console
from backproof.sweeps.result import DONE, FAILED, PRUNED, Objective, RunResult

#: Seconds between two lines where there is no terminal.
PERIOD = 10.0


class Progress:
    """Counts the points as they come in; `points` is the sweep's own and grows."""

    def __init__(
        self, total: int | None, timeout: float | None, objective: Objective, points: dict[int, RunResult]
    ) -> None:
        self.total, self.timeout, self.objective, self.points = total, timeout, objective, points
        self.visible = True  # false where jobs show themselves
        self.out = console()
        self._started = self._shown = time.monotonic()
        self._known = len(points)
        self._bar: Any = None

    def __enter__(self) -> Progress:
        if self.visible and self.out.is_terminal:
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = (
                TextColumn("[bold]sweep   [/]"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[text]}"),
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
        """Lines of a job, above the bar."""
        if text.strip():
            self.out.print(text.rstrip("\n"), markup=False)

    def show(self, running: int) -> None:
        """Bring the bar up to date, or write a line if it is time for one."""
        if self._bar is not None:
            self._bar.update(self._task, completed=len(self.points), text=self.text(running))
        elif self.visible and time.monotonic() - self._shown >= PERIOD:
            self._shown = time.monotonic()
            self.out.print(f"[bold]sweep   [/] {self.text(running)}")

    def text(self, running: int) -> str:
        """`12 of 50 done, 2 running, 1 failed, best val/accuracy 0.9722, 0:31 left`."""
        counts = Counter(point.status for point in self.points.values())
        parts = [f"{counts[DONE] + counts[PRUNED]}{f' of {self.total}' if self.total else ''} done"]
        parts += [f"{running} running"] if running else []
        parts += [f"{counts[FAILED]} failed"] if counts[FAILED] else []
        best = self._best()
        parts += [f"best run {self.objective.name} {best:.4g}"] if best is not None else []
        left = self._left()
        return ", ".join([*parts, f"{_clock(left)} left"] if left is not None else parts)

    def _best(self) -> float | None:
        name, sign = self.objective.name, -1 if self.objective.greater else 1
        values = [p.values["metrics"].get(name, math.nan) for p in self.points.values() if p.status == DONE]
        known = [value for value in values if not math.isnan(value)]
        return min(known, key=lambda value: sign * value, default=None)

    def _left(self) -> float | None:
        """Seconds, as the points took until now; at most until the time limit."""
        passed, ended = time.monotonic() - self._started, len(self.points) - self._known
        known: list[float] = []
        if self.total is not None and ended:
            known.append(passed / ended * (self.total - len(self.points)))
        if self.timeout is not None:
            known.append(max(0.0, self.timeout - passed))
        return min(known, default=None)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
