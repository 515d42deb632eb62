"""The memory that an experiment needs, estimated before anything is allocated."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from backproof.contracts.errors import UsageError

#: Bytes of the random generators of one member: for its weights, and for the order of its samples.
GENERATORS = 5_000


def require_memory(sizes: Sequence[int], members: int, batch: int, slots: int, itemsize: int) -> None:
    """Raise UsageError, with the estimate, if a stack of networks needs more memory than this machine has.

    Counted are theta, its gradient, the optimizer's slots, and three arrays of each layer for a batch.
    """
    parameters = sum(out * (n + 1) for n, out in itertools.pairwise(sizes))
    numbers = parameters * (2 + slots) + 3 * batch * sum(sizes)
    needed = members * (numbers * itemsize + GENERATORS)
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > available:
        of = (
            f"{members:,} networks of {parameters:,} parameters"
            if members > 1
            else f"{parameters:,} parameters"
        )
        raise UsageError(
            f"{of} need about {needed / 2**30:,.0f} GiB of memory, and this machine has "
            f"{available / 2**30:,.0f} GiB\n"
            "Lower model.hidden, repeats or train.batch_size"
        )
