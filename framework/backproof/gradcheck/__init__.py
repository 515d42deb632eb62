"""The gradient checker. It sees functions of theta only: values, and a gradient that someone derived."""

from backproof.gradcheck.check import check
from backproof.gradcheck.compare import Part, check_parts
from backproof.gradcheck.elementwise import check_elementwise
from backproof.gradcheck.hessian import Product, check_products, hessian_vector_product
from backproof.gradcheck.layers import check_layer
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.precision import compare_dtypes
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
from backproof.gradcheck.second_order import check_hessian
from backproof.gradcheck.taylor import TaylorTest, taylor_test
from backproof.gradcheck.vector import check_jacobian, check_jvp, check_vjp

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
    "UntestedWarning",
    "check",
    "check_elementwise",
    "check_hessian",
    "check_jacobian",
    "check_jvp",
    "check_layer",
    "check_parts",
    "check_products",
    "check_vjp",
    "compare_dtypes",
    "hessian_vector_product",
    "taylor_test",
]
