"""A password in a tracking URI: it reaches MLflow, and nothing that a run writes or shows."""

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.cli.ui import MLFLOW_SERVER
from backproof.tracking.secret import hide, public_uri, shown_uri
from backproof.tracking.store import resolve_uri

from tests.helpers.command import QUICK

SECRET = "SECRETPW"
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.fixture
def server():
    """A server that refuses everything and remembers the credentials it was given: its port, and those."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization"))
            self.send_response(200 if self.path == "/health" else 400)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, format, *args): ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port, seen
        listening.shutdown()


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://bob:SECRETPW@host:5000/a", "http://***@host:5000/a"),
        ("https://SECRETPW@host", "https://***@host"),
        ("http://bob:a@SECRETPW@host/b@c", "http://***@host/b@c"),
        ("postgresql+psycopg2://bob:SECRETPW@h/d?password=SECRETPW", "postgresql+psycopg2://***@h/d?***"),
        ("http://host?token=SECRETPW#x", "http://host?***"),
        ("http://host:5000", "http://host:5000"),
        ("sqlite:////a@b/c?d.db", "sqlite:////a@b/c?d.db"),
    ],
)
def test_how_a_uri_is_shown(uri, shown):
    assert shown_uri(uri) == shown


def test_mlflow_gets_the_credentials_of_a_server_as_variables():
    assert resolve_uri("http://bob:p%40ss@host:1/x", Path("o")) == "http://host:1/x"
    assert os.environ["MLFLOW_TRACKING_USERNAME"] == "bob"
    assert os.environ["MLFLOW_TRACKING_PASSWORD"] == "p@ss"
    assert public_uri("postgresql://bob:pw@host/d") == "postgresql://bob:pw@host/d"


@pytest.mark.parametrize("word", ["tracking.uri={}", "++tracking.uri={}", "tracking.uri='{}'"])
def test_an_override_with_a_password_becomes_a_variable(word, capsys):
    uri = f"http://bob:{SECRET}@host"
    assert hide(["seed=1", word.format(uri)]) == ["seed=1"]
    assert os.environ["MLFLOW_TRACKING_URI"] == uri
    assert SECRET not in capsys.readouterr().err
    assert hide(["tracking.uri=http://host"]) == ["tracking.uri=http://host"]


@pytest.mark.parametrize("command", [["train", *QUICK], ["train", "-m", *QUICK, "seed=0,1"]])
def test_no_error_shows_the_password(workdir, server, capfd, command, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    port, seen = server
    assert main([*command, f"tracking.uri=http://bob:{SECRET}@127.0.0.1:{port}"]) == 2
    out, err = capfd.readouterr()
    assert SECRET not in out + err
    assert "cannot record in http://127.0.0.1" in err
    assert any(seen)
    assert not [file for file in workdir.rglob("*") if file.is_file() and SECRET.encode() in file.read_bytes()]


def test_the_server_of_the_ui_imports_nothing_from_the_working_directory(tmp_path):
    (tmp_path / "mlflow.py").write_text("open('ran', 'w')")
    subprocess.run([*MLFLOW_SERVER, "--version"], cwd=tmp_path, capture_output=True, timeout=100, check=False)
    assert MLFLOW_SERVER[0] == sys.executable
    assert not (tmp_path / "ran").exists()
