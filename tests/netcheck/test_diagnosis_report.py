"""How a diagnosis is shown: as JSON, text and a page, and in the terminal."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from backproof.gradcheck import Section
from backproof.netcheck.diagnosis import diagnose
from backproof.netcheck.report import NetworkReport
from backproof.render.check_page import page

from tests.helpers.mistakes import PLANTED, REG, backward, cases, diagnosed, network, only, planted

ROOT = Path(__file__).parents[2]


def test_json_and_message_are_plain():
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(PLANTED["no_target"])))
    plain = json.loads(json.dumps(diagnosis.to_dict(), allow_nan=False))
    assert plain["schema"] == 1
    assert not plain["ok"]
    assert plain["findings"][0]["name"] == "no_target"
    assert plain["counterexample"]["values"]["W1"]
    assert max(map(len, diagnosis.message().splitlines())) <= 130


def test_the_page_shows_the_diagnosis_and_is_self_contained():
    diagnosis = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    text = page(NetworkReport((Section("fresh", ()),), diagnosis), "Gradient check", [])
    assert "<code>only_unit_0</code> at ∂Err/∂h1, in the gradients of W1, b1" in text
    assert '<span class="failed">∂Err/∂h1 ✗</span>' in text
    assert '<span class="follows">b1 ↓</span>' in text
    # Differences between the right formula and the derivation's are marked; indices are subscripts.
    assert "<mark>Σ<sub>k</sub> (p<sub>nk</sub></mark>" in text
    assert "<mark>(p<sub>n0</sub></mark>" in text
    assert '<tr class="other"><th>given ∂Err/∂W1[' in text
    assert "<script" not in text
    assert "http" not in text


def test_a_formula_is_shown_as_written_if_the_numbers_suggest_another_form():
    """Σ_k (p − y) is zero, and so is a product of sums with it: both forms are shown."""
    diagnosis = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446")))
    assert diagnosis.ok
    written = {
        "W1": "∂Err/∂(W1)_hd = Σ_n (Σ_k (p_nk − y_nk)) (Σ_k (W2)_kh) φ'((a1)_nh) x_nd / N",
        "b1": "∂Err/∂(b1)_h = 0",
    }
    rule = backward(end=only("W1", lambda t, g: 0 * g))
    diagnosis = dataclasses.replace(diagnosed(network((5, 7, 3), "relu", planted(rule))), written=written)
    assert f"  written: {written['W1']}" in diagnosis.message()
    assert "(b1)" not in diagnosis.message().partition("written")[2].partition("smallest")[0]
    same = {"W1": "∂Err/∂(W1)_hd = Σ_nk φ((a1)_nh)"}
    computed = "∂Err/∂(W1)_hd = Σ_n Σ_k (h1)_nh"
    finding = dataclasses.replace(diagnosis.findings[0], right="∂Err/∂(W1)_hd = 1", given=computed)
    assert dataclasses.replace(diagnosis, findings=(finding,), written=same).written_differently() == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 100])
def test_a_diagnosis_fits_the_terminal_width(width):
    diagnosis = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    assert max(map(len, diagnosis.message(width).splitlines())) <= width


def test_invalid_cases_are_rejected():
    case, *_ = cases(2, "tanh", [])
    with pytest.raises(ValueError, match="at least 3 cases, got 1"):
        diagnose([case])
    with pytest.raises(ValueError, match="must have the gradients of W1, W2, b1, b2, got those of W1"):
        diagnose([dataclasses.replace(case, gradients={"W1": case.gradients["W1"]})] * 3)


@pytest.mark.slow
def test_the_message_is_the_same_in_every_process():
    """Sets of strings are ordered differently in every process."""
    code = (
        "from tests.helpers.mistakes import *\n"
        "from tests.netcheck.test_diagnosis_limits import STRANGE\n"
        "for name in ('regulariser', 'reshaped'):\n"
        "    print(diagnosed(network((5, 6, 4, 3), 'relu', planted(PLANTED[name]))).message())\n"
        "print(diagnosed(network((5, 6, 4, 3), 'relu', planted(STRANGE['shrunk'][0]))).message())\n"
    )
    messages = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(messages) == 1
