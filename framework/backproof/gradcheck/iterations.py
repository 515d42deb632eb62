"""Whether the number of iterations of a function depends on its argument."""

from __future__ import annotations

import gc
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

#: Points at which iterations are counted.
PROBES = 25
#: The frames of this package are not those of the function.
OURS = __name__.rpartition(".")[0]

#: What repeats: a loop (its code and line), the calls of a code by one instruction of another, or a recursion.
Key = tuple[CodeType, Any]
Counts = dict[Key, set[int]]


class _Frame:
    """Counts what repeats within one frame: the passes of each loop each time that it is entered, the calls of a
    Python function by code in C (a quadrature, a minimizer) each time that this is called, and recursive calls."""

    def __init__(self, counts: Counts, code: CodeType) -> None:
        self.counts, self.code = counts, code
        #: How often each line ran in the present pass of the loop around it, and the lines at which loops begin.
        self.ran: dict[int, int] = {}
        self.loops: set[int] = set()
        self.callbacks: dict[Key, int] = {}  # of the present instruction
        self.recursive_calls = 1
        self.offset = self.line = -1

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Frame:
        if event == "line":
            self._end_callbacks()
            if frame.f_lasti < self.offset:
                # The test of a `while` is repeated at its end: then the line before this one is the loop's.
                loop = min(self.line, frame.f_lineno)
                self._end_lines(loop + 1)
                self.loops.add(loop)
            self.offset, self.line = frame.f_lasti, frame.f_lineno
            self.ran[self.line] = self.ran.get(self.line, 0) + 1
        elif event == "return":
            self._end_callbacks()
            self._end_lines(0)
            caller = _counted(frame.f_back)
            if caller is not None and caller.code is self.code:
                caller.recursive_calls += self.recursive_calls
            elif self.recursive_calls > 1:
                self.counts[self.code, "recursion"].add(self.recursive_calls)
        return self

    def called(self, code: CodeType, offset: int) -> None:
        """Count a call of another function by the present instruction."""
        key = (self.code, (offset, code))
        self.callbacks[key] = self.callbacks.get(key, 0) + 1

    def _end_lines(self, first: int) -> None:
        """Record the lines from the first one on: the next pass of a loop ends those inside it."""
        for line in [line for line in self.ran if line >= first]:
            count = self.ran.pop(line)
            self.counts[self.code, line].add(count if line in self.loops else 1)
        self.loops = {line for line in self.loops if line < first}

    def _end_callbacks(self) -> None:
        for key, count in self.callbacks.items():
            if count > 1:
                self.counts[key].add(count)
        self.callbacks.clear()


def iterates(value: Callable[[float], float], size: float) -> bool:
    """Return whether the number of iterations that a function of t needs changes within +-size.

    Solvers, quadrature and fixed points stop when they are accurate enough. Their values jump where the number of
    iterations changes, and between the jumps their derivative is not quite that of the function they approximate.

    What runs at some points only is a branch, and what runs once more or less in one is no iteration: a loop, a
    callback of code in C or a recursion must run at every point, and the counts that it reaches must differ.
    """
    probes = [_traced(value, float(t)) for t in np.linspace(-size, size, PROBES)]
    # Outside of its domain a function may stop at any line.
    probes = [(found, counts) for found, counts in probes if np.isfinite(found)]
    if not probes:
        return False
    first = probes[0][1]
    everywhere = [key for key in first if all(key in counts for _, counts in probes)]
    return any(counts[key] != first[key] for _, counts in probes for key in everywhere)


def _traced(value: Callable[[float], float], t: float) -> tuple[float, Counts]:
    """Return the value at t, and the counts of what repeats."""
    counts: Counts = defaultdict(set)

    def trace(frame: FrameType, event: str, argument: Any) -> _Frame | None:
        code = frame.f_code
        # A generator is resumed as often as its consumer asks.
        if inspect.CO_GENERATOR & code.co_flags:
            return None
        caller = _counted(frame.f_back)
        if caller is not None and frame.f_back is not None:
            caller.called(code, frame.f_back.f_lasti)
        module = f"{frame.f_globals.get('__name__', '')}."
        return None if module.startswith(f"{OURS}.") else _Frame(counts, code)

    before, collects = sys.gettrace(), gc.isenabled()
    # A collection calls finalizers and callbacks, whose loops are not those of f.
    gc.disable()
    sys.settrace(trace)
    try:
        found = value(t)
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return found, counts


def _counted(frame: FrameType | None) -> _Frame | None:
    """Return the counter of a frame, if it has one."""
    counter = None if frame is None else frame.f_trace
    return counter if isinstance(counter, _Frame) else None
