"""The base class of each kind of plugin. A plugin file needs to import nothing else of backproof.

Letters and shapes, used in every docstring below:

    R, B, D, H, K, P   stack, batch, inputs, hidden units, outputs, parameters
    a, h, z            pre-activation, h = φ(a), network output (logits)
    theta, grad        all parameters of a network, and their gradient, in one flat vector (R, P)

A network is a stack of R networks: every array has the leading axis R and a plugin works along the
remaining axes. Member r of a stack must equal, bit for bit, the same network computed alone.
"""

from backproof.contracts.activation import Activation
from backproof.contracts.base import (
    Array,
    Plugin,
    as_dtype_of,
    cached_scalar,
    is_complex,
    per_member,
    pow_exact,
    sqrt_exact,
)
from backproof.contracts.dataset import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Dataset, DatasetLoader
from backproof.contracts.derivation import Derivation, Trace
from backproof.contracts.fields import hyper
from backproof.contracts.initializer import Initializer, VarianceScaling
from backproof.contracts.loss import Loss, RegressionLoss
from backproof.contracts.metric import Metric
from backproof.contracts.optimizer import Optimizer
from backproof.contracts.penalty import Penalty
from backproof.contracts.schedule import Schedule
from backproof.contracts.space import Space, Suggest

KINDS: dict[str, type[Plugin]] = {
    kind.kind: kind
    for kind in (
        DatasetLoader,
        Activation,
        Loss,
        Optimizer,
        Schedule,
        Initializer,
        Penalty,
        Derivation,
        Metric,
        Space,
    )
}

__all__ = [
    "CLASSIFICATION",
    "KINDS",
    "MULTILABEL",
    "REGRESSION",
    "TASKS",
    "Activation",
    "Array",
    "Dataset",
    "DatasetLoader",
    "Derivation",
    "Initializer",
    "Loss",
    "Metric",
    "Optimizer",
    "Penalty",
    "Plugin",
    "RegressionLoss",
    "Schedule",
    "Space",
    "Suggest",
    "Trace",
    "VarianceScaling",
    "as_dtype_of",
    "cached_scalar",
    "hyper",
    "is_complex",
    "per_member",
    "pow_exact",
    "sqrt_exact",
]
