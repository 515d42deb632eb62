"""How many examples Hypothesis draws."""

import os

from hypothesis import settings

#: `make fuzz` draws this many times as many.
FACTOR = int(os.environ.get("FUZZ", "1"))


def examples(count):
    """Return Hypothesis settings for `count` examples, or many times as many under `make fuzz`."""
    return settings(max_examples=count * FACTOR, deadline=None)
