"""Floor 4: what a person sees of a run on the terminal. No bar and no colours where stdout is no terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backproof.experiment import describe
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result
from backproof.gradcheck.report import UNTESTED
from backproof.netcheck.report import NetworkReport
from backproof.render import check_tables

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from backproof.netcheck.diagnosis import Diagnosis


def console(*, stderr: bool = False) -> Console:
    """A rich console that leaves numbers uncoloured."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True)


def print_status(text: str) -> None:
    """A line on a sweep as a whole."""
    console().print(f"[bold]sweep   [/] {text}")


class Terminal:
    """Shows a run as it goes: what it is, the gradient check, a bar while it trains, the results."""

    def __init__(self, out: Console) -> None:
        self.out = out
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._epochs = 0

    def on_start(self, prepared: PreparedExperiment) -> None:
        """Dataset, network and training, a line each."""
        out, sizes = self.out, prepared.data.sizes
        parts = ", ".join(f"{name} {count:,}" for name, count in sizes.items() if count)
        self._epochs = prepared.experiment.train.epochs
        out.print(f"[bold]dataset [/] {describe.dataset(prepared)} ({parts})")
        out.print(f"[bold]network [/] {describe.network(prepared)}, {prepared.net.layout.P:,} parameters")
        out.print(f"[bold]training[/] {describe.training(prepared)}")

    def on_check(self, report: NetworkReport) -> None:
        """One line once the fresh parameters are checked; the table comes with the results."""
        self._stop()
        if len(report.sections) == 1:
            mark = check_tables.MARKS[report.status]
            self.out.print(f"[bold]gradient[/] {mark} {report.summary()}")
            if report.status == UNTESTED:
                self.out.print(f"[yellow]warning [/] {report.untested_message()}")

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Move the bar on."""
        if not self.out.is_terminal:
            return
        if self._bar is None:
            self._bar = self._start()
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if not name.endswith("_std"))
        if self._task is not None:
            self._bar.update(self._task, completed=epoch, metrics=shown)
        if epoch == self._epochs:
            self._stop()

    def on_end(self, outcome: Result | Exception) -> None:
        """Take the bar away; what the run came to is shown by `results`, or as an error."""
        self._stop()

    def close(self) -> None:
        """The same, however the run ended."""
        self._stop()

    def _start(self) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("[bold]epoch   [/]"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}"),
        )
        bar = Progress(*columns, console=self.out, transient=True)
        bar.start()
        self._task = bar.add_task("", total=self._epochs, metrics="")
        return bar

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def results(self, result: Result) -> None:
        """The gradient check by tensor, and the metrics of each part."""
        from backproof.render.check_tables import table

        if result.report is not None:
            self.out.print(table(result.report))
            if result.report.diagnosis is not None:
                show_diagnosis(self.out, result.report.diagnosis)
        self.out.print(metrics_table(result.summary))
        self.out.print(f"[dim]{_trained(result)}[/]")


def _trained(result: Result) -> str:
    """`trained 50 epochs in 0.31 s`, and which epochs were kept by early stopping."""
    epochs = int(result.epochs.max())
    line = f"trained {describe.counted(epochs, 'epoch')} in {result.seconds:.2f} s"
    if (result.best_epochs < result.epochs).any():
        kept = ", ".join(str(int(epoch)) for epoch in result.best_epochs)
        line += f"; kept the parameters of epoch {kept}"
    members = len(result.theta)
    return line + (f"; mean ± standard deviation of {members} seeds" if members > 1 else "")


#: How a line of a diagnosis is shown, by how it begins.
STYLES = {"diagnosis:": "bold", "right": "green", "given": "red", "written:": "red", "located": "cyan"}


def show_diagnosis(out: Console, found: Diagnosis) -> None:
    """What is wrong, in lines that fit the terminal; 100 characters where there is none."""
    from rich.text import Text

    width = min(out.width, 100) if out.is_terminal else 100
    style = ""
    out.print()
    for line in found.message(width).splitlines():
        # A line that goes on is indented further than its first one.
        if not line.startswith(" " * 4):
            style = next((style for start, style in STYLES.items() if line.strip().startswith(start)), "")
        if line.strip()[:1].isdigit():
            style = "bold"
        out.print(Text(line, style if line.strip() else ""))


def metrics_table(summary: dict[str, float]) -> Any:
    """Rows loss, accuracy, ...; a column for each part of the data."""
    from rich import box
    from rich.table import Table

    parts = list(dict.fromkeys(name.partition("/")[0] for name in summary))
    names = list(dict.fromkeys(n.partition("/")[2] for n in summary if not n.endswith("_std")))
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("")
    for part in parts:
        shown.add_column(part, justify="right")
    for name in names:
        shown.add_row(name, *(_number(summary, f"{part}/{name}") for part in parts))
    return shown


def _number(summary: dict[str, float], name: str) -> str:
    if name not in summary:
        return "-"
    spread = summary.get(f"{name}_std")
    return f"{summary[name]:.4g}" + (f" ± {spread:.2g}" if spread is not None else "")


def short_result(result: Result) -> str:
    """`val/accuracy 0.9694  0.4 s`: a run in a few words."""
    name, _ = result.objective
    spread = result.summary.get(f"{name}_std")
    more = f" ± {spread:.2g}" if spread is not None else ""
    return f"{name} {result.summary.get(name, float('nan')):.4f}{more}  {result.seconds:.1f} s"
