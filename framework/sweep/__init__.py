"""Floor 4: sweeps. The sweeper is a Hydra plugin of ours that owns the run above its points."""

from framework.sweep.alive import running
from framework.sweep.pruning import observer
from framework.sweep.session import Session, Silent, current, use, writable
from framework.sweep.sweeper import BackproofSweeper, register

__all__ = [
    "BackproofSweeper",
    "Session",
    "Silent",
    "current",
    "observer",
    "register",
    "running",
    "use",
    "writable",
]
