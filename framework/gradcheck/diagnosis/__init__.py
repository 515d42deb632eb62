"""Floor 1: what is wrong with a gradient: named mistakes are tried until one of them gives its numbers."""

from framework.gradcheck.diagnosis.around import penalty_findings, repeat_findings
from framework.gradcheck.diagnosis.backward import plain_gradients
from framework.gradcheck.diagnosis.case import Case
from framework.gradcheck.diagnosis.diagnose import diagnose
from framework.gradcheck.diagnosis.example import Counterexample, Evaluate
from framework.gradcheck.diagnosis.results import Alternative, Diagnosis, Finding

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
