"""A store whose tags, parameters and names others wrote: paths, markup, commands, and numbers that are none.

Each case changes one value in the record of a sweep, and runs a command that reads it, or the sweep itself
again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.campaign.case import EITHER, Case, Outcome

SWEEP = ("train", "-m", "dataset=iris", "model.hidden=[4]", "train.epochs=1", "tracking.plots=false")
#: A file and a folder of the user outside outputs/, which no command may touch or record.
VICTIM, SECRET = "victim", "SECRET-KEY"
ESCAPE = "\x1b[31mred\x1b]0;title\x07"
VALUES = {
    "text": "abc",
    "nothing": "",
    "zero": "0",
    "minus one": "-1",
    "a huge number": "9" * 400,
    "infinity": "inf",
    "not a number": "nan",
    "a list": "[1, 2]",
    "a mapping": '{"hydra.run.dir": "/tmp/x", "+hydra.callbacks.x._target_": "os.system"}',
    "null": "null",
    "broken JSON": '{"a": ',
    "markup": "x[/red]y[bold]",
    "escape sequences": ESCAPE,
    "a command": "backproof train; touch RAN $(touch RAN)",
    "HTML": '"><script>alert(1)</script>',
    "a path outside": "../../victim",
    "a file outside": "{victim}/notes.txt",
    "a folder outside": "{victim}",
    "5,000 letters": "x" * 5000,
}


def _client(folder: Path) -> tuple[Any, Any, list[Any]]:
    """Return MLflow's client on the store, the parent run of the sweep, and its points."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'outputs/mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("backproof").experiment_id])
    parent = next(run for run in runs if run.data.tags.get("backproof.kind") == "sweep")
    points = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return client, parent, sorted(points, key=lambda run: run.info.start_time)


def _unfinished(folder: Path) -> None:
    """Let one point of the sweep fail, so that the same command resumes it; and put the user's own files beside."""
    client, parent, points = _client(folder)
    client.set_terminated(points[0].info.run_id, "FAILED")
    client.set_terminated(parent.info.run_id, "FAILED")
    victim = folder / VICTIM
    for name in ("plots", "weights"):
        (victim / name).mkdir(parents=True)
        (victim / name / "id_rsa").write_text(SECRET)
    (victim / "notes.txt").write_text("precious")


#: The sweeps that are attacked, and what is done to their record at first.
SWEEPS: dict[str, tuple[tuple[str, ...], Callable[[Path], None]]] = {
    "grid": ((*SWEEP, "optimizer.lr=0.1,0.2,0.3"), _unfinished),
    "tpe": (
        (*SWEEP, "optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=3"),
        _unfinished,
    ),
}
#: Commands that read the record.
READERS = {
    "runs": ("runs", "--format", "json"),
    "runs last": ("runs", "last", "--format", "json"),
    "best": ("runs", "last", "--best"),
    "report": ("report", "last", "--out", "r.html"),
}
#: Tags that a resumed sweep reads.
RESUMED = (
    "study",
    "trial",
    "folder",
    "index",
    "seeds",
    "stacked",
    "config_hash",
    "sweep_hash",
    "point",
    "objective",
)
RESUMED += ("direction", "host", "space_hash", "best_run", "best")


def _tags() -> list[str]:
    from backproof.tracking.schema import Tag

    names = [value for key, value in vars(Tag).items() if key.isupper()]
    return [name for name in names if name.startswith("backproof.") or name == "mlflow.note.content"]


def _change(what: str, name: str, value: str, of_parent: bool) -> Callable[[Path], None]:
    """Return what writes a value into the store: a tag, parameter, metric, name, or status."""

    def write(folder: Path) -> None:
        client, parent, points = _client(folder)
        text = value.replace("{victim}", str(folder / VICTIM))
        for run in [parent] if of_parent else points[:1]:
            run_id = run.info.run_id
            if what == "tag":
                client.set_tag(run_id, name, text)
            elif what == "param" and name in run.data.params:
                _replace_param(folder, run_id, name, text)
            elif what == "param":
                client.log_param(run_id, name, text)
            elif what == "metric":
                client.log_metric(run_id, name, float(text))
            elif what == "name":
                client.update_run(run_id, name=text)
            else:
                client.set_terminated(run_id, text)

    return write


def _replace_param(folder: Path, run_id: str, name: str, value: str) -> None:
    """Change a parameter that has been logged, which MLflow's client does not do."""
    with contextlib.closing(sqlite3.connect(folder / "outputs/mlflow.db")) as connection, connection:
        connection.execute("update params set value = ? where run_uuid = ? and key = ?", (value, run_id, name))


def cases() -> Iterator[Case]:
    """Yield a case for each tag, value and command."""
    for tag in _tags():
        for title, value in VALUES.items():
            of_parent = tag in (
                "backproof.study",
                "backproof.objective",
                "backproof.direction",
                "backproof.front",
            )
            of_parent = of_parent or tag.startswith("backproof.best") or tag == "backproof.failed"
            change = _change("tag", tag, value, of_parent)
            # Each value meets one reader, in turn: all of them read the record by the same functions.
            readers = list(READERS.items())
            reader, words = readers[(len(tag) + list(VALUES).index(title)) % len(readers)]
            yield _case(f"{reader}: {tag} is {title}", words, change)
            if tag.removeprefix("backproof.") in RESUMED:
                sweep = "tpe" if tag in ("backproof.study", "backproof.trial") else "grid"
                yield _case(f"resumed: {tag} is {title}", SWEEPS[sweep][0], change, sweep)
    for title in ("markup", "escape sequences", "a command", "HTML", "5,000 letters"):
        for what, name in (("param", "note"), ("param", "repeats2"), ("name", "")):
            for reader, words in READERS.items():
                change = _change(what, name, VALUES[title][:400], of_parent=what == "name")
                yield _case(f"{reader}: {what} {name} is {title}", words, change)
    for title in ("text", "zero", "minus one", "a huge number", "nothing"):
        for reader, words in READERS.items():
            yield _case(
                f"{reader}: param repeats is {title}", words, _change("param", "repeats", VALUES[title], False)
            )
    for number in ("nan", "inf", "-inf"):
        for reader, words in READERS.items():
            yield _case(
                f"{reader}: metric is {number}", words, _change("metric", "val/accuracy", number, False)
            )
    for status in ("RUNNING", "KILLED", "SCHEDULED"):
        for reader, words in READERS.items():
            yield _case(f"{reader}: status is {status}", words, _change("status", "", status, False))


def _case(name: str, words: tuple[str, ...], change: Callable[[Path], None], sweep: str = "grid") -> Case:
    listed = words[:2] == ("runs", "last") and "json" in words
    inspect = _all_listed if listed else _nothing_touched
    return Case(
        "stores",
        name,
        words,
        EITHER,
        prepare=change,
        inspect=inspect,
        store=sweep,
        may_begin=words[0] == "train",
    )


def _nothing_touched(folder: Path, outcome: Outcome) -> list[str]:
    """Nothing ran, nothing outside outputs/ was read or written, no foreign command or escape sequence is shown."""
    wrong: list[str] = []
    if outcome.code not in (0, 1, 2):
        wrong.append(f"exit code {outcome.code}")
    if "\x1b" in outcome.out.replace("\x1b[1m", "").replace("\x1b[0m", "") or "\x1b" in outcome.err:
        wrong.append("escape sequences on the terminal")
    if list(folder.rglob("RAN")):
        wrong.append("a command of others ran")
    if any(line.lstrip().startswith("backproof ") and "touch RAN" in line for line in outcome.out.splitlines()):
        wrong.append("a command of others is offered")
    victim = folder / VICTIM
    files = sorted(str(path.relative_to(victim)) for path in victim.rglob("*"))
    expected = ["notes.txt", "plots", "plots/id_rsa", "weights", "weights/id_rsa"]
    if files != expected or (victim / "notes.txt").read_text() != "precious":
        wrong.append("files outside outputs/ were written")
    outputs = folder / "outputs"
    if any(SECRET in file.read_text(errors="replace") for file in outputs.rglob("id_rsa")):
        wrong.append("files outside outputs/ were recorded")
    return wrong


def _all_listed(folder: Path, outcome: Outcome) -> list[str]:
    """One bad value hides no run."""
    wrong = _nothing_touched(folder, outcome)
    try:
        rows = len(json.loads(outcome.out))
    except ValueError:
        return [*wrong, "no JSON"]
    return wrong if rows >= 3 else [*wrong, f"{rows} of 3 runs listed"]
