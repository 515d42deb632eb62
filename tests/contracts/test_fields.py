"""Tests of `backproof.contracts.fields`, with the keys of all sections and plugins."""

import contextlib
import dataclasses
import math

import numpy as np
import pytest
from backproof.app.config import SECTIONS, OutputOptions
from backproof.contracts import hyper
from backproof.contracts.errors import InvalidValue, UsageError
from backproof.contracts.fields import check_fields, construct, required, type_hints
from backproof.discovery.registry import registry
from backproof.experiment.experiment import SINGLE, RunOptions


def declared():
    classes = {**SECTIONS, "run": RunOptions, "output": OutputOptions}
    classes |= {
        f"{entry.kind}={entry.name}": entry.cls for kind in SINGLE for entry in registry().entries(kind)
    }
    for owner, cls in classes.items():
        for field in dataclasses.fields(cls):
            yield pytest.param(cls, field, id=f"{owner}.{field.name}")


def built(cls, field, value):
    texts = {other.name: "x" for other in dataclasses.fields(cls) if required(other)}
    return construct(cls, {**texts, field.name: value})


@pytest.mark.parametrize(("cls", "field"), [*declared()])
def test_a_field_refuses_what_it_cannot_hold(cls, field):
    hint = type_hints(cls)[field.name]
    for value in (
        2**63,
        -(2**63),
        2**64,
        10**20 - 1,
        10**400,
        [2**64],
        [[2**64]],
        [[]],
        "???",
        math.inf,
        [math.nan],
    ):
        if any(name in str(hint) for name in ("int", "float", "bool")):
            with pytest.raises((InvalidValue, UsageError), match=field.name):
                built(cls, field, value)
        else:
            # Text, or a key whose form is checked elsewhere.
            with contextlib.suppress(InvalidValue):
                built(cls, field, value)


@dataclasses.dataclass(frozen=True)
class Options:
    x: float = hyper(1.0, "a number", gt=0, le=10)
    n: int = hyper(1, "a whole number", ge=1)
    on: bool = False

    def __post_init__(self):
        check_fields(self)


@pytest.mark.parametrize(
    ("value", "inside"), [(1, True), (10, True), (0, False), (10.5, False), (np.nan, False), (True, True)]
)
def test_bounds_hold_for_numbers_and_arrays(value, inside):
    for given in (value, np.array([[value]]), np.array([[1.0], [value]]), np.float32(value)):
        if inside:
            Options(x=given)
        else:
            with pytest.raises(InvalidValue, match=r"x must be .*> 0 and <= 10"):
                Options(x=given)


def test_booleans_are_booleans():
    assert construct(Options, {"on": 1}).on is True
    for value in (2, -1, 2**63, 1.0, "yes"):
        with pytest.raises(InvalidValue, match="on must be true or false"):
            construct(Options, {"on": value})


def test_an_unknown_key_and_another_form_are_explained():
    with pytest.raises(UsageError, match=r"no key 'train.nn', did you mean train.n"):
        construct(Options, {"nn": 1}, "train.")
    for value in ("???", None, 3, [1]):
        with pytest.raises(InvalidValue, match="train must be its keys one by one: x, n, on"):
            construct(Options, value, "train.")
