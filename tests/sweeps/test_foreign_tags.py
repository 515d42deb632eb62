"""Resuming a sweep whose tags in MLflow somebody else has edited: only our own files are touched."""

import json
from pathlib import Path

import pytest

from tests.helpers.command import client
from tests.helpers.sweeps import children, parents, sweep

pytestmark = pytest.mark.slow
SEARCH = ["optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=3"]


@pytest.fixture
def victim(workdir):
    """A folder outside of outputs/, with what a resumed sweep looks for."""
    folder = workdir / "victim"
    for name in ("weights", "plots"):
        (folder / name).mkdir(parents=True)
    (folder / "plots/id_rsa").write_text("SECRETKEY")
    (folder / "study.journal").write_text("precious")
    return folder


def contents(folder):
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize("args", [["seed=0,1"], SEARCH])
def test_tags_that_name_other_folders(workdir, victim, args, capsys):
    assert sweep(*args) == 0
    (parent,) = parents()
    before, mlflow = contents(victim), client()
    mlflow.set_tag(parent.info.run_id, "backproof.study", str(victim / "study.journal"))
    for run in [parent, *children(parent)]:
        mlflow.set_tag(run.info.run_id, "backproof.folder", str(victim))
    mlflow.set_terminated(children(parent)[0].info.run_id, "FAILED")
    assert sweep(*args, "sweep.resume=last", "tracking.plots=true") == 0
    assert contents(victim) == before
    assert not [
        path for path in Path("outputs").rglob("*") if path.is_file() and b"SECRETKEY" in path.read_bytes()
    ]
    assert f"names {victim}, which is outside of" in capsys.readouterr().err
    (parent,) = parents()
    assert len(children(parent, "FINISHED")) == (2 if len(args) == 1 else 3)


@pytest.mark.parametrize("trial", ["no json", '{"hydra.run.dir": "/x"}', '{"optimizer.lr": 9}'])
def test_a_trial_that_is_no_point_of_the_space_is_drawn_again(workdir, trial):
    assert sweep(*SEARCH) == 0
    (parent,) = parents()
    first = children(parent)[0].info.run_id
    client().set_tag(first, "backproof.trial", trial)
    assert sweep(*SEARCH, "sweep.resume=last") == 0
    (parent,) = parents()
    assert len([run for run in children(parent, "FINISHED") if run.info.run_id != first]) == 3
    for run in children(parent):
        if run.info.run_id != first:
            assert json.loads(run.data.tags["backproof.trial"]).keys() == {"optimizer.lr"}
