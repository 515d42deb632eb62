"""The share of mistakes that the diagnosis names: single ones, random pairs, and single ones of heldout.py.

A mistake is named correctly where every mistake that the diagnosis names is one that was planted, or is listed as
having the same numbers, all that were planted are named, and nothing is left over as unknown. It is asked as
`backproof check` asks it.

A pair is any two of the mistakes, at different places or at one, where the second is made after the first; a pair
is left out only if one of them then changes no number.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from backproof.discovery.registry import registry
from backproof.netcheck.diagnose import diagnose_network
from backproof.netcheck.diagnosis import Diagnosis

from benchmarks.gradcheck.heldout import HELD_OUT, HELD_OUT_NAMES
from benchmarks.gradcheck.mistakes import MISTAKES, Rule
from benchmarks.gradcheck.problems import ACTIVATIONS, SAME, Problem, problem

NAMED, MISNAMED, UNKNOWN = "named", "misnamed", "unknown"

#: What the diagnosis may call each mistake. One that is not here has no name.
NAMES: dict[str, set[str]] = {
    "y − p for p − y": {"sign"},
    "p for p − y": {"no_target"},
    "−y for p − y": {"no_prediction"},
    "z for p, the softmax forgotten": {"logits"},
    "exp z for p, not normalised": {"no_normalisation"},
    "softmax over samples, not classes": {"softmax_over_samples"},
    "times p(1 − p), as for squared error": {"squared_loss"},
    "the true class alone": {"only_true_class"},
    "class 0 alone": {"only_output_0"},
    "targets one class off": {"shifted_target_up"},
    "targets one sample off": {"targets_of_other_samples"},
    "a sum for the mean": {"no_mean"},
    "divided by N twice": {"mean_twice"},
    "divided by K too": {"mean_over_outputs"},
    "divided by N − 1": {"mean_over_N_minus_1"},
    "twice": {"double"},
    "half": {"half"},
    "the last sample dropped": {"last_sample_dropped"},
    "φ' omitted": {"phi_prime_omitted"},
    "φ for φ'": {"phi_for_phi_prime"},
    "φ' at h": {"phi_prime_at_h"},
    "φ' at a without the bias": {"phi_prime_without_bias"},
    "φ' at −a": {"phi_prime_at_minus_a"},
    "φ' twice": {"phi_prime_twice"},
    "1 − h², whatever φ": {"1_minus_h_squared"},
    "h(1 − h), as for the logistic": {"h_times_1_minus_h"},
    "1 at a > 0, whatever φ": {"step_for_phi_prime"},
    "φ' in the first layer alone": {"phi_prime_omitted"},
    "φ' at one summand": {"phi_prime_at_summand"},
    "Σ_k missing, unit 0 alone": {"only_unit_0"},
    "|W| for W": {"absolute_weights"},
    "−W for W": {"sign"},
    "divided by the units above": {"mean_over_units"},
    "a for h below W": {"pre_activation"},
    "|h| for h below W": {"input_absolute"},
    "h of the next sample": {"input_of_other_samples"},
    "h less its mean": {"input_centred"},
    "∂W reshaped, not transposed": {"reshaped", "transposed"},
    "W from the first sample alone": {"only_first_sample"},
    "W without φ'": {"phi_prime_omitted"},
    "b without φ'": {"phi_prime_omitted"},
    "b from the first sample alone": {"only_first_sample"},
    "b averaged twice": {"mean_twice"},
    "b not averaged": {"no_mean"},
    "b of zero": {"no_gradient"},
    "b weighted by h": {"times_output"},
    "all by 1.0005": {"constant_factor"},
    "all by 1.001": {"constant_factor"},
    "all by 1 + 1e-5": {"constant_factor"},
    "b of the last layer by 1.001": {"constant_factor"},
    "b of the last layer in reverse": {"reversed"},
    "W of the last layer of zero": {"no_gradient"},
    "W1 with the sign changed": {"sign"},
    "W1 wrong in one entry, by 1e-4 of the largest": {"one_entry"},
    "its sign alone": {"only_signs"},
    "a penalty on W, 0.01 W, not in the loss": {"regulariser"},
    "a penalty on b, 0.01 b, not in the loss": {"regulariser"},
    "labels smoothed by 0.01, the loss not": {"labels_smoothed"},
    "the first sample twice": {"first_sample_twice"},
    "φ' of the next unit": {"phi_prime_of_next_unit"},
    "leaky by 0.01 at a ≤ 0, φ not": {"leaky_slope"},
    "Σ_k without the last unit": {"last_unit_dropped"},
    "W reshaped, not transposed": {"weights_reshaped"},
    "W's units in reverse": {"weights_reversed"},
    "the bias added to W": {"bias_added_to_weights"},
    "W after its own step": {"weights_after_step"},
    "W1 with the last input forgotten": {"last_input_forgotten"},
    "scaled to norm 1": {"scaled_to_norm_1"},
    "rounded to float16": {"rounded_to_float16"},
    "clipped at half the largest entry": {"clipped"},
}
#: These were unknown when the benchmark was first run, and got a name because of it.
SINCE = frozenset(
    {
        "labels smoothed by 0.01, the loss not",
        "the first sample twice",
        "φ' of the next unit",
        "leaky by 0.01 at a ≤ 0, φ not",
        "Σ_k without the last unit",
        "W reshaped, not transposed",
        "W's units in reverse",
        "the bias added to W",
        "W after its own step",
        "W1 with the last input forgotten",
        "scaled to norm 1",
        "rounded to float16",
        "clipped at half the largest entry",
    }
)


@dataclass
class Share:
    """How many of a sort were named, given another name (too), or not named in full."""

    verdicts: Counter[str] = field(default_factory=Counter[str])
    #: What was said of those that were not named, in words.
    misses: list[str] = field(default_factory=list[str])

    def add(self, verdict: str, what: str) -> None:
        self.verdicts[verdict] += 1
        if verdict != NAMED:
            self.misses.append(what)

    @property
    def named(self) -> int:
        return self.verdicts[NAMED]

    @property
    def all(self) -> int:
        return self.verdicts.total()


@dataclass
class Naming:
    """What became of every mistake, by its name, and of pairs: at different places or at one."""

    singles: dict[str, Share] = field(default_factory=dict[str, Share])
    heldout: dict[str, Share] = field(default_factory=dict[str, Share])
    apart: Share = field(default_factory=Share)
    together: Share = field(default_factory=Share)
    seconds: list[float] = field(default_factory=list[float])


def share_named(depths: tuple[int, ...], pairs: int, seed: int) -> Naming:
    """Every mistake, and `pairs` random pairs, on one network of every activation and of these depths."""
    found = Naming()
    for cell, (activation, depth) in enumerate((a, d) for a in ACTIVATIONS for d in depths):
        rng = np.random.default_rng((seed, cell))
        # No two layers of the same size, so that a transposition shows.
        inputs, *hidden, outputs = (int(each) for each in rng.permutation(np.arange(3, 9))[: depth + 2])
        given = problem(activation, (inputs, *hidden, outputs), "fresh", "float64", rng)
        print(f"naming mistakes: {given.label}", file=sys.stderr)
        _singles(found, found.singles, given, MISTAKES, NAMES)
        _singles(found, found.heldout, given, HELD_OUT, HELD_OUT_NAMES)
        _pairs(found, given, pairs, rng)
    return found


def _singles(
    found: Naming,
    shares: dict[str, Share],
    given: Problem,
    mistakes: Mapping[str, Rule],
    names: Mapping[str, set[str]],
) -> None:
    """Each mistake that shows in the network, by itself."""
    for mistake, rule in mistakes.items():
        if given.gap(rule) > SAME:
            said = _diagnosed(given, rule, found)
            verdict = _verdict(said, names.get(mistake, set()))
            shares.setdefault(mistake, Share()).add(verdict, f"{mistake}: {given.label}: {_said(said)}")


def _pairs(found: Naming, given: Problem, count: int, rng: np.random.Generator) -> None:
    """Pairs of all mistakes that show, each of which changes what the other alone gives."""
    shown = {mistake: rule for mistake, rule in MISTAKES.items() if given.gap(rule) > SAME}
    done = 0
    while done < count:
        names = [str(each) for each in rng.choice([*shown], 2, replace=False)]
        one, other = (shown[name] for name in names)
        both = one.with_(other)
        if min(given.gap(both), given.gap(both, one), given.gap(both, other)) <= SAME:
            continue
        done += 1
        said = _diagnosed(given, both, found)
        verdict = _verdict(said, *(NAMES.get(name, set()) for name in names))
        share = found.together if one.places & other.places else found.apart
        share.add(verdict, f"{' + '.join(names)}: {given.label}: {_said(said)}")


def _diagnosed(given: Problem, rule: Rule, found: Naming) -> Diagnosis:
    penalty = registry().build("penalty", "none")
    net = given.given(rule).problem.net
    started = time.perf_counter()
    said = diagnose_network(net, given.X, given.y, penalty, given.theta[None])
    found.seconds.append(time.perf_counter() - started)
    return said


def _verdict(said: Diagnosis, *planted: set[str]) -> str:
    """NAMED: all that was planted and nothing else. MISNAMED: something else. UNKNOWN: not all of it."""
    sets = [[{each.name, *(tie.name for tie in each.ties)} for each in said.findings if each.known]]
    sets += [[{each.name} for each in tie] for tie in said.ties]
    allowed = set[str]().union(*planted)
    right = [each for each in sets if all(names & allowed for names in each)]
    if not right:
        return MISNAMED
    whole = bool(said.findings) and not said.unknown
    return NAMED if whole and any(all(_holds(each, one) for one in planted) for each in right) else UNKNOWN


def _holds(sets: list[set[str]], names: set[str]) -> bool:
    return any(each & names for each in sets)


def _said(said: Diagnosis) -> str:
    return ", ".join(f"{each.name} at {each.place}" for each in said.findings) or "nothing"
