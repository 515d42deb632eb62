"""The trial: one checker on right and wrong gradients of one kind of function."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from benchmarks.gradcheck.hard.kind import Kind
from benchmarks.gradcheck.hard.mistakes import LOST_TERM, Wrong, wrong
from benchmarks.gradcheck.hard.peers import Peer, Verdict, judged

#: The coarsest resolution with which a gradient of each sort of function may be accepted.
PROMISED = {"smooth": 1e-6, "kinked": 0.02, "rough": 0.02, "step": 0.02}


@dataclass
class Tally:
    """What one checker said of the gradients of one kind."""

    right: Counter[str] = field(default_factory=Counter[str])
    #: Of the mistakes in one entry.
    wrong: Counter[str] = field(default_factory=Counter[str])
    #: Of the lost terms.
    lost: Counter[str] = field(default_factory=Counter[str])
    #: Wrong gradients accepted although their error is above the resolution that was stated.
    beyond: int = 0
    #: Gradients accepted with a resolution coarser than this sort of function allows.
    coarse: int = 0
    #: The coarsest resolution stated of a right gradient that was accepted.
    resolution: float = 0.0
    #: One line for each fault.
    faults: list[str] = field(default_factory=list[str])


def trial(peer: Peer, kind: Kind, seeds: int, *, every: bool = True, limit: float = np.inf) -> Tally:
    """Tally the verdicts on the functions of these seeds; draw no more once `limit` seconds have passed.

    With `every`, each function gets all mistakes in an entry; without, one, and the mistakes take turns."""
    tally, start = Tally(), time.process_time()
    for seed in range(seeds):
        if time.process_time() - start > limit:
            tally.faults.append(f"stopped after {seed} of {seeds} functions: {limit:.0f} s have passed")
            break
        verdict = judged(peer, *kind.make(np.random.default_rng(seed)))
        tally.right[verdict.outcome] += 1
        if verdict.outcome == "accepted":
            tally.resolution = float(np.fmax(tally.resolution, verdict.resolution))
        _note(tally, kind, f"seed {seed}: right gradient", verdict, None)
        mistakes = wrong(kind, seed)
        in_entry = [planted for planted in mistakes if planted.mistake != LOST_TERM]
        chosen = in_entry if every else [in_entry[seed % len(in_entry)]]
        for planted in [*chosen, *(planted for planted in mistakes if planted.mistake == LOST_TERM)]:
            verdict = judged(peer, planted.f, planted.theta)
            (tally.lost if planted.mistake == LOST_TERM else tally.wrong)[verdict.outcome] += 1
            _note(tally, kind, f"seed {seed}: {planted.mistake}", verdict, planted)
    return tally


def _note(tally: Tally, kind: Kind, what: str, verdict: Verdict, planted: Wrong | None) -> None:
    """Note the verdict if it is a fault."""
    if verdict.outcome != "accepted":
        if planted is None or verdict.outcome != "rejected":
            tally.faults.append(f"{what}: {verdict.outcome}: {' '.join(verdict.message.split())[:300]}")
        return
    # A checker that states no resolution claims that what it accepts is right.
    unseen = (
        {}
        if planted is None
        else {
            name: error
            for name, error in planted.errors.items()
            if not error <= verdict.resolutions.get(name, 0)
        }
    )
    if unseen:
        tally.beyond += 1
        name, error = max(unseen.items(), key=lambda item: item[1])
        stated = verdict.resolutions.get(name, np.nan)
        tally.faults.append(f"{what}: accepted with an error of {error:.0e}, stated resolution {stated:.0e}")
    elif verdict.resolution > PROMISED[kind.expect]:
        tally.coarse += 1
        tally.faults.append(f"{what}: coarse: resolution {verdict.resolution:.0e}")
