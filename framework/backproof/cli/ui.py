"""`backproof ui`: serve the MLflow UI on the runs of a folder, and print the address of the experiment."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from backproof.cli.store_options import location
from backproof.render.console import print_error
from backproof.tracking import Store, Terminated, terminate_on_sigterm
from backproof.tracking.store import resolve_uri

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A worker for MLflow's own jobs, which backproof does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
#: One worker answers ten times faster than the default four, which share no cache.
#: -P: nothing is imported from the working directory.
MLFLOW_SERVER = (sys.executable, "-P", "-m", "mlflow", "server", "--workers", "1")


def serve(port: int, host: str, **where: str | None) -> int:
    """Serve MLflow's UI until Ctrl-C and return the exit code. By default only this machine can reach it."""
    options, folder = location(**where)
    uri = resolve_uri(options.uri, folder)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return print_error(
            f"there are no runs yet in {uri.removeprefix('sqlite:///')}\n"
            "Train one first: backproof train experiment=cs446"
        )
    store = Store.open(dataclasses.replace(options, uri=uri), folder)
    if uri.startswith(("http://", "https://")):
        print(f"{uri.rstrip('/')}/{_page(store)}")
        return 0
    free = _free(host, port)
    if free is None:
        return print_error(f"ports {port} to {port + 20} of {host} are taken: give another with --port")
    return _run(host, free, uri, store)


def _run(host: str, port: int, uri: str, store: Store) -> int:
    server = subprocess.Popen(
        [*MLFLOW_SERVER, "--host", host, "--port", str(port)],
        # The URI may have a password, and everybody can read a command line. The server starts processes too.
        env={**os.environ, **QUIET, "MLFLOW_BACKEND_STORE_URI": uri, "PYTHONSAFEPATH": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # The server starts child processes: a process group ends them together.
        start_new_session=True,
    )
    address = f"http://{host}:{port}/"
    try:
        with terminate_on_sigterm():
            if not _up(server, address):
                _, errors = server.communicate()
                return print_error(f"the MLflow server did not start:\n{errors.strip()[-2000:]}", 1)
            print(f"The runs:  {address}{_page(store)}\nPress Ctrl-C to stop.", flush=True)
            server.communicate()
            return server.returncode
    except (KeyboardInterrupt, Terminated):
        return 0
    finally:
        _end(server)


def _end(server: subprocess.Popen[str]) -> None:
    """End the server and its children; kill them if that takes longer than 5 s."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=patience)
    if server.stderr is not None:
        server.stderr.close()


def _page(store: Store) -> str:
    """Return the address of the experiment's runs; the UI's first page shows something else."""
    return f"#/experiments/{store.experiment_id}/runs"


def _up(server: subprocess.Popen[str], address: str) -> bool:
    """Wait for the server's first answer. Return False if it exits before, or does not answer within a minute."""
    for _ in range(600):
        if server.poll() is not None:
            return False
        try:
            with urllib.request.urlopen(address + "health", timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _free(host: str, first: int) -> int | None:
    """Return the first free port of 21 from `first` on, None if all are taken."""
    for port in range(first, first + 21):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    return None
