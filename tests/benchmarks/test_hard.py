"""The hard functions: their gradients are right by differences, and the planted mistakes are mistakes."""

import json

import numpy as np
import pytest

from benchmarks.gradcheck.hard.kind import Kind
from benchmarks.gradcheck.hard.kinds import FAMILIES, KINDS
from benchmarks.gradcheck.hard.mistakes import LOST, drawn, flat, lost, shaped, tensors, wrong
from benchmarks.gradcheck.hard.peers import PEERS, Peer, Verdict, judged
from benchmarks.gradcheck.hard.run import read, run
from benchmarks.gradcheck.hard.table import page, short
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


#: Those that iterate take seconds.
QUICK = [name for name, kind in KINDS.items() if kind.family != "iterative"]


@pytest.mark.parametrize("name", QUICK)
def test_gradients_agree_with_differences(name):
    kind = KINDS[name]
    assert largest_error(kind, seed=100, entries=2) < COARSE.get(name, ALLOWED[kind.expect])


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_gradients_of_another_seed_agree_with_differences(name):
    kind = KINDS[name]
    assert largest_error(kind, seed=1, entries=2) < COARSE.get(name, ALLOWED[kind.expect])


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


def accepting(resolution: float) -> Peer:
    return Peer(
        "all", "", "numpy", lambda f, theta: Verdict("accepted", dict.fromkeys(tensors(theta), resolution))
    )


def test_a_trial_counts_verdicts_and_what_is_accepted_beyond_the_resolution():
    fine = trial(accepting(1e-9), KINDS["maximum"], 2)
    assert (fine.right, fine.wrong, fine.beyond, fine.coarse) == ({"accepted": 2}, {"accepted": 8}, 8, 0)
    coarse = trial(accepting(5.0), KINDS["maximum"], 2)
    assert (coarse.beyond, coarse.coarse, coarse.resolution) == (0, 10, 5.0)


def test_every_tensor_has_a_resolution_of_its_own():
    kind = KINDS["mixed scales in a dict"]
    planted = wrong(kind, 0)[0]
    name = max(planted.errors, key=planted.errors.get)
    assert [error for error in planted.errors.values() if error] == [planted.error]
    blind = {tensor: 1.0 if tensor == name else 1e-9 for tensor in planted.errors}
    others = {tensor: 1e-9 if tensor == name else 1.0 for tensor in planted.errors}
    for resolutions, beyond in ((blind, 0), (others, 1)):
        peer = Peer("one", "", "numpy", lambda f, theta, given=resolutions: Verdict("accepted", given))
        assert trial(peer, kind, 1, every=False).beyond - 1 == beyond  # the lost term is in every tensor


def test_mistakes_take_turns_and_time_is_limited():
    tally = trial(accepting(1e-9), KINDS["maximum"], 5, every=False)
    assert tally.wrong == {"accepted": 5}
    planted = [fault.split(": ")[1] for fault in tally.faults]
    assert planted == [mistake.mistake for mistake in wrong(KINDS["maximum"], 0) * 2][:5]
    assert trial(accepting(1e-9), KINDS["maximum"], 5, limit=-1).right == {}


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


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "results.jsonl"
    run(["maximum", "quantiser 256"], ["backproof", "scipy check_grad"], 1, path, every=True, faults=False)
    return path


def test_a_run_goes_on_where_it_stopped(results, capsys):
    lines = results.read_text().splitlines(keepends=True)
    results.write_text("".join(lines[:-1]))
    capsys.readouterr()
    run(["maximum", "quantiser 256"], ["backproof", "scipy check_grad"], 1, results, every=True, faults=False)
    assert capsys.readouterr().err.count("\n") == 1
    assert [line | {"seconds": 0} for line in read(results)] == [
        json.loads(line) | {"seconds": 0} for line in lines
    ]


def test_the_page_has_totals_and_every_kind_with_a_fault(results):
    lines = read(results)
    text = page(lines)
    assert "| backproof | 2 | 1 of 2 (50.0 %) | 1 | 0 |" in text
    assert "| quantiser 256 | step | 0 of 1 (0 %) | 1 | 0 |" in text
    assert "| maximum | kinked" not in text
    networks = (
        "## What each accepts and rejects\n\n| scipy check_grad | 11 of 1,241 | 0 of 504 | more |\n\n## Costs\n"
    )
    table = short(lines, networks)
    assert "| scipy check_grad | 11 of 1,241 | 0 of 504 | 2 of 2 (100 %) | 0 | " in table
    assert "| backproof | – | – | 1 of 2 (50.0 %) | 0 | 0 of 6 (0 %) | – | 0 |" in table
