"""Hypothesis settings: the same examples in every run, or many new ones under `make fuzz`."""

import os

from hypothesis import settings

#: `make fuzz` multiplies the number of examples by this.
FACTOR = int(os.environ.get("FUZZ", "1"))


def load_profile() -> None:
    """Draw the same examples in every run, unless `FUZZ` is set, and failing ones of earlier runs first.

    With a seed, or with `derandomize` alone, Hypothesis would not use its database of failing examples. CI gets the
    same examples as every other run.
    """
    default = settings.get_profile("default")
    settings.register_profile(
        "backproof",
        settings(default, derandomize="FUZZ" not in os.environ),
        database=default.database,
        deadline=None,
        max_examples=default.max_examples * FACTOR,
    )
    settings.load_profile("backproof")


def examples(count):
    """Return Hypothesis settings for `count` examples, or many times as many under `make fuzz`."""
    return settings(max_examples=count * FACTOR)
