"""Made-up records of runs and sweeps."""

from backproof.sweeps.recorded import sweep_of
from backproof.tracking.query import RunRecord

_PARAMS = {"seed": "0", "repeats": "1", "metrics": '["accuracy"]', "dataset": "iris", "activation": "relu"}


def run(number=0, value=0.9, status="FINISHED", tags=None, metrics=None, **params):
    """Return the record of a run. In the names of parameters, __ means a dot."""
    params = {key.replace("__", "."): str(value) for key, value in params.items()}
    default_metrics = (
        {} if value is None else {"val/accuracy": value, "test/accuracy": value - 0.1, "val/loss": 1 - value}
    )
    return RunRecord(
        id=f"{number:032x}",
        name=f"run{number}",
        status=status,
        started=1e9 + number,
        ended=None if status == "RUNNING" else 1e9 + number + 2,
        params=_PARAMS | params,
        metrics=default_metrics | (metrics or {}),
        tags={"backproof.config_hash": str(number), "backproof.gradcheck": "passed"} | (tags or {}),
    )


def parent(over="", status="FINISHED", tags=None, metrics=None):
    tags = {"backproof.kind": "sweep"} | (tags or {})
    return RunRecord("f" * 32, "sweep-x", status, 1e9, 1e9 + 99, {"sweep.over": over}, metrics or {}, tags)


def sweep(runs, members=None, **parent_fields):
    """Return a sweep of these runs, the oldest first."""
    single_members = {
        run.id: {int(run.params["seed"]): run.metrics} for run in runs if run.params["repeats"] == "1"
    }
    return sweep_of(parent(**parent_fields), runs[::-1], single_members | (members or {}))
