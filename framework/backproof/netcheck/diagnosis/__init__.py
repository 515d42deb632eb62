"""Diagnosis of a wrong gradient: named mistakes are tried until some of them give its numbers at every point."""

from backproof.netcheck.diagnosis.backward import plain_gradients
from backproof.netcheck.diagnosis.case import Case
from backproof.netcheck.diagnosis.counterexample import Counterexample, Evaluate
from backproof.netcheck.diagnosis.findings import diagnose
from backproof.netcheck.diagnosis.results import Alternative, Diagnosis, Finding
from backproof.netcheck.diagnosis.stateful import penalty_findings, repeat_findings

__all__ = [
    "Alternative",
    "Case",
    "Counterexample",
    "Diagnosis",
    "Evaluate",
    "Finding",
    "diagnose",
    "penalty_findings",
    "plain_gradients",
    "repeat_findings",
]
