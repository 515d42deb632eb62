"""Compare a gradient computed in float32 with the same gradient in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.norms import ROUNDINGS, ratio, relative, worst_entry
from backproof.gradcheck.report import FAILED, LOWER, PASSED, UNTESTED, Section, TensorResult

#: A tolerance above this would let mistakes pass; the tensor is then untested.
MOST_TOLERANCE = 0.1


def compare_dtypes(
    low: Array,
    gradient: Callable[[Array], Array],
    theta: Array,
    section: Section,
    tensors: Mapping[str, Array],
    dtype: np.dtype[Any],
    seed: int = 0,
) -> list[TensorResult]:
    """Compare a gradient `low` (P,) computed in `dtype` with the float64 one at the same theta (P,).

    `section` is the float64 check, which has the size of the terms. The tolerance is that of the float64 check with
    the ε of `dtype`, plus the change of the float64 gradient when each parameter changes by a few roundings of
    `dtype`: a pre-activation that close to a kink may fall on either side of it.
    """
    eps = float(np.finfo(dtype).eps)
    high = np.array(gradient(theta))
    rng = np.random.default_rng((seed, 32))
    changes = [
        np.array(gradient(theta * (1 + 8 * eps * rng.uniform(-1, 1, theta.shape)))) - high for _ in range(6)
    ]
    wide = {result.tensor: result for result in section.results if result.part == section.results[0].part}
    scales = {result.tensor: result.scale for result in section.results if result.part == "loss"}
    results: list[TensorResult] = []
    for name, index in tensors.items():
        flat = index.ravel()
        got, expected = low[flat].astype(np.float64), high[flat]
        norm = float(np.linalg.norm(expected))
        error = relative(got - expected, got, expected)
        shift = max(float(np.linalg.norm(change[flat])) for change in changes)
        tolerance = ROUNDINGS * eps * max(1.0, ratio(scales[name], norm)) + 2 * ratio(shift, norm)
        status, note = (PASSED if error <= tolerance else FAILED), ""
        if norm == 0 and error == 0:
            status, note = wide[name].status, wide[name].note
        elif status == PASSED and tolerance > MOST_TOLERANCE:
            status, note = UNTESTED, f"the gradient is no larger than its rounding error in {dtype} here"
        results.append(
            TensorResult(
                part=str(dtype),
                tensor=name,
                shape=index.shape,
                oracle=LOWER,
                checked=index.size,
                directions=0,
                relative_error=error,
                tolerance=tolerance,
                status=status,
                norm=norm,
                scale=scales[name],
                worst=None if status != FAILED else worst_entry(index, np.arange(index.size), got, expected),
                note=note,
            )
        )
    return results
