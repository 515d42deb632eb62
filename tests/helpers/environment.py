"""A new virtual environment, for tests of what pip installs."""

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

#: Variables by which the surroundings of the tests would get into the environment.
OURS = ("PYTHONPATH", "BACKPROOF_PLUGINS", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV", "PYENV_VERSION")
#: Seconds that one command may take.
TIMEOUT = 1800


class CommandFailed(AssertionError):
    """A command ended with another exit code than expected; the message is its output."""


class Environment:
    """A new virtual environment, and an empty working directory for the commands that run in it."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.bin, self.workdir = folder / "env/bin", folder / "work"
        self.workdir.mkdir(parents=True)
        self.variables = {key: value for key, value in os.environ.items() if key not in OURS}
        self.variables |= {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self.variables["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        subprocess.run([python, "-m", "venv", str(folder / "env")], env=self.variables, check=True)

    def run(self, program: str, *args: object, code: int = 0, cwd: Path | None = None, **variables: str) -> str:
        """Run a program of the environment and return its output. Raise CommandFailed for another exit code."""
        done = subprocess.run(
            [str(self.bin / program), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd or self.workdir,
            env=self.variables | variables,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode != code:
            raise CommandFailed(f"$ {program} {' '.join(map(str, args))}\n{done.stdout}")
        return done.stdout

    def serve(self) -> None:
        """Start `backproof ui`, ask it for its page on loopback, and stop it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = subprocess.Popen(
            [self.bin / "backproof", "ui", "--port", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.workdir,
            env=self.variables,
        )
        try:
            assert server.stdout is not None
            line = server.stdout.readline()
            if f"http://127.0.0.1:{port}" not in line:
                raise CommandFailed(f"$ backproof ui --port {port}\n{line}{server.communicate(timeout=60)[1]}")
            with urllib.request.urlopen(line.split()[-1], timeout=60) as page:
                assert b"<title>MLflow" in page.read()
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)
            assert server.returncode == 0
        finally:
            server.kill()
