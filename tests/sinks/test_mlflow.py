"""What MLflow's own client reads is what the run says."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance import open_run, send
from dominance.analyse.scalars import scalars

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own


def test_its_metrics_are_what_the_run_says(tmp_path: Path) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    path = write_run(tmp_path / "run", *planted_rows(steps=6, tasks=("price", "rating·2")))
    said = send(path, "mlflow")
    client = mlflow.MlflowClient()
    (found,) = client.search_runs(["0"])
    assert found.info.run_id in said
    assert found.info.run_name == "run"
    with open_run(path) as run:
        steps = scalars(run)
    for name in steps[-1][2]:
        history = client.get_metric_history(found.info.run_id, name.replace("·", "_"))
        assert [(m.step, m.value) for m in history] == [(s, numbers[name]) for s, _, numbers in steps], name
