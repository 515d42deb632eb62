"""Floor 1: a dataset checked, split and scaled, and served in batches to a stack of networks."""

from framework.data.batches import (
    Batches,
    Chunk,
    Slot,
    check_batch_size,
    check_range,
    steps_per_epoch,
    with_ones,
)
from framework.data.scaling import Scaler
from framework.data.split import DataOptions, Part, SplitData, split
from framework.data.validation import validate

__all__ = [
    "Batches",
    "Chunk",
    "DataOptions",
    "Part",
    "Scaler",
    "Slot",
    "SplitData",
    "check_batch_size",
    "check_range",
    "split",
    "steps_per_epoch",
    "validate",
    "with_ones",
]
