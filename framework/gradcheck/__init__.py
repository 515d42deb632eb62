"""Floor 1: the gradient checker. It sees functions of theta only: values, and a gradient that someone derived."""

from framework.gradcheck.compare import Part, check_parts
from framework.gradcheck.function import check
from framework.gradcheck.narrow import compare_dtypes
from framework.gradcheck.options import CheckOptions
from framework.gradcheck.preconditions import Precondition
from framework.gradcheck.report import LOWER, Entry, GradcheckReport, Section, TensorResult
from framework.gradcheck.taylor import TaylorTest, taylor_test

__all__ = [
    "LOWER",
    "CheckOptions",
    "Entry",
    "GradcheckReport",
    "Part",
    "Precondition",
    "Section",
    "TaylorTest",
    "TensorResult",
    "check",
    "check_parts",
    "compare_dtypes",
    "taylor_test",
]
