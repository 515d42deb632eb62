"""Every installed plugin fulfils the contract of its kind. A new plugin is tested as soon as it is installed."""

import pytest
from backproof.conformance.runner import checks, outcomes
from backproof.contracts import KINDS
from backproof.discovery.registry import registry


@pytest.mark.slow
@pytest.mark.parametrize("entry", registry().entries(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_plugin_conforms(entry):
    results = list(outcomes(entry))
    assert results or not entry.cls.examples()
    failed = [f"{outcome.check} {outcome.params}: {outcome.error}" for outcome in results if not outcome.passed]
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_checks(kind):
    assert len(checks(kind)) >= 2
