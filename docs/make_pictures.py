"""Make the pictures of the documentation from real runs, in a temporary directory: `python docs/make_pictures.py`.

Terminal output is drawn by rich. The pages are screenshots, for which Chromium must be installed.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
#: MLflow opens its Assistant panel on localhost only, and accepts private addresses: the browser gets one for it.
HOST = "192.168.0.1"
HEADLESS = (
    "--headless",
    f"--host-resolver-rules=MAP {HOST} 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
COMMAND = [sys.executable, "-m", "backproof"]


def terminal(title: str, *args: str) -> str:
    """Return a command's output as a terminal would show it, as SVG."""
    from rich.console import Console
    from rich.text import Text

    # With the command on the path, messages name it without the path of this checkout.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "FORCE_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(
        [*COMMAND, *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
    )
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ backproof {' '.join(args)}", style="bold"))
    # With colours come the frames of the progress bar, which a terminal would overwrite.
    lines = [line for line in done.stdout.rstrip().splitlines() if "epoch  " not in line]
    console.print(Text.from_ansi("\n".join(lines)))
    return console.export_svg(title=title)


def screenshot(browser: str, address: str, file: Path, size: str = "1700,1150") -> None:
    """Save a picture of a page once it has loaded its data."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(browser, *HEADLESS),
                f"--user-data-dir={profile}",
                f"--window-size={size}",
                "--virtual-time-budget=30000",
                f"--screenshot={file}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def points() -> str:
    """Return the points of the sweep as parameters of the address of MLflow's compare page."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
    experiment = client.get_experiment_by_name("backproof")
    assert experiment is not None
    recorded = client.search_runs([experiment.experiment_id], "tags.`backproof.sweep` != ''")
    runs = [run.info.run_id for run in recorded]
    return f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment.experiment_id]))}"


def mlflow(browser: str) -> None:
    """Make the picture of a sweep in the MLflow UI."""
    sweep = ["train", "-m", "activation=relu,tanh,gelu", "optimizer=sgd,adam", "repeats=3", "train.epochs=30"]
    subprocess.run([*COMMAND, *sweep], check=True)
    environment = {**os.environ, "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:5180"}
    server = subprocess.Popen(
        [*COMMAND, "ui", "--port", "5180"], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1].partition("#")[0].replace("127.0.0.1", HOST)
        screenshot(browser, f"{address}#/compare-runs?{points()}", PICTURES / "mlflow.png")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)


def report(browser: str) -> None:
    """Make the picture of the report on a sweep."""
    sweep = ["train", "-m", "optimizer=adam", "optimizer.lr=0.03,0.01,0.003,0.001", "activation=relu,tanh"]
    subprocess.run(
        [*COMMAND, *sweep, "seed=range(5)", "train.epochs=20", "tracking.experiment=report"], check=True
    )
    page = Path("report.html").absolute()
    subprocess.run([*COMMAND, "report", "last", "--experiment", "report", "--out", str(page)], check=True)
    screenshot(browser, page.as_uri(), PICTURES / "report.png", "1200,1500")


def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        (PICTURES / "train.svg").write_text(terminal("one run", "train", "experiment=cs446"))
        (PICTURES / "check.svg").write_text(
            terminal(
                "the homework as it was written", "check", "experiment=cs446", "derivation=cs446_as_written"
            )
        )
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is None:
            print(f"no browser found ({', '.join(BROWSERS)}): mlflow.png is left as it is", file=sys.stderr)
        else:
            mlflow(browser)
            report(browser)


if __name__ == "__main__":
    main()
