"""Runs recorded in MLflow. The only room that imports MLflow, and late: the import takes almost two seconds."""

from backproof.contracts.errors import TrackingError
from backproof.tracking.environment import environment
from backproof.tracking.options import TrackingOptions
from backproof.tracking.run import Run
from backproof.tracking.run_writer import RunWriter, Starter
from backproof.tracking.signals import Terminated, check_terminated, terminate_on_sigterm
from backproof.tracking.store import Store

__all__ = [
    "Run",
    "RunWriter",
    "Starter",
    "Store",
    "Terminated",
    "TrackingError",
    "TrackingOptions",
    "check_terminated",
    "environment",
    "terminate_on_sigterm",
]
