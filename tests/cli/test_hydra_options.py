"""Hydra's options among the overrides, and a single run that is composed and built once."""

import hydra
import pytest
from backproof.app.session import Session
from backproof.cli.hydra_options import PREPARE, arrange
from backproof.cli.main import main
from backproof.contracts.errors import UsageError
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import get_args_parser

from tests.helpers.command import QUICK

BARE = [*QUICK, "train.epochs=1", "tracking=off", "gradcheck=off"]


@pytest.mark.parametrize(
    ("arguments", "overrides", "options"),
    [
        ("-m seed=0,1 --config-dir mine experiment=a", ["seed=0,1", "experiment=a"], {"config_dir": "mine"}),
        ("a=1 -cd mine b=2 -cn other c=3", ["a=1", "b=2", "c=3"], {"config_name": "other"}),
        ("a=1 -cp some/where b=2", ["a=1", "b=2"], {"config_path": "some/where"}),
        ("a=1 --config-n=x b=2", ["a=1", "b=2"], {"config_name": "x"}),
        ("--cfg job a=1 --resolve --package train b=2", ["a=1", "b=2"], {"cfg": "job", "package": "train"}),
        ("--info a=1", ["a=1"], {"info": "all"}),
        ("a=1 --info defaults b=2", ["a=1", "b=2"], {"info": "defaults"}),
        ("--hydra-help a=1", ["a=1"], {"hydra_help": True}),
        ("--multi a=1 -h b=2", ["a=1", "b=2"], {"multirun": True, "help": True}),
        ("sweep.resume=437367e5 -m", ["sweep.resume='437367e5'"], {"multirun": True}),
    ],
)
def test_options_are_accepted_anywhere(arguments, overrides, options):
    parsed = vars(get_args_parser().parse_args(arrange(arguments.split())))
    assert [override for override in parsed["overrides"] if override != PREPARE] == overrides
    assert options.items() <= parsed.items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--confg-dir mine", "train has no option '--confg-dir', did you mean --config-dir?"),
        ("a=1 --config-dir", "expected one argument"),
        ("--resolv=x a=1", "ignored explicit argument"),
        ("--config x", "train has no option '--config', did you mean --config-"),
        ("a = 1", "'=' is not an override"),
    ],
)
def test_wrong_options(arguments, message):
    with pytest.raises(UsageError, match=message.replace("?", r"\\?")):
        arrange(arguments.split())


def count_calls(monkeypatch, cls, name):
    calls, original = [], getattr(cls, name)

    def counted(self, *args, **kwargs):
        calls.append(args)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(cls, name, counted)
    return calls


def test_a_single_run_is_composed_and_built_once(workdir, monkeypatch):
    built = count_calls(monkeypatch, Session, "prepare")
    composed = count_calls(monkeypatch, ConfigLoaderImpl, "_load_configuration_impl")
    assert main(["train", *BARE]) == 0
    assert len(built) == 1
    # Hydra 1.3 composes the config once before the run, for its mode alone (`get_mode`).
    assert len(composed) == (2 if hydra.__version__.startswith("1.3.") else 1)


def test_only_a_single_run_is_prepared():
    assert PREPARE in arrange(["seed=1"])
    assert PREPARE in arrange(["--config-dir", "mine", "seed=1"])
    for options in (["-m"], ["--cfg", "job"], ["--info"], ["--help"], ["--hydra-help"]):
        assert PREPARE not in arrange(["seed=1", *options])


@pytest.mark.slow
def test_a_custom_primary_config(workdir):
    (workdir / "own.yaml").write_text("defaults:\n  - config\n  - _self_\nseed: 7\n")
    assert main(["train", "--config-dir", ".", *BARE, "--config-name", "own"]) == 0
    (folder,) = workdir.glob("outputs/runs/*/*")
    assert "seed: 7" in (folder / "config/config.yaml").read_text()
    assert "callbacks" not in (folder / "config/overrides.yaml").read_text()


def test_bad_input_leaves_nothing_behind_whatever_the_options(workdir, capsys):
    folder = workdir / "mine"
    folder.mkdir()
    assert main(["train", "optimizer.lr=-1", "--config-dir", "mine"]) == 2
    assert "optimizer.lr: got -1" in capsys.readouterr().err
    assert list(workdir.iterdir()) == [folder]


@pytest.mark.slow
def test_hydra_resolvers_can_be_used(workdir):
    name = "experiment=${hydra:job.name}-${hydra:runtime.choices.dataset}"
    assert main(["train", *BARE, f"tracking.{name}"]) == 0
    assert main(["train", *BARE, "tracking.run_name=${hydra:runtime.output_dir}"]) == 0


@pytest.mark.slow
def test_the_folder_may_become_the_working_directory(workdir):
    assert main(["train", *BARE, "hydra.job.chdir=true", "tracking=on", "tracking.model=false"]) == 0
    (folder,) = workdir.glob("outputs/runs/*/*")
    assert (folder / "summary.json").is_file()
    assert (workdir / "outputs/mlflow.db").is_file()
    assert not (folder / "outputs").exists()
