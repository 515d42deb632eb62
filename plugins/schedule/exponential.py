"""Exponential decay."""

from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class Exponential(Schedule):
    """factor = final^(t / total), a straight line on a logarithmic scale."""

    final: float = hyper(0.01, "the factor at the end of the training", gt=0, le=1)

    def factor(self, t: int, total: int) -> float:
        return self.final ** (t / total)
