"""The gradient checker. It sees functions of theta only: values, and a gradient that someone derived.

These are the names that other rooms use. The functions for users, `check` and the others, are imported from
`backproof`: a run that checks its own network does not need their modules, nor `hessian` and `precision`.
"""

from backproof.gradcheck.compare import Part
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.parts import check_parts
from backproof.gradcheck.preconditions import Precondition
from backproof.gradcheck.report import (
    ALONE,
    LOWER,
    Entry,
    GradcheckReport,
    Section,
    TensorResult,
    UntestedWarning,
)
from backproof.gradcheck.taylor import TaylorTest, taylor_test

__all__ = [
    "ALONE",
    "LOWER",
    "CheckOptions",
    "Entry",
    "GradcheckReport",
    "Part",
    "Precondition",
    "Section",
    "TaylorTest",
    "TensorResult",
    "UntestedWarning",
    "check_parts",
    "taylor_test",
]
