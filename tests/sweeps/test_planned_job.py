"""What a job runs is what the sweep planned: config, code of the plugins, data and folder, with every launcher."""

import json
import re
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.sweeps.engines.dask import DaskJobs
from backproof.sweeps.engines.launcher import BatchLauncher
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.planned_job import PlannedJob, Trials, difference
from omegaconf import OmegaConf

from tests.helpers.sweeps import children, parents, points, stacked, sweep

LAUNCHERS = {
    "basic": (None, []),
    "dask": ("distributed", ["hydra.launcher.n_workers=2"]),
    "joblib": ("hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
    "submitit_local": ("hydra_plugins.hydra_submitit_launcher", []),
}
OWN_CONFIG = """
defaults:
  - /backproof
  - dataset: iris
  - activation: tanh
  - loss: null
  - optimizer: sgd
  - schedule: constant
  - initializer: he_normal
  - penalty: none
  - derivation: backprop
  - gradcheck: "off"
  - tracking: "on"
  - experiment: null
  - override hydra/sweeper: backproof
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none
  - _self_
train: {epochs: 2}
model: {hidden: [4]}
tracking: {plots: false}
hydra:
  sweep: {dir: "${outputs}/sweeps/${now:%H-%M-%S-%f}", subdir: "${hydra.job.num}"}
  output_subdir: config
"""


@pytest.fixture(params=LAUNCHERS)
def launcher(request):
    """The overrides that choose a launcher, where its package is installed."""
    module, options = LAUNCHERS[request.param]
    if module:
        pytest.importorskip(module)
    if request.param == "joblib":
        from joblib.externals.loky import get_reusable_executor

        # Its processes outlive a sweep, with the working directory of an earlier test.
        get_reusable_executor().shutdown(wait=True)
    return [f"hydra/launcher={request.param}", *options]


def planned(parent):
    """Return the planned jobs of a sweep."""
    files = sorted(Path(parent.data.tags["backproof.folder"], "jobs").glob("*.json"))
    return [PlannedJob.read(file) for file in files]


def compare_with_plan(parent):
    """Compare each recorded run with the plan of its job. Return how many there are."""
    by_point = {}
    for job in planned(parent):
        for number, run in enumerate(job.runs):
            folder = Path(job.folder, str(number)) if len(job.runs) > 1 else Path(job.folder)
            by_point[run.digest] = run, folder
    records = children(parent)
    assert {record.data.tags["backproof.point"] for record in records} == by_point.keys()
    for record in records:
        run, folder = by_point[record.data.tags["backproof.point"]]
        tags = record.data.tags
        assert record.info.status == "FINISHED"
        assert tags["backproof.config_hash"] == run.hash
        assert json.loads(tags["backproof.code"]) == run.code
        assert Path(tags["backproof.folder"]) == folder
        config = OmegaConf.load(folder / "config/config.yaml")
        assert config.activation.name == record.data.params["activation"]
        assert list(OmegaConf.load(folder / "config/overrides.yaml")) == run.overrides
    assert len({record.data.tags["backproof.folder"] for record in records}) == len(records)
    return len(records)


@pytest.mark.slow
@pytest.mark.parametrize(("stack", "count"), [("off", 2), ("auto", 8)])
def test_every_point_is_the_planned_one(workdir, launcher, stack, count):
    """The config of another folder says tanh; the package's own says relu."""
    Path("own").mkdir()
    Path("own/config.yaml").write_text(OWN_CONFIG)
    args = [f"seed=range({count})", f"sweep.stack={stack}", "sweep.stack_size=4"]
    assert main(["train", "-m", "--config-path", str(workdir / "own"), *args, *launcher]) == 0
    (parent,) = parents()
    assert compare_with_plan(parent) == count
    assert any(len(job.runs) > 1 for job in planned(parent)) == (stack == "auto")
    assert {run.data.params["activation"] for run in children(parent)} == {"tanh"}


@pytest.mark.slow
def test_an_interpolated_folder_is_that_of_its_point(workdir, launcher):
    args = [
        "activation=relu,tanh",
        "optimizer.lr=0.1",
        "hydra.sweep.subdir=${activation.name}-${optimizer.lr}",
    ]
    assert sweep(*args, *launcher) == 0
    (parent,) = parents()
    assert compare_with_plan(parent) == 2
    names = {Path(run.data.tags["backproof.folder"]).name for run in children(parent)}
    assert names == {"relu-0.1", "tanh-0.1"}


@pytest.mark.slow
@pytest.mark.parametrize("subdir", ["same", "${activation.name}", "a/${train.epochs}"])
def test_points_that_would_share_a_folder_are_refused(workdir, capsys, subdir):
    args = ["activation=relu,tanh", "optimizer.lr=0.1,0.2", f"hydra.sweep.subdir={subdir}"]
    assert sweep(*args) == 2
    shown = capsys.readouterr().err
    assert "hydra.sweep.subdir: got" in shown
    assert "expected another folder for each point" in shown
    assert not Path("outputs/sweeps").exists()
    assert sweep(*args[:-1], f"hydra.sweep.subdir={subdir}-${{hydra.job.num}}") == 0
    assert compare_with_plan(parents()[0]) == 4


@pytest.mark.slow
def test_a_search_that_chooses_a_point_again_gives_it_another_folder(workdir):
    args = ["train.batch_size=16,32", "sweep.sampler=tpe", "sweep.n_trials=3"]
    assert sweep(*args, "hydra.sweep.subdir=b${train.batch_size}") == 0
    (parent,) = parents()
    folders = {job.folder for job in planned(parent)}
    assert len(folders) == 3
    assert {run.data.tags["backproof.folder"] for run in children(parent)} == folders


def _edit(file, **changes):
    job = json.loads(file.read_text())
    job["runs"][0] |= changes
    file.write_text(json.dumps(job))


#: What goes wrong between plan and job: functions of a job's overrides and its file that return other overrides.
FAULTS = {
    "config": (lambda overrides, file: [*overrides, "optimizer.lr=0.3"], r"optimizer.lr 0.3 instead of 0.1"),
    "plugin": (lambda overrides, file: [*overrides, "activation=tanh"], r"activation tanh instead of relu"),
    "default": (lambda overrides, file: [*overrides, "++data.val_size=0.3"], r"data.val_size 0.3 instead of"),
    "code": (
        lambda overrides, file: _edit(file, code={"activation relu": "0"}) or overrides,
        r"the code of a plugin is not what was planned: activation relu \w+ instead of 0",
    ),
    "data": (lambda overrides, file: _edit(file, data="0") or overrides, r"the numbers of dataset 'iris'"),
    "folder": (
        lambda overrides, file: [*overrides, "hydra.sweep.subdir=x"],
        r"the folder of the job is .*/x; planned",
    ),
    "taken": (
        lambda overrides, file: _taken(file) or overrides,
        r"has the files of another run, which would be overwritten",
    ),
}


def _taken(file):
    folder = Path(json.loads(file.read_text())["folder"])
    folder.mkdir()
    (folder / "environment.json").write_text("{}")


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", ["basic", "dask"])
def test_a_job_that_is_not_the_planned_one_is_an_error_of_its_point(workdir, monkeypatch, name, fault):
    module, options = LAUNCHERS[name]
    if module:
        pytest.importorskip(module)
    change, message = FAULTS[fault]
    for launcher in (BatchLauncher, DaskJobs):

        def submit(self, overrides, number, original=launcher.submit):
            if number == 0:
                (file,) = Path("outputs/sweeps").glob("*/*/jobs/0.json")
                overrides = change(overrides, file)
            original(self, overrides, number)

        monkeypatch.setattr(launcher, "submit", submit)
    assert sweep("optimizer.lr=0.1,0.2", f"hydra/launcher={name}", *options) == 1
    (parent,) = parents()
    first, second = points(parent.data.tags["backproof.folder"])
    assert (first["status"], second["status"]) == ("failed", "done")
    assert re.search(message, first["error"]), first["error"]
    assert [run.data.params["optimizer.lr"] for run in children(parent)] == ["0.2"]


@pytest.mark.slow
def test_a_point_of_a_stack_that_is_not_the_planned_one_does_not_stop_the_others(workdir, monkeypatch):
    original = BatchLauncher.submit

    def submit(self, overrides, number):
        (file,) = Path("outputs/sweeps").glob("*/*/jobs/0.json")
        job = json.loads(file.read_text())
        job["runs"][1]["hash"] = "0"
        file.write_text(json.dumps(job))
        original(self, overrides, number)

    monkeypatch.setattr(BatchLauncher, "submit", submit)
    assert stacked("seed=0,1,2") == 1
    (parent,) = parents()
    table = points(parent.data.tags["backproof.folder"])
    assert [row["status"] for row in table] == ["done", "failed", "done"]
    assert "composed another config than was planned" in table[1]["error"]


@pytest.mark.slow
def test_the_overrides_of_a_point_are_those_of_the_user(workdir):
    subdir = "hydra.sweep.subdir=${hydra.job.override_dirname}"
    excluded = "dataset,train.epochs,model.hidden,gradcheck,tracking.plots"
    exclude = f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]"
    assert sweep("seed=0,1", subdir, exclude, "tracking.run_name=mine", "sweep.pruner=median") == 0
    (parent,) = parents()
    assert compare_with_plan(parent) == 2
    names = {Path(run.data.tags["backproof.folder"]).name for run in children(parent)}
    assert names == {"seed=0,tracking.run_name=mine", "seed=1,tracking.run_name=mine"}
    assert {run.info.run_name for run in children(parent)} == {"seed0", "seed1"}
    for run in children(parent):
        config = OmegaConf.load(Path(run.data.tags["backproof.folder"], "config/config.yaml"))
        assert config.tracking.tags == {}
        assert config.tracking.parent is None


def test_the_file_of_a_job_is_plain(tmp_path):
    file = tmp_path / "jobs/0.json"
    run = PlannedRun(["a=1"], "h", {"x": 0.5}, values=["a=1"], index=7, code={"activation relu": "1"})
    job = PlannedJob([run], "folder", ["a"], trials=Trials("study", "median", "val/loss"))
    assert job.write(file) == f"++hydra.job.env_set.BACKPROOF_JOB='{file}'"
    plain = json.loads(file.read_text())
    assert plain["runs"] == [vars(run)]
    assert PlannedJob.read(file) == job


def test_differences():
    assert difference({"a": "1"}, {"a": "1"}) == ""
    assert difference({"a": "1", "b": "2"}, {"a": "2", "c": "3"}) == (
        "a 2 instead of 1, b none instead of 2, c 3 instead of none"
    )
    assert difference({}, {str(i): "1" for i in range(6)}).endswith("and 2 more")
