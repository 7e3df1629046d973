"""What analysers make of AU of every coordinate, where a run has it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import planted_rows, write_run

from dominance import au, noise_importance, open_run, ownership, rau, rau_buckets
from dominance.errors import BadOption, CorruptRun, NothingRecorded
from dominance.schema import AVERAGE, AVERAGE_DECAY
from dominance.store.probes import write_probe


def whole(path: Path, *, thin: int = 1, **changed: Any) -> tuple[xr.DataTree, xr.DataTree]:
    """A run that keeps every coordinate; and the same with one in ``thin``, and AU of all."""
    layout, rows = planted_rows(steps=30)
    every = open_run(write_run(path / "every", layout, rows))
    known = au(every)
    names = list(dict.fromkeys(known["parameter"].values.tolist()))
    sizes = [int((known["parameter"] == name).sum()) for name in names]
    kept = np.arange(len(layout.coord_parameter)) % thin == 0
    layout, rows = planted_rows(steps=30)
    for name in ("coord_parameter", "coord_index", "coord_weight"):
        setattr(layout, name, getattr(layout, name)[kept])
    layout.coord_weight = layout.coord_weight * thin
    for path_, values in rows.items():
        if values.shape[-1] == len(kept):
            rows[path_] = values[..., kept]
    sampled = write_run(path / "sampled", layout, rows)
    attrs = {"parameters": names, "sizes": sizes, "step": 29, "recorded": 29, "steps_used": 30, "weights": [1.0, 1.0]}
    attrs |= {"decay": AVERAGE_DECAY, "max_unattributed": 0.1, **changed}
    found = xr.Dataset({"au": (("task", "every_coord"), known["au"].values)}, {"task": known["task"]}, attrs)
    write_probe(sampled, AVERAGE, found)
    return every, open_run(sampled)


def test_they_are_those_of_a_run_that_keeps_every_coordinate(tmp_path: Path) -> None:
    every, sampled = whole(tmp_path, thin=7)
    assert sampled.sizes["coord"] < every.sizes["coord"] / 6
    np.testing.assert_array_equal(au(sampled, exact=True)["au"], au(every)["au"])
    np.testing.assert_allclose(rau(sampled, exact=True)["rau"], rau(every)["rau"], rtol=1e-15)
    for by in ("layer", "parameter", "all", {"first": "trunk.0*"}):
        truth = rau_buckets(every, by=by, points=1)
        found = rau_buckets(sampled, by=by, exact=True)
        xr.testing.assert_equal(found, truth)
        assert found.attrs["coords_sampled"] == found.attrs["coords_shared"] == 700
    owned, truth = ownership(sampled, exact=True), ownership(every, points=1)
    xr.testing.assert_equal(owned, truth)


class Counted:
    """A probe that keeps what it was asked."""

    higher_is_better: Mapping[str, bool] = {"error": False}

    def __init__(self) -> None:
        self.chosen: list[dict[str, list[int]]] = []

    def baseline(self) -> dict[str, dict[str, float]]:
        return {"price": {"error": 1.0}, "rating": {"error": 1.0}}

    def change(self, chosen: Mapping[str, Any], deviation: float, seed: int) -> dict[str, dict[str, float]]:
        self.chosen.append({name: sorted(map(int, each)) for name, each in chosen.items()})
        return self.baseline()


def test_noise_falls_on_the_highest_of_all(tmp_path: Path) -> None:
    every, sampled = whole(tmp_path, thin=7)
    options: dict[str, Any] = {"fractions": (0.01,), "variances": (0.01,), "repeats": 1, "save": False}
    asked = [Counted() for _ in range(3)]
    truth = noise_importance(every, asked[0], **options)
    found = noise_importance(sampled, asked[1], **options)
    of_sample = noise_importance(sampled, asked[2], exact=False, **options)
    assert asked[1].chosen == asked[0].chosen
    assert found["share_perturbed"] == truth["share_perturbed"] == 0.01
    assert of_sample["share_perturbed"] < 0.01 / 6
    assert found.attrs["coords_kept"] == 700


@pytest.mark.parametrize(
    "asked", [{"decay": 0.9}, {"attribution": "solo"}, {"at": [3]}, {"max_unattributed": 0.5}], ids=str
)
def test_what_was_not_kept_cannot_be_asked(asked: dict[str, Any], tmp_path: Path) -> None:
    _, sampled = whole(tmp_path)
    with pytest.raises(BadOption, match=f"exact=True with {next(iter(asked))}="):
        au(sampled, exact=True, **asked)


def test_a_run_without_them_says_how_to_get_them(tmp_path: Path) -> None:
    every, _ = whole(tmp_path)
    for analyse in (au, rau, rau_buckets, ownership):
        with pytest.raises(NothingRecorded, match="record with --averages"):
            analyse(every, exact=True)


@pytest.mark.parametrize("changed", [{"sizes": [400, 299]}, {"parameters": ["trunk.0.weight", "strange"]}], ids=str)
def test_what_does_not_fit_the_run_is_refused(changed: dict[str, Any], tmp_path: Path) -> None:
    _, sampled = whole(tmp_path, **changed)
    with pytest.raises(CorruptRun, match=r"probe/average does not fit the run's parameters; record it again"):
        au(sampled, exact=True)
