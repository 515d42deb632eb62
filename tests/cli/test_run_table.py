"""The table of `backproof runs` at any width."""

import io
import json
from dataclasses import replace

import pytest
from backproof.cli.run_table import columns_of, table
from backproof.cli.runs import print_runs
from backproof.render.text import elide_middle, number, one_line, pad
from backproof.sweeps.recorded import objective_of
from rich.cells import cell_len

from tests.helpers.recorded import parent, run

HEADS = ["name", "check", "status", "when"]


def shown():
    """Return a sweep, runs with long, foreign or hostile names, and a failed run."""
    sweep = parent(metrics={"best/val/accuracy": 0.97, "sweep/runs": 18.0})
    runs = [
        run(1, activation="tanh", optimizer="adam"),
        run(2, None, "FAILED", activation="relu", tags={"backproof.error": "ValueError: " + "x" * 200}),
        run(3, activation="gelu"),
    ]
    names = [
        "a-very-long-name-of-a-run-that-tells-of-many-choices-" * 2,
        "[red]mark[/]\x1b[31m\nup",
        "数据集" * 9,
    ]
    runs = [replace(record, name=name) for record, name in zip(runs, names, strict=True)]
    return [sweep, *runs]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
@pytest.mark.parametrize("alone", [False, True])
def test_a_row_is_one_line_with_the_main_columns(width, alone):
    runs = shown()[1:] if alone else shown()
    lines = table(columns_of(runs, ["activation", "optimizer"], objective_of(runs), None), width)
    assert len(lines) == len(runs) + 1
    assert max(map(cell_len, lines)) <= width
    assert not any(character < " " for line in lines for character in line)
    assert set(HEADS) | {"val/accuracy" if alone else "best"} <= set(lines[0].split())
    if width >= 80:
        # The date is the last of the columns that are always shown, and is never cut.
        start = lines[0].index("when")
        assert all(len(line[start:].split()) >= 2 or "数" in line for line in lines[1:])


def test_a_wider_terminal_shows_more():
    runs = shown()[1:]
    columns = columns_of(runs, ["activation", "optimizer"], objective_of(runs), None)
    heads = [set(table(columns, width)[0].split()) for width in (80, 160, 300)]
    assert heads[0] < heads[1] < heads[2]
    assert {"run", "activation", "test/accuracy", "took", "error"} <= heads[2]


def test_names_are_elided_in_the_middle():
    assert elide_middle("sweep-activation-optimizer-seed", 15) == "sweep-a…er-seed"
    assert elide_middle("short", 15) == "short"
    for width in range(3, 20):
        assert cell_len(elide_middle("数据集" * 9, width)) <= width


def test_text_in_cells():
    assert pad("ab", 4) == ("ab  ", 4)
    assert pad("abcdef", 4, cut=True) == ("abc…", 4)
    assert one_line("a\tb\x1b[0m") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[0m"
    assert [number(value) for value in (None, float("nan"), 0.123456)] == ["–", "–", "0.1235"]


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr("backproof.cli.runs.runs", lambda store: shown())


def test_a_pipe_gets_tsv(store, capsys):
    print_runs(None, None, "tsv")
    head, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [len(row) for row in rows] == [len(head)] * 4
    values = dict(zip(head, rows[1], strict=True))
    assert values["val/accuracy"] == "0.9"
    assert values["id"] == f"{1:032x}"
    # A line break in foreign text does not break a row.
    assert rows[2][head.index("name")].endswith("up")


def test_a_terminal_gets_a_table_and_the_limit_is_a_message(store, monkeypatch, capsys):
    out = _Terminal()
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    print_runs(None, None, "table", limit=2)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("name")
    assert len(lines) == 3
    assert "2 more: --limit 0" in capsys.readouterr().err


def test_json_has_all_runs(store, capsys):
    print_runs(None, None, "json")
    assert [record["kind"] for record in json.loads(capsys.readouterr().out)] == ["sweep", "run", "run", "run"]
