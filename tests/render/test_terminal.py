"""Tests of `backproof.render`'s terminal and console: foreign text is text, and showing may fail."""

import ast
import os
import subprocess
from pathlib import Path

import backproof
import pytest
from backproof.render.console import print_error, print_warning
from backproof.render.terminal import console, labelled, metrics_table, print_status, styled

from tests.helpers.command import BACKPROOF, QUICK

FOREIGN = ["x[/red]y", "[bold red]HELLO[/]", "[link=file:x]", ":smile:", "[", "]", "[/]", "a[0]"]


@pytest.mark.parametrize("text", FOREIGN)
def test_foreign_text_is_printed_unchanged(capsys, text):
    out = console()
    out.print(text)
    out.print(labelled("name", text))
    out.print(styled(text, (text, "bold")))
    out.print(metrics_table({f"train/{text.replace('/', '')}": 1.0}))
    print_status(text)
    shown = capsys.readouterr().out
    assert shown.count(text) >= 5
    assert text.replace("/", "") in shown


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a\x07b", "\x9b2J", "a\rb", "\u202egpj.exe", "\x1b]0;title\x07"]
)
def test_a_terminal_obeys_nothing_in_foreign_text(capsys, text):
    console().print(text)
    console().print(styled(text, (text, "bold")))
    print_status(text)
    print_error(text)
    print_warning(text)
    shown = capsys.readouterr()
    for line in (shown.out + shown.err).splitlines():
        assert line.isprintable(), ascii(line)
    assert (shown.out + shown.err).count("\N{REPLACEMENT CHARACTER}") >= 6


def test_lines_tabs_and_spaces_are_kept(capsys):
    console().print("a\n  b\N{NO-BREAK SPACE}c é → φ")
    print_error("a\tb\nc")
    shown = capsys.readouterr()
    assert shown.out == "a\n  b\N{NO-BREAK SPACE}c é → φ\n"
    assert shown.err == "backproof: a\tb\nc\n"


def test_nothing_else_reads_markup():
    """One console is made, without markup; no style is written into a text."""
    for file in Path(backproof.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            where = f"{file}, line {getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not any(tag in node.value for tag in ("[bold", "[dim]", "[green]", "[yellow]", "[/]")), (
                    where
                )
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                assert name not in ("from_markup", "Console") or file.name == "terminal.py", where
                keywords = {keyword.arg: keyword.value for keyword in node.keywords}
                if name == "TextColumn":
                    assert getattr(keywords.get("markup"), "value", True) is False, where
                assert "markup" not in keywords or getattr(keywords["markup"], "value", True) is False, where


@pytest.mark.parametrize("name", ["x[/red]y", "[bold red]HELLO[/]"])
def test_a_run_may_have_any_name(workdir, capsys, name):
    from backproof.cli.main import main

    assert main(["train", *QUICK, f"tracking.run_name='{name}'", f"outputs='o{name.replace('/', '')}'"]) == 0
    shown = capsys.readouterr().out
    assert f"backproof / {name} in" in shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "encoding", "message"),
    [
        (">/dev/full", "utf-8", "the output could not be written: No space left on device"),
        (">&-", "utf-8", ""),
        (">&- 2>&- <&-", "utf-8", ""),
        (">out", "ascii", ""),
        (">out", "latin-1", ""),
        ("| true", "utf-8", ""),
    ],
)
def test_a_run_is_finished_whatever_the_terminal_is(workdir, redirection, encoding, message):
    if "full" in redirection and not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    command = " ".join([*BACKPROOF, "train", *(f"'{override}'" for override in QUICK), redirection])
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [*Path("outputs/runs").glob("*/*/summary.json")]


@pytest.mark.slow
def test_output_that_is_the_result_must_be_written(workdir):
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has /dev/full")
    done = subprocess.run(
        ["sh", "-c", f"{' '.join(BACKPROOF)} plugins >/dev/full"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "could not be written" in done.stderr
