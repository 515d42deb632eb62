"""Datasets: validation, splits, scaling, and batches for a stack of networks."""

from backproof.data.batches import (
    Batches,
    Chunk,
    Slot,
    check_batch_size,
    check_range,
    steps_per_epoch,
    with_ones,
)
from backproof.data.scaling import Scaler
from backproof.data.split import DataOptions, Part, SplitData, split
from backproof.data.validation import validate

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
