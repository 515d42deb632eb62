"""backproof: a NumPy multi-layer perceptron whose hand-derived gradients are proven before they are used."""

__version__ = "0.1.0"
