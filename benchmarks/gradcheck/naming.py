"""The share of mistakes that the diagnosis names: single ones and random pairs.

A mistake is named correctly where every mistake that the diagnosis names is one that was planted, or is listed as
having the same numbers, all that were planted are named, and nothing is left over as unknown. It is asked as
`backproof check` asks it.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from benchmarks.gradcheck.mistakes import MISTAKES, Rule
from benchmarks.gradcheck.problems import ACTIVATIONS, SAME, Problem, problem
from framework.diagnosing import diagnose_network
from framework.gradcheck.diagnosis import Diagnosis
from framework.registry import registry

NAMED, MISNAMED, UNKNOWN = "named", "misnamed", "unknown"

#: What the diagnosis calls each mistake that it had a name for from the start.
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
}
#: These were unknown when the benchmark was first run, and got a name then: they show that the ledger can be added
#: to, not that it foresaw them. They are counted apart.
SINCE: dict[str, set[str]] = {
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
}


@dataclass
class Naming:
    """How many were named, of how many, and what was said of the others."""

    singles: Counter[str] = field(default_factory=Counter[str])
    named: Counter[str] = field(default_factory=Counter[str])
    #: Another mistake was named than the one planted.
    misnamed: Counter[str] = field(default_factory=Counter[str])
    pairs: int = 0
    pairs_named: int = 0
    pairs_misnamed: int = 0
    seconds: list[float] = field(default_factory=list[float])
    misses: list[str] = field(default_factory=list[str])

    def of(self, mistakes: Collection[str]) -> tuple[int, int]:
        """How many of these mistakes were named, and of how many."""
        return sum(self.named[each] for each in mistakes), sum(self.singles[each] for each in mistakes)


def share_named(depths: tuple[int, ...], pairs: int, seed: int) -> Naming:
    """Every mistake, and `pairs` random pairs, on one network of every activation and of these depths."""
    found = Naming()
    for cell, (activation, depth) in enumerate((a, d) for a in ACTIVATIONS for d in depths):
        rng = np.random.default_rng((seed, cell))
        # No two layers of the same size, so that a transposition shows.
        inputs, *hidden, outputs = (int(each) for each in rng.permutation(np.arange(3, 9))[: depth + 2])
        given = problem(activation, (inputs, *hidden, outputs), "fresh", "float64", rng)
        print(f"naming mistakes: {given.label}", file=sys.stderr)
        shown = {mistake: rule for mistake, rule in MISTAKES.items() if given.gap(rule) > SAME}
        for mistake, rule in shown.items():
            said = _diagnosed(given, rule, found)
            found.singles[mistake] += 1
            verdict = _verdict(said, (NAMES | SINCE).get(mistake, set()))
            found.named[mistake] += verdict == NAMED
            found.misnamed[mistake] += verdict == MISNAMED
            if verdict == MISNAMED or (verdict != NAMED and mistake in NAMES | SINCE):
                found.misses.append(f"{mistake}: {given.label}: {_said(said)}")
        known = {mistake: rule for mistake, rule in shown.items() if mistake in NAMES}
        _pairs(found, given, known, pairs, rng)
    return found


def _pairs(found: Naming, given: Problem, known: dict[str, Rule], count: int, rng: np.random.Generator) -> None:
    """Pairs of these mistakes at different places, each of which changes what the other alone gives."""
    done = 0
    while done < count:
        names = [str(each) for each in rng.choice([*known], 2, replace=False)]
        one, other = (known[name] for name in names)
        if one.places & other.places:
            continue
        both = one.with_(other)
        if given.gap(both) <= SAME or given.gap(both, one) <= SAME or given.gap(both, other) <= SAME:
            continue
        done += 1
        found.pairs += 1
        said = _diagnosed(given, both, found)
        verdict = _verdict(said, NAMES[names[0]], NAMES[names[1]])
        found.pairs_named += verdict == NAMED
        found.pairs_misnamed += verdict == MISNAMED
        if verdict != NAMED:
            found.misses.append(f"{' + '.join(names)}: {given.label}: {_said(said)}")


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
