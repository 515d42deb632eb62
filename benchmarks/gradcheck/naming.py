"""The fraction of mistakes that the diagnosis names: single ones, random pairs, and those of heldout.py.

A result is right if every mistake that the diagnosis names, or a tie of it, was planted, all planted mistakes are
named, and nothing is unknown. The diagnosis is called as by `backproof check`.

A pair is any two of the mistakes, in different steps or in the same one, where the second is made after the first.
It is excluded only if one of the two changes nothing.
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

#: The names that the diagnosis may give each mistake; those not listed have no name.
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
    """The numbers of mistakes that were named, misnamed, or not named completely."""

    verdicts: Counter[str] = field(default_factory=Counter[str])
    #: The diagnoses of those that were not named, in words.
    misses: list[str] = field(default_factory=list[str])

    def add(self, verdict: str, description: str) -> None:
        self.verdicts[verdict] += 1
        if verdict != NAMED:
            self.misses.append(description)

    @property
    def named(self) -> int:
        return self.verdicts[NAMED]

    @property
    def all(self) -> int:
        return self.verdicts.total()


@dataclass
class Naming:
    """The results for every mistake, by its name, and for pairs: in different steps or in the same one."""

    singles: dict[str, Share] = field(default_factory=dict[str, Share])
    heldout: dict[str, Share] = field(default_factory=dict[str, Share])
    different_steps: Share = field(default_factory=Share)
    same_step: Share = field(default_factory=Share)
    seconds: list[float] = field(default_factory=list[float])


def share_named(depths: tuple[int, ...], pairs: int, seed: int) -> Naming:
    """Diagnose every mistake, and `pairs` random pairs, on a network of each activation and depth."""
    naming = Naming()
    for cell, (activation, depth) in enumerate((a, d) for a in ACTIVATIONS for d in depths):
        rng = np.random.default_rng((seed, cell))
        # All layer sizes differ, so that a transposition is visible.
        inputs, *hidden, outputs = (int(size) for size in rng.permutation(np.arange(3, 9))[: depth + 2])
        network = problem(activation, (inputs, *hidden, outputs), "fresh", "float64", rng)
        print(f"naming mistakes: {network.label}", file=sys.stderr)
        _singles(naming, naming.singles, network, MISTAKES, NAMES)
        _singles(naming, naming.heldout, network, HELD_OUT, HELD_OUT_NAMES)
        _pairs(naming, network, pairs, rng)
    return naming


def _singles(
    naming: Naming,
    shares: dict[str, Share],
    problem: Problem,
    mistakes: Mapping[str, Rule],
    names: Mapping[str, set[str]],
) -> None:
    """Diagnose each mistake that changes the gradient of the network."""
    for mistake, rule in mistakes.items():
        if problem.gap(rule) > SAME:
            diagnosis = _diagnose(problem, rule, naming)
            verdict = _verdict(diagnosis, names.get(mistake, set()))
            description = f"{mistake}: {problem.label}: {_names(diagnosis)}"
            shares.setdefault(mistake, Share()).add(verdict, description)


def _pairs(naming: Naming, problem: Problem, count: int, rng: np.random.Generator) -> None:
    """Diagnose random pairs of mistakes, each of which changes the gradient with the other one."""
    visible = {mistake: rule for mistake, rule in MISTAKES.items() if problem.gap(rule) > SAME}
    done = 0
    while done < count:
        names = [str(name) for name in rng.choice([*visible], 2, replace=False)]
        first, second = (visible[name] for name in names)
        both = first.with_(second)
        if min(problem.gap(both), problem.gap(both, first), problem.gap(both, second)) <= SAME:
            continue
        done += 1
        diagnosis = _diagnose(problem, both, naming)
        verdict = _verdict(diagnosis, *(NAMES.get(name, set()) for name in names))
        share = naming.same_step if first.steps & second.steps else naming.different_steps
        share.add(verdict, f"{' + '.join(names)}: {problem.label}: {_names(diagnosis)}")


def _diagnose(problem: Problem, rule: Rule, naming: Naming) -> Diagnosis:
    penalty = registry().build("penalty", "none")
    net = problem.candidate(rule).problem.net
    started = time.perf_counter()
    diagnosis = diagnose_network(net, problem.X, problem.y, penalty, problem.theta[None])
    naming.seconds.append(time.perf_counter() - started)
    return diagnosis


def _verdict(diagnosis: Diagnosis, *planted: set[str]) -> str:
    """Return NAMED for all planted mistakes and no other, MISNAMED for another one, UNKNOWN if some are missing."""
    explanations = [
        [{finding.name, *(tie.name for tie in finding.ties)} for finding in diagnosis.findings if finding.known]
    ]
    explanations += [[{mistake.name} for mistake in tie] for tie in diagnosis.ties]
    allowed = set[str]().union(*planted)
    right = [explanation for explanation in explanations if all(names & allowed for names in explanation)]
    if not right:
        return MISNAMED
    complete = bool(diagnosis.findings) and not diagnosis.unknown
    named = any(all(_contains(explanation, names) for names in planted) for explanation in right)
    return NAMED if complete and named else UNKNOWN


def _contains(explanation: list[set[str]], names: set[str]) -> bool:
    return any(mistake & names for mistake in explanation)


def _names(diagnosis: Diagnosis) -> str:
    return ", ".join(f"{finding.name} at {finding.place}" for finding in diagnosis.findings) or "nothing"
