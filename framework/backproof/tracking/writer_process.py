"""Write runs to MLflow in a separate process, while this one computes.

MLflow takes 30 ms for a short run, all of it Python. The owner sends lines of JSON, and waits only when it must
know that everything is written. If the owner is killed, the process ends the runs in progress as KILLED. It holds a
lock while it writes, so that nobody mistakes the state of the runs for the final one.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from backproof.contracts.errors import TrackingError
from backproof.tracking.run import Run, milliseconds
from backproof.tracking.run_writer import FAILED, FINISHED, KILLED, RunWriter
from backproof.tracking.store import Store, import_mlflow

#: Buffered metrics of a run that are worth writing while idle.
ENOUGH = 40
DIED = "the process that writes to MLflow has died (killed, or out of memory); sweep.writer=off does without it"


class Writer:
    """The owner's handle of the process, which starts at once and imports MLflow for a second or two."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._replies: dict[int, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            # It can import what this process can, and nothing from the working directory.
            [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            # Ctrl-C is for the owner, which decides how the runs end.
            start_new_session=True,
        )

    @contextlib.contextmanager
    def at_work(self, store: Store, lock: Path) -> Generator[None, None, None]:
        """Write runs to this store. The process holds the lock until everything is written."""
        keys = ("uri", "experiment", "experiment_id", "flush_seconds")
        self.send({"lock": str(lock), "store": {key: getattr(store, key) for key in keys}})
        try:
            yield
        finally:
            self.close()

    def start(
        self,
        run_name: str,
        params: dict[str, Any],
        tags: dict[str, str],
        parent: str | None = None,
        links: Mapping[str, str] | None = None,
    ) -> RemoteRun:
        """Start a run. This returns before anything of it is written."""
        run = RemoteRun(self, next(self._numbers), run_name)
        run.request("start", run_name=run_name, params=params, tags=tags, parent=parent, links=links)
        return run

    def send(self, message: dict[str, Any]) -> None:
        """Send a request. Raise TrackingError if the process is gone."""
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise BrokenPipeError
            stdin.write(json.dumps(message, default=str) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise TrackingError(DIED) from None

    def reply(self, number: int, key: str) -> Any:
        """Wait for the process's reply about a run under this key: `id`, `model`, or `done`.

        Raise TrackingError if the run could not be written (`lost`), or if the process died.
        """
        stdout = self._process.stdout
        while key not in (known := self._replies.get(number, {})):
            if "lost" in known:
                raise TrackingError(known["lost"])
            line = stdout.readline() if stdout else ""
            if not line:
                raise TrackingError(DIED)
            message = json.loads(line)
            self._replies.setdefault(message.pop("run"), {}).update(message)
        return self._replies[number][key]

    def close(self) -> None:
        """Wait until everything is written, and end the process."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        self._process.wait()
        if stdout is not None:
            stdout.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemoteRun(RunWriter):
    """A run that the process writes. `wait_until_written` raises the errors that it had."""

    def __init__(self, writer: Writer, number: int, name: str) -> None:
        self._writer, self._number, self._name = writer, number, name

    @property
    def id(self) -> str:
        return str(self._writer.reply(self._number, "id"))

    @property
    def name(self) -> str:
        return self._name

    def metrics(self, values: Mapping[str, float], step: int, at: int | None = None) -> None:
        numbers = {name: float(value) for name, value in values.items()}
        self.request("metrics", values=numbers, step=step, at=milliseconds() if at is None else at)

    def tags(self, values: Mapping[str, str]) -> None:
        if values:
            self.request("tags", values=dict(values))

    def rename(self, name: str) -> None:
        self._name = name
        self.request("rename", name=name)

    def dataset(
        self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any], context: str
    ) -> None:
        self.request(
            "dataset", name=name, digest=digest, source=dict(source), profile=dict(profile), context=context
        )

    def folder(self, local: Path, folder: str | None = None) -> None:
        self.request("folder", local=str(local.absolute()), folder=folder)

    def model(self, folder: Path) -> str:
        self.request("model", folder=str(folder.absolute()))
        return str(self._writer.reply(self._number, "model"))

    def finish(self, status: str = FINISHED) -> None:
        self.finished = True
        self.request("finish", status=status)

    def wait_until_written(self) -> None:
        if self.finished:
            self._writer.reply(self._number, "done")

    def request(self, method: str, **arguments: Any) -> None:
        """Have the process call a method of the run, or start it."""
        self._writer.send({"run": self._number, "do": method, "with": arguments})


class WriterServer:
    """The runs that this process writes, by the numbers that the owner gave them."""

    def __init__(self, store: Store, out: TextIO) -> None:
        self.store, self.out = store, out
        self.runs: dict[int, Run] = {}
        self.lost: set[int] = set()

    def take(self, message: dict[str, Any]) -> None:
        """Execute a request. A run with an error is lost, and takes only `finish` from then on."""
        number, method, arguments = message["run"], message["do"], message["with"]
        if method == "finish":
            self._finish(number, **arguments)
            return
        if number in self.lost:
            return
        try:
            if method == "start":
                self.runs[number] = self.store.start(**arguments)
                self._reply(number, id=self.runs[number].id)
            elif method == "folder":
                self.runs[number].folder(Path(arguments["local"]), arguments["folder"])
            elif method == "model":
                self._reply(number, model=self.runs[number].model(Path(arguments["folder"])))
            else:
                getattr(self.runs[number], method)(**arguments)
        except TrackingError as error:
            self._lose(number, error)

    def _finish(self, number: int, status: str) -> None:
        run = self.runs.pop(number, None)
        if run is None:
            return  # It could not be started.
        try:
            run.finish(FAILED if number in self.lost else status)
        except TrackingError as error:
            self._lose(number, error)
        if number not in self.lost:
            self._reply(number, done=True)

    def _lose(self, number: int, error: TrackingError) -> None:
        self.lost.add(number)
        self._reply(number, lost=str(error))

    def idle(self) -> bool:
        """Write the metrics of the run with the most buffered. Return whether there was enough to write."""
        run = max(self.runs.values(), key=lambda run: run.waiting, default=None)
        if run is None or run.waiting < ENOUGH:
            return False
        run.flush_or_keep()
        return True

    def end(self) -> None:
        """End the runs that are left as KILLED: their owner is gone."""
        for run in self.runs.values():
            with contextlib.suppress(TrackingError):
                run.finish(KILLED)

    def _reply(self, number: int, **reply: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.out.write(json.dumps({"run": number, **reply}) + "\n")
            self.out.flush()


def _messages(waiting: queue.SimpleQueue[Any], served: WriterServer) -> Iterator[dict[str, Any]]:
    """Yield requests until the owner has closed the pipe or is gone."""
    while True:
        try:
            message = waiting.get_nowait()
        except queue.Empty:
            if served.idle():
                continue
            message = waiting.get()
        if message is None:
            return
        yield message


def main() -> None:
    """Run the process: read lines of JSON from the owner, which may end at any time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They may be sent to the whole process group; what has been received is still written.
        signal.signal(number, signal.SIG_IGN)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # Replies go to `out`; what a library prints does not.
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            waiting.put(json.loads(line))
        waiting.put(None)

    threading.Thread(target=read, daemon=True).start()
    import_mlflow()
    first = waiting.get()
    if first is None:
        return
    from filelock import FileLock

    with FileLock(first["lock"]):
        served = WriterServer(Store.again(**first["store"]), out)
        try:
            for message in _messages(waiting, served):
                served.take(message)
        finally:
            served.end()
            # While the lock is held, so that nobody else's file is removed.
            with contextlib.suppress(OSError):
                os.unlink(first["lock"])
    # Interpreter shutdown takes half a second after MLflow.
    sys.stderr.flush()
    os._exit(0)
