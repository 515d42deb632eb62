"""Derivations as index formulas, written as on paper, one for each tensor, in a YAML file:

    W1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N

`parser` parses a formula, `indices` checks its indices statically, `evaluate` computes it with NumPy, and `rule`
holds the formulas of a network. Nothing is evaluated as Python code: a formula is parsed into a tree of the few
elements that it may contain.
"""
