"""`backproof check`, `plugins`, `verify` and the command itself: help, completion, exit codes."""

import json
import subprocess
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.discovery.registry import registry

from tests.helpers.command import BACKPROOF


class TestCommands:
    @pytest.mark.slow
    def test_check_passes_with_exit_code_0(self, workdir, capsys):
        assert main(["check", "dataset=iris", "activation=tanh"]) == 0
        output = capsys.readouterr().out
        assert "fresh" in output
        assert "moved" in output
        assert "✓ passed" in output
        assert not Path("outputs").exists()

    def test_check_as_json(self, workdir, capsys):
        assert main(["check", "--json", "dataset=iris"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["schema"] == "backproof.gradcheck/1"
        moments = [section["moment"] for section in report["sections"]]
        assert moments == ["fresh", "moved", "one sample", "burned in", "odd sizes"]

    @pytest.mark.slow
    def test_check_writes_a_self_contained_page(self, workdir, capsys):
        assert main(["check", "dataset=iris", "--report", "check.html"]) == 0
        page = Path("check.html").read_text()
        for part in (
            "✓ passed",
            "Point: fresh",
            "Taylor remainders",
            "data:image/png;base64,",
            "W1",
        ):
            assert part in page
        assert "http" not in page
        assert "<script" not in page
        assert main(["check", "--report"]) == 2

    def test_check_rejects_a_page_in_a_missing_folder(self, workdir, capsys):
        assert main(["check", "--report", "nowhere/check.html"]) == 2
        assert "--report nowhere/check.html" in capsys.readouterr().err

    def test_check_rejects_unknown_options(self, workdir, capsys):
        assert main(["check", "--fast"]) == 2
        assert "no such option '--fast'" in capsys.readouterr().err
        assert main(["check", "activation=reluu"]) == 2

    def test_plugins_lists_every_plugin(self, capsys):
        assert main(["plugins"]) == 0
        output = capsys.readouterr().out
        for entry in registry().entries():
            assert entry.name in output
        assert main(["plugins", "optimizer"]) == 0
        output = capsys.readouterr().out
        for part in ("optimizer.momentum = 0.0", "plugins/optimizer/adam.py", "Kingma", ">= 0 and < 1"):
            assert part in output
        assert main(["plugins", "optimizers"]) == 2
        assert "did you mean optimizer" in capsys.readouterr().err

    def test_verify(self, capsys):
        assert main(["verify", "activation", "relu"]) == 0
        assert "✓ activation relu: 8 of 8 checks" in capsys.readouterr().out
        assert main(["verify", "activation", "rel"]) == 2

    def test_help(self, capsys):
        for args in ([], ["--help"]):
            assert main(args) == 0
            output = capsys.readouterr().out
            for command in ("train", "check", "plugins", "verify", "ui"):
                assert f"\n  {command} " in output
        assert main(["--version"]) == 0

    def test_an_unknown_command(self, capsys):
        assert main(["trian"]) == 2
        assert "did you mean train?" in capsys.readouterr().err
        assert main(["seed=1"]) == 2
        assert "backproof train seed=1" in capsys.readouterr().err

    @pytest.mark.slow
    def test_train_help_shows_plugins_and_keys(self, workdir):
        done = subprocess.run([*BACKPROOF, "train", "--help"], capture_output=True, text=True, check=True)
        for part in (
            "activation: ",
            "gelu_tanh",
            "hidden:",
            "batch_size: 32",
            "early_stopping",
            "-m KEY=V1,V2",
        ):
            assert part in done.stdout

    @pytest.mark.slow
    def test_cfg_job_shows_the_config(self, workdir):
        done = subprocess.run(
            [*BACKPROOF, "train", "--cfg", "job", "optimizer=adam", "seed=3"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "name: adam" in done.stdout
        assert "beta1: 0.9" in done.stdout
        assert "seed: 3" in done.stdout
        assert not Path("outputs").exists()
