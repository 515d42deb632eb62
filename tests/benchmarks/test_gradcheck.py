"""The benchmark of gradient checkers: its parts are right, and backproof makes no error in a small run."""

import numpy as np
import pytest

from benchmarks.gradcheck.checkers import CHECKERS
from benchmarks.gradcheck.heldout import HELD_OUT, HELD_OUT_NAMES
from benchmarks.gradcheck.markdown import END, into
from benchmarks.gradcheck.mistakes import MISTAKES, Rule
from benchmarks.gradcheck.naming import NAMES, SINCE, Naming, Share
from benchmarks.gradcheck.problems import ACTIVATIONS, SAME, problem, problems
from benchmarks.gradcheck.results import Measured, page, short
from benchmarks.gradcheck.trial import trial

OURS = [checker for checker in CHECKERS if checker.name == "backproof"]


def small(activation="tanh", moment="fresh", dtype="float64", sizes=(5, 7, 6, 4)):
    return problem(activation, sizes, moment, dtype, np.random.default_rng(3))


@pytest.fixture(scope="module")
def small_trial():
    return trial(OURS, rights=1, wrongs=1, every=7)


@pytest.mark.slow
def test_backproof_makes_no_error(small_trial):
    assert small_trial.right.total() == 6
    assert small_trial.wrong.total() > 380
    assert small_trial.tallies["backproof"].errors == []


def test_there_are_enough_mistakes_and_each_is_visible_somewhere():
    assert len(MISTAKES) >= 40
    assert SINCE <= set(NAMES) <= set(MISTAKES)
    assert set(HELD_OUT_NAMES) <= set(HELD_OUT)
    assert not set(HELD_OUT) & set(MISTAKES)
    hidden = [
        mistake
        for mistake, rule in (MISTAKES | HELD_OUT).items()
        if all(small(activation).gap(rule) <= SAME for activation in ACTIVATIONS)
    ]
    assert hidden == []


def test_the_rule_without_a_mistake_is_the_networks_own():
    for network in problems(1, seed=5):
        assert network.gap(Rule()) <= SAME, network.label


@pytest.mark.parametrize(
    ("activation", "mistake"),
    [
        ("relu", "φ' at h"),
        ("relu", "1 at a > 0, whatever φ"),
        ("tanh", "φ' at −a"),
        ("tanh", "1 − h², whatever φ"),
    ],
)
def test_a_rule_that_changes_nothing_is_not_a_mistake(activation, mistake):
    assert small(activation).gap(MISTAKES[mistake]) <= SAME
    others = [other for other in ACTIVATIONS if other != activation]
    assert all(small(other).gap(MISTAKES[mistake]) > 1e-3 for other in others)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_candidate_gives_loss_and_gradient_in_its_dtype(dtype):
    candidate = small(dtype=dtype).candidate(None)
    theta = candidate.theta
    assert candidate.value(theta).dtype == candidate.gradient(theta).dtype == np.dtype(dtype)
    np.testing.assert_array_equal(candidate.join(candidate.split(theta)), theta)


def test_of_two_mistakes_in_one_step_the_second_is_made_after_the_first():
    wrong, right = (small().candidate(rule) for rule in (MISTAKES["twice"].with_(MISTAKES["half"]), None))
    np.testing.assert_allclose(wrong.gradient(wrong.theta), right.gradient(right.theta), rtol=1e-12, atol=1e-15)
    twice, no_target = MISTAKES["twice"], MISTAKES["p for p − y"]
    assert small().gap(twice.with_(no_target), no_target) <= SAME
    assert small().gap(no_target.with_(twice), no_target) > 0.1


def test_a_pair_is_both_mistakes():
    both = MISTAKES["twice"].with_(MISTAKES["b of zero"])
    right, wrong = (small().candidate(rule) for rule in (None, both))
    theta = right.theta
    for name, expected, gradient in zip(
        right.layout.tensors(theta),
        right.split(right.gradient(theta)),
        wrong.split(wrong.gradient(theta)),
        strict=True,
    ):
        np.testing.assert_allclose(gradient, (2 if name[0] == "W" else 0) * expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "checker", [checker for checker in CHECKERS if checker.installed], ids=lambda checker: checker.name
)
def test_every_checker_detects_a_wrong_sign_in_float64(checker):
    check, network = checker.make(), small("tanh")
    assert not check(network.candidate(MISTAKES["y − p for p − y"]))
    assert checker.name == "course rule" or check(network.candidate(None))


@pytest.mark.slow
def test_the_page_lists_missing_checkers_and_errors(small_trial):
    tally = small_trial.tallies["backproof"]
    tally.errors.append("accepted: an invented error")
    share = Share()
    share.add("named", "")
    share.add("misnamed", "an invented miss")
    naming = Naming({"twice": share}, {"b times itself": share}, share, seconds=[0.1])
    measured = Measured(CHECKERS, small_trial, naming, {"backproof": 0.05}, [], 60.0)
    text, table = page(measured), short(measured)
    tally.errors.pop()
    assert "- accepted: an invented error" in text
    assert "- an invented miss" in text
    assert "| backproof | 0 of " in text
    assert "50.0 ms" in text
    assert "| random pairs | 1 of 2 (50.0 %) | 0 | 1 |" in text
    assert "| backproof | 0 % | 0 % | 0 %, 0 % | 50.0 ms |" in table
    assert "| scipy check_grad | not installed |" in table


def test_only_the_table_on_the_page_is_replaced():
    page = f"before\nbegin\nold\n{END}\nafter\n"
    assert into(page, "new", "begin") == f"before\nbegin\nnew\n{END}\nafter\n"
    assert into(into(page, "new", "begin"), "old", "begin") == page
    with pytest.raises(ValueError, match="needs the lines"):
        into("before", "new", "begin")
