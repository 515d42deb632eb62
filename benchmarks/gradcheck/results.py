"""The page of results, in Markdown."""

from __future__ import annotations

import datetime
import os
import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.gradcheck.checkers import Checker
from benchmarks.gradcheck.heldout import HELD_OUT
from benchmarks.gradcheck.markdown import percent, processor, share, table
from benchmarks.gradcheck.mistakes import MISTAKES
from benchmarks.gradcheck.naming import MISNAMED, SINCE, UNKNOWN, Naming, Share
from benchmarks.gradcheck.problems import ACTIVATIONS, DTYPES, MOMENTS
from benchmarks.gradcheck.timing import Cost
from benchmarks.gradcheck.trial import Key, Tally, Trial

OURS = "backproof"


@dataclass(frozen=True)
class Measured:
    """The results of one run."""

    checkers: Sequence[Checker]
    trial: Trial
    naming: Naming
    times: dict[str, float]
    costs: Sequence[Cost]
    seconds: float


def page(measured: Measured) -> str:
    """Return the page with all tables, and how they were measured."""
    checkers, trial, naming = measured.checkers, measured.trial, measured.naming
    parts = [
        "# Gradient checkers, measured",
        _how(checkers, trial, measured.seconds),
        "## What each accepts and rejects",
        _verdicts(checkers, trial, naming, measured.times),
        "## Where they go wrong, in float64",
        _where(checkers, trial),
        "## Naming the mistake",
        _naming(naming),
        "## What one check costs",
        _costs(measured.costs),
        "## Mistake by mistake, float64: how often each checker accepts it",
        _mistakes(checkers, trial),
    ]
    wrong = trial.tallies[OURS].errors if OURS in trial.tallies else []
    if wrong:
        parts += ["## What backproof got wrong", "\n".join(f"- {error}" for error in wrong)]
    return "\n\n".join(parts) + "\n"


def short(measured: Measured) -> str:
    """Return the main table, and the fraction of mistakes that are named, for docs/benchmarks.md."""
    trial, naming = measured.trial, measured.naming
    rows = [["", "accepts wrong ones", "rejects right ones", "the same in float32", "one check"]]
    for checker in measured.checkers:
        tally = trial.tallies.get(checker.name)
        if tally is None:
            rows.append([checker.name, *["not installed"] * 3, ""])
            continue
        low = f"{percent(*_accepted(trial, tally, 'float32'))}, {percent(*_rejected(trial, tally, 'float32'))}"
        high = [percent(*of(trial, tally, "float64")) for of in (_accepted, _rejected)]
        rows.append([checker.name, *high, low, f"{1e3 * measured.times[checker.name]:.1f} ms"])
    pairs, singles = [naming.different_steps, naming.same_step], list(naming.singles.values())
    heldout = list(naming.heldout.values())
    everything = [*pairs, *singles, *heldout]
    misnamed = sum(share.verdicts[MISNAMED] for share in everything), sum(share.all for share in everything)
    return (
        f"{table(rows)}\n\n"
        f"Of {trial.wrong.total():,} wrong gradients ({len(MISTAKES)} mistakes planted in small networks) and "
        f"{trial.right.total():,} right ones. The diagnosis names {percent(*_total(singles))} of the single "
        f"mistakes, and both mistakes of {percent(*_total(pairs))} of random pairs, with nothing else in either "
        f"case. Of {_total(heldout)[1]} cases of {len(HELD_OUT)} mistakes that were written after the diagnosis "
        f"was finished it names {_total(heldout)[0]} ({percent(*_total(heldout))}). It gives another name in "
        f"{percent(*misnamed)} of all these cases; what has no name is reported as `unknown`, with its place. "
        "Details, including what it gets wrong: [RESULTS.md](../benchmarks/gradcheck/RESULTS.md)."
    )


def _how(checkers: Sequence[Checker], trial: Trial, seconds: float) -> str:
    peers = dict.fromkeys(checker.version for checker in checkers if checker.installed and checker.version)
    versions = ", ".join([f"Python {platform.python_version()}", *peers])
    missing = [checker.name for checker in checkers if not checker.installed]
    lines = [
        f"`python benchmarks/gradcheck/run.py`, {datetime.date.today()}, {seconds / 60:.0f} minutes on "
        f"{processor()}, {os.cpu_count()} CPUs, one BLAS thread{_load()}; {versions}.",
        f"{trial.wrong.total():,} wrong gradients: {len(MISTAKES)} planted mistakes (mistakes.py) on networks with "
        "tanh, ReLU and gelu, 1 to 3 hidden layers, fresh and trained, float64 and float32, of random sizes, with "
        f"23 samples. {sum(trial.equivalent.values()):,} more are excluded because the mistake does not show in "
        "them: these gradients are right up to rounding (φ' at h for ReLU; φ' at −a for tanh; one hidden "
        f"layer where the mistake needs two). {trial.right.total():,} right gradients, on other random networks of "
        "the same kinds. Every checker gets the same losses and the same claimed gradients, computed by the same "
        "NumPy code, and uses its default settings:",
        "\n".join(
            f"- {checker.name}: `{checker.how}`" + ("" if checker.installed else ", not installed, skipped")
            for checker in checkers
        ),
        "Only the first order is checked, since a claimed gradient consists of numbers and cannot be "
        "differentiated again. The gradchecks of torch, autograd and SciPy and the course rule are meant for "
        "float64; their results in float32 are shown because networks are trained in it. backproof checks the rule "
        "of a float32 network in float64, and compares the float32 gradient with that.",
    ]
    if missing:
        lines.append(f"Skipped, not installed: {', '.join(missing)} (`pip install 'backproof[peers]'`).")
    return "\n\n".join(lines)


def _verdicts(checkers: Sequence[Checker], trial: Trial, naming: Naming, times: dict[str, float]) -> str:
    rows = [
        [
            "checker",
            "false accepts, float64",
            "false rejects, float64",
            "false accepts, float32",
            "false rejects, float32",
            "named correctly",
            "one check, 64-32-10",
        ]
    ]
    for checker in checkers:
        tally = trial.tallies.get(checker.name)
        if tally is None:
            rows.append([checker.name, *["not installed"] * 4, "", ""])
            continue
        cells = [checker.name]
        for dtype in DTYPES:
            cells += [_accepts(trial, tally, dtype=dtype), _rejects(trial, tally, dtype=dtype)]
        named = share(*_total(naming.singles.values())) if checker.name == OURS else "–"
        rows.append([*cells, named, f"{1e3 * times[checker.name]:.1f} ms"])
    untested = [
        f"{name} left {tally.untested_right} right and {tally.untested_wrong} wrong gradients untested."
        for name, tally in trial.tallies.items()
        if tally.untested_right or tally.untested_wrong
    ]
    return "\n\n".join([table(rows), *untested])


def _where(checkers: Sequence[Checker], trial: Trial) -> str:
    groups: list[dict[str, str]] = [{"activation": activation} for activation in ACTIVATIONS]
    groups += [{"moment": moment} for moment in MOMENTS]
    heads = [
        f"{value}: {what}" for group in groups for value in group.values() for what in ("accepts", "rejects")
    ]
    rows = [["checker", *heads]]
    for checker in checkers:
        if checker.name in trial.tallies:
            tally = trial.tallies[checker.name]
            counts = [count for group in groups for count in _both(trial, tally, group)]
            rows.append([checker.name, *counts])
    return table(rows)


def _both(trial: Trial, tally: Tally, group: dict[str, str]) -> list[str]:
    return [_accepts(trial, tally, dtype="float64", **group), _rejects(trial, tally, dtype="float64", **group)]


def _naming(naming: Naming) -> str:
    since = [share for name, share in naming.singles.items() if name in SINCE]
    before = [share for name, share in naming.singles.items() if name not in SINCE]
    pairs = [naming.different_steps, naming.same_step]
    rows = [["", "named", "not in full", "another name given"]]
    for label, shares in (
        ("single mistakes", [*naming.singles.values()]),
        ("of them: the ledger was not changed for", before),
        ("of them: named since the first run, because of it", since),
        ("held out, written after the last change to the ledger", [*naming.heldout.values()]),
        ("random pairs", pairs),
        ("of them: in different steps", pairs[:1]),
        ("of them: in the same step", pairs[1:]),
    ):
        verdicts = [sum(share.verdicts[verdict] for share in shares) for verdict in (UNKNOWN, MISNAMED)]
        rows.append([label, share(*_total(shares)), *map(str, verdicts)])
    text = (
        "Named: every planted mistake, and nothing else; ties count as the same mistake. "
        "Not in full: `unknown`, which is right for a mistake without a name, or only one of two. "
        f"{len(SINCE)} of the mistakes were unknown when this benchmark was first run, and got a name because of "
        "it; those held out (heldout.py) did not. Pairs are any two of all mistakes, also in the same step, one "
        "made after the other; only pairs in which one changes nothing are excluded. float64, one network "
        f"of every activation and depth. Median time {np.median(naming.seconds):.2f} s, at most "
        f"{max(naming.seconds):.1f} s."
    )
    misses = [
        miss for share in (*naming.singles.values(), *pairs, *naming.heldout.values()) for miss in share.misses
    ]
    listed = "\n\nNot named, with the diagnosis:\n\n" + "\n".join(f"- {miss}" for miss in misses)
    return f"{text}\n\n{table(rows)}" + (listed if misses else "")


def _total(shares: Iterable[Share]) -> tuple[int, int]:
    """Return how many were named, and their total number."""
    counts = [(share.named, share.all) for share in shares]
    return sum(named for named, _ in counts), sum(total for _, total in counts)


def _costs(costs: Sequence[Cost]) -> str:
    rows = [["what", "median", "target"]]
    for cost in costs:
        seconds = f"{cost.seconds:.3f} s" if cost.calls else f"{cost.seconds:,.0f} s, not run"
        target = ""
        if cost.target is not None:
            target = f"< {cost.target} s: {'met' if cost.seconds < cost.target else 'MISSED'}"
        rows.append([cost.what, seconds, target])
    return table(rows) + (
        "\n\nbackproof's time includes the oracle, the rounding estimates and the Taylor remainders. torch's is "
        "for the same network computed and differentiated by torch, without a claimed gradient to call."
    )


def _mistakes(checkers: Sequence[Checker], trial: Trial) -> str:
    shown = [checker.name for checker in checkers if checker.name in trial.tallies]
    rows = [["mistake", "of", *shown]]
    for mistake in MISTAKES:
        cases = _of(trial.wrong, mistake=mistake, dtype="float64")
        accepted = [_of(trial.tallies[name].accepted, mistake=mistake, dtype="float64") for name in shown]
        rows.append([mistake, str(cases), *map(str, accepted)])
    return table(rows)


def _accepts(trial: Trial, tally: Tally, **group: str) -> str:
    return share(_of(tally.accepted, **group), _of(trial.wrong, **group))


def _rejects(trial: Trial, tally: Tally, **group: str) -> str:
    def count(counts: Counter[Key]) -> int:
        return sum(n for key, n in counts.items() if _fits(key, group))

    return share(count(tally.rejected), count(trial.right))


def _accepted(trial: Trial, tally: Tally, dtype: str) -> tuple[int, int]:
    return _of(tally.accepted, dtype=dtype), _of(trial.wrong, dtype=dtype)


def _rejected(trial: Trial, tally: Tally, dtype: str) -> tuple[int, int]:
    counts = [
        sum(n for key, n in counter.items() if _fits(key, {"dtype": dtype}))
        for counter in (tally.rejected, trial.right)
    ]
    return counts[0], counts[1]


def _of(counts: Counter[tuple[str, Key]], mistake: str | None = None, **group: str) -> int:
    return sum(n for (name, key), n in counts.items() if mistake in (None, name) and _fits(key, group))


def _fits(key: Key, group: dict[str, str]) -> bool:
    properties: dict[str, str] = dict(zip(("activation", "moment", "dtype"), key, strict=True))
    return all(properties[name] == value for name, value in group.items())


def _load() -> str:
    """Return the load of the machine, which is over one if others use it too."""
    return f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
