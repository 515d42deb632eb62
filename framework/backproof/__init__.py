"""backproof: a NumPy multi-layer perceptron whose hand-derived gradients are checked numerically before training.

The names below are the public interface; everything else may change. They are imported when they are first used.
"""

from __future__ import annotations

from importlib import import_module

# Type checkers take it for true; importing typing costs more than all the rest here.
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
    from backproof.gradcheck import (
        check,
        check_elementwise,
        check_hessian,
        check_jacobian,
        check_jvp,
        check_layer,
        check_vjp,
    )

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


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = "gradcheck" if name.startswith("check") else "contracts"
    value = getattr(import_module(f"{__name__}.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
