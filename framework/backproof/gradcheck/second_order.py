"""The check of second derivatives: a Hessian, or Hessian-vector products of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from backproof.gradcheck.check import complex_values_of
from backproof.gradcheck.function import Function
from backproof.gradcheck.hessian import check_products
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.report import ALONE, GradcheckReport, Section
from backproof.gradcheck.vector import hessian_rows


def check_hessian(
    f: Callable[..., Any],
    theta: Any,
    *,
    hessian: Callable[[Any], Any] | Any = None,
    grad: Callable[..., Any] | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare second derivatives.

    With `hessian` (a function of theta, or the matrix (P, P) at theta) each of its rows is compared with the
    derivative of the gradient. Without it, Hessian-vector products of the gradient are compared with second
    derivatives of the loss, tensor by tensor, and w·Hu with u·Hw. theta and errors as in `check`.
    """
    function = Function(f, theta, grad, args, kwargs)
    loss, gradient = function.at_theta()
    function.set_scale(loss, gradient)
    if hessian is not None:
        return hessian_rows(function, hessian, seed)
    complex_values = complex_values_of(function, seed)
    results = check_products(
        function.values,
        function.gradient,
        function.theta,
        function.tensors,
        CheckOptions(),
        complex_values=complex_values,
        seed=seed,
    )
    return GradcheckReport((Section(ALONE, tuple(results)),))
