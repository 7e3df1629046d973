"""What is drawn of a noise probe."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import xarray as xr
from plots.overlap import problems
from runs import planted_run

from dominance.analyse.noise import noise_importance
from dominance.analyse.noise_specificity import add_specificity
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.noise_importance import plot_noise_importance


class Made:
    """A probe whose answers depend on how many parameters get how much noise, task by task."""

    def __init__(self, tasks: tuple[str, ...] = ("price", "rating")) -> None:
        self.tasks = tasks
        self.higher_is_better: dict[str, bool] = {"error": False}

    def baseline(self) -> dict[str, dict[str, float]]:
        return self.change({}, 0.0, 0)

    def change(self, chosen: Any, deviation: float, seed: int) -> dict[str, dict[str, float]]:
        size = sum(map(len, chosen.values())) * deviation**2 * (1 + 0.1 * np.sin(seed))
        return {task: {"error": 1 + (place + 1) * size} for place, task in enumerate(self.tasks)}


def result(tasks: tuple[str, ...] = ("price", "rating"), **options: Any) -> xr.Dataset:
    return noise_importance(planted_run(steps=5, tasks=tasks), Made(tasks), save=False, **options)


def test_the_two_panels_of_figure_1_for_every_owner() -> None:
    data = result()
    plot = plot_noise_importance(data, backend="none")
    assert len(plot.axes) == 4
    titles = [call["string"] for call in plot.figure.called("text")]
    assert "owner price, top 1 %" in titles
    assert "owner rating, variance 0.01" in titles
    variance, fraction = ([line for line in axes.called("line") if not line["marker"]] for axes in plot.axes[2:4])
    assert len(variance) == len(fraction) == 6  # two tasks, three selections
    rating = data.mean_change.sel(owner="rating", task="rating", metric="error", selection="top").values
    solid = [line for line in variance if line["dashes"] == "-"]
    np.testing.assert_allclose(solid[1]["x"], [0.01, 0.02, 0.03, 0.04, 0.05])
    np.testing.assert_allclose(solid[1]["y"], 100 * rating[:5])
    solid = [line for line in fraction if line["dashes"] == "-"]
    np.testing.assert_allclose(solid[1]["x"], [1, 5, 10, 20])
    np.testing.assert_allclose(solid[1]["y"], 100 * rating[[0, 5, 6, 7]])
    bands = plot.axes[2].called("band")
    upper = data.upper.sel(owner="rating", task="rating", metric="error", selection="top").values
    np.testing.assert_allclose(bands[1]["high"], 100 * upper[:5])
    for axes in plot.axes:
        low, high = axes.called("axis")[0]["limits"]
        assert all(low <= y <= high for line in axes.called("line") for y in line["y"])
        assert len({line["colour"] for line in axes.called("line")}) == 2


def test_the_controls_are_dashed_and_dotted() -> None:
    data = result()
    data["mean_change"].loc[{"selection": "random"}] = 0.5
    data["mean_change"].loc[{"selection": "least"}] = 0.25
    lines = plot_noise_importance(data, tasks="price", backend="none").axes[0].called("line")
    levels = {line["dashes"]: line["y"][0] for line in lines}
    assert (levels["--"], levels[":"]) == (50, 25)


def test_deviations_have_a_panel_of_their_own_and_a_single_setting_a_point() -> None:
    both = plot_noise_importance(result(deviations=(0.1, 0.2)), tasks="price", backend="none")
    titles = [call["string"] for call in both.figure.called("text")]
    assert any("deviation of the noise" in title for title in titles)
    assert len(both.axes) == 3
    one = plot_noise_importance(result(fractions=(0.1,), variances=(0.02,)), tasks="price", backend="none")
    assert len(one.axes) == 1
    assert any(line["marker"] for line in one.axes[0].called("line"))


def test_one_repeat_has_no_band() -> None:
    plot = plot_noise_importance(result(repeats=1), backend="none")
    assert not any(axes.called("band") for axes in plot.axes)
    assert "interval" not in plot.note


def test_what_the_note_says() -> None:
    data = result()
    data.attrs |= {"coords_kept": 1000, "coords_shared": 20000}
    data["mean_change"].loc[{"task": "rating"}] = np.nan
    note = plot_noise_importance(data, backend="none", labeller={"rating": "stars"}).note
    assert "Chosen among the 1,000 of 20,000 shared parameters" in note
    assert "No metric of stars." in note


def test_by_layer_is_a_table_of_what_the_top_does_more_than_random() -> None:
    data = result(by_layer=True)
    data["mean_change"].loc[{"selection": "random"}] = 0.0
    plot = plot_noise_importance(data, layers="each", backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert cells["values"].shape == (2, 4)
    top = data.mean_change.sel(selection="top", metric="error", layer="trunk.1", owner="rating", task="price")
    assert cells["values"][1, 2] == pytest.approx(100 * float(top.isel(setting=0)))
    assert cells["low"] == -cells["high"]
    names = {call["which"]: call["labels"] for call in plot.axes[0].called("axis")}
    assert names["y"] == ["trunk.0", "trunk.1"]
    assert names["x"][2] == "rating → price"
    assert plot_noise_importance(data, layers="*.1", backend="none").data["layer"].values.tolist() == ["trunk.1"]


def test_bad_input() -> None:
    with pytest.raises(NothingRecorded, match="no noise probe"):
        plot_noise_importance(planted_run(steps=3), backend="none")
    with pytest.raises(BadOption, match="no owner 'stars'"):
        plot_noise_importance(result(), tasks="stars", backend="none")
    with pytest.raises(BadOption, match="not by layer"):
        plot_noise_importance(result(), layers="each", backend="none")
    nothing = result()
    nothing["mean_change"][:] = np.nan
    with pytest.raises(NothingRecorded, match="no metric could be compared"):
        plot_noise_importance(nothing, backend="none")
    assert "specificity" not in add_specificity(result(), {})


def test_nothing_overlaps() -> None:
    names = ("a_task_with_a_long_name", "another_task_of_a_long_name", "c")
    for options in ({}, {"tasks": "c"}):
        for figure in plot_noise_importance(result(names), **options).figures:  # type: ignore[arg-type]
            assert problems(figure) == []
    for figure in plot_noise_importance(result(names, by_layer=True)).figures:
        assert problems(figure) == []


def test_given_axes() -> None:
    made = plot_noise_importance(result(), tasks="price", backend="none").axes
    for axes in made:
        axes.calls.clear()
    plot_noise_importance(result(), tasks="price", ax=made, backend="none")
    assert made[0].called("title")[0]["text"] == "owner price, top 1 %"
    assert made[1].called("axis_label")[0]["label"] == "parameters with noise, %"
    made[0].calls.clear()
    plot_noise_importance(result(by_layer=True), ax=made[0], backend="none")
    assert len(made[0].called("cells")) == 1
