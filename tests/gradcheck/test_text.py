"""How a report is shown: a short table, HTML, messages."""

import numpy as np
import pytest
from backproof import check, check_elementwise


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


class TestFactors:
    @pytest.mark.parametrize(
        ("factor", "shown"), [(1 + 1e-6, "1 + 1e-06"), (1 - 2e-5, "1 − 2e-05"), (0.999, "0.999"), (1.5, "1.5")]
    )
    def test_a_factor_near_one_has_enough_digits(self, factor, shown):
        report = check(lambda t: (np.sum(t**2), factor * 2 * t), np.array([1.0, 2.0]))
        assert f"theta: every entry is {shown} times what is expected" in str(report)

    def test_got_and_expected_differ_in_what_is_shown(self):
        shown = str(check(lambda t: (np.sum(t**2), (1 + 1e-10) * 2 * t), np.array([1.0, 2.0])))
        (line,) = [line for line in shown.splitlines() if "expected" in line and "got" in line]
        got, expected = line.split("got ")[1].split(", expected ")
        assert got != expected

    @pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
    def test_at_a_minimum_a_factor_cannot_be_seen(self, factor):
        def f(t):
            x, y = t
            gradient = np.array([-400 * x * (y - x**2) - 2 * (1 - x), 200 * (y - x**2)])
            return 100 * (y - x**2) ** 2 + (1 - x) ** 2, factor * gradient

        report = check(f, np.ones(2))
        assert report.passed
        assert "a wrong factor does not show: check at another theta" in report.sections[0].results[0].note
        assert "factor" not in str(check(lambda t: (np.sum(t**2), 2 * t), np.array([0.0, 1.0])))


@pytest.mark.parametrize("scale", [1e-200, 0.3, 1.0, 1e200])
def test_the_slopes_at_a_kink_are_those_of_f(scale):
    report = check(lambda t: (scale * np.sum(np.abs(t)), scale * 0.9 * np.sign(t)), np.array([0.0, 2.0]))
    assert report.failed
    report = check(lambda t: (scale * np.sum(np.maximum(t, 0)), scale * (np.real(t) > 0)), np.array([0.0, 2.0]))
    assert f"kink: 0 … {scale:.4g}" in report.sections[0].results[0].note
    report = check(
        lambda t: (scale * np.sum(np.maximum(t, 0)), scale * np.array([2.0, 1])), np.array([0.0, 2.0])
    )
    assert f"kink: 0 … {scale:.4g}" in report.sections[0].results[0].note


@pytest.mark.parametrize("at", [[-700.0, -30, 0, 3], [-700.0]])
def test_what_fails_by_its_own_size_shows_an_error_above_what_is_allowed(at):
    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    def slope(a):
        return np.where(np.real(a) < -100, 1.1, 1) * sigmoid(a) * sigmoid(-a)

    (result,) = check_elementwise(sigmoid, slope, np.array(at)).sections[0].results
    assert result.status == "failed"
    assert result.relative_error > result.tolerance
    assert result.worst.index == (0,)


def test_a_random_function_is_told_what_to_do():
    rng = np.random.default_rng(0)

    def dropout(t):
        mask = rng.random(5) < 0.5
        return np.sum(mask * t**2), 2 * mask * t

    message = check(dropout, np.ones(5)).failure_message()
    assert "two calls at the same parameters gave a different loss: it looks random (dropout" in message
    assert "seeded inside f" in message
