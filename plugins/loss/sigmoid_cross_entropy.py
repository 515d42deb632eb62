"""Sigmoid cross-entropy: two classes with one output, or several independent labels."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, MULTILABEL, Array, Loss, cached_scalar, hyper, is_complex
from numpy.typing import DTypeLike
from scipy.special import expit  # pyright: ignore


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """Err(y, z) = mean over B of Σ_k log(1 + exp(z_k)) − y_k z_k (Cox 1958).

    This is the negative log-likelihood of independent Bernoulli variables; the sum over K is not divided by K.

    Label smoothing ε replaces y by (1 − ε) y + ε / 2 (Szegedy et al. 2016, section 7, for two outcomes).
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    default_for: ClassVar[tuple[str, ...]] = (MULTILABEL,)
    prediction: ClassVar[str] = "probability"

    label_smoothing: float = hyper(0.0, "ε: how far targets are moved towards 1/2", ge=0, lt=1)

    def outputs(self, task: str, targets: int) -> int:
        """Return one output for two classes, and one per label."""
        if task == CLASSIFICATION and targets != 2:
            raise ValueError(
                f"loss=sigmoid_cross_entropy needs two classes, but the dataset has {targets}: "
                "use loss=softmax_cross_entropy"
            )
        return 1 if task == CLASSIFICATION else targets

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Return targets (N, K) from classes 0 and 1 (N,), labels (N, K), or probabilities of either shape."""
        rows = y[:, None] if y.ndim == 1 else y
        if rows.shape[1:] != (K,):
            raise ValueError(f"targets must be (N, {K}), got {y.shape}")
        # NaN fails this comparison, and is rejected.
        if not ((rows >= 0) & (rows <= 1)).all():
            raise ValueError(f"targets must lie between 0 and 1, got {rows.min()} to {rows.max()}")
        return (rows * (1 - self.label_smoothing) + self.label_smoothing / 2).astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        """Use log(1 + exp(z)) = max(z, 0) + log(1 + exp(−|z|)), which does not overflow."""
        if is_complex(z):
            above = np.real(z) > 0
            softplus = np.where(above, z, 0) + np.log1p(np.exp(np.where(above, -z, z)))
        else:
            softplus = np.logaddexp(z, cached_scalar(0, z.dtype))
        return (softplus - y * z).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = (σ(z_k) − y_k) / B."""
        self.link(z, grad)
        np.subtract(grad, y, grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """Write p = σ(z)."""
        if is_complex(z):
            out[...] = 0.5 * (1 + np.tanh(0.5 * z))
        else:
            expit(z, out)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({}, {"label_smoothing": 0.1})
