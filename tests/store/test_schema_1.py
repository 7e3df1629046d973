"""Runs that an older dominance wrote, whose update/total ended with the optimizer's step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import make_rows, write_run

from dominance.errors import BadOption
from dominance.store.reader import open_run, open_runs
from dominance.store.verify import verify
from dominance.store.writer import RunWriter

UPDATES = np.ones((3, 2, 4))


def _written(path: Path, **options: Any) -> Path:
    return write_run(path, *make_rows(UPDATES, **options))


def test_a_run_of_schema_1_opens_without_what_it_lacks(tmp_path: Path) -> None:
    run = open_run(_written(tmp_path / "old", version=1, decay=np.full((3, 4), 2.0)))

    assert run.attrs["schema_version"] == 1
    assert "outside" not in run["update"].dataset
    assert not {"outside_sq", "unexplained_gradient_sq"} & set(run["layer"].dataset.data_vars)
    assert run["layer/decay_sq"].values.tolist() == [[16.0]] * 3
    assert not list(verify(tmp_path / "old"))


def test_a_run_of_each_schema_open_together_with_what_both_have(tmp_path: Path) -> None:
    paths = [_written(tmp_path / "new", outside=np.ones((3, 4))), _written(tmp_path / "old", version=1)]

    for order in (paths, paths[::-1]):
        runs = open_runs(order)
        assert "outside" not in runs["update"].dataset
        assert "outside_sq" not in runs["layer"].load().dataset
        assert runs["layer/total_update_sq"].sel(run="new").values.tolist() == [[36.0]] * 3
        assert runs["layer/total_update_sq"].sel(run="old").values.tolist() == [[16.0]] * 3


def test_a_run_of_schema_1_is_not_resumed_with_rows_of_another(tmp_path: Path) -> None:
    path = _written(tmp_path / "old", version=1)

    with pytest.raises(BadOption, match="an older dominance wrote it, with schema 1, not 2"):
        RunWriter(path, make_rows(UPDATES)[0], exact=True, resume=True)
