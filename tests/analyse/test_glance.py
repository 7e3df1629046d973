"""The pair of tasks that conflicts most in a layer."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from dominance.analyse.glance import worst_pair

NAN = math.nan


def conflict(*layers: list[list[float]]) -> xr.Dataset:
    tasks = list("abc")[: len(layers[0])]
    mean = (("layer", "task", "task_other"), np.array(layers))
    names = [f"layer{i}" for i in range(len(layers))]
    return xr.Dataset({"mean_gcd": mean}, {"layer": names, "task": tasks, "task_other": tasks})


def test_the_worst_pair() -> None:
    known = conflict(
        [[NAN, 0.2, 1.9], [0.2, NAN, 0.1], [1.9, 0.1, NAN]], [[NAN, 1.5, 0.5], [1.5, NAN, 0.7], [0.5, 0.7, NAN]]
    )
    assert worst_pair(known, "layer1") == ("a", "b", 1.5)
    assert worst_pair(known, "layer0") == ("a", "c", 1.9)


def test_no_pair_without_a_number() -> None:
    none = conflict([[NAN, NAN], [NAN, NAN]])
    for layer in ("layer0", "another"):
        one, other, degree = worst_pair(none, layer)
        assert (one, other) == ("", "")
        assert math.isnan(degree)
