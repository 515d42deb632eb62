"""A step size that falls at given points."""

from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class Step(Schedule):
    """factor = gamma^(number of points passed). Points are fractions of the training, for any number of epochs."""

    at: tuple[float, ...] = hyper((0.5, 0.75), "fractions of the training at which it falls", gt=0, lt=1)
    gamma: float = hyper(0.1, "the factor at each of these points", gt=0, le=1)

    def factor(self, t: int, total: int) -> float:
        # A quotient, not point * total: 28 / 100 is 0.28, but 0.28 * 100 is above 28.
        return float(self.gamma ** sum(t / total >= point for point in self.at))
