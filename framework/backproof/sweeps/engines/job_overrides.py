"""The overrides of a sweep's jobs: those of their runs, and those that the sweeper adds."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from backproof.sweeps.jobs import Member, Stack
from backproof.sweeps.plan import Plan
from backproof.sweeps.planned import PlannedRun, name_of
from backproof.sweeps.search import Study
from backproof.tracking.schema import Tag

#: The runs of a job, each with its position in the sweep.
Batch = list[tuple[int, PlannedRun]]


@dataclass
class JobOverrides:
    """Writes the overrides of jobs; tracking.recorder.OF_THE_SWEEPER lists the keys that it adds."""

    plan: Plan
    folder: Path  # of the sweep
    parent: str | None
    folder_of: Callable[[list[str], int], list[str]]  # returns the override that names a job's folder
    #: The position of the run that is checked entry by entry, by stack.
    _checked: dict[int | None, int] = field(default_factory=dict[int | None, int])

    def of(self, batch: Batch, number: int, study: Study | None, trial: int | None) -> list[str]:
        """Return the overrides of a job: those of its first run, and those that the sweeper adds."""
        position, planned = batch[0]
        job = [*planned.overrides]
        if study is not None and study.prunes and trial is not None:
            job += [
                f"sweep.study={_quoted(f'{study.file}#{trial}')}",
                f"sweep.pruner={self.plan.options.pruner}",
                f"sweep.objective={_quoted(self.plan.wanted[0].name)}",
            ]
        if self.parent is not None:
            name = name_of(planned.overrides, self.plan.space.swept)
            job += [
                f"tracking.parent='{self.parent}'",
                f"++tracking.run_name={_quoted(name) if name else 'null'}",
            ]
        every_entry = self._checked.setdefault(planned.stack, position) == position
        if len(batch) > 1:
            file = self.folder / "stacks" / f"{number}.json"
            Stack([self._member(run) for _, run in batch], every_entry).write(file)
            job.append(f"sweep.stacked={_quoted(str(file))}")
        elif tags := self._tags(planned):
            job.append(f"++tracking.tags={{{','.join(f'{key}:{_quoted(tags[key])}' for key in tags)}}}")
        return [*job, *self.folder_of(job, number)]

    def _member(self, planned: PlannedRun) -> Member:
        """Return a run as a member of a stack."""
        name = name_of(planned.overrides, self.plan.space.swept)
        return Member(planned.overrides, list(planned.values), self._tags(planned), name)

    def _tags(self, planned: PlannedRun) -> dict[str, str]:
        """Return the tags that identify a run under its parent."""
        if self.parent is None:
            return {}
        return {
            Tag.POINT: planned.digest,
            Tag.INDEX: str(planned.index),
            **({Tag.SEEDS: str(planned.seeds)} if planned.seeds > 1 else {}),
            **({} if planned.params is None else {Tag.TRIAL: json.dumps(planned.params)}),
        }


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
