"""The report of a network's gradient check: the sections of the check and, where it failed, a diagnosis."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backproof.gradcheck import GradcheckReport, Section

if TYPE_CHECKING:
    from backproof.netcheck.diagnosis import Diagnosis


@dataclass(frozen=True, repr=False)
class NetworkReport(GradcheckReport):
    """A gradient check of a network, with a diagnosis if it failed."""

    diagnosis: Diagnosis | None = None

    def with_section(self, section: Section) -> NetworkReport:
        """Return the report with this section added."""
        return dataclasses.replace(self, sections=(*self.sections, section))

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values for JSON, with the diagnosis before the sections."""
        fields = super().to_dict()
        sections = fields.pop("sections")
        diagnosis = None if self.diagnosis is None else self.diagnosis.to_dict()
        return {**fields, "diagnosis": diagnosis, "sections": sections}
