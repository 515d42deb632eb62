"""The hard functions: their gradients are right by differences, and the planted mistakes are mistakes."""

import numpy as np
import pytest

from benchmarks.gradcheck.hard.kind import Kind
from benchmarks.gradcheck.hard.kinds import FAMILIES, KINDS
from benchmarks.gradcheck.hard.mistakes import LOST, drawn, flat, lost, shaped, wrong
from benchmarks.gradcheck.hard.peers import PEERS, Peer, Verdict, judged
from benchmarks.gradcheck.hard.table import page
from benchmarks.gradcheck.hard.trial import trial

#: How far the differences may be from a gradient, of its largest entry. Those of rough functions know no more.
ALLOWED = {"smooth": 1e-6, "kinked": 1e-4, "rough": 0.01, "step": 1e-5}
#: What float16 with its 11 bits, a kink within 1e-13, and cancellation inside f leave of a difference.
COARSE = {
    "loss cast to float16": 0.2,
    "next to a kink 1e-13": 0.02,
    "log determinant of condition 1e10": 1e-4,
    "one minus cosine": 1e-4,
    "near the optimum 1e-05": 1e-4,
}


def nearest_difference(f, theta, i, expected):
    """The difference, central or extrapolated, of steps over ten decades, that is nearest to the expected slope."""

    def value(x):
        try:
            with np.errstate(all="ignore"):
                return float(np.real(f(shaped(x, theta))[0]))
        except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError):
            return np.nan

    def slope(h):
        up, down = flat(theta), flat(theta)
        up[i] += h
        down[i] -= h
        above, below = value(up), value(down)
        return (above - below) / (up[i] - down[i]) if np.isfinite([above, below]).all() else np.nan

    near = np.inf
    size = abs(flat(theta)[i]) or 1
    for h in size * 10.0 ** -np.arange(0.5, 11, 0.5):
        one, two, four = slope(h), slope(h / 2), slope(h / 4)
        if not np.isfinite([one, two, four]).all():
            continue
        second, third = (4 * two - one) / 3, (4 * four - two) / 3
        for estimate in (one, second, (16 * third - second) / 15):
            if abs(estimate - expected) < abs(near - expected):
                near = estimate
    return near


def largest_error(kind: Kind, seed: int, entries: int) -> float:
    """How far differences are from the gradient at some entries, the largest among them, of the largest entry."""
    f, theta, gradient = drawn(kind, seed)
    free = np.ones(gradient.size, bool) if kind.at_kink is None else ~kind.at_kink(flat(theta))
    size = np.max(np.abs(gradient)) or 1
    chosen = np.random.default_rng(7).permutation(np.flatnonzero(free))[: entries - 1]
    errors = [0.0]
    for i in {int(np.argmax(np.abs(gradient) * free)), *map(int, chosen)}:
        near = nearest_difference(f, theta, i, gradient[i])
        errors.append(abs(near - gradient[i]) / size)
    return max(errors)


#: Those that iterate take up to a minute.
QUICK = [name for name, kind in KINDS.items() if kind.family != "iterative"]


@pytest.mark.parametrize("name", QUICK)
def test_gradients_agree_with_differences(name):
    kind = KINDS[name]
    assert largest_error(kind, seed=100, entries=2) < COARSE.get(name, ALLOWED[kind.expect])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_gradients_of_more_seeds_agree_with_differences(name):
    kind = KINDS[name]
    for seed in range(3):
        assert largest_error(kind, seed, entries=4) < COARSE.get(name, ALLOWED[kind.expect]), seed


def test_a_mistake_disagrees_with_differences():
    kind = KINDS["poisson with identity link"]
    for planted in wrong(kind, 3):
        if planted.error > 1e-5:
            claimed = Kind(
                "claimed", "", "smooth", lambda rng, planted=planted: (planted.f, planted.theta), None
            )
            assert largest_error(claimed, seed=0, entries=9) > ALLOWED["smooth"], planted.mistake


def test_there_are_as_many_kinds_as_promised():
    assert len(KINDS) >= 72 + 50
    assert {kind.family for kind in KINDS.values()} == {
        family.__name__.rpartition(".")[2] for family in FAMILIES
    }


@pytest.mark.parametrize("name", ["weights of a large layer and small bias", "product of many factors"])
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_lost_is_of_the_promised_size(name, seed):
    planted = lost(KINDS[name], seed)
    f, theta, gradient = drawn(KINDS[name], seed)
    assert np.array_equal(flat(planted.f(theta)[1]), gradient)
    # A step so long that the lost term shows in the difference of two losses.
    x, step = flat(theta), 1e-3 * np.random.default_rng(1).normal(size=gradient.size) * np.abs(flat(theta))
    terms = [
        float(planted.f(shaped(y, theta))[0]) - float(f(shaped(y, theta))[0]) for y in (x + step, x - step)
    ]
    assert 0 < abs(terms[0] - terms[1]) < 10 * LOST * np.abs(gradient) @ np.abs(2 * step)


def test_every_wrong_gradient_differs_from_the_right_one():
    for name in ("floor", "lasso with half zeros", "mixed scales in a dict", "integer gradient"):
        _, theta, gradient = drawn(KINDS[name], 5)
        for planted in wrong(KINDS[name], 5):
            same = np.array_equal(flat(planted.f(theta)[1]), gradient)
            assert same == (planted.mistake == "a term of 1e-6 lost")
            assert planted.error >= LOST


def test_a_trial_counts_verdicts_and_what_is_accepted_beyond_the_resolution():
    fine = trial(Peer("all", "", "numpy", lambda f, theta: Verdict("accepted", 1e-9)), KINDS["maximum"], 2)
    assert (fine.right, fine.wrong, fine.beyond, fine.coarse) == ({"accepted": 2}, {"accepted": 8}, 8, 0)
    coarse = trial(Peer("all", "", "numpy", lambda f, theta: Verdict("accepted", 5.0)), KINDS["maximum"], 2)
    assert (coarse.beyond, coarse.coarse, coarse.resolution) == (0, 10, 5.0)


def test_what_a_checker_raises_is_an_outcome():
    def broken(f, theta):
        raise ValueError("no")

    assert (
        judged(Peer("broken", "", "numpy", broken), *KINDS["floor"].make(np.random.default_rng(0))).outcome
        == "error"
    )


@pytest.mark.parametrize("peer", [peer for peer in PEERS if peer.installed], ids=lambda peer: peer.name)
def test_every_checker_tells_right_from_wrong_where_that_is_easy(peer):
    tally = trial(peer, KINDS["theta zero"], 1)
    assert tally.right == {"accepted": 1} or peer.name == "course rule"
    assert tally.wrong["rejected"] >= 3


def test_the_table_has_totals_and_every_kind():
    peers = [peer for peer in PEERS if peer.name in ("backproof", "scipy check_grad")]
    tallies = {
        name: {peer.name: trial(peer, KINDS[name], 1) for peer in peers} for name in ("maximum", "math log")
    }
    text = page(tallies, minutes=1)
    assert "| maximum | kinks | 1 | 0 | 0 | 4 | 0 | 0 | 0 | 0 |" in text
    assert "## Totals" in text
