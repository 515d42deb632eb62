"""Floor 1: the gradient checker. It sees functions of theta only: values, and a gradient that someone derived."""

from framework.gradcheck.compare import Part, check_parts
from framework.gradcheck.function import check, check_elementwise, check_hessian
from framework.gradcheck.narrow import compare_dtypes
from framework.gradcheck.options import CheckOptions
from framework.gradcheck.preconditions import Precondition
from framework.gradcheck.report import ALONE, LOWER, Entry, GradcheckReport, Section, TensorResult
from framework.gradcheck.second import Product, check_products, hessian_vector_product
from framework.gradcheck.taylor import TaylorTest, taylor_test

__all__ = [
    "ALONE",
    "LOWER",
    "CheckOptions",
    "Entry",
    "GradcheckReport",
    "Part",
    "Precondition",
    "Product",
    "Section",
    "TaylorTest",
    "TensorResult",
    "check",
    "check_elementwise",
    "check_hessian",
    "check_parts",
    "check_products",
    "compare_dtypes",
    "hessian_vector_product",
    "taylor_test",
]
