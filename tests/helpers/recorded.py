"""Sweeps as they would be recorded, made up for tests."""

from backproof.sweeps.recorded import sweep_of
from backproof.tracking.query import RunRecord

_PARAMS = {"seed": "0", "repeats": "1", "metrics": '["accuracy"]', "dataset": "iris", "activation": "relu"}


def run(number=0, value=0.9, status="FINISHED", tags=None, metrics=None, **params):
    """A run; its parameters with __ for a dot."""
    params = {key.replace("__", "."): str(value) for key, value in params.items()}
    given = (
        {} if value is None else {"val/accuracy": value, "test/accuracy": value - 0.1, "val/loss": 1 - value}
    )
    return RunRecord(
        id=f"{number:032x}",
        name=f"run{number}",
        status=status,
        started=1e9 + number,
        ended=None if status == "RUNNING" else 1e9 + number + 2,
        params=_PARAMS | params,
        metrics=given | (metrics or {}),
        tags={"backproof.config_hash": str(number), "backproof.gradcheck": "passed"} | (tags or {}),
    )


def parent(over="", status="FINISHED", tags=None, metrics=None):
    own = {"backproof.kind": "sweep"} | (tags or {})
    return RunRecord("f" * 32, "sweep-x", status, 1e9, 1e9 + 99, {"sweep.over": over}, metrics or {}, own)


def sweep(runs, members=None, **given):
    """The newest run is the last that is given."""
    alone = {
        each.id: {int(each.params["seed"]): each.metrics} for each in runs if each.params["repeats"] == "1"
    }
    return sweep_of(parent(**given), runs[::-1], alone | (members or {}))
