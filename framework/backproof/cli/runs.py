"""`backproof runs` and `backproof report`: list recorded runs, write a sweep as an HTML page."""

from __future__ import annotations

from pathlib import Path

from backproof.cli import listing
from backproof.cli.store_options import outputs_folder, tracking_options
from backproof.render.console import print_error
from backproof.report.build import build
from backproof.tracking import Store


def list_runs(
    sweep: str | None,
    *,
    best: bool,
    form: str | None,
    limit: int | None,
    sort: str | None,
    outputs: str | None,
    uri: str | None,
    experiment: str | None,
) -> int:
    """Run `backproof runs` and return the exit code."""
    store = Store.find(tracking_options(uri, experiment), outputs_folder(outputs))
    if not best:
        listing.list_runs(store, sweep, form=form, limit=limit, sort=sort)
        return 0
    if listing.show_best(store, sweep, form=form, sort=sort):
        return 0
    which = f" of {sweep}" if sweep else ""
    return print_error(f"no run{which} has finished with a number to rank by", 1)


def report(sweep: str, *, out: str | None, outputs: str | None, uri: str | None, experiment: str | None) -> int:
    """Run `backproof report` and return the exit code."""
    store = Store.find(tracking_options(uri, experiment), outputs_folder(outputs))
    parent = listing.find_sweep(store, sweep)
    file = Path(out or f"report-{parent.id[:8]}.html")
    text = build(store, parent.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        return print_error(
            f"{file} cannot be written: {error.strerror or error}\nName another: --out FILE.html"
        )
    print(f"{file}  ({parent.name}, {len(text) / 1000:.0f} kB)")
    return 0
