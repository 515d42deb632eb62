"""The commands `runs` and `report`: recorded runs as a table or for programs, and a sweep as an HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from backproof.app.config import OutputOptions
from backproof.cli.listing import FORMATS, LIMIT, find_sweep, show_best
from backproof.cli.listing import list_runs as print_runs
from backproof.cli.main import complain
from backproof.report.build import build
from backproof.tracking import Store, TrackingError, TrackingOptions

SWEEP_HELP = "a sweep: its id, the beginning of one, its name, or `last`"


def list_runs(args: list[str]) -> int:
    """`backproof runs`."""
    parser = argparse.ArgumentParser(
        "backproof runs",
        description="List recorded runs, the newest first; or the runs of a sweep, those of the best point first.",
        epilog="backproof runs last --best; backproof runs last --format json | jq '.[].metrics'",
    )
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help=f"{SWEEP_HELP}; without it sweeps and runs")
    parser.add_argument(
        "--best", action="store_true", help="the best point, and the command that runs it again"
    )
    parser.add_argument("--format", choices=FORMATS, help="default: table on a terminal, tsv in a pipe")
    parser.add_argument("--limit", type=_count, metavar="N", help=f"at most N (a table: {LIMIT}; 0: all)")
    parser.add_argument("--sort", metavar="METRIC", help="by this metric, as val/loss, the best first")
    _place(parser)
    given = parser.parse_args(args)
    return _guarded(lambda: _list(given))


def report(args: list[str]) -> int:
    """`backproof report`."""
    parser = argparse.ArgumentParser(
        "backproof report", description="One HTML page on a sweep; it needs no network."
    )
    parser.add_argument("sweep", nargs="?", default="last", metavar="SWEEP", help=f"{SWEEP_HELP} (the default)")
    parser.add_argument("--out", metavar="FILE", help="the file; default: report-ID.html")
    _place(parser)
    given = parser.parse_args(args)
    return _guarded(lambda: _report(given))


def _place(parser: argparse.ArgumentParser) -> None:
    outputs = OutputOptions().outputs
    parser.add_argument(
        "--outputs", default=outputs, metavar="DIR", help="the folder that runs were written to"
    )
    parser.add_argument(
        "--uri", help="another MLflow store; default: MLFLOW_TRACKING_URI, or that of the folder"
    )
    parser.add_argument("--experiment", default=TrackingOptions().experiment, metavar="NAME")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _guarded(action: Callable[[], int]) -> int:
    try:
        return action()
    except TrackingError as error:
        return complain(str(error))


def _open(given: argparse.Namespace) -> Store:
    return Store.find(TrackingOptions(uri=given.uri, experiment=given.experiment), Path(given.outputs))


def _list(given: argparse.Namespace) -> int:
    store = _open(given)
    if not given.best:
        print_runs(store, given.sweep, form=given.format, limit=given.limit, sort=given.sort)
        return 0
    if show_best(store, given.sweep, form=given.format, sort=given.sort):
        return 0
    which = f" of {given.sweep}" if given.sweep else ""
    return complain(f"no run{which} has finished with a number to rank by", 1)


def _report(given: argparse.Namespace) -> int:
    store = _open(given)
    parent = find_sweep(store, given.sweep)
    file = Path(given.out or f"report-{parent.id[:8]}.html")
    text = build(store, parent.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        return complain(f"{file} cannot be written: {error.strerror or error}\nName another: --out FILE.html")
    print(f"{file}  ({parent.name}, {len(text) / 1000:.0f} kB)")
    return 0
