"""The search for the fewest mistakes that explain the gradients of all tensors."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backproof.netcheck.diagnosis.backward import NONE, Evaluator, Mistakes
from backproof.netcheck.diagnosis.fault import Fault
from backproof.netcheck.diagnosis.faults_linear import fit_number, linear_faults
from backproof.netcheck.diagnosis.fitted import fitted_faults, is_parallel, may_be_fitted

#: The width of the beam: the partial explanations kept while going through the tensors.
WIDTH = 48
#: The cost of a tensor that nothing explains. A mistake costs 1.
UNKNOWN = 4.0
#: The extra cost of a mistake that is missing in some of the tensors below it,
PARTIAL = 0.5
#: of one with a fitted number,
FITTED = 0.5
#: and of each further layer in which it is made.
FURTHER_LAYER = 0.25
#: Explanations whose costs differ by no more than this are ties.
TIE = 0.5


@dataclass(frozen=True)
class Explanation:
    """Which mistakes are in the gradient of each tensor, and which tensors nothing explains."""

    mistakes: Mapping[str, Mistakes] = field(default_factory=dict[str, Mistakes])
    unknown: tuple[str, ...] = ()

    @property
    def all(self) -> Mistakes:
        return frozenset(itertools.chain.from_iterable(self.mistakes.values()))

    def cost(self, depth: int) -> float:
        """Return the number of mistakes, with extra costs; a mistake made in every layer counts once."""
        groups: dict[object, list[Fault]] = {}
        for fault in self.all:
            groups.setdefault(fault.group, []).append(fault)
        total = UNKNOWN * len(self.unknown)
        for group in groups.values():
            total += 1 + FURTHER_LAYER * (len(group) - 1) + FITTED * bool(group[0].number)
            total += PARTIAL * any(self._is_partial(fault, depth) for fault in group)
        return total

    def _is_partial(self, fault: Fault, depth: int) -> bool:
        """Return whether the fault is missing in an explained tensor below it."""
        explained = [
            tensor for tensor in fault.scope(depth) if tensor in self.mistakes and tensor not in self.unknown
        ]
        return any(fault not in self.mistakes[tensor] for tensor in explained)


def tensors_down(depth: int) -> list[str]:
    """Return the tensors from the loss down: bL, WL, ..., b1, W1."""
    return [f"{letter}{layer}" for layer in range(depth, 0, -1) for letter in "bW"]


class Search:
    """Search for explanations of wrong gradients by mistakes from a ledger. Sets of tensors are bit masks."""

    def __init__(self, evaluator: Evaluator, ledger: Sequence[Fault], depth: int) -> None:
        self.evaluator, self.depth = evaluator, depth
        self.ledger: list[Fault] = list(ledger)
        self.tensors = tensors_down(depth)
        self.scopes: dict[Fault, frozenset[str]] = {
            fault: frozenset(fault.scope(depth)) for fault in self.ledger
        }
        self._bits = {tensor: 1 << i for i, tensor in enumerate(self.tensors)}
        self._tried: dict[tuple[str, Mistakes, int], list[Mistakes]] = {}

    def without_harmless(self) -> list[Fault]:
        """Remove the mistakes that change no number from the ledger, and return them."""
        harmless = [
            fault
            for fault in self.ledger
            if all(self.evaluator.harmless(tensor, frozenset((fault,))) for tensor in self.scopes[fault])
        ]
        self.ledger = [fault for fault in self.ledger if fault not in harmless]
        return harmless

    def search_global(self) -> list[Explanation]:
        """Return all explanations by one mistake, or else by two, each made in every tensor below it.

        A mistake that is made in every layer, as in a loop, counts as one.
        """
        wrong = self._mask(tensor for tensor in self.tensors if not self.evaluator.right[tensor])
        candidates = [frozenset((fault,)) for fault in self.ledger] + self._loops()
        scopes = {candidate: self._mask(self._reached(candidate)) for candidate in candidates}
        explained = {candidate: self._explained_alone(candidate) for candidate in candidates}
        singles = [
            candidate
            for candidate in candidates
            if not scopes[candidate] & ~explained[candidate] and not wrong & ~scopes[candidate]
        ]
        if singles:
            return [self._explanation(candidate) for candidate in singles]
        pairs = [
            first | second
            for first, second in itertools.combinations(candidates, 2)
            if self._pair_explains(first, second, wrong, scopes, explained)
        ]
        explanations = sorted(
            map(self._explanation, pairs), key=lambda explanation: explanation.cost(self.depth)
        )
        return [
            explanation
            for explanation in explanations
            if explanation.cost(self.depth) <= explanations[0].cost(self.depth) + TIE
        ]

    def _pair_explains(
        self,
        first: Mistakes,
        second: Mistakes,
        wrong: int,
        scopes: Mapping[Mistakes, int],
        explained: Mapping[Mistakes, int],
    ) -> bool:
        """Return whether two candidates together explain all tensors; `explained` has those each explains alone."""
        scope, other_scope = scopes[first], scopes[second]
        if wrong & ~(scope | other_scope):
            return False
        if scope & ~other_scope & ~explained[first] or other_scope & ~scope & ~explained[second]:
            return False
        both = first | second
        disjoint = _distinct_steps(both) and len(both) == len(first) + len(second)
        return disjoint and self._explains(both, scope & other_scope)

    def search_per_tensor(self) -> list[Explanation]:
        """Return the cheapest explanations by more mistakes, or by mistakes in some of the tensors only.

        From the loss down, each tensor is explained by the mistakes above it and the fewest new ones.
        """
        states = [Explanation()]
        for tensor in self.tensors:
            states = self._best(new for state in states for new in self._extended(state, tensor))
        # A mistake found further down may explain a tensor above that was unknown until then.
        for tensor in self.tensors:
            if any(tensor in state.unknown for state in states):
                states = self._best(new for state in states for new in self._retried(state, tensor))
        lowest = states[0].cost(self.depth)
        return [state for state in states if state.cost(self.depth) == lowest]

    def _best(self, states: Iterable[Explanation]) -> list[Explanation]:
        unique = {(tuple(state.mistakes.items()), state.unknown): state for state in states}
        return sorted(unique.values(), key=lambda state: (state.cost(self.depth), len(state.all)))[:WIDTH]

    def _extended(self, state: Explanation, tensor: str) -> Iterator[Explanation]:
        """Yield the state with each explanation of one more tensor, or with that tensor unknown."""
        candidates = self._candidates(state, tensor)
        for mistakes in candidates:
            yield Explanation({**state.mistakes, tensor: mistakes}, state.unknown)
        if not candidates:
            yield Explanation({**state.mistakes, tensor: NONE}, (*state.unknown, tensor))

    def _retried(self, state: Explanation, tensor: str) -> Iterator[Explanation]:
        """Yield the state with an unknown tensor tried again, now that the other tensors are known."""
        if tensor not in state.unknown:
            yield state
            return
        unknown = tuple(name for name in state.unknown if name != tensor)
        mistakes = {name: explanation for name, explanation in state.mistakes.items() if name != tensor}
        yield from self._extended(Explanation(mistakes, unknown), tensor)

    def _candidates(self, state: Explanation, tensor: str) -> list[Mistakes]:
        """Return the explanations of one tensor with the fewest new mistakes."""
        above = sorted(
            (fault for fault in state.all if tensor in fault.scope(self.depth)), key=lambda fault: fault.order
        )
        inherited = frozenset(above)
        if self.evaluator.explains(tensor, inherited):
            return [inherited]
        subsets = [frozenset(subset) for subset in _proper_subsets(above)]
        candidates = [subset for subset in subsets if self.evaluator.explains(tensor, subset)]
        candidates += self._with_new(tensor, [inherited, *subsets], 1)
        candidates += [] if candidates else self._fitted(tensor, [inherited, *subsets])
        if candidates:
            return list(dict.fromkeys(candidates))
        layer = int(tensor[1:])
        # Below an unexplained ∂Err/∂a, further mistakes explain nothing.
        if any({f"W{upper}", f"b{upper}"} <= {*state.unknown} for upper in range(layer + 1, self.depth + 1)):
            return []
        # Two new mistakes, or one new mistake and one with a fitted number.
        candidates = self._with_new(tensor, [inherited], 2) + self._fitted(
            tensor, self._with_one(tensor, inherited)
        )
        if not candidates and inherited and not any(int(name[1:]) > layer for name in state.unknown):
            candidates = self._with_new(tensor, [NONE], 2) + self._fitted(tensor, self._with_one(tensor, NONE))
        return list(dict.fromkeys(candidates))

    def _with_new(self, tensor: str, starts: Iterable[Mistakes], count: int) -> list[Mistakes]:
        """Return each of `starts` with `count` new mistakes, if they explain the tensor."""
        return [mistakes for start in dict.fromkeys(starts) for mistakes in self._new(tensor, start, count)]

    def _new(self, tensor: str, start: Mistakes, count: int) -> list[Mistakes]:
        """Return `start` with `count` new mistakes, at least one of them in the tensor's layer."""
        key = tensor, start, count
        if key not in self._tried:
            layer, possible = int(tensor[1:]), self._possible(tensor, start)
            sets = [
                start | set(new)
                for new in itertools.combinations(possible, count)
                if count == 1 or (_distinct_steps(new) and any(fault.layer == layer for fault in new))
            ]
            self._tried[key] = [mistakes for mistakes in sets if self.evaluator.explains(tensor, mistakes)]
        return self._tried[key]

    def _possible(self, tensor: str, start: Mistakes) -> list[Fault]:
        """Return the mistakes that can be made in the tensor's gradient in addition to `start`."""
        steps = {fault.step for fault in start}
        return [fault for fault in self.ledger if tensor in self.scopes[fault] and fault.step not in steps]

    def _with_one(self, tensor: str, start: Mistakes) -> list[Mistakes]:
        return [start | {fault} for fault in self._possible(tensor, start)]

    def _fitted(self, tensor: str, starts: Iterable[Mistakes]) -> list[Mistakes]:
        """Return each of `starts` with a mistake whose number is fitted, if they explain the tensor."""
        explanations: list[Mistakes] = []
        for start in dict.fromkeys(starts):
            for fault in [*self._numbered(tensor, start), *self._linear(tensor, start)]:
                mistakes = start | {fault}
                # After a change of the whole gradient, such as taking signs, a single entry is no evidence.
                if fault.name == "one_entry" and any(other.kind.endswith("_end") for other in start):
                    continue
                if _distinct_steps(mistakes) and self.evaluator.explains(tensor, mistakes):
                    explanations.append(mistakes)
        return explanations

    def _numbered(self, tensor: str, start: Mistakes) -> list[Fault]:
        """Return the mistakes whose number is fitted to the gradient itself."""
        case, first = self.evaluator.cases[0], self.evaluator.first(tensor, start)
        if first is None or not may_be_fitted(tensor, case, first):
            return []
        numbers = self.evaluator.numbers(tensor, start)
        return [] if numbers is None else fitted_faults(tensor, self.evaluator.cases, numbers)

    def _linear(self, tensor: str, start: Mistakes) -> Iterator[Fault]:
        """Yield the mistakes that are linear in an unknown number, with that number."""
        steps = {fault.step for fault in start}
        first = self.evaluator.first(tensor, start)
        if first is None:
            return
        gap = self.evaluator.cases[0].gradients[tensor] - first
        for layer in range(int(tensor[1:]), self.depth + 1):
            for make_fault in linear_faults(layer, self.depth):
                unit = make_fault(1.0)
                if unit.step in steps:
                    continue
                moved = self.evaluator.first(tensor, start | {unit})
                if moved is None or not is_parallel(gap, moved - first):
                    continue
                at_one = self.evaluator.numbers(tensor, start | {unit})
                at_zero = self.evaluator.numbers(tensor, start)
                if at_one is None or at_zero is None:
                    continue
                number = fit_number(tensor, self.evaluator.cases, at_zero, at_one)
                if number is not None:
                    yield make_fault(number)

    def _loops(self) -> list[Mistakes]:
        """Return, for each kind and name with faults in several layers, the faults of all these layers."""
        loops: dict[tuple[str, str], list[Fault]] = {}
        for fault in self.ledger:
            if fault.kind not in ("size", "mean", "sign"):
                loops.setdefault((fault.kind, fault.name), []).append(fault)
        return [frozenset(faults) for faults in loops.values() if len(faults) > 1]

    def _reached(self, mistakes: Mistakes) -> set[str]:
        return {tensor for fault in mistakes for tensor in self.scopes[fault]}

    def _within(self, mistakes: Mistakes, tensor: str) -> Mistakes:
        """Return the mistakes that are in the tensor's gradient."""
        return frozenset(fault for fault in mistakes if tensor in self.scopes[fault])

    def _explains(self, mistakes: Mistakes, bits: int) -> bool:
        """Return whether these mistakes explain the tensors of `bits`."""
        tensors = [tensor for tensor in self.tensors if self._bits[tensor] & bits]
        return all(self.evaluator.explains(tensor, self._within(mistakes, tensor)) for tensor in tensors)

    def _explained_alone(self, mistakes: Mistakes) -> int:
        """Return the tensors, as bits, whose gradients these mistakes alone explain."""
        return self._mask(
            tensor for tensor in self._reached(mistakes) if self._explains(mistakes, self._bits[tensor])
        )

    def _mask(self, tensors: Iterable[str]) -> int:
        return sum(self._bits[tensor] for tensor in tensors)

    def _explanation(self, mistakes: Mistakes) -> Explanation:
        return Explanation({tensor: self._within(mistakes, tensor) for tensor in self.tensors})


def _distinct_steps(mistakes: Collection[Fault]) -> bool:
    return len({fault.step for fault in mistakes}) == len(mistakes)


def _proper_subsets(mistakes: Sequence[Fault]) -> Iterator[tuple[Fault, ...]]:
    """Yield all proper subsets, larger ones first."""
    for count in range(len(mistakes) - 1, -1, -1):
        yield from itertools.combinations(mistakes, count)
