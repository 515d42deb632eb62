"""A sweep that is resumed after the code of a plugin has changed mixes no runs of both."""

import pytest

from tests.helpers.command import backproof, client
from tests.helpers.sweeps import SMALL, children, parents

pytestmark = pytest.mark.slow

PLUGIN = '''"""An activation."""

from dataclasses import dataclass

import numpy as np

from backproof.contracts import Activation, Array


@dataclass(frozen=True)
class Own(Activation):
    """φ(a) = c a."""

    def forward(self, a: Array, out: Array) -> None:
        np.multiply(a, {slope}, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = c."""
        grad *= {slope}
'''
SEEDS = ["activation=own", "seed=0,1,2"]
SEARCH = ["activation=own", "optimizer.lr=interval(0.01,0.1)", "sweep.sampler=tpe", "sweep.n_trials=3"]


@pytest.fixture
def file(workdir, monkeypatch):
    """The file of the plugin `activation=own`."""
    file = workdir / "mine/activation/own.py"
    file.parent.mkdir(parents=True)
    file.write_text(PLUGIN.format(slope=1.0))
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(workdir / "mine"))
    return file


def sweep(*args, code=0):
    done = backproof("train", "-m", *SMALL, *args, code=code)
    return done.stdout + done.stderr


def lose_one():
    """Delete a run of the sweep, so that the same command resumes it. Return the ids of the others."""
    (parent,) = parents()
    lost, *others = children(parent, "FINISHED")
    client().delete_run(lost.info.run_id)
    return {run.info.run_id for run in others}


def counted(parent):
    """Return the runs of the sweep that count."""
    return [run for run in children(parent, "FINISHED") if "backproof.superseded" not in run.data.tags]


def test_what_was_done_with_other_code_is_run_again(file):
    sweep(*SEEDS)
    old = lose_one()
    file.write_text(PLUGIN.format(slope=2.0))
    output = sweep(*SEEDS)
    assert "the code of activation own has changed since: 2 runs of sweep-seed no longer count" in output
    assert "0 of 3 points are done" in output
    (parent,) = parents()
    runs = counted(parent)
    assert sorted(run.data.params["seed"] for run in runs) == ["0", "1", "2"]
    assert not old & {run.info.run_id for run in runs}
    assert len({run.data.tags["backproof.code"] for run in runs}) == 1
    listed = backproof("runs", "last", "--format", "tsv").stdout.splitlines()
    assert len(listed) == 4
    assert not any(run in line for run in old for line in listed)
    # All of it has been done with the code of today: nothing is left to be resumed.
    assert "no longer count" not in sweep(*SEEDS, "sweep.resume=last")


def test_they_are_kept_if_the_user_says_so(file):
    sweep(*SEEDS)
    old = lose_one()
    file.write_text(PLUGIN.format(slope=1.0) + "# A comment.\n")
    output = sweep(*SEEDS, "sweep.ignore_code=true")
    assert "2 of 3 points are done" in output
    (parent,) = parents()
    assert old < {run.info.run_id for run in counted(parent)}
    assert len(counted(parent)) == 3


def test_a_search_that_learnt_from_other_code_is_not_continued(file):
    sweep(*SEARCH)
    lose_one()
    file.write_text(PLUGIN.format(slope=2.0))
    refused = sweep(*SEARCH, "sweep.resume=last", code=2)
    assert "a search made with the same code; the code of activation own has changed since" in refused
    assert "a new search" in sweep(*SEARCH)
    new, _ = sorted(parents(), key=lambda run: -run.info.start_time)
    assert len(counted(new)) == 3
