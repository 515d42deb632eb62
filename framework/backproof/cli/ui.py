"""Floor 5: `backproof ui`: MLflow's own UI on the runs of a folder, with the page that matters opened."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from backproof.app.config import OutputOptions
from backproof.cli.main import complain
from backproof.contracts.errors import TrackingError
from backproof.tracking import Store, Terminated, TrackingOptions, terminate_on_sigterm
from backproof.tracking.store import resolve_uri

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # A worker for jobs of MLflow's that backproof does not use.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
#: One worker answers in a tenth of the time of the default four, which share nothing.
MLFLOW_SERVER = (sys.executable, "-m", "mlflow", "server", "--workers", "1")


def serve(args: list[str]) -> int:
    """Start the server on 127.0.0.1 and wait for Ctrl-C. Other hosts can be named, and are then open to them."""
    options = TrackingOptions()
    parser = argparse.ArgumentParser("backproof ui", description="The MLflow UI on these runs.")
    parser.add_argument("--port", type=int, default=5000, help="default: 5000, or the next that is free")
    parser.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine alone")
    parser.add_argument(
        "--outputs", default=OutputOptions().outputs, help="the folder that runs were written to"
    )
    parser.add_argument(
        "--uri", help="another MLflow store; default: MLFLOW_TRACKING_URI, or that of the folder"
    )
    parser.add_argument("--experiment", default=options.experiment, help="the experiment to open")
    given = parser.parse_args(args)
    try:
        uri = resolve_uri(given.uri, Path(given.outputs))
        if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).is_file():
            return complain(
                f"there are no runs yet in {uri.removeprefix('sqlite:///')}\n"
                "Train one first: backproof train experiment=cs446"
            )
        store = Store.open(TrackingOptions(uri=uri, experiment=given.experiment), Path(given.outputs))
    except TrackingError as error:
        return complain(str(error))
    if uri.startswith(("http://", "https://")):
        print(f"{uri.rstrip('/')}/{_page(store)}")
        return 0
    port = _free(given.host, given.port)
    if port is None:
        return complain(
            f"ports {given.port} to {given.port + 20} of {given.host} are taken: give another with --port"
        )
    return _run(given.host, port, uri, store)


def _run(host: str, port: int, uri: str, store: Store) -> int:
    server = subprocess.Popen(
        [*MLFLOW_SERVER, "--backend-store-uri", uri, "--host", host, "--port", str(port)],
        env={**os.environ, **QUIET},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # The server has children of its own; as a group they can be ended together.
        start_new_session=True,
    )
    address = f"http://{host}:{port}/"
    try:
        with terminate_on_sigterm():
            if not _up(server, address):
                _, errors = server.communicate()
                return complain(f"the MLflow server did not start:\n{errors.strip()[-2000:]}", 1)
            print(f"The runs:  {address}{_page(store)}\nEnd it with Ctrl-C.", flush=True)
            server.communicate()
            return server.returncode
    except (KeyboardInterrupt, Terminated):
        return 0
    finally:
        _end(server)


def _end(server: subprocess.Popen[str]) -> None:
    """End the server and its children, with force if they take longer than some seconds."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(timeout=patience)
    if server.stderr is not None:
        server.stderr.close()


def _page(store: Store) -> str:
    """The experiment's runs; on its first page the UI would show something else."""
    return f"#/experiments/{store.experiment_id}/runs"


def _up(server: subprocess.Popen[str], address: str) -> bool:
    """Wait for the server's first answer; False where it ends before, or gives none within a minute."""
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
    """The first port from `first` on that nothing listens on."""
    for port in range(first, first + 21):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    return None
