"""The same step size throughout."""

from dataclasses import dataclass

from backproof.contracts import Schedule


@dataclass(frozen=True)
class Constant(Schedule):
    """factor = 1."""

    def factor(self, t: int, total: int) -> float:
        return 1.0
