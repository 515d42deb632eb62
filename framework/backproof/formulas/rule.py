"""The formulas of a network, one for each tensor, and the derivation that they form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import Array, Derivation, Trace
from backproof.contracts.errors import did_you_mean
from backproof.formulas import indices
from backproof.formulas.errors import FormulaError, FormulasError
from backproof.formulas.evaluate import Compiled, check_range, compiled
from backproof.formulas.parser import parse
from backproof.formulas.tree import Index, Node, to_text

_TENSOR = re.compile(r"[Wb]([1-9][0-9]?)")


@dataclass(frozen=True)
class Formula:
    """The formula of one tensor's gradient, as written."""

    tensor: str
    letters: tuple[str, ...]  # of the tensor's axes
    text: str
    node: Node
    compiled: Compiled

    def __str__(self) -> str:
        """Return the formula as on paper: ∂Err/∂(W1)_hd = Σ_nk (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""
        single = all(len(letter) == 1 for letter in self.letters)
        letters = "".join(self.letters) if single else "{" + ",".join(self.letters) + "}"
        return f"∂Err/∂({self.tensor})_{letters} = {to_text(self.node)}"

    def __call__(self, trace: Trace) -> Array:
        """Return the gradient at a trace. Raise FormulaError if it cannot be computed."""
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
        """Read formulas by left side, `W1` or `W1[h,d]`.

        Raise FormulasError, which lists everything that is wrong: tensors that are missing or unknown, and the
        first error in each formula.
        """
        errors: list[FormulaError | str] = []
        left_sides: dict[str, tuple[str, tuple[Index, ...] | None]] = {}
        for left_side in texts:
            try:
                tensor, letters = indices.split_left(left_side)
            except FormulaError as error:
                errors.append(error)
                continue
            if tensor in left_sides:
                errors.append(f"{tensor} has two formulas, expected one")
            left_sides[tensor] = left_side, letters
        depth = max((int(match[1]) for match in map(_TENSOR.fullmatch, left_sides) if match), default=0)
        errors += _check_tensors(list(left_sides), depth)
        formulas: dict[str, Formula] = {}
        for tensor in [name for name in indices.tensors_of(depth) if name in left_sides]:
            left_side, letters = left_sides[tensor]
            try:
                formulas[tensor] = _formula(tensor, left_side, letters, texts[left_side], depth)
            except FormulaError as error:
                errors.append(error)
        if errors:
            raise FormulasError(errors)
        return cls(formulas, depth)

    def check_shapes(self, shapes: Mapping[str, tuple[int, ...]], name: str) -> None:
        """Raise ValueError unless these are the formulas of a network with tensors of these shapes."""
        tensors = indices.tensors_of(self.depth)
        if set(tensors) != set(shapes):
            hidden = self.depth - 1
            raise ValueError(
                f"derivation {name!r} has formulas for {', '.join(tensors)}, the network has the tensors "
                f"{', '.join(shapes)}\nIt is for networks with {hidden} hidden layer{'s' * (hidden != 1)}: "
                f"give model.hidden {hidden} number{'s' * (hidden != 1)}, or choose another derivation"
            )

        def size(axis: int) -> int:
            # The number of samples is known only with each batch.
            if axis == indices.SAMPLES:
                return 2**63
            return shapes[f"b{axis}"][0] if axis else shapes["W1"][1]

        for formula in self.formulas.values():
            try:
                check_range(formula.node, size, self.depth)
            except FormulaError as error:
                raise error.of(formula.tensor, formula.text) from None


def _check_tensors(names: list[str], depth: int) -> list[FormulaError | str]:
    """Return the errors about tensors that are missing or unknown."""
    if not depth:
        return [f"there are no formulas of W1, b1, ...; got {', '.join(names) or 'nothing'}"]
    tensors = indices.tensors_of(depth)
    listed = f"a network of {depth} layer{'s' * (depth > 1)} has the tensors {', '.join(tensors)}"
    missing = [name for name in tensors if name not in names]
    unknown = [name for name in names if name not in tensors]
    errors: list[FormulaError | str] = [
        f"{name} is not a tensor{did_you_mean(name, tensors)}\n    {listed}" for name in unknown
    ]
    if missing:
        errors.append(f"no formula for {', '.join(missing)}: {listed}")
    return errors


def _formula(tensor: str, left_side: str, letters: tuple[Index, ...] | None, text: str, depth: int) -> Formula:
    try:
        left_axes = None if letters is None else indices.left_axes(tensor, letters, depth)
    except FormulaError as error:
        raise error.of(tensor, left_side) from None
    try:
        node = parse(text)
        axes, target = indices.check(node, tensor, depth, left_axes)
        return Formula(tensor, tuple(target), text, node, compiled(node, axes, target, depth))
    except FormulaError as error:
        raise error.of(tensor, text) from None


@dataclass(frozen=True)
class FormulaDerivation(Derivation):
    """A backward rule given by index formulas; each file becomes a subclass that holds them."""

    rule: ClassVar[Rule]

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ValueError for a network of another depth."""
        try:
            self.rule.check_shapes(shapes, self.name)
        except FormulaError as error:
            error.location = f"derivation {self.name!r}, "
            raise

    def gradients(self, trace: Trace) -> dict[str, Array]:
        """Return the gradients. Raise FormulaError if a formula is not finite, as after a division by zero."""
        try:
            return {tensor: formula(trace) for tensor, formula in self.rule.formulas.items()}
        except FormulaError as error:
            error.location = f"derivation {self.name!r}, "
            raise
