"""A YAML file with index formulas as a plugin:

    description: One sentence about it.
    activation: relu                    # what it was derived for; for readers only
    loss: softmax_cross_entropy
    gradients:
      W1: sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N
      b1: ...

Keys and formulas are read as text, with their lines; YAML's types (numbers, dates, yes and no) play no part.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

import yaml

from backproof.contracts.errors import did_you_mean
from backproof.formulas.errors import FormulaError, FormulasError
from backproof.formulas.rule import FormulaDerivation, Rule

KEYS = ("description", "activation", "loss", "gradients")


def derivation_of(file: Path) -> type[FormulaDerivation]:
    """Return the plugin class of a file. Raise ValueError, which says what is wrong and in which line."""
    if not file.stem.isidentifier():
        raise ValueError(f"{file.name} cannot be a plugin's name: use letters, digits and _")
    top = _mapping(_document(file), "the file", KEYS)
    if "gradients" not in top:
        raise ValueError(
            f"it has no key gradients, with a formula for each tensor{did_you_mean('gradients', top)}"
        )
    formulas = _mapping(top["gradients"], "gradients")
    texts = {left: _text(node, left) for left, node in formulas.items()}
    about = {key: _text(top[key], key) for key in KEYS if key in top and key != "gradients"}
    try:
        rule = Rule.read(texts)
    except FormulasError as error:
        raise FormulasError([_with_line(problem, formulas) for problem in error.errors]) from None
    cls = type(
        file.stem,
        (FormulaDerivation,),
        {
            "__doc__": _doc(about, rule),
            "__module__": FormulaDerivation.__module__,
            "rule": rule,
            "formulas": {tensor: str(formula) for tensor, formula in rule.formulas.items()},
        },
    )
    return dataclasses.dataclass(frozen=True)(cls)


def _document(file: Path) -> yaml.Node:
    try:
        node = cast("yaml.Node | None", yaml.compose(file.read_text(encoding="utf-8"), yaml.SafeLoader))  # type: ignore[reportUnknownMemberType]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ValueError(
            f"{where}this is not YAML: {error.problem}\nPut a formula in quotes if it begins with '- ' or contains "
            "': ' or ' #'"
        ) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"this is not YAML: {error}") from None
    if node is None:
        raise ValueError("the file is empty, expected the keys description and gradients")
    return node


def _mapping(node: yaml.Node, what: str, keys: tuple[str, ...] | None = None) -> dict[str, yaml.Node]:
    """Return the nodes of a mapping by key. Raise ValueError for a repeated key, or one that is not in `keys`."""
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{_line(node)}{what} must be a mapping, KEY: VALUE; got {_what(node)}")
    nodes: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = _text(key, "a key")
        if name in nodes:
            raise ValueError(f"{_line(key)}the key {name} is repeated")
        if keys and name not in keys:
            raise ValueError(
                f"{_line(key)}there is no key {name!r}{did_you_mean(name, keys)}\nExpected: {', '.join(keys)}"
            )
        nodes[name] = value
    return nodes


def _text(node: yaml.Node, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise ValueError(f"{_line(node)}{what} must be text, got {_what(node)}")
    return str(node.value)


def _what(node: yaml.Node) -> str:
    words: dict[type[yaml.Node], str] = {
        yaml.MappingNode: "a mapping",
        yaml.SequenceNode: "a list",
        yaml.ScalarNode: "a single value",
    }
    return words[type(node)]


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}: "


def _with_line(error: FormulaError | str, formulas: dict[str, yaml.Node]) -> FormulaError | str:
    """Return an error with the line of the file where its formula begins."""
    if isinstance(error, FormulaError):
        lines = [
            _line(node) for left, node in formulas.items() if left.partition("[")[0].strip() == error.tensor
        ]
        error.location = lines[0] if lines else ""
    return error


def _doc(about: dict[str, str], rule: Rule) -> str:
    """Return the docstring, which `backproof plugins derivation` shows: the description, and the formulas."""
    text = about.get("description", "").strip() or "Index formulas."
    derived = " and ".join(f"{key}={about[key]}" for key in ("activation", "loss") if key in about)
    first, _, more = text.partition("\n\n")
    first = f"{' '.join(first.split())}{f' Derived for {derived}.' if derived else ''}"
    return "\n\n".join(filter(None, [first, more, "\n".join(map(str, rule.formulas.values()))]))
