"""Floor 3: the gradient check without a run: at several points, and of the network's pieces one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from backproof.contracts import Array
from backproof.contracts.errors import DerivationError, DivergedError
from backproof.netcheck.components import PARTS, PartChecks
from backproof.netcheck.network import NetworkCheck, odd_sizes
from backproof.netcheck.report import NetworkReport
from backproof.nn.training import train

if TYPE_CHECKING:
    from backproof.experiment.experiment import PreparedExperiment

#: The gradients by the parameters, which is what a run checks.
PARAMETERS = "parameters"
#: What can be checked.
CHOICES = (PARAMETERS, *PARTS)


def check_alone(prepared: PreparedExperiment, parts: Sequence[str]) -> NetworkReport:
    """The check of these parts. The pieces are looked at where every parameter is moved by N(0, 0.1²)."""
    report = _at_points(prepared) if PARAMETERS in parts else NetworkReport(())
    if set(parts) <= {PARAMETERS}:
        return report
    experiment = prepared.experiment
    pieces = PartChecks(
        prepared.net,
        prepared.data.train.X,
        prepared.y,
        experiment.penalty,
        _moved(prepared),
        experiment.gradcheck,
        experiment.run.seed,
    )
    return dataclasses.replace(report, sections=(*report.sections, pieces.section(parts)))


def _at_points(prepared: PreparedExperiment) -> NetworkReport:
    """The gradients by the parameters at five points: fresh parameters; moved ones, every number by N(0, 0.1²), so
    that biases, which start at zero, are not zero; these on one sample; after three epochs of training; and a
    network of the same depth and plugins whose sizes are odd and all differ."""
    moved = _moved(prepared)
    report = prepared.check(prepared.theta, "fresh")
    report = prepared.check(moved, "moved", report)
    report = prepared.check(moved, "one sample", report, slice(0, 1))
    report = prepared.check(_burned_in(prepared), "burned in", report)
    return prepared.diagnosed(_with_odd_sizes(prepared, report))


def _moved(prepared: PreparedExperiment) -> Array:
    noise = np.random.default_rng(prepared.experiment.run.seed).normal(0, 0.1, prepared.theta.shape)
    return prepared.theta + noise.astype(prepared.theta.dtype)


def _with_odd_sizes(prepared: PreparedExperiment, report: NetworkReport) -> NetworkReport:
    """The report with the check of the network of odd sizes, or a note where the derivation is for none."""
    experiment, seed = prepared.experiment, prepared.experiment.run.seed
    net, X, y, theta = odd_sizes(prepared.net, prepared.y, seed)
    check = NetworkCheck(net, X, y, experiment.penalty, experiment.gradcheck, seed)
    try:
        section = check.section(theta.astype(prepared.theta.dtype), "odd sizes")
    except DerivationError as error:
        *before, last = report.sections
        note = f"a network of other sizes, odd ones that differ, could not be checked: {error}"
        section = dataclasses.replace(last, notes=(*last.notes, note))
        return dataclasses.replace(report, sections=(*before, section))
    return dataclasses.replace(report, sections=(*report.sections, section))


def _burned_in(prepared: PreparedExperiment) -> Array:
    """Theta (R, P) after three epochs, or before it has diverged."""
    theta = prepared.theta.copy()
    experiment, kept = prepared.experiment, [theta.copy()]

    def after_epoch(epoch: int, losses: Array) -> bool:
        kept.append(theta.copy())
        return True

    try:
        train(
            prepared.net,
            theta,
            prepared.batches,
            epochs=3,
            optimizer=experiment.optimizer,
            schedule=experiment.schedule,
            penalty=experiment.penalty,
            after_epoch=after_epoch,
        )
    except DivergedError:
        # The check is of the gradient; that the step size is too large, training will say.
        return kept[-1]
    return theta
