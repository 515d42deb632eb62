"""Names for the mistakes in a layer's backward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backproof.gradcheck.layers import Layer


def named_mistakes(layer: Layer) -> list[str]:
    """Return what is wrong with a layer whose gradients are wrong, where it is a common mistake."""
    return []
