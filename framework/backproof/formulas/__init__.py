"""Floor 1: derivations as index formulas. A person writes them as on paper, one for each tensor, in a YAML file:

    W1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N

`parser` reads a formula, `indices` checks its indices before any number is computed, `evaluate` computes it with
NumPy, `rule` holds the formulas of a network, `file` makes a Derivation of a YAML file. Nothing is evaluated as
Python: a formula is read into a tree of the few things it may hold.
"""

from backproof.formulas.errors import FormulaError, FormulasError
from backproof.formulas.rule import Formula, FormulaDerivation, Rule

__all__ = [
    "Formula",
    "FormulaDerivation",
    "FormulaError",
    "FormulasError",
    "Rule",
]
