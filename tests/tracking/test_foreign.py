"""What comes back from MLflow was written by others: malformed values, paths outside of outputs/, commands."""

import json
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.report.build import build
from backproof.sweeps.recorded import command_words, read
from backproof.tracking import Store, TrackingOptions, foreign, query
from backproof.tracking.schema import SWEEP, Tag

from tests.helpers.recorded import run

pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")
MALFORMED = [
    "",
    "abc",
    "0",
    "-3",
    "1.5",
    "nan",
    "null",
    "[1]",
    "{}",
    "9" * 5000,
    "9" * 15,
    "[" * 5000,
    "\x1b[31m",
    "'",
]
NUMBERS = [Tag.STACKED, Tag.INDEX, Tag.SEEDS, "seed", "repeats"]
TEXTS = [
    Tag.TRIAL,
    Tag.NOTE,
    Tag.FOLDER,
    Tag.STUDY,
    Tag.CONFIG_HASH,
    Tag.PRUNED,
    Tag.GRADCHECK,
    Tag.ERROR,
    "metrics",
]


def all_properties(record):
    return {
        name: getattr(record, name)
        for name, value in vars(query.RunRecord).items()
        if isinstance(value, property)
    }


@pytest.mark.parametrize("key", NUMBERS + TEXTS)
@pytest.mark.parametrize("value", MALFORMED)
def test_no_value_of_a_tag_or_parameter_keeps_a_run_from_being_read(key, value):
    record = run()
    where = record.tags if key.startswith(("backproof.", "mlflow.")) else record.params
    where[key] = value
    properties = all_properties(record)
    assert min(properties["repeats"], properties["seeds"]) >= 1
    assert properties["seconds"] >= 0
    assert isinstance(properties["trial"], dict | None)
    assert properties["folder"] is properties["study"] is None
    assert command_words(record)[:2] == ["backproof", "train"]


def test_one_malformed_run_does_not_hide_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store.open(TrackingOptions(), Path("outputs"))
    with store.start("sweep-x", {"sweep.over": "seed"}, {Tag.KIND: SWEEP}) as parent:
        for index, value in enumerate(["1", "abc", "0", "9" * 4000]):
            params = {"seed": value, "repeats": value, "metrics": value, "dataset": "iris"}
            tags = dict.fromkeys([Tag.STACKED, Tag.INDEX, Tag.SEEDS, Tag.TRIAL, Tag.NOTE], value)
            with store.start(f"run{index}", params, tags | {Tag.KIND: "run"}, parent=parent.id) as child:
                child.metrics({"val/loss": 0.5, "train/loss": 0.5}, 1)
    assert len(read(store, parent.id).runs) == 4
    assert parent.id[:8] in build(store, parent.id)
    for command in [
        "runs",
        "runs last",
        "runs last --best",
        "runs --best",
        "runs last --format json",
        "report last",
    ]:
        assert main(command.split()) == 0, command
    assert "run1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "summary", ["", "[]", '{"seeds": 3}', '{"seeds": [1, {"seed": "x"}, {"seed": 2, "val/loss": "y"}]}', "{"]
)
def test_a_malformed_summary_of_repeats(store, tmp_path, summary):
    with store.start("repeated", {"repeats": 3}, {}) as recorded:
        recorded.text(summary, "summary.json")
    members = query.members(store, query.get(store, recorded.id))
    assert set(members) == ({2} if '"seed": 2' in summary else set())


def test_a_path_counts_only_below_the_outputs_folder(tmp_path, capsys):
    outputs, other = tmp_path / "outputs", tmp_path / "outputs2"
    (outputs / "runs/a").mkdir(parents=True)
    (other / "runs").mkdir(parents=True)
    (outputs / "link").symlink_to(other)
    roots = (outputs.resolve(),)
    assert foreign.path_below(str(outputs / "runs/a"), roots) == outputs / "runs/a"
    assert foreign.path_below(str(outputs / "not/yet"), roots) == outputs / "not/yet"
    assert capsys.readouterr().err == ""
    outside = [other, outputs, outputs / "link/runs", outputs / "../outputs2", Path("/"), Path("/etc/passwd")]
    for path in outside:
        assert foreign.path_below(str(path), roots) is None
        assert f"names {path}, which is outside of" in capsys.readouterr().err
    # Not said again.
    assert foreign.path_below("/etc/passwd", roots) is None
    assert capsys.readouterr().err == ""
    (outputs / "loop").symlink_to(outputs / "loop")
    for text in [
        "",
        "runs/a",
        "~",
        "\0",
        f"{outputs}/\0",
        f"{outputs}/{'x' * 5000}",
        f"{outputs}/loop/x",
        None,
    ]:
        assert foreign.path_below(text, roots) is None


@pytest.mark.parametrize(
    "text",
    [
        "backproof train",
        "backproof train dataset=iris 'model.hidden=[64,32]' +tracking.tags.a=b ~optimizer dataset.path='a b;c'",
        "backproof train -m seed=0,1 optimizer@extra=adam --config-dir 'my conf' --config-path=x",
    ],
)
def test_our_commands_are_offered(text):
    assert foreign.own_command(text)


@pytest.mark.parametrize(
    "text",
    [
        "backproof train; touch PWNED",
        "backproof train ; touch PWNED$(id)",
        "backproof train && rm -r x",
        "backproof train | sh",
        "backproof train `id`",
        "backproof train a=b > c",
        "backproof ui",
        "backproof",
        "rm train",
        "backproof train a='",
        "backproof train a=b\nrm x",
        "backproof train a=\x1b[31m",
        "backproof train a=\u202eb",
        "backproof train --config-dir",
        "",
    ],
)
def test_other_commands_are_not_offered(text):
    record = run(tags={Tag.NOTE: f"x\n\n```\n{text}\n```"})
    assert record.command == ""
    assert "touch" not in json.dumps(command_words(record))
