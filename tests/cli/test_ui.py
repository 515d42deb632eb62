"""`backproof ui`: MLflow's server for the runs of a folder, on loopback, which ends with the command."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from backproof.cli.main import main

UI = [sys.executable, "-m", "backproof", "ui"]
pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def open_port(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_the_runs_and_ends_with_all_its_processes(tmp_path, monkeypatch, number):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["train", "dataset=iris", "train.epochs=1"]) == 0
    port = free_port()
    process = subprocess.Popen(
        [*UI, "--port", str(port)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("The runs:  http://127.0.0.1:"), line + process.stderr.read()
        address = line.split()[-1]
        assert "#/experiments/1/runs" in address
        with urllib.request.urlopen(address, timeout=20) as page:
            assert b"<title>MLflow" in page.read()
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == 0
        assert not open_port(port)
        alive = subprocess.run(["pgrep", "-f", f"port {port}"], capture_output=True, text=True, check=False)
        assert alive.stdout == ""
        assert not (tmp_path / "mlruns").exists()
    finally:
        process.kill()


def test_without_runs_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["ui"]) == 2
    assert "there are no runs yet" in capsys.readouterr().err
    assert main(["ui", "--uri", "foo://x"]) == 2
    assert not list(tmp_path.iterdir())


def test_no_server_is_started_for_a_remote_store(capsys):
    assert main(["ui", "--uri", "http://127.0.0.1:9"]) == 2
    assert "no MLflow server answers" in capsys.readouterr().err
