"""The search for the fewest mistakes that give the numbers of every tensor."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from backproof.netcheck.diagnosis.backward import NONE, Evaluator, Mistakes
from backproof.netcheck.diagnosis.fault import Fault
from backproof.netcheck.diagnosis.faults_linear import lines, on_line
from backproof.netcheck.diagnosis.fitted import fitted, may_fit, parallel

#: Partial explanations that are kept while the tensors are gone through.
WIDTH = 48
#: What a tensor costs that nothing explains, and what a mistake costs beside 1 where some tensors do without it,
#: where a number in it was fitted, and for each further layer in which it is made.
UNKNOWN, APART, FITTED, AGAIN = 4.0, 0.5, 0.5, 0.25
#: Two mistakes are as many as two others, also where they are made in more layers: so much more is still a tie.
NEAR = 0.5


@dataclass(frozen=True)
class Explanation:
    """Which mistakes are in the gradient of each tensor, and of which tensors nothing is known."""

    mistakes: Mapping[str, Mistakes] = field(default_factory=dict[str, Mistakes])
    unknown: tuple[str, ...] = ()

    @property
    def all(self) -> Mistakes:
        return frozenset(itertools.chain.from_iterable(self.mistakes.values()))

    def cost(self, depth: int) -> float:
        """The number of mistakes: more where one is not made throughout, less where it is made in every layer."""
        groups: dict[object, list[Fault]] = {}
        for each in self.all:
            groups.setdefault(each.group, []).append(each)
        total = UNKNOWN * len(self.unknown)
        for group in groups.values():
            total += 1 + AGAIN * (len(group) - 1) + FITTED * bool(group[0].number)
            total += APART * any(self._missed(each, depth) for each in group)
        return total

    def _missed(self, mistake: Fault, depth: int) -> bool:
        """Whether a tensor that the mistake's place leads to is without it."""
        known = [each for each in mistake.scope(depth) if each in self.mistakes and each not in self.unknown]
        return any(mistake not in self.mistakes[each] for each in known)


def tensors_down(depth: int) -> list[str]:
    """The tensors from the loss down: bL, WL, ..., b1, W1."""
    return [f"{letter}{layer}" for layer in range(depth, 0, -1) for letter in "bW"]


class Search:
    """Finds explanations of the gradients that a judge sees, by the mistakes of a ledger."""

    def __init__(self, judge: Evaluator, book: Sequence[Fault], depth: int) -> None:
        self.judge, self.depth = judge, depth
        self.ledger: list[Fault] = list(book)
        self.tensors = tensors_down(depth)
        self.scopes: dict[Fault, frozenset[str]] = {each: frozenset(each.scope(depth)) for each in self.ledger}
        self._bits = {tensor: 1 << i for i, tensor in enumerate(self.tensors)}
        self._tried: dict[tuple[str, Mistakes, int], list[Mistakes]] = {}

    def without_harmless(self) -> list[Fault]:
        """Take out the mistakes that change no number: with them, the gradient of every tensor is right."""
        harmless = [
            each
            for each in self.ledger
            if all(self.judge.harmless(tensor, frozenset((each,))) for tensor in self.scopes[each])
        ]
        self.ledger = [each for each in self.ledger if each not in harmless]
        return harmless

    def throughout(self) -> list[Explanation]:
        """One mistake, or else two, each made wherever the pass comes through its place. All that fit.

        A mistake that is made in every layer, as in a loop, counts as one.
        """
        wrong = self._mask(tensor for tensor in self.tensors if not self.judge.right[tensor])
        candidates = [frozenset((each,)) for each in self.ledger] + self._loops()
        scopes = {each: self._mask(self._reached(each)) for each in candidates}
        alone = {each: self._alone(each) for each in candidates}
        singles = [each for each in candidates if not scopes[each] & ~alone[each] and not wrong & ~scopes[each]]
        if singles:
            return [self._explanation(each) for each in singles]
        pairs: list[Mistakes] = []
        for one, other in itertools.combinations(candidates, 2):
            first, second = scopes[one], scopes[other]
            if wrong & ~(first | second) or first & ~second & ~alone[one] or second & ~first & ~alone[other]:
                continue
            both = one | other
            if _apart(both) and len(both) == len(one) + len(other) and self._fits(both, first & second):
                pairs.append(both)
        found = sorted((self._explanation(each) for each in pairs), key=lambda each: each.cost(self.depth))
        return [each for each in found if each.cost(self.depth) <= found[0].cost(self.depth) + NEAR]

    def apart(self) -> list[Explanation]:
        """More mistakes, or some that are made in the gradients of some tensors only: from the loss down, each
        tensor by the mistakes above it and the fewest new ones. The cheapest that were found."""
        states = [Explanation()]
        for tensor in self.tensors:
            states = self._best(each for state in states for each in self._grown(state, tensor))
        # What is found further down may explain what was not explained above.
        for tensor in self.tensors:
            if any(tensor in state.unknown for state in states):
                states = self._best(each for state in states for each in self._again(state, tensor))
        least = states[0].cost(self.depth)
        return [each for each in states if each.cost(self.depth) == least]

    def _best(self, states: Iterable[Explanation]) -> list[Explanation]:
        unique = {(tuple(each.mistakes.items()), each.unknown): each for each in states}
        return sorted(unique.values(), key=lambda each: (each.cost(self.depth), len(each.all)))[:WIDTH]

    def _grown(self, state: Explanation, tensor: str) -> Iterator[Explanation]:
        found = False
        for mistakes in self._candidates(state, tensor):
            found = True
            yield Explanation({**state.mistakes, tensor: mistakes}, state.unknown)
        if not found:
            yield Explanation({**state.mistakes, tensor: NONE}, (*state.unknown, tensor))

    def _again(self, state: Explanation, tensor: str) -> Iterator[Explanation]:
        """The tensor tried once more with all that is known by now."""
        if tensor not in state.unknown:
            yield state
            return
        left = tuple(each for each in state.unknown if each != tensor)
        known = Explanation({key: each for key, each in state.mistakes.items() if key != tensor}, left)
        yield from self._grown(known, tensor)

    def _candidates(self, state: Explanation, tensor: str) -> list[Mistakes]:
        """The explanations of one tensor: those with as few new mistakes as can be."""
        above = sorted(
            (each for each in state.all if tensor in each.scope(self.depth)), key=lambda each: each.order
        )
        kept = frozenset(above)
        if self.judge.explains(tensor, kept):
            return [kept]
        fewer = [frozenset(each) for each in _subsets(above)]
        found = [each for each in fewer if self.judge.explains(tensor, each)]
        found += self._more(tensor, [kept, *fewer], 1)
        found += [] if found else self._fitted(tensor, [kept, *fewer])
        if found:
            return list(dict.fromkeys(found))
        layer = int(tensor[1:])
        # What is below an ∂Err/∂a that nothing explains is not explained by more and more mistakes.
        if any({f"W{each}", f"b{each}"} <= {*state.unknown} for each in range(layer + 1, self.depth + 1)):
            return []
        # Two new ones, or one beside one with a number in it.
        found = self._more(tensor, [kept], 2) + self._fitted(tensor, self._with_one(tensor, kept))
        if not found and kept and not any(int(each[1:]) > layer for each in state.unknown):
            found = self._more(tensor, [NONE], 2) + self._fitted(tensor, self._with_one(tensor, NONE))
        return list(dict.fromkeys(found))

    def _more(self, tensor: str, starts: Iterable[Mistakes], count: int) -> list[Mistakes]:
        return [each for start in dict.fromkeys(starts) for each in self._new(tensor, start, count)]

    def _new(self, tensor: str, start: Mistakes, count: int) -> list[Mistakes]:
        """`start` and `count` new mistakes, of which one at least is made in the tensor's own layer."""
        key = tensor, start, count
        if key not in self._tried:
            layer, open_to = int(tensor[1:]), self._open(tensor, start)
            sets = [
                start | set(new)
                for new in itertools.combinations(open_to, count)
                if count == 1 or (_apart(new) and any(each.layer == layer for each in new))
            ]
            self._tried[key] = [each for each in sets if self.judge.explains(tensor, each)]
        return self._tried[key]

    def _open(self, tensor: str, start: Mistakes) -> list[Fault]:
        """The mistakes that can be made in the tensor's gradient beside those of `start`."""
        taken = {each.place for each in start}
        return [each for each in self.ledger if tensor in self.scopes[each] and each.place not in taken]

    def _with_one(self, tensor: str, start: Mistakes) -> list[Mistakes]:
        return [start | {each} for each in self._open(tensor, start)]

    def _fitted(self, tensor: str, starts: Iterable[Mistakes]) -> list[Mistakes]:
        """Mistakes with a number in them that only the gradient itself can tell."""
        found: list[Mistakes] = []
        for start in dict.fromkeys(starts):
            for mistake in [*self._numbered(tensor, start), *self._along(tensor, start)]:
                mistakes = start | {mistake}
                # Signs are too coarse for one of them to tell anything.
                if mistake.name == "one_entry" and any(each.kind.endswith("_end") for each in start):
                    continue
                if _apart(mistakes) and self.judge.explains(tensor, mistakes):
                    found.append(mistakes)
        return found

    def _numbered(self, tensor: str, start: Mistakes) -> list[Fault]:
        """The mistakes whose number is fitted to the gradient itself."""
        case, first = self.judge.cases[0], self.judge.first(tensor, start)
        if first is None or not may_fit(tensor, case, first):
            return []
        numbers = self.judge.numbers(tensor, start)
        return [] if numbers is None else fitted(tensor, self.judge.cases, numbers)

    def _along(self, tensor: str, start: Mistakes) -> Iterator[Fault]:
        """The mistakes that are linear in a number which is to be found."""
        taken = {each.place for each in start}
        first = self.judge.first(tensor, start)
        if first is None:
            return
        gap = self.judge.cases[0].given[tensor] - first
        for layer in range(int(tensor[1:]), self.depth + 1):
            for line in lines(layer, self.depth):
                one = line(1.0)
                if one.place in taken:
                    continue
                moved = self.judge.first(tensor, start | {one})
                if moved is None or not parallel(gap, moved - first):
                    continue
                whole, numbers = self.judge.numbers(tensor, start | {one}), self.judge.numbers(tensor, start)
                if whole is None or numbers is None:
                    continue
                number = on_line(tensor, self.judge.cases, numbers, whole)
                if number is not None:
                    yield line(number)

    def _loops(self) -> list[Mistakes]:
        """The mistakes of one name in all layers that have them, where these are more than one."""
        loops: dict[tuple[str, str], list[Fault]] = {}
        for each in self.ledger:
            if each.kind not in ("size", "mean", "sign"):
                loops.setdefault((each.kind, each.name), []).append(each)
        return [frozenset(each) for each in loops.values() if len(each) > 1]

    def _reached(self, mistakes: Mistakes) -> set[str]:
        return {tensor for each in mistakes for tensor in self.scopes[each]}

    def _within(self, mistakes: Mistakes, tensor: str) -> Mistakes:
        """Those that are in the tensor's gradient."""
        return frozenset(each for each in mistakes if tensor in self.scopes[each])

    def _fits(self, mistakes: Mistakes, bits: int) -> bool:
        """Whether these mistakes explain the tensors of `bits`."""
        tensors = [each for each in self.tensors if self._bits[each] & bits]
        return all(self.judge.explains(tensor, self._within(mistakes, tensor)) for tensor in tensors)

    def _alone(self, mistakes: Mistakes) -> int:
        """The tensors, as bits, whose gradient these mistakes alone give."""
        return self._mask(each for each in self._reached(mistakes) if self._fits(mistakes, self._bits[each]))

    def _mask(self, tensors: Iterable[str]) -> int:
        return sum(self._bits[tensor] for tensor in tensors)

    def _explanation(self, mistakes: Mistakes) -> Explanation:
        return Explanation({tensor: self._within(mistakes, tensor) for tensor in self.tensors})


def _apart(mistakes: Collection[Fault]) -> bool:
    return len({each.place for each in mistakes}) == len(mistakes)


def _subsets(mistakes: Sequence[Fault]) -> Iterator[tuple[Fault, ...]]:
    """All but the whole, the larger ones first."""
    for count in range(len(mistakes) - 1, -1, -1):
        yield from itertools.combinations(mistakes, count)
