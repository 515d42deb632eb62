"""Log the trained network as the run's model in MLflow."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from backproof import pyfunc_model
from backproof.nn import model_io
from backproof.tracking.environment import versions
from backproof.tracking.logging import quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import RunInfo
    from mlflow.models import ModelSignature

NAME = "model"
#: Packages needed to load the model.
REQUIREMENTS = ("backproof", "numpy", "scipy", "scikit-learn", "mlflow")


def log_model(client: MlflowClient, info: RunInfo, folder: Path) -> str:
    """Log the network saved in `folder` as the model of this run. Return the model's id.

    Like `mlflow.pyfunc.log_model`, but without touching the process's active run and tracking URI, which are the
    user's. Requirements and signature are given, since inferring them takes fifty times as long.
    """
    with quiet():
        import mlflow.pyfunc
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model

    saved = model_io.load(folder)
    logged = client.create_logged_model(
        info.experiment_id, name=NAME, source_run_id=info.run_id, model_type=saved.task
    )
    model = Model(
        artifact_path=logged.artifact_location,
        run_id=info.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
        # Given here and not to save_model, which would warn that there is no input example.
        signature=signature(saved),
    )
    known = versions()
    with tempfile.TemporaryDirectory() as temporary:
        local = Path(temporary, NAME)
        mlflow.pyfunc.save_model(  # pyright: ignore[reportUnknownMemberType]
            local,
            loader_module=pyfunc_model.__name__,
            data_path=str(folder),
            mlflow_model=model,
            pip_requirements=[f"{name}=={known[name]}" for name in REQUIREMENTS if known[name]],
        )
        client.log_model_artifacts(logged.model_id, str(local))
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(info.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    return logged.model_id


def signature(saved: model_io.SavedModel) -> ModelSignature:
    """Return the signature: features in original units, and the columns of `pyfunc_model.columns`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        Schema([ColSpec("double", name) for name in saved.feature_names]),
        Schema([ColSpec(kind, name) for name, kind in pyfunc_model.columns(saved)]),
    )
