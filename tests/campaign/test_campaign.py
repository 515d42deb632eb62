"""The short form of the campaign: a sample of each block, in a process of its own that may fork."""

import os
import subprocess
import sys

import pytest

from tests.helpers.tracking import ROOT


@pytest.mark.slow
@pytest.mark.campaign
def test_a_sample_of_the_campaign_holds():
    env = {**os.environ, "PYTHONPATH": str(ROOT / "framework"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.campaign", "--short"]
    campaign = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr
    assert " 0 failed" not in campaign.stdout
    assert "held" in campaign.stdout
