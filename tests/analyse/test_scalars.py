"""A run as named numbers by step, against a run worked out by hand and against the analysers."""

from __future__ import annotations

import numpy as np
import pytest
from runs import make_run, planted_run

from dominance import gcd, rau_buckets
from dominance.analyse.scalars import scalars

METRIC = {"step": 1, "epoch": 0, "task": "a", "split": "val", "name": "auc", "value": 0.75}


def by_hand(**options):
    """Two layers. Of "one" a moves all but a hundredth; "two" is moved alike, with opposed gradients."""
    updates = np.array([[[1.0, 1.0, 1.0, 1.0], [0.1, 0.1, -1.0, -1.0]]] * 3)
    return make_run(updates, layers={"one": 2, "two": 2}, **options)


def test_a_step_has_every_number_by_its_name():
    step, seconds, numbers = scalars(by_hand(metrics=[METRIC]))[1]
    assert (step, seconds) == (1, 1.7e9 + 1)
    g = np.array([[-1000.0] * 4, [-100.0, -100.0, 1000.0, 1000.0]])
    cosine = g[0] @ g[1] / np.linalg.norm(g[0]) / np.linalg.norm(g[1])
    assert numbers == pytest.approx(
        {
            "loss/a": 1.0,
            "loss/b": 1.0,
            "learning_rate": 1e-3,
            "gradient_norm/a": np.linalg.norm(g[0]),
            "gradient_norm/b": np.linalg.norm(g[1]),
            "owned/all shared/a": 0.5,
            "owned/all shared/b": 0.0,
            "owned/one/a": 1.0,
            "owned/one/b": 0.0,
            "owned/two/a": 0.0,
            "owned/two/b": 0.0,
            "effective_tasks/all shared": numbers["effective_tasks/all shared"],
            "effective_tasks/one": np.exp(-(100 / 101) * np.log(100 / 101) - (1 / 101) * np.log(1 / 101)),
            "effective_tasks/two": 2.0,
            "gcd/a:b": 1 - cosine,
            "metric/val/a/auc": 0.75,
        },
        rel=1e-5,
    )


def test_the_numbers_are_those_of_the_analysers():
    run = planted_run(steps=40)
    last = scalars(run)[-1][2]
    buckets = rau_buckets(run, by="layer").isel(step=-1, bucket=-1)
    for layer in ("trunk.0", "trunk.1"):
        assert last[f"owned/{layer}/price"] == pytest.approx(float(buckets.share.sel(layer=layer, task="price")))
        assert last[f"effective_tasks/{layer}"] == pytest.approx(float(buckets.effective_tasks.sel(layer=layer)))
    degree = gcd(run, by="all").gcd.isel(step=-1, layer=0).sel(task="price", task_other="rating")
    assert last["gcd/price:rating"] == pytest.approx(float(degree))


def test_what_a_step_says_stays_when_the_run_grows():
    run = planted_run(steps=40)
    part = run.isel(step=slice(0, 25))
    part.attrs = run.attrs
    assert scalars(part) == scalars(run)[:25]


def test_what_is_not_known_has_no_entry():
    loss = np.array([[1.0, np.nan]] * 3)
    _, _, numbers = scalars(by_hand(loss=loss))[0]
    assert "loss/a" in numbers
    assert "loss/b" not in numbers
    (step, _, alone), *_ = scalars(make_run(np.ones((2, 1, 3))))
    assert (step, set(alone)) == (0, {"loss/a", "learning_rate"})


def test_a_large_model_has_as_many_lines_as_a_screen_holds():
    layers = {f"encoder.layers.{i}.{part}": 2 for i in range(30) for part in ("attention", "mlp")}
    run = planted_run(steps=12, tasks=[f"t{i}" for i in range(10)], layers=layers)
    names = scalars(run)[-1][2]
    assert len({name.split("/")[1] for name in names if name.startswith("owned/")}) <= 21
    assert len([name for name in names if name.startswith("gcd/")]) == 10
