"""The gradient check outside a run: at several points, and of the components of the network one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from backproof.contracts import Array
from backproof.contracts.errors import DerivationError
from backproof.netcheck.components import COMPONENTS, ComponentChecks
from backproof.netcheck.network import NetworkCheck, odd_sizes
from backproof.netcheck.report import NetworkReport
from backproof.netcheck.setup import CheckSetup

#: The gradients with respect to the parameters, which every run checks.
PARAMETERS = "parameters"
#: What can be checked.
CHOICES = (PARAMETERS, *COMPONENTS)
#: The number of epochs of training before the check "burned in".
BURN_IN_EPOCHS = 3


class Checkable(Protocol):
    """What a gradient check needs of a prepared experiment."""

    @property
    def check_setup(self) -> CheckSetup: ...

    def burn_in(self, epochs: int) -> Array:
        """Return theta (R, P) after this many epochs of training."""
        ...


def check_alone(prepared: Checkable, parts: Sequence[str] = (PARAMETERS,)) -> NetworkReport:
    """Check these parts, names from `CHOICES`, without a run.

    The gradients with respect to the parameters are checked at five points; the components of the network at
    parameters moved by N(0, 0.1²).
    """
    setup = prepared.check_setup
    report = _check_points(prepared) if PARAMETERS in parts else NetworkReport(())
    if set(parts) <= {PARAMETERS}:
        return report
    components = ComponentChecks(
        setup.net, setup.X, setup.y, setup.penalty, _moved(setup), setup.options, setup.seed
    )
    return report.with_section(components.section(parts))


def _check_points(prepared: Checkable) -> NetworkReport:
    """Check the gradients with respect to the parameters at five points.

    The points are fresh parameters; parameters moved by N(0, 0.1²), so that biases are not zero; the same on one
    sample; parameters after three epochs of training; and a network of the same depth and plugins with odd sizes
    that all differ.
    """
    setup = prepared.check_setup
    moved = _moved(setup)
    report = setup.check(setup.theta, "fresh")
    report = setup.check(moved, "moved", report)
    report = setup.check(moved, "one sample", report, slice(0, 1))
    report = setup.check(prepared.burn_in(BURN_IN_EPOCHS), "burned in", report)
    return setup.with_diagnosis(_check_odd_sizes(setup, report))


def _moved(setup: CheckSetup) -> Array:
    noise = np.random.default_rng(setup.seed).normal(0, 0.1, setup.theta.shape)
    return setup.theta + noise.astype(setup.theta.dtype)


def _check_odd_sizes(setup: CheckSetup, report: NetworkReport) -> NetworkReport:
    """Return the report with the check at odd sizes, or with a note if the derivation does not take them."""
    net, X, y, theta = odd_sizes(setup.net, setup.y, setup.seed)
    check = NetworkCheck(net, X, y, setup.penalty, setup.options, setup.seed)
    try:
        return report.with_section(check.section(theta.astype(setup.theta.dtype), "odd sizes"))
    except DerivationError as error:
        *before, last = report.sections
        note = f"a network with other sizes, odd and all different, could not be checked: {error}"
        section = dataclasses.replace(last, notes=(*last.notes, note))
        return dataclasses.replace(report, sections=(*before, section))
