"""Floor 4: runs recorded in MLflow. The only room that imports MLflow, and only where it is used: that takes
almost two seconds."""

from framework.tracking.apart import Writer
from framework.tracking.environment import environment
from framework.tracking.options import TrackingError, TrackingOptions
from framework.tracking.run import Run
from framework.tracking.signals import Terminated, check_terminated, terminate_on_sigterm
from framework.tracking.sink import Sink, Starter
from framework.tracking.store import Store

__all__ = [
    "Run",
    "Sink",
    "Starter",
    "Store",
    "Terminated",
    "TrackingError",
    "TrackingOptions",
    "Writer",
    "check_terminated",
    "environment",
    "terminate_on_sigterm",
]
