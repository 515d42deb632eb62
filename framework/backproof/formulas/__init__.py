"""Derivations as index formulas. A person writes them as on paper, one for each tensor, in a YAML file:

    W1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N

`parser` reads a formula, `indices` checks its indices before any number is computed, `evaluate` computes it with
NumPy, and `rule` holds the formulas of a network. Nothing is evaluated as Python: a formula is parsed into a tree
of the few elements that it may contain.
"""
