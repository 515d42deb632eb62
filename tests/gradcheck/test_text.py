"""How a report is shown: a short table, HTML, messages."""

import numpy as np
from backproof import check


def wrong():
    return check(lambda t: (np.sum(t["W"] ** 2) + np.sum(t["b"] ** 3), {"W": 2 * t["W"], "b": 3 * t["b"]}),
                 {"W": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.array([0.5, 4.0])})  # fmt: skip


def test_a_table_names_the_worst_entry_the_oracle_and_what_to_do():
    lines = str(wrong()).splitlines()
    assert lines[0] == "gradient check: failed: b of 2 tensors"
    assert lines[1].split() == ["tensor", "shape", "status", "error", "allowed", "resolution", "oracle"]
    # What failed comes first.
    assert lines[2].split()[:3] == ["b", "2", "failed"]
    assert "complex step" in lines[2]
    assert "b[1]: got 12, expected 48" in lines[3]
    assert lines[4].split()[:3] == ["W", "2×2", "passed"]
    assert any(line.startswith("what to do:") for line in lines)
    assert all(len(line) <= 80 for line in lines)


def test_a_long_list_of_tensors_is_cut():
    theta = {f"W{i}": np.ones(1) for i in range(30)}
    shown = str(
        check(lambda t: (sum(np.sum(v**2) for v in t.values()), {k: 2 * v for k, v in t.items()}), theta)
    )
    assert "… and 10 more" in shown
    assert len(shown.splitlines()) < 30


def test_html_escapes_names():
    theta = {"<script>": np.ones(2)}
    report = check(lambda t: (np.sum(t["<script>"] ** 2), {"<script>": 3 * t["<script>"]}), theta)
    for page in (report._repr_html_(), report.to_html(title="<b>")):
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
    assert "<title>&lt;b&gt;</title>" in report.to_html(title="<b>")
    assert "http" not in report.to_html()


def test_the_same_check_of_a_right_gradient_is_short():
    report = check(lambda t: (np.sum(t**2), 2 * t), np.ones(3))
    assert len(str(report)) < 250
    assert str(report) == repr(report)


def test_one_entry_that_is_off_is_no_common_factor():
    def f(t):
        gradient = 2 * np.real(t)
        gradient[5] *= 1.02
        return np.sum(t**2), gradient

    shown = str(check(f, np.linspace(1, 2, 400)))
    assert "theta[5]" in shown
    assert "times what is expected" not in shown
    assert "every entry is 1.5 times" in str(check(lambda t: (np.sum(t**2), 3 * t), np.ones(3) * 2))
