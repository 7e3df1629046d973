"""What the AdaTask paper reports of its synthetic problem (Fig. 2, 3 and 8), on a small copy of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dominance import open_run, rau_buckets
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.config import RecordOptions

SMALL = {"inputs": "60", "outputs": "24", "width": "32", "test_samples": "512"}


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """By method: shares of the four layers' parameters (layer, bucket) of rAU for B, after the last step."""
    torch.set_num_threads(1)
    found = {}
    for method in ("equal-weight", "adatask", "ladatask"):
        path: Path = tmp_path_factory.mktemp("story") / method
        options = TrainOptions(benchmark="adatask-synthetic", method=method, epochs=4, batch_size=64, settings=SMALL)
        train(options, path, record=RecordOptions(every=1, params="trunk.*", quiet=True))
        share = rau_buckets(open_run(path)).share.sel(task="B").isel(step=-1)
        found[method] = share.transpose("layer", "bucket").to_numpy()
    return found


def test_equal_weighting_is_dominated_by_b_in_every_layer(shares: dict[str, np.ndarray]) -> None:
    assert shares["equal-weight"].shape == (4, 5)
    assert (shares["equal-weight"][:, 4] >= 0.95).all()


def test_adatask_is_balanced_in_every_layer(shares: dict[str, np.ndarray]) -> None:
    assert (shares["adatask"][:, 4] < 0.02).all()
    assert (shares["adatask"].argmax(axis=1) == 2).all(), "most parameters lie in (40, 60]"


def test_ladatask_is_between(shares: dict[str, np.ndarray]) -> None:
    dominated = {method: share[:, 4].mean() for method, share in shares.items()}
    assert dominated["adatask"] < dominated["ladatask"] < dominated["equal-weight"]
