"""A network with everything its gradient check needs, and the check at one point."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from backproof.contracts import Array, Penalty
from backproof.gradcheck import ALONE, LOWER, CheckOptions
from backproof.netcheck.network import ON_KINKS, NetworkCheck
from backproof.netcheck.report import NetworkReport
from backproof.nn.mlp import MLP


@dataclass(frozen=True)
class CheckSetup:
    """A network with its training samples, penalty and fresh parameters, and the options of its check."""

    net: MLP
    X: Array  # (N, D), scaled
    y: Array  # (N, K), encoded
    penalty: Penalty
    theta: Array  # (R, P), fresh
    options: CheckOptions
    seed: int

    def check(
        self,
        theta: Array,
        moment: str,
        report: NetworkReport | None = None,
        samples: slice = slice(None),
        *,
        every_entry: bool = True,
    ) -> NetworkReport:
        """Check the gradients at theta, and return the report with this section added.

        Without `every_entry` even a small network is checked along random directions and at sampled entries.
        """
        options = self.options
        if not every_entry:
            options = dataclasses.replace(options, all_coordinates_up_to=0)
        check = NetworkCheck(self.net, self.X, self.y, self.penalty, options, self.seed)
        section = check.section(theta, moment, samples)
        return NetworkReport((section,)) if report is None else report.with_section(section)

    def with_diagnosis(self, report: NetworkReport) -> NetworkReport:
        """Return the report with a diagnosis if a gradient is wrong beyond float32 arithmetic."""
        wrong = any(
            section.moment != ALONE and result.oracle != LOWER and result.part != ON_KINKS
            for section, result in report.failures
        )
        if not wrong:
            return report
        # The diagnosis is 30 modules, and few runs need it.
        from backproof.netcheck.diagnose import diagnose_network

        diagnosis = diagnose_network(self.net, self.X, self.y, self.penalty, self.theta, seed=self.seed)
        return dataclasses.replace(report, diagnosis=diagnosis)
