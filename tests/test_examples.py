"""The worked examples: what was planted in each is what a recorded run says of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from record.in_session import in_session

import dominance
from dominance import Units
from dominance.config import RecordOptions
from dominance.examples import detection, lora, policy

torch.set_num_threads(1)


def recorded(path: Path, train: Callable[..., Any], **options: Any) -> xr.DataTree:
    """The run that ``dominance record`` makes of a script that calls ``train``, with default options."""
    with in_session(path / "run", RecordOptions(quiet=True)):
        train(**options)
    return dominance.open_run(path / "run")


def of_step(run: xr.DataTree) -> dict[str, float]:
    """Each task's mean share of the squared steps on all that is shared."""
    found = dominance.phases(run)["share"].sel(layer="all shared").mean("step")
    return {str(task): float(found.sel(task=task)) for task in found["task"].values}


ADAPTER = [Units("*.A", axis=1, name="A, input"), Units("*.B", axis=0, name="B, output")]


@pytest.mark.parametrize(("apart", "told"), [("inputs", "A, input"), ("outputs", "B, output")])
def test_a_and_b_of_an_adapter_come_apart_where_the_tasks_do(tmp_path: Path, apart: str, told: str) -> None:
    """A's columns where each task has inputs of its own, B's rows where each has outputs; the others are both's."""
    found = dominance.unit_shares(recorded(tmp_path, lora.train, apart=apart), by=ADAPTER)
    share = found["share"].sel(task="answer")
    mine = [str(label).startswith(told) for label in found["layer"].values]
    np.testing.assert_array_equal(share[mine], [1.0] * 8 + [0.0] * 8)
    assert found["owner"].values[mine].tolist() == ["answer"] * 8 + ["style"] * 8
    others = share.values[~np.array(mine)]
    assert ((others > 0) & (others < 1)).all()


def test_a_loud_task_owns_both(tmp_path: Path) -> None:
    found = dominance.unit_shares(recorded(tmp_path, lora.train, loud=30.0), by="adapted.{matrix}")
    assert found["layer"].values.tolist() == ["A", "B"]
    assert found["owner"].values.tolist() == ["answer", "answer"]


def test_what_is_frozen_is_in_no_unit(tmp_path: Path) -> None:
    run = recorded(tmp_path, lora.train, steps=40)
    assert sorted(set(run["parameter"].values[run["shared"].values].tolist())) == ["adapted.A", "adapted.B"]
    assert run.attrs["tasks"] == ["answer", "style"]


def test_a_reward_that_is_the_same_for_all_trains_nothing(tmp_path: Path) -> None:
    share = of_step(recorded(tmp_path, policy.train, flat=True, steps=60))
    assert share["reward[brevity]"] == 0
    assert share["reward[accuracy]"] > 0.5


@pytest.mark.parametrize(("brevity", "owner"), [(0.05, "reward[accuracy]"), (20.0, "reward[brevity]")])
def test_the_louder_reward_trains_the_policy(tmp_path: Path, brevity: float, owner: str) -> None:
    run = recorded(tmp_path, policy.train, brevity=brevity, steps=60)
    assert set(run.attrs["tasks"]) == {"reward[accuracy]", "reward[brevity]", "kl"}
    assert of_step(run)[owner] > 0.8


@pytest.mark.parametrize(("sft", "owner"), [(0.0005, "dpo"), (10.0, "sft")])
def test_preferences_beside_supervised_fine_tuning(tmp_path: Path, sft: float, owner: str) -> None:
    run = recorded(tmp_path, policy.train, mode="dpo", sft=sft, steps=60)
    assert set(run.attrs["tasks"]) == {"dpo", "sft"}
    assert of_step(run)[owner] > 0.8


def test_boxes_in_pixels_own_the_backbone(tmp_path: Path) -> None:
    """The same boxes: in pixels their squared error, and its gradient, is 32² times as large."""
    (tmp_path / "parts").mkdir()
    parts, pixels = (
        recorded(tmp_path / name, detection.train, pixels=flag, steps=150)
        for name, flag in (("parts", False), ("", True))
    )
    assert set(pixels.attrs["tasks"]) == {"objectness", "box", "classes"}
    assert of_step(pixels)["box"] > 0.9
    assert of_step(parts)["box"] < 0.5
    backbone = dominance.unit_shares(pixels, by="backbone.{layer}.*")
    assert set(backbone["owner"].values.tolist()) == {"box"}
    lengths = [
        np.sqrt(run["layer/gradient_sq"].isel(step=0).sel(layer="backbone.4", task="box").item())
        for run in (parts, pixels)
    ]
    assert lengths[1] / lengths[0] == pytest.approx(32**2, rel=1e-3)


def test_objectness_added_up_over_cells_is_sixteen_times_as_long(tmp_path: Path) -> None:
    (tmp_path / "mean").mkdir()
    mean, added = (
        recorded(tmp_path / name, detection.train, cells=cells, steps=20)
        for name, cells in (("mean", "mean"), ("", "sum"))
    )
    lengths = [
        np.sqrt(run["layer/gradient_sq"].isel(step=0).sel(layer="backbone.4", task="objectness").item())
        for run in (mean, added)
    ]
    assert lengths[1] / lengths[0] == pytest.approx(16, rel=1e-3)
