"""How thorough a gradient check is, and what its failure means for a run."""

from __future__ import annotations

from dataclasses import dataclass

from backproof.contracts import hyper
from backproof.contracts.fields import check_fields

STOP, WARN = "stop", "warn"


@dataclass(frozen=True)
class CheckOptions:
    """The gradient check of a run."""

    enabled: bool = hyper(True, "check the gradients at all (gradcheck=off sets this)")
    on_failure: str = hyper(STOP, "stop before training, or warn and train on", choices=(STOP, WARN))
    after_training: bool = hyper(True, "check again at the trained parameters")
    # An odd number unlike the sizes of common layers, so that a product of wrong shape cannot fit by chance.
    samples: int | None = hyper(23, "samples of the training part it uses; null for all", ge=2)
    all_coordinates_up_to: int = hyper(3000, "parameters up to which every single one is checked", ge=0)
    directions: int = hyper(8, "random directions per tensor of a larger network", ge=1)
    coordinates: int = hyper(12, "single entries per tensor of a larger network", ge=0)
    tolerance: float = hyper(1e-12, "relative error allowed per tensor, by norm, beyond rounding", gt=0, lt=1)

    def __post_init__(self) -> None:
        check_fields(self)
