"""Show runs on the terminal: results on stdout, progress on stderr. No progress bar or colours in a pipe."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from backproof.experiment import describe
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result
from backproof.gradcheck.report import UNTESTED
from backproof.netcheck.report import NetworkReport
from backproof.render import check_tables
from backproof.render.text import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID
    from rich.text import Text

    from backproof.netcheck.diagnosis import Diagnosis


def console(*, stderr: bool = False) -> Console:
    """Return a rich console that does not colour numbers, reads no text as markup, and is quiet on a closed pipe.

    Names and messages come from users and stores: `[/red]` in one is text, and a terminal obeys no escape sequence
    in one. Styles are given by `labelled` and `styled`.
    """
    from rich.console import Console

    class QuietConsole(Console):
        def on_broken_pipe(self) -> None:
            # rich would exit with 1, in the middle of a run. Continue without output: the run is recorded.
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(printable(item) if isinstance(item, str) else item for item in objects), **options)

    return QuietConsole(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


def styled(*parts: str | Text | tuple[str, str]) -> Text:
    """Return a text of parts, each a text or a pair of a text and its style."""
    from rich.text import Text

    def plain(part: str | Text | tuple[str, str]) -> str | Text | tuple[str, str]:
        if isinstance(part, tuple):
            return printable(part[0]), part[1]
        return printable(part) if isinstance(part, str) else part

    return Text.assemble(*map(plain, parts))


def labelled(label: str, text: str | Text, style: str = "bold") -> Text:
    """Return a line that begins with a label in a column of its own."""
    return styled((f"{label:<8}", style), " ", text)


def verdict(status: str, summary: str) -> Text:
    """Return the line with the result of a gradient check."""
    return labelled("gradient", styled(check_tables.mark(status), f" {summary}"))


def print_status(text: str) -> None:
    """Print a line about a sweep as a whole."""
    console().print(labelled("sweep", text))


class Terminal:
    """Shows a run live: its data and network, the gradient check, a progress bar on stderr, the results."""

    def __init__(self, out: Console) -> None:
        self.out, self.messages = out, console(stderr=True)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._epochs = 0

    def on_start(self, prepared: PreparedExperiment) -> None:
        """Print dataset, network and training, one line each."""
        out, sizes = self.out, prepared.data.sizes
        parts = ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count)
        self._epochs = prepared.experiment.train.epochs
        out.print(labelled("dataset", f"{describe.dataset(prepared)} ({parts})"))
        out.print(labelled("network", f"{describe.network(prepared)}, {prepared.net.layout.P:,} parameters"))
        out.print(labelled("training", describe.training(prepared)))

    def on_check(self, report: NetworkReport) -> None:
        """Print a line when the fresh parameters are checked; the table comes with the results."""
        self._stop()
        if len(report.sections) == 1:
            self.out.print(verdict(report.status, report.summary()))
            if report.status == UNTESTED:
                self.out.print(labelled("warning", report.untested_message(), "yellow"))

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Advance the progress bar."""
        if not self.messages.is_terminal:
            return
        if self._bar is None:
            self._bar = self._start()
        text = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if not name.endswith("_std"))
        if self._task is not None:
            self._bar.update(self._task, completed=epoch, metrics=text)
        if epoch == self._epochs:
            self._stop()

    def on_end(self, outcome: Result | Exception) -> None:
        """Remove the progress bar; `results` or an error message follows."""
        self._stop()

    def close(self) -> None:
        """Remove the progress bar, in whatever way the run ended."""
        self._stop()

    def _start(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("epoch   ", "bold", markup=False),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}", markup=False),
        )
        bar = Progress(*columns, console=self.messages, transient=True)
        bar.start()
        self._task = bar.add_task("", total=self._epochs, metrics="")
        return bar

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def results(self, result: Result) -> None:
        """Print the gradient check by tensor, and the metrics of each part of the data."""
        from backproof.render.check_tables import table

        if result.report is not None:
            self.out.print(table(result.report))
            if result.report.diagnosis is not None:
                show_diagnosis(self.out, result.report.diagnosis)
        self.out.print(metrics_table(result.summary))
        self.out.print(_trained(result), style="dim")


def _trained(result: Result) -> str:
    """Return `trained 50 epochs in 0.31 s`, and the epochs whose parameters early stopping kept."""
    epochs = int(result.epochs.max())
    line = f"trained {describe.counted(epochs, 'epoch')} in {result.seconds:.2f} s"
    if (result.best_epochs < result.epochs).any():
        best = ", ".join(str(int(epoch)) for epoch in result.best_epochs)
        line += f"; kept the parameters of epoch {best}"
    members = len(result.theta)
    return line + (f"; mean ± standard deviation of {members} seeds" if members > 1 else "")


#: Styles of the lines of a diagnosis, by their first word.
STYLES = {"diagnosis:": "bold", "right": "green", "given": "red", "written:": "red", "located": "cyan"}


def show_diagnosis(out: Console, diagnosis: Diagnosis) -> None:
    """Print a diagnosis, in lines that fit the terminal, or 100 characters in a pipe."""
    from rich.text import Text

    width = min(out.width, 100) if out.is_terminal else 100
    style = ""
    out.print()
    for line in diagnosis.message(width).splitlines():
        # Continuation lines are indented further than the first line.
        if not line.startswith(" " * 4):
            style = next((style for start, style in STYLES.items() if line.strip().startswith(start)), "")
        if line.strip()[:1].isdigit():
            style = "bold"
        out.print(Text(line, style if line.strip() else ""))


def metrics_table(summary: dict[str, float]) -> Any:
    """Return a table with a row per metric and a column per part of the data."""
    from rich import box
    from rich.table import Table

    parts = list(dict.fromkeys(name.partition("/")[0] for name in summary))
    names = list(dict.fromkeys(n.partition("/")[2] for n in summary if not n.endswith("_std")))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for part in parts:
        table.add_column(part, justify="right")
    for name in names:
        table.add_row(name, *(_number(summary, f"{part}/{name}") for part in parts))
    return table


def _number(summary: dict[str, float], name: str) -> str:
    if name not in summary:
        return "-"
    spread = summary.get(f"{name}_std")
    return f"{summary[name]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")


def short_result(result: Result) -> str:
    """Return `val/accuracy 0.9694  0.4 s`: the objective and the time of a run."""
    name, _ = result.objective
    spread = result.summary.get(f"{name}_std")
    deviation = f" ± {spread:.2g}" if spread is not None else ""
    return f"{name} {result.summary.get(name, float('nan')):.4f}{deviation}  {result.seconds:.1f} s"
