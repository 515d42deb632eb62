"""Floor 4: a sweep as a person reads it: its points ranked and compared, and all of it on one HTML page."""

from framework.reports.build import build
from framework.reports.points import Objective, Point, Stat, Sweep, objective_of
from framework.reports.varying import varying

__all__ = ["Objective", "Point", "Stat", "Sweep", "build", "objective_of", "varying"]
