"""What is drawn of noise on the parameters of a task."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from dominance.papers.plots.noise_sweeps import plot_noise_sweeps, summary


def result(runs: int = 3) -> xr.Dataset:
    rng = np.random.default_rng(0)
    settings = [(0.01, 0.05), (0.01, 0.01), (0.2, 0.01), (0.05, 0.01)]
    shape = (runs, 2, len(settings), 3, 5)
    return xr.Dataset(
        {"change": (("run", "task", "setting", "selection", "repeat"), rng.normal(1, 0.1, shape))},
        coords={
            "task": ["A", "B"],
            "selection": ["top", "random", "least"],
            "fraction": ("setting", [fraction for fraction, _ in settings]),
            "variance": ("setting", [variance for _, variance in settings]),
        },
    )


def test_the_interval_is_over_runs_and_of_one_run_over_the_draws():
    change = result()["change"]
    found = summary(change)
    values = change.mean("repeat").isel(task=1, setting=2, selection=0).values
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    one = found.isel(task=1, setting=2, selection=0)
    np.testing.assert_allclose([one["mean"], one["lower"], one["upper"]], [values.mean(), low, high], rtol=1e-9)
    assert "3 runs" in found.attrs["note"]
    single = summary(result(1)["change"])
    values = result(1)["change"].isel(run=0, task=0, setting=0, selection=1).values
    assert float(single["mean"].isel(task=0, setting=0, selection=1)) == pytest.approx(values.mean())
    assert "5 draws" in single.attrs["note"]


def test_two_sweeps_each_in_order_for_both_tasks_and_the_control():
    plot = plot_noise_sweeps(result(), owner="B", backend="none")
    assert len(plot.axes) == 2
    for axes, x in zip(plot.axes, ([0.01, 0.05], [1.0, 5.0, 20.0]), strict=True):
        lines = [call for call in axes.called("line") if not call["marker"]]
        assert len(lines) == 4
        for line in lines:
            np.testing.assert_allclose(line["x"], x)
        assert [line["dashes"] for line in lines] == ["-", "-", "--", "--"]
    drawn = plot.axes[1].called("line")[0]["y"]
    expected = 100 * plot.data["mean"].sel(task="A", selection="top").isel(setting=[1, 3, 2])
    np.testing.assert_allclose(drawn, expected)
    labels = [entry.label for call in plot.figure.called("legend") for entry in call["entries"]]
    assert labels[0] == "error of A"
    assert labels[2:] == ["noise on what B owns most", "on as many random parameters"]


def test_it_says_on_how_many_parameters_the_noise_is():
    given = result()
    share = xr.DataArray(given["fraction"].values / 2, dims="setting")
    note = plot_noise_sweeps(given.assign(share_perturbed=share), owner="B", backend="none").note
    assert note.endswith(
        f"Noise is on {100 * float(share.min()):.3g} to {100 * float(share.max()):.3g} % of all shared parameters."
    )
    assert "Noise is on" not in plot_noise_sweeps(given, owner="B", backend="none").note
