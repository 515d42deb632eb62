"""Makes the pictures of README.md from real runs, in a temporary directory: `python docs/make_pictures.py`.

The terminal's are drawn by rich. The MLflow UI's is a screenshot, for which Chromium must be installed.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HEADLESS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
)
COMMAND = [sys.executable, "-m", "framework.cli"]
#: Runs, not their parents, the best first, as charts.
FILTER = "?searchFilter=tags.%22backproof.kind%22%20%3D%20%27run%27"
SORTED = "&orderByKey=metrics.%60val%2Faccuracy%60&orderByAsc=false"
CHARTS = "&compareRunsMode=CHART"


def terminal(title: str, *args: str) -> str:
    """A command's output as a terminal would show it, as SVG."""
    from rich.console import Console
    from rich.text import Text

    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": "100"}
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
    console.print(Text.from_ansi(done.stdout.rstrip()))
    return console.export_svg(title=title)


def screenshot(browser: str, address: str, file: Path) -> None:
    """A picture of a page once it has loaded its data."""
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                *(browser, *HEADLESS),
                f"--user-data-dir={profile}",
                "--window-size=1700,1150",
                "--virtual-time-budget=30000",
                f"--screenshot={file}",
                address,
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )


def mlflow(browser: str) -> None:
    """A sweep in the MLflow UI."""
    sweep = ["train", "-m", "activation=relu,tanh,gelu", "optimizer=sgd,adam", "repeats=3", "train.epochs=30"]
    subprocess.run([*COMMAND, *sweep], check=True)
    server = subprocess.Popen([*COMMAND, "ui", "--port", "5180"], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        address = server.stdout.readline().split()[-1]
        screenshot(browser, address + FILTER + SORTED + CHARTS, PICTURES / "mlflow.png")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=30)


def main() -> None:
    """Make them all."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
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


if __name__ == "__main__":
    main()
