"""The overrides of a sweep's jobs: those of their runs, and those that the sweeper adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from backproof.sweeps.jobs import Stack
from backproof.sweeps.plan import Plan
from backproof.sweeps.planned import Batch, name_of
from backproof.sweeps.search import Study


@dataclass
class JobOverrides:
    """Writes the overrides of jobs; tracking.recorder.OF_THE_SWEEPER lists the keys that it adds."""

    plan: Plan
    folder: Path  # of the sweep
    parent: str | None
    folder_of: Callable[[list[str], int], list[str]]  # returns the override that names a job's folder
    #: The index of the run that is checked entry by entry, by stack.
    _checked: dict[int | None, int] = field(default_factory=dict[int | None, int])

    def of(self, batch: Batch, number: int, study: Study | None) -> list[str]:
        """Return the overrides of a job: those of its first run, and those that the sweeper adds."""
        run, swept = batch[0], self.plan.space.swept
        job = [*run.overrides]
        if study is not None and study.prunes and run.trial is not None:
            job += [
                f"sweep.study={_quoted(f'{study.file}#{run.trial}')}",
                f"sweep.pruner={self.plan.options.pruner}",
                f"sweep.objective={_quoted(self.plan.wanted[0].name)}",
            ]
        if self.parent is not None:
            name = name_of(run.overrides, swept)
            job += [
                f"tracking.parent='{self.parent}'",
                f"++tracking.run_name={_quoted(name) if name else 'null'}",
            ]
        every_entry = self._checked.setdefault(run.stack, run.index) == run.index
        if len(batch) > 1:
            file = self.folder / "stacks" / f"{number}.json"
            Stack(batch, swept, every_entry).write(file)
            job.append(f"sweep.stacked={_quoted(str(file))}")
        elif self.parent is not None:
            tags = ",".join(f"{key}:{_quoted(value)}" for key, value in run.tags.items())
            job.append(f"++tracking.tags={{{tags}}}")
        return [*job, *self.folder_of(job, number)]


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
