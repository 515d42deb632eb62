"""Reading runs from a store, also from one that an earlier version wrote."""

import pytest
from backproof.report.build import build
from backproof.tracking import Store, TrackingOptions, query
from backproof.tracking.schema import SWEEP, Tag, is_check_metric

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")

#: The metrics of the check under the names that earlier versions used.
EARLIER = {
    "gradcheck/max_relative_error": 0.5,
    "gradcheck/W1/relative_error": 0.5,
    "gradcheck/W1/norm": 2.0,
    "gradcheck/b1/relative_error": 3e-16,
}


@pytest.fixture
def earlier(tmp_path, monkeypatch):
    """Return a store with a sweep of two runs under the earlier names, and the id of the sweep."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store = Store.open(TrackingOptions(), tmp_path)
    tags = {Tag.KIND: SWEEP, "backproof.objective": "val/accuracy", "backproof.direction": "maximize"}
    with store.start("sweep-seed", {"sweep.over": "seed"}, tags) as parent:
        for seed in (0, 1):
            params = {"seed": seed, "repeats": 1, "activation": "relu", "metrics": ["accuracy"]}
            tags = {Tag.KIND: "run", "backproof.gradcheck": "failed", Tag.CONFIG_HASH: str(seed)}
            with store.start(f"seed{seed}", params, tags, parent=parent.id) as run:
                run.metrics({"val/accuracy": 0.5 + seed / 4, "val/loss": 1.0} | EARLIER, 1)
    return store, parent.id


def test_runs_of_an_earlier_version_are_read(earlier):
    store, parent = earlier
    records = query.runs(store, parent)
    assert {run.name: run.gradcheck for run in records} == {"seed0": "failed", "seed1": "failed"}
    assert all(EARLIER.items() <= run.metrics.items() for run in records)
    # No value of the check is mistaken for a metric of the training.
    assert all(run.training_metrics.keys() == {"val/accuracy", "val/loss"} for run in records)
    assert {name for name in records[0].metrics if is_check_metric(name)} == EARLIER.keys()


def test_the_report_shows_an_earlier_check_tensor_by_tensor(earlier):
    text = build(*earlier)
    assert text.count('class="check wrong"') == 4
    for tensor, error in (("W1", "5.0e-01"), ("b1", "3.0e-16")):
        assert text.count(f"{tensor}: relative error {error}, check failed") == 2
    assert "max_relative_error" not in text
