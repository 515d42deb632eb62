"""A run that this process records. Metrics are buffered and written together, about once a second."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import tempfile
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backproof.contracts.errors import TrackingError
from backproof.tracking.run_writer import FAILED, FINISHED, RunWriter
from backproof.tracking.secret import shown_uri
from backproof.tracking.signals import deferred_signals

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunInfo

#: MLflow's limits: entries of one request, characters of one value.
BATCH, BATCH_OF_PARAMS, PARAM_LENGTH, TAG_LENGTH = 1000, 100, 6000, 5000
INSTEAD = "Correct tracking.uri (or MLFLOW_TRACKING_URI), or train without a record: tracking=off"
#: Seconds until a store that has failed is tried again.
PAUSE = 30.0


class Run(RunWriter):
    """A run in MLflow, written by this process."""

    def __init__(self, client: MlflowClient, uri: str, info: RunInfo, flush_seconds: float) -> None:
        self.client, self.uri, self.info = client, uri, info
        self.flush_seconds = flush_seconds
        self._name = str(info.run_name)
        self._waiting: list[Metric] = []
        self._tags: dict[str, str] = {}
        self._next_flush = time.monotonic() + flush_seconds
        self._paused_until = 0.0
        self._last = 0  # timestamp of the latest metrics
        self._repository: Any = None

    @property
    def id(self) -> str:
        return self.info.run_id

    @property
    def name(self) -> str:
        return self._name

    @property
    def waiting(self) -> int:
        """Return the number of buffered metrics that can be written now; 0 while a failed store is left alone."""
        return len(self._waiting) if time.monotonic() >= self._paused_until else 0

    def begin(self, params: Mapping[str, Any]) -> None:
        """Write the parameters, a hundred per request."""
        from mlflow.entities import Param

        listed = [Param(key, value) for key, value in param_values(params).items()]
        for start in range(0, len(listed), BATCH_OF_PARAMS):
            self.client.log_batch(self.id, params=listed[start : start + BATCH_OF_PARAMS])

    def metrics(self, values: Mapping[str, float], step: int, at: int | None = None) -> None:
        from mlflow.entities import Metric

        # MLflow's last value of a step is the latest one, and within a millisecond the largest: keep them apart.
        self._last = now = max(milliseconds() if at is None else at, self._last + 1)
        self._waiting += [
            Metric(name, float(value), now, step) for name, value in values.items() if not math.isinf(value)
        ]
        if time.monotonic() >= self._next_flush:
            self.flush_or_keep()

    def flush_or_keep(self) -> None:
        """Write what is buffered. If that fails, warn and keep it."""
        try:
            self.flush()
        except TrackingError as error:
            # A run of hours must survive the restart of a server.
            logging.getLogger("backproof").warning(
                "%s; nothing is lost so far, it is tried again", str(error).partition("\n")[0]
            )
            self._next_flush = self._paused_until = time.monotonic() + PAUSE

    def flush(self) -> None:
        """Write what is buffered. Raise TrackingError, and keep it, if that fails."""
        from mlflow.entities import RunTag

        with recording_fails(self.uri):
            while self._waiting or self._tags:
                tags = [RunTag(key, value) for key, value in tag_values(self._tags).items()]
                self.client.log_batch(self.id, metrics=self._waiting[:BATCH], tags=tags)
                del self._waiting[:BATCH]
                self._tags = {}
        self._next_flush = time.monotonic() + self.flush_seconds

    def tags(self, values: Mapping[str, str]) -> None:
        self._tags |= values

    def rename(self, name: str) -> None:
        with recording_fails(self.uri):
            self.client.update_run(self.id, name=name)
        self._name = name

    def text(self, text: str, path: str) -> None:
        """Log a text as an artifact."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as temporary:
            local = Path(temporary, name)
            local.write_text(text, encoding="utf-8")
            self.file(local, folder or None)

    def file(self, local: Path, folder: str | None = None) -> None:
        """Log a local file as an artifact, below `folder`."""
        with recording_fails(self.uri):
            self._repo().log_artifact(str(local), folder)

    def folder(self, local: Path, folder: str | None = None) -> None:
        with recording_fails(self.uri):
            self._repo().log_artifacts(str(local), folder)

    def dataset(
        self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any], context: str
    ) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(
            name=name,
            digest=digest,
            source_type="backproof",
            source=json.dumps(source, default=str),
            profile=json.dumps(profile, default=str),
        )
        inputs = [DatasetInput(entity, [InputTag("mlflow.data.context", context)])]
        with recording_fails(self.uri):
            try:
                self.client.log_inputs(self.id, inputs)
            except Exception as error:
                # Another process has just recorded the first run with this dataset: MLflow looks and then inserts.
                if "UNIQUE constraint" not in str(error) and "duplicate key" not in str(error):
                    raise
                self.client.log_inputs(self.id, inputs)

    def model(self, folder: Path) -> str:
        from backproof.tracking.model import log_model

        with recording_fails(self.uri):
            return log_model(self.client, self.info, folder)

    def finish(self, status: str = FINISHED) -> None:
        self.finished = True
        try:
            self.flush()
        except TrackingError:
            status = FAILED if status == FINISHED else status
            raise
        finally:
            with recording_fails(self.uri):
                self.client.set_terminated(self.id, status)

    def wait_until_written(self) -> None:
        """Return at once: `finish` has written everything."""

    def _repo(self) -> Any:
        """Return the artifact repository. MLflow's client would ask the store for it with each artifact."""
        if self._repository is None:
            from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

            self._repository = get_artifact_repository(str(self.info.artifact_uri), tracking_uri=self.uri)
        return self._repository


def milliseconds() -> int:
    """Return the time in MLflow's unit, milliseconds since 1970."""
    return int(time.time() * 1000)


def param_values(params: Mapping[str, Any]) -> dict[str, str]:
    """Return parameters as MLflow stores them."""
    return {key: _cut(_text(value), PARAM_LENGTH) for key, value in params.items()}


def tag_values(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags, cut to the length that MLflow accepts."""
    return {key: _cut(value, TAG_LENGTH) for key, value in tags.items()}


@contextlib.contextmanager
def recording_fails(uri: str) -> Generator[None, None, None]:
    """Turn errors of MLflow, its database and its server into a TrackingError that names the store."""
    try:
        with deferred_signals():
            yield
    except TrackingError:
        raise
    except Exception as error:
        if not isinstance(error, _failures()):
            raise
        raise TrackingError(f"cannot record in {shown_uri(uri)}: {reason(error)}\n{INSTEAD}") from error


def reason(error: Exception) -> str:
    """Return the cause of a failed request, or the first line of another error."""
    text = str(error).strip()
    for known in ("Connection refused", "Name or service not known", "Read timed out", "Connect timed out"):
        if known.lower() in text.lower():
            return known
    return text.partition("\n")[0] or type(error).__name__


def _failures() -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    # OSError: files and everything that `requests` raises. ImportError: the database's driver is not installed.
    return MlflowException, SQLAlchemyError, OSError, ImportError


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | list | tuple) or value is None else str(value)


def _cut(text: str, length: int) -> str:
    mark = " … [cut]"
    return text if len(text) <= length else text[: length - len(mark)] + mark
