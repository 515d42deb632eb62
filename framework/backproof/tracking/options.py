"""How runs are recorded."""

from __future__ import annotations

from dataclasses import dataclass, field

from backproof.contracts import hyper
from backproof.contracts.errors import InvalidValue
from backproof.contracts.fields import check_fields


@dataclass(frozen=True)
class TrackingOptions:
    """Where and under which name runs are recorded."""

    enabled: bool = hyper(True, "record runs in MLflow (tracking=off unsets this)")
    uri: str | None = hyper(
        None,
        "URI of the MLflow store; null: MLFLOW_TRACKING_URI if it is set, else SQLite in the outputs folder",
    )
    experiment: str = hyper("backproof", "the MLflow experiment, created if it does not exist")
    run_name: str | None = hyper(None, "name of the run; null: made of the choices")
    parent: str | None = hyper(None, "id of the parent run; set by a sweep")
    model: bool = hyper(
        True, "log the network as an MLflow model, of single runs and of the best point of a sweep"
    )
    plots: bool = hyper(
        True, "draw learning curves and predictions, of single runs and of the best point of a sweep"
    )
    tags: dict[str, str] = field(default_factory=dict[str, str])
    flush_seconds: float = hyper(1.0, "metrics are buffered and written at this interval", gt=0)

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.experiment.strip():
            raise InvalidValue("experiment", self.experiment, "a name")
