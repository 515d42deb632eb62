"""CSV files that are damaged, hostile or odd, and odd options for a good one."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.campaign.case import ACCEPTED, EITHER, REFUSED, Case

ARGS = (
    "train",
    "dataset=csv",
    "tracking.plots=false",
    "train.epochs=2",
    "train.batch_size=8",
    "model.hidden=[4]",
    "tracking=off",
)


def good(rows: int = 60) -> str:
    """Return a table with three features and a target of two classes."""
    chance = random.Random(1)
    lines = [",".join([f"{chance.random():.4f}" for _ in "abc"] + [chance.choice("xy")]) for _ in range(rows)]
    return "\n".join(["a,b,c,t", *lines]) + "\n"


def with_cell(cell: str, row: int = 4, column: int = 0) -> str:
    """Return the good table with another value in one place."""
    lines = good().splitlines()
    values = lines[row].split(",")
    values[column] = cell
    lines[row] = ",".join(values)
    return "\n".join(lines) + "\n"


def files() -> dict[str, tuple[str | bytes, str]]:
    """Return tables by name, and what may come of each."""
    text, lines = good(), good().splitlines()
    head, body = lines[0] + "\n", lines[1:]
    tables: dict[str, tuple[str | bytes, str]] = {
        "good": (text, ACCEPTED),
        "BOM": ("\ufeff" + text, ACCEPTED),
        "CRLF": (text.replace("\n", "\r\n"), ACCEPTED),
        "CR alone": (text.replace("\n", "\r"), ACCEPTED),
        "no newline at the end": (text.rstrip(), ACCEPTED),
        "blank lines between": (text.replace("\n", "\n\n"), ACCEPTED),
        "UTF-16": (text.encode("utf-16"), REFUSED),
        "UTF-32": (text.encode("utf-32"), REFUSED),
        "Latin-1 below UTF-8": (text.encode() + "1,2,3,é\n".encode("latin1"), REFUSED),
        "NUL in a number": (with_cell("0.\0001"), REFUSED),
        "NUL in the header": (text.replace("a,", "a\0,", 1), EITHER),
        "random bytes": (random.Random(2).randbytes(5000), REFUSED),
        "a ZIP archive": (b"PK\x03\x04" + bytes(200), REFUSED),
        "a long line of NULs": (bytes(100_000), REFUSED),
        "nothing": ("", REFUSED),
        "blank lines only": ("\n\n\n", REFUSED),
        "spaces only": ("   \n", REFUSED),
        "a header only": (head, REFUSED),
        "one row": (head + body[0] + "\n", REFUSED),
        "two rows": (head + "\n".join(body[:2]) + "\n", REFUSED),
        "numbers in the header": ("1,2,3,4\n" + "\n".join(body) + "\n", REFUSED),
        "one column": ("t\nx\ny\n", REFUSED),
        "a target only beside text": (
            "n,t\n" + "".join(f"name{i},{'xy'[i % 2]}\n" for i in range(60)),
            REFUSED,
        ),
        "a row too long": (text.replace(lines[5], lines[5] + ",9"), REFUSED),
        "a row too short": (text.replace(lines[5], "1,2"), REFUSED),
        "an open quote": (text.replace(lines[5], '"1,2,3,x'), REFUSED),
        "text after a quote": (with_cell('"1"x'), REFUSED),
        "quotes everywhere": (
            "\n".join(",".join(f'"{v}"' for v in line.split(",")) for line in lines),
            ACCEPTED,
        ),
        "tabs as separators": (text.replace(",", "\t"), REFUSED),
        "semicolons as separators": (text.replace(",", ";"), REFUSED),
        "a column named twice": (text.replace("a,b", "a,a", 1), REFUSED),
        "a column without a name": (text.replace("a,b", " ,b", 1), REFUSED),
        "a newline in a name": (text.replace("a,b", '"a\nb",b', 1), EITHER),
        "a name of 100,000 letters": (text.replace("a,b", "a" * 100_000 + ",b", 1), EITHER),
        "numbers as names": (text.replace("a,b,c", "0,1,c", 1), EITHER),
        "one class": (head + "".join(f"{i},1.5,{i * 2},x\n" for i in range(50)), REFUSED),
        "a class for each row": (head + "".join(f"{i},{i / 7:.3f},1,c{i}\n" for i in range(60)), REFUSED),
        "a class of one row": (text + "1,2,3,rare\n", EITHER),
        "a class of two rows": (text + "1,2,3,rare\n1,2,2,rare\n", EITHER),
        "a constant column": (head + "".join(f"7,{i / 3:.3f},7,{'xy'[i % 2]}\n" for i in range(50)), ACCEPTED),
        "constant features": (head + "".join(f"7,7,7,{'xy'[i % 2]}\n" for i in range(50)), EITHER),
        "bools as features": (
            head + "".join(f"{i % 3 == 0},1.{i},3,{'xy'[i % 2]}\n" for i in range(50)),
            EITHER,
        ),
        "20,000 columns": (_wide(20_000), EITHER),
        "a field of 200,000 digits": (with_cell("1" * 200_000), REFUSED),
        "escape sequences in a name": (text.replace("a,b", "\x1b[31mEVIL\x07,b", 1), EITHER),
        "escape sequences in a class": (text.replace(",x", ",\x1b]0;title\x07"), EITHER),
        "right-to-left marks in a name": (text.replace("a,b", "\u202eabc,b", 1), EITHER),
        "a surrogate in a name": (text.replace("a,b", "\ud800,b", 1), REFUSED),
        "markup in a class": (text.replace(",x", ",x[/red]y"), EITHER),
        "markup in a name": (text.replace("a,b", "[/b],b", 1), EITHER),
        "HTML in a class": (text.replace(",x", "," + '"<script>alert(1)</script>"'), EITHER),
        "a spreadsheet's formula as class": (text.replace(",x", ",=cmd|/C calc"), EITHER),
    }
    cells = {
        "infinite": ("inf", REFUSED),
        "negative infinite": ("-Infinity", REFUSED),
        "not a number": ("nan", REFUSED),
        "missing": ("", REFUSED),
        "a question mark": ("?", REFUSED),
        "null": ("null", REFUSED),
        "text": ("hello", REFUSED),
        "a date": ("2020-01-01", REFUSED),
        "hexadecimal": ("0x10", REFUSED),
        "an underscore": ("1_000", REFUSED),
        "a thousands separator": ('"1,000"', REFUSED),
        "beyond float64": ("1e400", REFUSED),
        "5,000 digits": ("1" * 5000, REFUSED),
        "the largest number": ("1e308", EITHER),
        "a subnormal number": ("1e-320", ACCEPTED),
        "minus zero": ("-0.0", ACCEPTED),
        "a sign": ("+0.5", ACCEPTED),
        "spaces around": ("  0.5  ", ACCEPTED),
        "Arabic digits": ("١٢٣", EITHER),
        "full-width digits": ("１２", EITHER),
        "two signs": ("--5", REFUSED),
        "complex": ("1+2j", REFUSED),
        "a non-breaking space": ("0.5\u00a0", EITHER),
    }
    for name, (cell, expected) in cells.items():
        tables[f"a cell: {name}"] = with_cell(cell), expected
    tables["a missing target"] = with_cell("", column=3), REFUSED
    tables["two huge numbers"] = with_cell("1e308").replace(lines[5], "-1e308,1,2,x"), EITHER
    return tables


def _wide(columns: int) -> str:
    head = ",".join(f"c{i}" for i in range(columns)) + ",t\n"
    return head + "".join(",".join(["1.5"] * columns) + f",{'xy'[i % 2]}\n" for i in range(12))


PATHS = {
    "a folder": ("@D", REFUSED),
    "a missing file": ("@D/none.csv", REFUSED),
    "a device without end": ("/dev/zero", REFUSED),
    "an empty device": ("/dev/null", REFUSED),
    "memory": ("/proc/self/mem", REFUSED),
    "a secret file": ("/etc/shadow", REFUSED),
    "stdin": ("/proc/self/fd/0", REFUSED),
    "an address": ("'http://127.0.0.1:1/x.csv'", REFUSED),
    "an unknown home": ("'~nouser/x.csv'", REFUSED),
    "5,000 letters": ("/" + "a" * 5000, REFUSED),
    "an empty path": ("''", REFUSED),
}
OPTIONS: dict[str, str] = {
    "dataset.target=zz": REFUSED,
    "dataset.target=A": REFUSED,
    "dataset.targets=[a,b]": EITHER,
    "dataset.targets=[t,t]": REFUSED,
    "dataset.targets=[t,zz]": REFUSED,
    "dataset.targets=[a,b,c,t]": REFUSED,
    "dataset.target=t dataset.targets=[a]": REFUSED,
    "dataset.target=t dataset.ignore=[a,b,c]": REFUSED,
    "dataset.target=t dataset.ignore=[t]": EITHER,
    "dataset.target=t dataset.ignore=[zz]": REFUSED,
    "dataset.target=t dataset.nominal=[zz]": REFUSED,
    "dataset.target=t dataset.nominal=[t]": EITHER,
    "dataset.target=t dataset.nominal=[a]": REFUSED,
    "dataset.target=t dataset.separator=''": REFUSED,
    "dataset.target=t dataset.separator=ab": REFUSED,
    "dataset.target=t dataset.separator='☃'": REFUSED,
    "dataset.target=t dataset.separator='\"'": REFUSED,
    "dataset.target=t dataset.separator='\\\\'": REFUSED,
    "dataset.target=t dataset.decimal=','": REFUSED,
    "dataset.target=t dataset.decimal=x": REFUSED,
    "dataset.target=t dataset.task=regression": REFUSED,
    "dataset.target=t dataset.task=multilabel": REFUSED,
    "dataset.target=t dataset.task=foo": REFUSED,
    "dataset.target=t dataset.max_categories=1": REFUSED,
    "dataset.target=t dataset.categorical=error": ACCEPTED,
    "dataset.target=t loss=squared_error": EITHER,
    "dataset.target=t loss=huber": EITHER,
    "dataset.target=t data.test_size=0.99": REFUSED,
    "dataset.target=t data.test_size=0.999999": REFUSED,
    "dataset.target=t data.val_size=0 data.test_size=0": ACCEPTED,
    "dataset.target=t data.test_size=1e-9": EITHER,
    "dataset.target=t data.test_size=0.5 data.val_size=0.5": REFUSED,
    "dataset.target=t metrics=[r2]": REFUSED,
    "dataset.target=t metrics=[zz]": REFUSED,
    "dataset.target=t metrics=[accuracy,accuracy]": REFUSED,
    "dataset.target=t metrics=[{name:top_k,k:100}]": EITHER,
    "dataset.target=t metrics=[{name:top_k,zz:1}]": REFUSED,
    "dataset.target=t metrics=[{k:1}]": REFUSED,
    "dataset.target=t metrics=accuracy": REFUSED,
    "dataset.target=t metrics=[[accuracy]]": REFUSED,
    "dataset.target=t metrics=[null]": REFUSED,
    "dataset.target=t metrics={name:accuracy}": REFUSED,
    "dataset.target=t train.early_stopping.monitor=anything train.early_stopping.patience=3": REFUSED,
    "dataset.target=t train.batch_size=1000": REFUSED,
}


def cases() -> Iterator[Case]:
    """Yield a case for each table, path and option."""
    for name, (content, expected) in files().items():
        args = (*ARGS, "dataset.path=@D/f.csv", "dataset.target=t")
        yield Case("CSV", name, args, expected, {"f.csv": content})
    for name, (path, expected) in PATHS.items():
        yield Case("CSV", f"path: {name}", (*ARGS, f"dataset.path={path}", "dataset.target=t"), expected)
    for options, expected in OPTIONS.items():
        args = (*ARGS, "dataset.path=@D/f.csv", *options.split(" "))
        yield Case("CSV", f"option: {options}", args, expected, {"f.csv": good()})
