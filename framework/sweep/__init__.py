"""Floor 4: sweeps. The sweeper is a Hydra plugin of ours that owns the run above its points."""

from framework.sweep.dask_launcher import ClusterLost
from framework.sweep.jobs import Job, run_points, run_stacked
from framework.sweep.session import Session, Silent, current, use, writable
from framework.sweep.sweeper import BackproofSweeper, register

__all__ = [
    "BackproofSweeper",
    "ClusterLost",
    "Job",
    "Session",
    "Silent",
    "current",
    "register",
    "run_points",
    "run_stacked",
    "use",
    "writable",
]
