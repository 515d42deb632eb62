"""The short form of the campaign: a sample of each block, in a process of its own that may fork."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.campaign.case import REFUSED, Case, Outcome, faults
from tests.campaign.keys import MISSING, acceptable
from tests.campaign.known import Known
from tests.helpers.tracking import ROOT


@pytest.mark.slow
@pytest.mark.campaign
def test_a_sample_of_the_campaign_holds():
    env = {**os.environ, "PYTHONPATH": str(ROOT / "framework"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.campaign", "--short"]
    campaign = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr
    last = campaign.stdout[campaign.stdout.index("\nall ") :].split()
    tried, held = int(last[1]), int(last[2])
    assert held == tried >= 30


def test_an_error_is_one_block():
    case = Case("block", "name", ("train",), REFUSED)
    block = Outcome(2, "", "backproof: warning: w\nbackproof: seed: got 'a'\nexpected a number\n", 1, False, ())
    assert faults(case, block) == []
    for changes, fault in (
        ({"code": 0}, "wrongly accepted"),
        ({"code": 1}, "not exit code 2"),
        ({"code": -9}, "exit code -9"),
        ({"err": block.err * 2}, "not one block on stderr"),
        ({"err": "Error\n" + block.err}, "not one block on stderr"),
        ({"err": ""}, "not one block on stderr"),
        ({"err": block.err + "Traceback (most recent call last):\n"}, "traceback"),
        ({"created": ("outputs/runs",)}, "left behind outputs/runs"),
        ({"hung": True}, "hang"),
    ):
        assert fault in faults(case, replace(block, **changes))


def test_a_known_case_with_a_new_fault_is_a_failure():
    entry = Known(r"keys: seed=.*", ("traceback", "exit code"), "why")
    assert entry.matches("keys: seed=1")
    assert not entry.matches("other keys: seed=1")
    assert entry.covers(["traceback", "exit code 3"])
    assert not entry.covers(["traceback", "hang"])
    assert not entry.covers([])


@pytest.mark.parametrize(
    ("hint", "bounds", "good", "bad"),
    [
        (int, {"ge": 1, "lt": 9}, [1, 8], [0, 9, 1.5, True, "a", None, [1], MISSING, 10**30]),
        (float, {"gt": 0}, [1, 0.5], [0, -1, math.nan, math.inf, True, "a", None, {}]),
        (int | None, {}, [None, 3], ["a", 1.5]),
        (bool, {}, [True, 0], ["a", 2, None, []]),
        (str, {"choices": ("a", "b")}, ["a"], ["c", 1, None]),
        (tuple[int, ...], {"ge": 1}, [[], [1, 2]], [1, [0], [1.5], [[1]], [None]]),
        (dict[str, str], {}, [{}, {"a": 1}], [[], "a", None]),
    ],
)
def test_the_rule_of_what_is_acceptable(hint, bounds, good, bad):
    assert [acceptable(hint, bounds, value) for value in good] == [True] * len(good)
    assert [acceptable(hint, bounds, value) for value in bad] == [False] * len(bad)
