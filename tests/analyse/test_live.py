"""A look at the last steps of a run: numbers by hand, and against the whole run's where all of it is read."""

from __future__ import annotations

import numpy as np
import pytest
from runs import make_run

from dominance import rau_buckets
from dominance.analyse.live import live


def test_a_look_at_a_small_run_is_the_run() -> None:
    rng = np.random.default_rng(0)
    run = make_run(rng.normal(size=(60, 2, 6)) * [[[3.0], [1.0]]], layers={"x": 2, "y": 4})
    now = live(run)
    assert now.recorded == 60
    assert now.picture is not None
    assert now.picture["row"].values.tolist() == ["all shared", "x", "y"]
    whole = rau_buckets(run, by="layer").effective_tasks.isel(step=-1)
    np.testing.assert_allclose(now.picture["effective_tasks"].isel(step=-1, row=[1, 2]), whole)


def test_norms_are_medians_over_the_shared_layers_of_the_last_steps() -> None:
    """Task a has (3, 4 | 0), b (0, 0 | 2); ten steps before the last fifty do not count, and c's layer is its own."""
    gradients = np.array([[[3.0, 4, 0, 0], [0, 0, 2, 0], [0, 0, 0, 7]]]).repeat(60, axis=0)
    gradients[:10] *= 1000
    run = make_run(gradients, gradients, layers={"x": 2, "y": 1, "head": 1}, private={"head": "c"})
    np.testing.assert_allclose(live(run).norms, [5, 2, 0])


def test_a_task_that_took_no_part_has_no_norm_and_no_loss() -> None:
    gradients = np.ones((5, 2, 3))
    loss = np.array([[1.0, np.nan]] * 5)
    gradients[:, 1] = np.nan
    now = live(make_run(np.nan_to_num(gradients), gradients, loss=loss, weight=loss))
    np.testing.assert_array_equal(np.isnan(now.norms), [False, True])
    np.testing.assert_array_equal(np.isnan(now.losses[-1]), [False, True])


def test_no_more_is_read_than_is_allowed() -> None:
    run = make_run(np.ones((100, 2, 10)))
    now = live(run, most_bytes=30 * 4 * 2 * 10)
    assert now.steps.tolist() == list(range(70, 100))
    assert now.recorded == 100
    assert len(live(run, most_bytes=1).steps) == 1


def test_a_run_without_steps_shows_nothing_yet() -> None:
    now = live(make_run(np.ones((0, 2, 3))))
    assert now.recorded == 0
    assert now.picture is None
    assert "no step was recorded" in now.why


def test_the_rate_is_of_the_training_and_not_of_the_recording() -> None:
    """Every tenth step is recorded, one a second."""
    assert live(make_run(np.ones((20, 2, 3)), steps=np.arange(20) * 10)).rate == pytest.approx(10)
