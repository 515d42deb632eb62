"""The MLflow store in which runs are recorded. A process opens each URI and experiment once."""

from __future__ import annotations

import dataclasses
import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from backproof.contracts.errors import TrackingError
from backproof.tracking import database
from backproof.tracking.environment import git_state
from backproof.tracking.logging import quiet
from backproof.tracking.options import TrackingOptions
from backproof.tracking.run import INSTEAD, Run, milliseconds, reason, recording_fails, tag_values
from backproof.tracking.schema import Tag
from backproof.tracking.secret import public_uri, shown_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

#: Our defaults for MLflow's environment variables. By its own, a run waits four minutes for a server that is gone.
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
#: Seconds within which a server must answer.
PATIENCE = 3.0
SQLITE = "sqlite:///"
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")


@dataclass(frozen=True)
class Store:
    """An MLflow experiment to record runs in."""

    client: MlflowClient
    uri: str
    experiment: str
    experiment_id: str
    flush_seconds: float = 1.0
    roots: tuple[Path, ...] = ()  # folders below which paths in tags count

    @classmethod
    def open(cls, options: TrackingOptions, outputs: Path) -> Store:
        """Open the store and the experiment, or create them, independent of the working directory.

        Raise TrackingError, which names the folder or the URI, and says what to do.
        """
        uri = resolve_uri(options.uri, outputs)
        if urlsplit(uri).scheme in ("http", "https"):
            _probe(uri)
        artifacts = None
        with recording_fails(uri), quiet():
            client_class = import_mlflow()
            if uri.startswith(SQLITE):
                file = Path(uri.removeprefix(SQLITE))
                artifacts = (file.parent / "mlartifacts").as_uri()
                database.prepare(file, artifacts)
            client = client_class(tracking_uri=uri, registry_uri=uri)
            experiment_id = _experiment(client, options.experiment, artifacts)
        roots = (outputs.expanduser().resolve(),)
        return cls(client, uri, options.experiment, experiment_id, options.flush_seconds, roots)

    @classmethod
    def again(cls, uri: str, experiment: str, experiment_id: str, flush_seconds: float) -> Store:
        """Open a store that another process has opened before."""
        with recording_fails(uri), quiet():
            client = import_mlflow()(tracking_uri=uri, registry_uri=uri)
        return cls(client, uri, experiment, experiment_id, flush_seconds)

    @classmethod
    def find(cls, options: TrackingOptions, outputs: Path) -> Store:
        """Open an existing store and experiment for reading. Create neither.

        Raise TrackingError if there is no such store, or no such experiment in it.
        """
        uri = resolve_uri(options.uri, outputs)
        if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
            raise TrackingError(
                f"there are no runs yet in {uri.removeprefix(SQLITE)}\n"
                "Train first (backproof train experiment=cs446), or name another place: --outputs DIR, --uri URI"
            )
        # The experiment "Default" is in every store, so nothing is created.
        store = cls.open(dataclasses.replace(options, experiment="Default"), outputs)
        with recording_fails(uri):
            experiment = store.client.get_experiment_by_name(options.experiment)
            if experiment is None or experiment.lifecycle_stage == "deleted":
                names = sorted(known.name for known in cast("Any", store.client).search_experiments())
                raise TrackingError(
                    f"there is no experiment {options.experiment!r} in {shown_uri(uri)}\nIt has: {', '.join(names)}"
                )
        return dataclasses.replace(store, experiment=experiment.name, experiment_id=experiment.experiment_id)

    def start(
        self,
        run_name: str,
        params: dict[str, Any],
        tags: dict[str, str],
        parent: str | None = None,
        links: Mapping[str, str] | None = None,
    ) -> Run:
        """Start a run and write its parameters and tags. Use it in a `with`, which ends it.

        `links` are artifacts by title, to which the description links.
        """
        defaults = {
            Tag.USER: _user(),
            Tag.SOURCE_NAME: "backproof",
            Tag.SOURCE_TYPE: "LOCAL",
            Tag.COMMIT: git_state(os.getcwd())[0],
            Tag.PARENT: parent,
        }
        tags = {key: value for key, value in defaults.items() if value} | tags
        with recording_fails(self.uri):
            # With its tags at once, so that a process killed now leaves no stray run.
            created = self.client.create_run(self.experiment_id, milliseconds(), tag_values(tags), run_name)
            run = Run(self.client, self.uri, created.info, self.flush_seconds)
            if links:
                # The address has the run's id. It comes first, since MLflow folds up the end of a description, and
                # it is written with the first metrics, which saves a request.
                page = f"#/experiments/{self.experiment_id}/runs/{run.id}/artifacts"
                listed = ", ".join(f"[{title}]({page}/{path})" for title, path in links.items())
                run.tags({Tag.NOTE: f"{listed}\n\n{tags.get(Tag.NOTE, '')}"})
            try:
                run.begin(params)
            except BaseException as error:
                run.end(error)
                raise
        return run

    def with_root(self, folder: Path) -> Store:
        """The same store, in whose tags paths below this folder count too."""
        return dataclasses.replace(self, roots=(*self.roots, folder.resolve()))

    def slower(self, times: int) -> Store:
        """The same store, whose runs write that many times more seldom."""
        return dataclasses.replace(self, flush_seconds=self.flush_seconds * times)

    def resume(self, run_id: str) -> Run:
        """Return an existing run, to add to it."""
        with recording_fails(self.uri):
            return Run(self.client, self.uri, self.client.get_run(run_id).info, self.flush_seconds)


def import_mlflow() -> type[MlflowClient]:
    """Return MLflow's client class, with our defaults in the environment. The import takes a second or two."""
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    with quiet():
        from mlflow import MlflowClient

    return MlflowClient


def resolve_uri(option: str | None, outputs: Path) -> str:
    """Return the tracking URI: the given one, MLFLOW_TRACKING_URI, or SQLite in `outputs`, with an absolute path.

    Raise TrackingError for a URI that MLflow cannot use.
    """
    uri = public_uri(option or os.environ.get("MLFLOW_TRACKING_URI") or "")
    if not uri:
        return f"{SQLITE}{outputs.expanduser().resolve() / 'mlflow.db'}"
    scheme, separator, _ = uri.partition("://")
    if not separator and uri != "databricks":
        raise TrackingError(
            f"the tracking URI {shown_uri(uri)!r} is a folder, into which MLflow no longer records: "
            f"use sqlite:///path/to/mlflow.db or http://host:port\n{INSTEAD}"
        )
    if separator and scheme.partition("+")[0] not in SCHEMES:
        raise TrackingError(
            f"the tracking URI {shown_uri(uri)!r} has the scheme {scheme!r}, "
            f"MLflow records into {', '.join(SCHEMES)}\n{INSTEAD}"
        )
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).expanduser().resolve()}"
    return uri


def _probe(uri: str) -> None:
    """Raise TrackingError unless the server answers within a few seconds, whatever it answers."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=PATIENCE, stream=True).close()
    except requests.exceptions.SSLError:
        return  # It does answer. Which certificates to trust is the user's setting in MLflow.
    except (requests.RequestException, ValueError) as error:
        why = f"no answer within {PATIENCE:g} s" if isinstance(error, requests.Timeout) else reason(error)
        raise TrackingError(
            f"no MLflow server answers at {shown_uri(uri)}: {why}\nStart one (mlflow server --port ...). {INSTEAD}"
        ) from None


def _experiment(client: MlflowClient, name: str, artifacts: str | None) -> str:
    """Return the id of the experiment of that name. Create it, or restore it if it was deleted."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        try:
            return client.create_experiment(name, artifacts)
        except MlflowException:
            # On a server, another process may have created it in the meantime.
            experiment = client.get_experiment_by_name(name)
            if experiment is None:
                raise
    if experiment.lifecycle_stage == "deleted":
        client.restore_experiment(experiment.experiment_id)
    return experiment.experiment_id


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"  # A container's user may have no name.
