"""backproof: a NumPy multi-layer perceptron whose hand-derived gradients are checked numerically before training.

The names below are the public interface; everything else may change. They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module

# Type checkers treat it as true; importing typing would cost more than the rest of this module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from backproof.contracts import (
        Activation,
        Dataset,
        DatasetLoader,
        Derivation,
        Initializer,
        Loss,
        Metric,
        Optimizer,
        Penalty,
        Schedule,
        Space,
        Trace,
        hyper,
    )
    from backproof.gradcheck.check import check
    from backproof.gradcheck.elementwise import check_elementwise
    from backproof.gradcheck.layers import check_layer
    from backproof.gradcheck.second_order import check_hessian
    from backproof.gradcheck.vector import check_jacobian, check_jvp, check_vjp

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "Dataset",
    "DatasetLoader",
    "Derivation",
    "Initializer",
    "Loss",
    "Metric",
    "Optimizer",
    "Penalty",
    "Schedule",
    "Space",
    "Trace",
    "__version__",
    "check",
    "check_elementwise",
    "check_hessian",
    "check_jacobian",
    "check_jvp",
    "check_layer",
    "check_vjp",
    "hyper",
]

#: The module of each public function; the other names are in `contracts`.
_MODULES = {
    "check": "gradcheck.check",
    "check_elementwise": "gradcheck.elementwise",
    "check_hessian": "gradcheck.second_order",
    "check_jacobian": "gradcheck.vector",
    "check_jvp": "gradcheck.vector",
    "check_layer": "gradcheck.layers",
    "check_vjp": "gradcheck.vector",
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES.get(name, 'contracts')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
