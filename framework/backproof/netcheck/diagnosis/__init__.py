"""Floor 1: what is wrong with a gradient: named mistakes are tried until one of them gives its numbers."""

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
