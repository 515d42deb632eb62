"""Runs that are written to MLflow by a process of its own, while this one goes on computing.

MLflow takes 30 ms for a short run, all of it Python. The owner sends what is to be written as lines of JSON and
waits only when it has to know that all is there. If the owner is killed, the process ends the runs that were going
on as KILLED; while it is at work it holds a lock, so that nobody takes the runs for what they are not yet.
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

#: Metrics of a run that are written when there is nothing else to do.
ENOUGH = 40
DIED = "the process that writes to MLflow has died (killed, or out of memory); sweep.writer=off does without it"


class Writer:
    """The process, as its owner has it. It starts at once, and takes a second or two to import MLflow."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self._replies: dict[int, dict[str, Any]] = {}
        self._process = subprocess.Popen(
            # What this process can import, and nothing from the working directory.
            [sys.executable, "-P", "-c", f"from {__name__} import main; main()"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            # Ctrl-C is for the owner, which tells what becomes of the runs.
            start_new_session=True,
        )

    @contextlib.contextmanager
    def at_work(self, store: Store, lock: Path) -> Generator[None, None, None]:
        """Write runs to that store; the process holds the lock until all is written."""
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
        """A new run; nothing of it is there yet when this returns."""
        number = next(self._numbers)
        given = {
            "run_name": run_name,
            "params": params,
            "tags": tags,
            "parent": parent,
            "links": dict(links or {}),
        }
        self.send({"run": number, "do": "start", "with": given})
        return RemoteRun(self, number, run_name)

    def send(self, message: dict[str, Any]) -> None:
        """Have something done. Raises TrackingError where nobody is there to do it."""
        stdin = self._process.stdin
        try:
            if stdin is None or stdin.closed:
                raise BrokenPipeError
            stdin.write(json.dumps(message, default=str) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise TrackingError(DIED) from None

    def reply(self, number: int, key: str) -> Any:
        """What the process tells of a run, when it has: its `id`, or that it is `done`, which one is not that was
        `lost`. Raises TrackingError if it never will."""
        stdout = self._process.stdout
        while key not in (known := self._replies.get(number, {})):
            if "lost" in known:
                raise TrackingError(known["lost"])
            line = stdout.readline() if stdout else ""
            if not line:
                raise TrackingError(DIED)
            told = json.loads(line)
            self._replies.setdefault(told.pop("run"), {}).update(told)
        return self._replies[number][key]

    def close(self) -> None:
        """Wait until all is written, and end the process."""
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
    """A run that is written elsewhere. What went wrong there is raised by `wait_until_written`."""

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
        self._do("metrics", values=numbers, step=step, at=milliseconds() if at is None else at)

    def tags(self, values: Mapping[str, str]) -> None:
        if values:
            self._do("tags", values=dict(values))

    def rename(self, name: str) -> None:
        self._name = name
        self._do("rename", name=name)

    def dataset(
        self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any], context: str
    ) -> None:
        self._do(
            "dataset", name=name, digest=digest, source=dict(source), profile=dict(profile), context=context
        )

    def folder(self, local: Path, folder: str | None = None) -> None:
        self._do("folder", local=str(local.absolute()), folder=folder)

    def model(self, folder: Path) -> str:
        self._do("model", folder=str(folder.absolute()))
        return str(self._writer.reply(self._number, "model"))

    def finish(self, status: str = FINISHED) -> None:
        self.finished = True
        self._do("finish", status=status)

    def wait_until_written(self) -> None:
        if self.finished:
            self._writer.reply(self._number, "done")

    def _do(self, what: str, **given: Any) -> None:
        self._writer.send({"run": self._number, "do": what, "with": given})


class WriterServer:
    """The runs that this process writes, each known to the owner by a number."""

    def __init__(self, store: Store, out: TextIO) -> None:
        self.store, self.out = store, out
        self.runs: dict[int, Run] = {}
        self.lost: set[int] = set()

    def take(self, message: dict[str, Any]) -> None:
        """Do what a message says. What cannot be done is told at the end of its run."""
        number, what, given = message["run"], message["do"], message["with"]
        if what == "finish":
            self._finish(number, **given)
            return
        if number in self.lost:
            return
        try:
            if what == "start":
                self.runs[number] = self.store.start(**given)
                self._tell(number, id=self.runs[number].id)
            elif what == "folder":
                self.runs[number].folder(Path(given["local"]), given["folder"])
            elif what == "model":
                self._tell(number, model=self.runs[number].model(Path(given["folder"])))
            else:
                {"metrics": Run.metrics, "tags": Run.tags, "rename": Run.rename, "dataset": Run.dataset}[what](
                    self.runs[number], **given
                )
        except TrackingError as error:
            self._lose(number, error)

    def _finish(self, number: int, status: str) -> None:
        run = self.runs.pop(number, None)
        if run is None:
            return  # It could not be begun.
        try:
            run.finish(FAILED if number in self.lost else status)
        except TrackingError as error:
            self._lose(number, error)
        if number not in self.lost:
            self._tell(number, done=True)

    def _lose(self, number: int, error: TrackingError) -> None:
        self.lost.add(number)
        self._tell(number, lost=str(error))

    def idle(self) -> bool:
        """Write the metrics of the run that has most of them waiting; whether there was one."""
        run = max(self.runs.values(), key=lambda each: each.waiting, default=None)
        if run is None or run.waiting < ENOUGH:
            return False
        run.flush_or_keep()
        return True

    def end(self) -> None:
        """End the runs that are left: their owner is no more."""
        for run in self.runs.values():
            with contextlib.suppress(TrackingError):
                run.finish(KILLED)

    def _tell(self, number: int, **what: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.out.write(json.dumps({"run": number, **what}) + "\n")
            self.out.flush()


def _messages(waiting: queue.SimpleQueue[Any], served: WriterServer) -> Iterator[dict[str, Any]]:
    """What is to be done, until the owner has no more or is gone."""
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
    """The process: takes lines of JSON from its owner, who may end at any time."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # They may come to all processes of a group or a job. What there is to write shall be written.
        signal.signal(number, signal.SIG_IGN)
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What a library prints is no reply.
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
            # While it is held: nobody else's file is taken away.
            with contextlib.suppress(OSError):
                os.unlink(first["lock"])
    # Python would take half a second to take MLflow apart.
    sys.stderr.flush()
    os._exit(0)
