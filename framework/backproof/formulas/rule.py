"""The formulas of a network, one for each tensor, and the derivation that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import Array, Derivation, Trace
from backproof.formulas import indices
from backproof.formulas.errors import FormulaError, FormulasError, nearest
from backproof.formulas.evaluate import Compiled, compiled, too_large
from backproof.formulas.parser import parse
from backproof.formulas.tree import Index, Node, shown

_TENSOR = re.compile(r"[Wb]([1-9][0-9]?)")


@dataclass(frozen=True)
class Formula:
    """∂Err/∂(a tensor) as a person wrote it."""

    tensor: str
    letters: tuple[str, ...]  # of the tensor's axes
    text: str
    node: Node
    compiled: Compiled

    def __str__(self) -> str:
        """As on paper: ∂Err/∂(W1)_hd = Σ_nk (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""
        plain = all(len(letter) == 1 for letter in self.letters)
        letters = "".join(self.letters) if plain else "{" + ",".join(self.letters) + "}"
        return f"∂Err/∂({self.tensor})_{letters} = {shown(self.node)}"

    def __call__(self, trace: Trace) -> Array:
        """The gradient at a trace. Raises FormulaError where it cannot be computed."""
        try:
            return self.compiled(trace)
        except FormulaError as error:
            raise error.of(self.tensor, self.text) from None


@dataclass(frozen=True)
class Rule:
    """One formula for each tensor of a network of `depth` layers."""

    formulas: Mapping[str, Formula]
    depth: int

    @classmethod
    def read(cls, texts: Mapping[str, str]) -> Rule:
        """From formulas by left side, `W1` or `W1[h,d]`.

        Raises FormulasError, which names all that is wrong: the tensors that are missing or too many, and of
        each formula the first thing that is wrong with it.
        """
        errors: list[FormulaError | str] = []
        lefts: dict[str, tuple[str, tuple[Index, ...] | None]] = {}
        for left in texts:
            try:
                tensor, letters = indices.split_left(left)
            except FormulaError as error:
                errors.append(error)
                continue
            if tensor in lefts:
                errors.append(f"{tensor} has two formulas, expected one")
            lefts[tensor] = left, letters
        depth = max((int(match[1]) for match in map(_TENSOR.fullmatch, lefts) if match), default=0)
        errors += _tensors(list(lefts), depth)
        formulas: dict[str, Formula] = {}
        for tensor in [each for each in indices.tensors_of(depth) if each in lefts]:
            left, letters = lefts[tensor]
            try:
                formulas[tensor] = _formula(tensor, left, letters, texts[left], depth)
            except FormulaError as error:
                errors.append(error)
        if errors:
            raise FormulasError(errors)
        return cls(formulas, depth)

    def fits(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
        """Raise ValueError unless these are the formulas of a network with tensors of these shapes."""
        own = indices.tensors_of(self.depth)
        if set(own) != set(shapes):
            hidden = self.depth - 1
            raise ValueError(
                f"derivation {name!r} has formulas for {', '.join(own)}, the network has the tensors "
                f"{', '.join(shapes)}\nIt is for networks with {hidden} hidden layer{'s' * (hidden != 1)}: "
                f"give model.hidden {hidden} number{'s' * (hidden != 1)}, or choose another derivation"
            )

        def size(axis: int) -> int:
            # How many samples there are shows with each batch.
            if axis == indices.SAMPLES:
                return 2**63
            return shapes[f"b{axis}"][0] if axis else shapes["W1"][1]

        for formula in self.formulas.values():
            try:
                too_large(formula.node, size, self.depth)
            except FormulaError as error:
                raise error.of(formula.tensor, formula.text) from None


def _tensors(given: list[str], depth: int) -> list[FormulaError | str]:
    """What is missing and what is too much."""
    if not depth:
        return [f"there are no formulas of W1, b1, ...; got {', '.join(given) or 'nothing'}"]
    own = indices.tensors_of(depth)
    listed = f"a network of {depth} layer{'s' * (depth > 1)} has the tensors {', '.join(own)}"
    missing = [each for each in own if each not in given]
    unknown = [each for each in given if each not in own]
    errors: list[FormulaError | str] = [
        f"{each} is no tensor{nearest(each, own)}\n    {listed}" for each in unknown
    ]
    if missing:
        errors.append(f"no formula for {', '.join(missing)}: {listed}")
    return errors


def _formula(tensor: str, left: str, letters: tuple[Index, ...] | None, text: str, depth: int) -> Formula:
    try:
        given = None if letters is None else indices.left_axes(tensor, letters, depth)
    except FormulaError as error:
        raise error.of(tensor, left) from None
    try:
        node = parse(text)
        axes, target = indices.check(node, tensor, depth, given)
        return Formula(tensor, tuple(target), text, node, compiled(node, axes, target, depth))
    except FormulaError as error:
        raise error.of(tensor, text) from None


@dataclass(frozen=True)
class FormulaDerivation(Derivation):
    """A backward rule given by index formulas. A subclass for each file holds them."""

    rule: ClassVar[Rule]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raises ValueError for a network of another depth."""
        try:
            self.rule.fits(shapes, self.name)
        except FormulaError as error:
            error.place = f"derivation {self.name!r}, "
            raise

    def gradients(self, trace: Trace) -> dict[str, Array]:
        """Raises FormulaError where a formula has no finite value, as after a division by zero."""
        try:
            return {tensor: formula(trace) for tensor, formula in self.rule.formulas.items()}
        except FormulaError as error:
            error.place = f"derivation {self.name!r}, "
            raise
