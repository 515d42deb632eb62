"""Floor 4: a sweep as a person reads it: its points ranked and compared, and all of it on one HTML page."""

from backproof.report.build import build
from backproof.report.points import Objective, Point, Stat, Sweep, objective_of
from backproof.report.varying import varying

__all__ = ["Objective", "Point", "Stat", "Sweep", "build", "objective_of", "varying"]
