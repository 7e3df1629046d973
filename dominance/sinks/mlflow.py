"""MLflow: a run in the store that MLFLOW_TRACKING_URI names, of the experiment that MLFLOW_EXPERIMENT_NAME names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric

_NOT_ALLOWED = re.compile(r"[^\w\-. :/]")
_AT_ONCE = 1000
"""Metrics that MLflow takes in one call."""


class MLflow:
    """One metric a name."""

    def __init__(self, path: Path, attrs: Mapping[str, Any]) -> None:
        run = mlflow.start_run(run_name=path.name, tags={"dominance.run": str(path.absolute())})
        self._client, self._id = mlflow.MlflowClient(), run.info.run_id
        mlflow.log_params({name: str(attrs[name]) for name in ("script", "git_commit", "seed") if attrs.get(name)})
        self.where = f"MLflow, run {self._id} at {mlflow.get_tracking_uri()}"

    def write(self, step: int, seconds: float, numbers: Mapping[str, float]) -> None:
        """The numbers of one step."""
        stamp = int(1000 * seconds)
        named = {_NOT_ALLOWED.sub("_", name): value for name, value in numbers.items()}
        metrics = [Metric(name, value, stamp, step) for name, value in named.items()]
        for at in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._id, metrics=metrics[at : at + _AT_ONCE])

    def close(self) -> None:
        """End MLflow's run."""
        mlflow.end_run()


def begin(folder: Path, attrs: Mapping[str, Any]) -> MLflow:
    """Of this run."""
    return MLflow(folder, attrs)
