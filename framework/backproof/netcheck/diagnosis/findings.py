"""From cases to findings: locate, name and explain mistakes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backproof.netcheck.diagnosis.backward import Evaluator, Mistakes, ledger
from backproof.netcheck.diagnosis.case import Case, same
from backproof.netcheck.diagnosis.counterexample import Evaluate, counterexample
from backproof.netcheck.diagnosis.error_pattern import error_patterns, follows, share_wrong_delta
from backproof.netcheck.diagnosis.fault import Fault
from backproof.netcheck.diagnosis.formula_text import formula
from backproof.netcheck.diagnosis.localize import WRONG, locate
from backproof.netcheck.diagnosis.plugins import plugin_findings
from backproof.netcheck.diagnosis.results import Alternative, Diagnosis, Finding
from backproof.netcheck.diagnosis.search import Explanation, Search, tensors_down

#: At most this many ties are listed.
MOST_TIES = 8


def diagnose(cases: Sequence[Case], evaluate: Evaluate | None = None, probes: Sequence[Case] = ()) -> Diagnosis:
    """Diagnose gradients by finding mistakes that give the same numbers in every case.

    cases     at least three points; sizes that all differ, and a case of a single sample, distinguish mistakes that
              look alike
    evaluate  evaluates the network and its derivation at other sizes, for a counterexample
    probes    single samples that differ only in their targets, to locate the wrong step

    A mistake is named only if it leaves no error in any tensor in any case. An error that no known mistake explains
    is `unknown`, with the patterns in its numbers. Raise ValueError for fewer than three cases, or for cases with
    different tensors.
    """
    _check(cases)
    return _Diagnoser(cases, evaluate, probes)()


def _check(cases: Sequence[Case]) -> None:
    if len(cases) < 3:
        raise ValueError(f"a diagnosis needs at least 3 cases, got {len(cases)}")
    names = set(tensors_down(cases[0].depth))
    for case in cases:
        if set(case.gradients) != names or set(case.expected) != names:
            raise ValueError(
                f"every case must have the gradients of {', '.join(sorted(names))}, "
                f"got those of {', '.join(case.gradients)}, and expected values for {', '.join(case.expected)}"
            )


class _Diagnoser:
    """One diagnosis of a set of cases."""

    def __init__(self, cases: Sequence[Case], evaluate: Evaluate | None, probes: Sequence[Case]) -> None:
        self.cases, self.evaluate, self.depth = list(cases), evaluate, cases[0].depth
        self.steps = locate(probes)
        self.evaluator = Evaluator(self.cases)
        has_penalty = any(np.any(term) for case in self.cases for term in case.penalty.values())
        self.search = Search(self.evaluator, ledger(self.cases[0].trace, penalty=has_penalty), self.depth)
        standard = all(same(c.trace.dloss(), (c.trace.p - c.trace.y) / c.trace.N) for c in self.cases)
        self.seed = "(p_n{k} − y_n{k})" if standard else "(N ∂Err/∂z)_n{k}"

    def __call__(self) -> Diagnosis:
        with np.errstate(all="ignore"):
            plugins = plugin_findings(self.evaluator, self.depth)
            if plugins:
                return Diagnosis(tuple(plugins), points=len(self.cases))
            equivalent = tuple(map(_alternative, self.search.without_harmless()))
            if all(self.evaluator.right.values()):
                return Diagnosis(equivalent=equivalent, points=len(self.cases))
            explanations = self.search.search_global() or self.search.search_per_tensor()
            return self._diagnosis(explanations, equivalent)

    def _diagnosis(self, explanations: Sequence[Explanation], equivalent: tuple[Alternative, ...]) -> Diagnosis:
        first, *others = explanations
        findings = self._findings(first, others)
        wrong = [tensor for tensor in reversed(tensors_down(self.depth)) if not self.evaluator.right[tensor]]
        order = list(dict.fromkeys([finding.tensors[0] for finding in findings if finding.tensors] + wrong))
        example, notes = None, tuple[str, ...]()
        if self.evaluate is not None:
            example = counterexample(self.evaluate, self.cases, order, first.mistakes)
            if example is None:
                notes = (
                    "no example: the rule cannot be evaluated on tiny networks, or is right on those tried",
                )
        return Diagnosis(
            tuple(findings),
            tuple(_ties(first, others)),
            equivalent,
            example,
            notes,
            len(self.cases),
            self.steps,
        )

    def _findings(self, chosen: Explanation, others: Sequence[Explanation]) -> list[Finding]:
        ordered = sorted(chosen.all, key=lambda fault: fault.order)
        findings: list[Finding] = []
        for group in _grouped(ordered):
            touched = {tensor for fault in group for tensor in self._touched(chosen, fault)}
            touched = touched or set(group[0].scope(self.depth))
            tensors = [tensor for tensor in reversed(tensors_down(self.depth)) if tensor in touched]
            findings.append(self._finding(chosen, group, tensors, others))
        return findings + self._unknowns(chosen)

    def _touched(self, chosen: Explanation, mistake: Fault) -> list[str]:
        """Return the tensors whose gradient this mistake changes."""
        tensors: list[str] = []
        for tensor, mistakes in chosen.mistakes.items():
            if mistake in mistakes and not self.evaluator.explains(tensor, mistakes - {mistake}):
                tensors.append(tensor)
        return tensors

    def _finding(
        self, chosen: Explanation, group: list[Fault], tensors: list[str], others: Sequence[Explanation]
    ) -> Finding:
        mistake, shown = group[0], _formula_tensor(tensors)
        residuals = [self._unexplained(tensor, chosen.mistakes[tensor]) for tensor in tensors]
        sentence = mistake.sentence
        if mistake.kind != "penalty" and not mistake.kind.endswith("_added"):
            sentence += f"; the same for {_and([fault.where for fault in group[1:]])}" if group[1:] else ""
            missing = self._missing(chosen, group, tensors)
            sentence += f", in the gradient of {_and(tensors)} but not of {_and(missing)}" if missing else ""
        return Finding(
            name=mistake.name,
            place=mistake.where,
            layer=mistake.layer,
            tensors=tuple(tensors),
            sentence=sentence,
            right=formula(shown, self.depth, (), self.seed),
            given=formula(shown, self.depth, chosen.mistakes[shown], self.seed),
            ties=tuple(_alternatives(chosen, group, others)),
            residual=max(residuals, default=0.0),
        )

    def _missing(self, chosen: Explanation, group: list[Fault], tensors: list[str]) -> list[str]:
        """Return the tensors below these mistakes whose gradients do not contain them."""
        return [
            tensor
            for tensor in reversed(tensors_down(self.depth))
            if tensor not in tensors and tensor not in chosen.unknown
            if any(
                tensor in fault.scope(self.depth) and fault not in chosen.mistakes[tensor] for fault in group
            )
        ]

    def _unexplained(self, tensor: str, mistakes: Mistakes) -> float:
        """Return the largest relative error that these mistakes leave unexplained, over all cases."""
        numbers = self.evaluator.numbers(tensor, mistakes)
        if numbers is None:
            return float("inf")
        pairs = zip(self.evaluator.cases, numbers, strict=True)
        return max(case.unexplained(tensor, gradient) for case, gradient in pairs)

    def _unknowns(self, chosen: Explanation) -> list[Finding]:
        """Return a finding for each layer with tensors that nothing explains, from the loss down."""
        findings: list[Finding] = []
        remaining = list(chosen.unknown)
        for layer in range(self.depth, 0, -1):
            tensors = [tensor for tensor in (f"W{layer}", f"b{layer}") if tensor in remaining]
            if not tensors:
                continue
            place, sentence = self._located(layer, tensors, bool(findings))
            patterns = [pattern for tensor in tensors for pattern in error_patterns(tensor, self.cases)]
            right = formula(_formula_tensor(tensors), self.depth, (), self.seed)
            below = [tensor for tensor in remaining if int(tensor[1:]) < layer]
            if (
                below
                and len(tensors) == 2
                and share_wrong_delta(self.cases, layer)
                and follows(self.cases, layer, below)
            ):
                sentence += "; the errors below follow from it"
                tensors, remaining = [*sorted(below, key=lambda tensor: (tensor[1:], tensor)), *tensors], []
            findings.append(
                Finding("unknown", place, layer, tuple(tensors), sentence, right, structure=tuple(patterns))
            )
        return findings

    def _located(self, layer: int, tensors: list[str], below_unknown: bool) -> tuple[str, str]:
        adjoint = "∂Err/∂z" if layer == self.depth else f"∂Err/∂a{layer}"
        if len(tensors) == 1:
            other = f"b{layer}" if tensors[0][0] == "W" else f"W{layer}"
            state = "right" if self.evaluator.right[other] else "explained"
            step = "its product with the layer's input" if tensors[0][0] == "W" else "its sum over the samples"
            return tensors[0], f"unknown mistake in {tensors[0]} alone: {other} is {state}, so look at {step}"
        wrong = [step.place for step in self.steps if step.state == WRONG]
        if f"∂Err/∂h{layer}" in wrong:
            return (
                f"∂Err/∂h{layer}",
                f"unknown mistake in ∂Err/∂h{layer}, the gradient propagated back to h{layer}",
            )
        if f"φ'(a{layer})" in wrong:
            return (
                f"φ'(a{layer})",
                f"unknown mistake in φ'(a{layer}): ∂Err/∂h{layer} is right",
            )
        after = ", which may come from the layer above" if below_unknown else ""
        if share_wrong_delta(self.cases, layer):
            evidence = f"W{layer} and b{layer} both follow from the same wrong {adjoint}"
            return adjoint, f"unknown mistake in {adjoint}: {evidence}{after}"
        if share_wrong_delta(self.cases, layer) is None:
            return adjoint, f"unknown mistake in {adjoint}, or in W{layer} and b{layer} each{after}"
        return (
            f"W{layer}, b{layer}",
            f"unknown mistake in W{layer} and b{layer}: no single {adjoint} gives both{after}",
        )


def _grouped(mistakes: Sequence[Fault]) -> list[list[Fault]]:
    """Group the faults that count as one mistake."""
    groups: dict[object, list[Fault]] = {}
    for fault in mistakes:
        groups.setdefault(fault.group, []).append(fault)
    return list(groups.values())


def _formula_tensor(tensors: Sequence[str]) -> str:
    """Return the tensor whose formula is shown: the uppermost wrong weights, or else biases."""
    weights = [tensor for tensor in tensors if tensor[0] == "W"]
    return max(weights or list(tensors), key=lambda tensor: int(tensor[1:]))


def _alternative(mistake: Fault) -> Alternative:
    return Alternative(mistake.name, mistake.where, mistake.sentence)


def _alternatives(
    chosen: Explanation, group: Sequence[Fault], others: Sequence[Explanation]
) -> list[Alternative]:
    """Return the alternatives to one mistake if the others stay the same."""
    alternatives: dict[Alternative, None] = {}
    for other in others:
        if _replaced(chosen, other) == frozenset(group):
            new = sorted(other.all - chosen.all, key=lambda fault: fault.order)
            alternatives[_alternative(new[0])] = None
    return list(alternatives)


def _replaced(chosen: Explanation, other: Explanation) -> frozenset[Fault] | None:
    """Return the mistake that the other explanation replaces with another one; None if they differ in more."""
    removed, new = chosen.all - other.all, other.all - chosen.all
    single = len({fault.group for fault in removed}) == 1 and len({fault.group for fault in new}) == 1
    return removed if single else None


def _ties(chosen: Explanation, others: Sequence[Explanation]) -> list[tuple[Alternative, ...]]:
    """Return the explanations that differ from the chosen one in more than one mistake."""
    ties: list[tuple[Alternative, ...]] = []
    for other in others:
        if _replaced(chosen, other) is None and other.all != chosen.all:
            ordered = sorted(other.all, key=lambda fault: fault.order)
            tie = tuple(_alternative(group[0]) for group in _grouped(ordered))
            if tie not in ties:
                ties.append(tie)
    return ties[:MOST_TIES]


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
