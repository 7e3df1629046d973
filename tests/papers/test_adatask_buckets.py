"""rAU of methods over seeds whose runs were not recorded at the same steps."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dominance.papers.adatask import buckets as adatask_buckets
from dominance.papers.material import Material


def test_a_run_without_a_count_at_a_step_shows_its_last_one(monkeypatch):
    counted = {"equal-weight": [[0, 2, 4], [0, 2, 4]], "adatask": [[0, 1, 3, 5], [1, 2, 4]]}

    def count(run: tuple[str, int], by: str) -> xr.Dataset:
        steps = counted[run[0]][run[1]]
        return xr.Dataset({"share": ("step", np.array(steps, float))}, {"step": steps}, {"steps_recorded": len(steps)})

    material = Material([])
    monkeypatch.setattr(material, "select", lambda benchmark, method: [(method, 0), (method, 1)])
    monkeypatch.setattr(adatask_buckets, "rau_buckets", count)
    found = adatask_buckets.buckets_by_seed(material, ("equal-weight", "adatask"), "all")
    assert found["run"].values.tolist() == ["EqualWeight", "AdaTask"]
    assert found["step"].values.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(found["share"].sel(run="AdaTask"), [[0, 1, 3], [np.nan, 2, 4]])
    assert found.attrs["seeds"] == 2
