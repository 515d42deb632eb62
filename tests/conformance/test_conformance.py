"""Every installed plugin keeps its kind's contract. A new plugin is tested by being there."""

import pytest
from backproof.conformance.runner import checks, outcomes
from backproof.contracts import KINDS
from backproof.discovery.registry import registry


@pytest.mark.slow
@pytest.mark.parametrize("entry", registry().entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_plugin_conforms(entry):
    found = list(outcomes(entry))
    assert found or not entry.cls.examples()
    wrong = [f"{each.check} {each.params}: {each.error}" for each in found if not each.passed]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_checks(kind):
    assert len(checks(kind)) >= 2
