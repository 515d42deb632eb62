"""The trial: every checker on right and wrong gradients of every kind of function."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from benchmarks.gradcheck.hard.kind import Kind
from benchmarks.gradcheck.hard.mistakes import wrong
from benchmarks.gradcheck.hard.peers import Peer, judged

#: The coarsest resolution with which a gradient of each sort of function may be accepted.
PROMISED = {"smooth": 1e-6, "kinked": 0.02, "rough": 0.02, "step": 0.02}


@dataclass
class Tally:
    """What one checker said of the gradients of one kind."""

    right: Counter[str] = field(default_factory=Counter[str])
    wrong: Counter[str] = field(default_factory=Counter[str])
    #: Wrong gradients accepted although their error is above the resolution that was stated.
    beyond: int = 0
    #: Gradients accepted with a resolution coarser than this sort of function allows.
    coarse: int = 0
    #: The coarsest resolution stated of a right gradient that was accepted.
    resolution: float = 0.0
    #: What it got wrong, by seed.
    faults: list[str] = field(default_factory=list[str])


def trial(peer: Peer, kind: Kind, seeds: int) -> Tally:
    tally = Tally()
    for seed in range(seeds):
        verdict = judged(peer, *kind.make(np.random.default_rng(seed)))
        tally.right[verdict.outcome] += 1
        if verdict.outcome == "accepted":
            tally.resolution = float(np.fmax(tally.resolution, verdict.resolution))
            if verdict.resolution > PROMISED[kind.expect]:
                tally.coarse += 1
                tally.faults.append(f"seed {seed}: right gradient: coarse: resolution {verdict.resolution:.0e}")
        else:
            tally.faults.append(f"seed {seed}: right gradient {verdict.outcome}: {verdict.message}")
        for planted in wrong(kind, seed):
            verdict = judged(peer, planted.f, planted.theta)
            tally.wrong[verdict.outcome] += 1
            # A checker that states no resolution claims that what it accepts is right.
            if verdict.outcome == "accepted" and not planted.error <= verdict.resolution:
                tally.beyond += 1
                stated = (
                    f"accepted with an error of {planted.error:.0e}, stated resolution {verdict.resolution:.0e}"
                )
                tally.faults.append(f"seed {seed}: {planted.mistake}: {stated}")
            elif verdict.outcome == "accepted" and verdict.resolution > PROMISED[kind.expect]:
                tally.coarse += 1
                tally.faults.append(
                    f"seed {seed}: {planted.mistake}: coarse: resolution {verdict.resolution:.0e}"
                )
            elif verdict.outcome not in ("rejected", "accepted"):
                tally.faults.append(f"seed {seed}: {planted.mistake}: {verdict.outcome}: {verdict.message}")
    return tally
