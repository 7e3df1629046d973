"""What is drawn for the buckets, read back from the backend that records it."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
from plots.shares import buckets
from runs import planted_run

from dominance.analyse.joining import over_runs
from dominance.analyse.rau_buckets import rau_buckets
from dominance.errors import BadOption, NothingRecorded
from dominance.plots.palette import TASKS
from dominance.plots.rau_buckets import plot_rau_buckets

LONG = "backbone.transformer.encoder.layers.{}.self_attention.output_projection.weight"


def areas(plot, index=0):
    return plot.axes.ravel()[index].called("stacked_area")


def legend(plot):
    return [entry for call in plot.figure.called("legend") for entry in call["entries"]]


def words(plot):
    return [call["string"] for figure in plot.figures for call in figure.called("text")]


def test_the_areas_are_the_shares_of_the_named_task_and_add_up_to_100():
    data = buckets(steps=7)
    plot = plot_rau_buckets(data, tasks="left", backend="none")
    (area,) = areas(plot)
    expected = 100 * data["share"].sel(layer="all shared", task="left").values
    np.testing.assert_allclose(area["heights"], expected)
    np.testing.assert_allclose(np.sum(area["heights"], axis=1), 100)
    np.testing.assert_array_equal(area["x"], data["step"].values)


def test_two_tasks_are_mirror_images_so_the_second_is_drawn_and_named_on_the_axis():
    plot = plot_rau_buckets(buckets(), backend="none")
    assert len(plot.axes) == 1
    assert any(text.startswith("rAU of right\n") for text in words(plot))
    assert plot.data["task"].values.tolist() == ["right"]


def test_the_legend_says_in_words_who_owns_what_in_the_order_of_the_palette():
    plot = plot_rau_buckets(buckets(), backend="none")
    entries = legend(plot)
    assert [entry.label for entry in entries] == [
        "[0, 20] %: owned by left",
        "(20, 40] %",
        "(40, 60] %: balanced",
        "(60, 80] %",
        "(80, 100] %: owned by right",
    ]
    assert [entry.colour for entry in entries] == areas(plot)[0]["colours"]


def test_what_a_task_owns_has_the_colour_of_the_task():
    two = areas(plot_rau_buckets(buckets(), backend="none"))[0]["colours"]
    assert (two[0], two[-1]) == TASKS[:2]  # the first owns what the second does not move
    three = plot_rau_buckets(buckets("abc"), backend="none")
    tops = [axes.called("stacked_area")[0]["colours"][-1] for axes in three.axes]
    assert tops == list(TASKS[:3])
    assert [entry.label for entry in legend(three)[-3:]] == ["a owns them", "b owns them", "c owns them"]
    assert [entry.colour for entry in legend(three)[-3:]] == list(TASKS[:3])
    last = plot_rau_buckets(buckets("abc"), tasks="c", backend="none")
    assert areas(last)[0]["colours"][-1] == TASKS[2]


def test_balanced_is_one_share_in_k():
    three = legend(plot_rau_buckets(buckets("abc"), backend="none"))
    assert [entry.label for entry in three][1] == "(20, 40] %: balanced (even: 33.3 %)"
    assert not any("balanced" in entry.label for entry in three[2:])
    nine = legend(plot_rau_buckets(buckets("abcdefghi"), backend="none"))
    assert nine[0].label == "[0, 20] %: little (even: 11.1 %)"


def test_more_than_two_tasks_get_a_panel_each():
    plot = plot_rau_buckets(buckets("abc", last=0.25), backend="none")
    assert len(plot.axes) == 3
    assert {"rAU of a", "rAU of b", "rAU of c"} <= set(words(plot))
    assert all(areas(plot, i)[0]["heights"][0][-1] == 25 for i in range(3))


def test_layers_of_one_task_in_a_grid_layers_of_several_in_a_table():
    data = buckets("abc", ["conv1", "conv2"])
    grid = plot_rau_buckets(data, tasks="b", layers="each", backend="none")
    assert grid.axes.shape == (2,)
    assert {"conv1", "conv2"} <= set(words(grid))
    table = plot_rau_buckets(data, layers="each", backend="none")
    assert table.axes.shape == (2, 3)
    for i, layer in enumerate(["conv1", "conv2"]):
        for j, task in enumerate("abc"):
            drawn = table.axes[i, j].called("stacked_area")[0]["heights"]
            np.testing.assert_allclose(drawn, 100 * data["share"].sel(layer=layer, task=task).values)


def test_layers_by_glob_and_by_list():
    data = buckets(layers=["enc.0", "enc.1", "dec.0"])
    assert plot_rau_buckets(data, layers="enc.*", backend="none").data["layer"].values.tolist() == ["enc.0", "enc.1"]
    assert plot_rau_buckets(data, layers=["dec.0"], backend="none").data["layer"].values.tolist() == ["dec.0"]


def test_from_a_run_it_draws_what_the_analyser_says():
    run = planted_run(steps=8)
    plot = plot_rau_buckets(run, tasks="price", backend="none")
    expected = rau_buckets(run, by="all")["share"].sel(task="price").isel(layer=0).values
    np.testing.assert_allclose(areas(plot)[0]["heights"], 100 * expected)
    by_layer = plot_rau_buckets(run, layers="each", backend="none")
    assert by_layer.data["layer"].values.tolist() == ["trunk.0", "trunk.1"]  # the private heads are not shared


def test_a_run_that_holds_solo_updates_only_is_drawn_from_them():
    rng = np.random.default_rng(0)
    from runs import make_run

    updates = rng.standard_normal((4, 2, 30))
    run = make_run(np.full_like(updates, np.nan), updates, solo=updates * [[[1.0], [50.0]]])
    run.attrs["attribution"] = "solo"
    run["update"] = run["update"].to_dataset().drop_vars("update")
    plot = plot_rau_buckets(run, tasks="b", backend="none")
    assert areas(plot)[0]["heights"][-1][-1] > 90


def test_one_step_is_drawn_as_a_bar_around_it():
    plot = plot_rau_buckets(buckets(steps=1), backend="none")
    (area,) = areas(plot)
    assert area["x"].tolist() == [-0.5, 0.5]
    np.testing.assert_allclose(area["heights"][0], area["heights"][1])


def test_steps_without_a_value_leave_a_hatched_gap():
    data = buckets(steps=7)
    data["share"][3] = np.nan
    plot = plot_rau_buckets(data, backend="none")
    assert [area["x"].tolist() for area in areas(plot)] == [[0, 10, 20], [40, 50, 60]]
    assert plot.axes[0].called("band")[0]["hatch"]
    assert "Hatched" in plot.note


def test_a_lone_step_between_gaps_is_seen():
    data = buckets(steps=5)
    data["share"][[1, 3]] = np.nan
    assert [15, 25] in [area["x"].tolist() for area in areas(plot_rau_buckets(data, backend="none"))]


def test_the_untouched_share_and_the_sampling_error_are_written():
    data = buckets(layers=["a", "b"], steps=3)
    data["untouched"][:, 1] = [0.4, 0.3, 0.12]
    data["share_se"][:] = 0.021
    plot = plot_rau_buckets(data, layers="each", backend="none")
    assert "40 → 12 % untouched" in words(plot)
    assert "at most 2.1 points" in plot.note
    data["share_se"][:] = 0.004
    assert "Sampling" not in plot_rau_buckets(data, layers="each", backend="none").note


def test_steps_left_out_are_told():
    data = buckets().assign_attrs(steps_recorded=20, left_out_unattributed=12, left_out_skipped=2, steps_used=6)
    note = plot_rau_buckets(data, backend="none").note
    assert (
        "Left out of 20 recorded steps: 2 skipped by the optimizer, 12 with more than 10 % unattributed momentum."
        in note
    )


def test_a_long_run_is_thinned_and_says_so():
    plot = plot_rau_buckets(buckets(steps=1000), backend="none")
    (area,) = areas(plot)
    assert len(area["x"]) == 240
    assert area["x"][0] == 0
    assert area["x"][-1] == 9990
    assert "Drawn at 240 of 1000 recorded steps." in plot.note
    assert plot.data.sizes["step"] == 1000


def test_sixty_layers_and_nine_tasks_go_over_pages_with_names_that_differ():
    layers = [LONG.format(i) for i in range(60)]
    plot = plot_rau_buckets(
        buckets([f"task_with_a_long_name_{i}" for i in range(9)], layers, 2), layers="each", backend="none"
    )
    assert plot.axes.shape == (60, 9)
    assert len(plot.figures) > 1
    assert all(figure.height <= 9.6 for figure in plot.figures)
    names = [text for text in words(plot) if text.startswith("backbone")]
    assert len(names) == len(set(names)) == 60
    assert all("…" in name for name in names)


def test_hundreds_of_layers_are_sampled_evenly_and_say_so():
    layers = [f"layer{i}" for i in range(300)]
    plot = plot_rau_buckets(buckets("ab", layers, 2), layers="each", backend="none")
    shown = plot.data["layer"].values.tolist()
    assert len(shown) == 120
    assert (shown[0], shown[-1]) == ("layer0", "layer299")
    assert "120 of 300 layers" in plot.note


def test_a_labeller_renames_tasks_and_layers():
    data = buckets(layers=["conv1", "conv2"])
    plot = plot_rau_buckets(data, layers="each", backend="none", labeller={"right": "price", "conv1": "first"})
    assert "first" in words(plot)
    assert legend(plot)[-1].label == "(80, 100] %: owned by price"
    upper = plot_rau_buckets(data, layers="each", backend="none", labeller=str.upper)
    assert "CONV2" in words(upper)


def test_other_edges_keep_their_words():
    run = planted_run(steps=5)
    plot = plot_rau_buckets(rau_buckets(run, edges=(0, 0.5, 1), by="all"), backend="none")
    assert [entry.label for entry in legend(plot)] == ["[0, 50] %: little (even: 50 %)", "(50, 100] %: owned by rating"]


def test_one_task_has_no_rau():
    with pytest.raises(NothingRecorded, match="two tasks"):
        plot_rau_buckets(buckets(["only"]), backend="none")


def test_no_step_and_no_touched_coordinate_are_errors():
    with pytest.raises(NothingRecorded, match="no step"):
        plot_rau_buckets(buckets(steps=0), backend="none")
    data = buckets()
    data["share"][:] = np.nan
    with pytest.raises(NothingRecorded, match="moved"):
        plot_rau_buckets(data, backend="none")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"tasks": "depth"}, "no task 'depth'; choose from left, right"),
        ({"tasks": []}, "no task is chosen"),
        ({"layers": "conv*"}, "no shared layer fits 'conv*'"),
        ({"backend": "bokeh"}, "choose from matplotlib, seaborn, none"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(options, says):
    with pytest.raises(BadOption) as caught:
        plot_rau_buckets(buckets(), **{"backend": "none", **options})
    assert says in str(caught.value)


def test_a_result_by_layer_is_no_trunk():
    with pytest.raises(BadOption, match='layers="each"'):
        plot_rau_buckets(buckets(layers=["a", "b"]), backend="none")


def test_what_is_no_run_is_refused():
    with pytest.raises(BadOption, match="no 'share'"):
        plot_rau_buckets(cast(Any, {"share": 1}), backend="none")
    with pytest.raises(BadOption, match="untouched"):
        plot_rau_buckets(buckets()[["untouched"]], backend="none")


def test_given_axes_are_drawn_into_and_carry_the_words():
    plain = plot_rau_buckets(buckets(), backend="none")
    axes = plain.axes[0]
    axes.calls.clear()
    plot = plot_rau_buckets(buckets(), ax=axes, backend="none")
    assert plot.axes[0] is axes
    assert plot.figure is plain.figure
    assert axes.called("axis_label")[0]["label"] == "training step"
    assert axes.called("axis_label")[1]["label"].startswith("rAU of right")
    assert axes.called("legend")
    with pytest.raises(BadOption, match="3 panels do not go into 1 axes"):
        plot_rau_buckets(buckets("abc"), ax=axes, backend="none")


def several():
    """Two runs, of steps that differ."""
    runs = {"equal": planted_run(share=0.95, steps=40), "adatask": planted_run(share=0.5, steps=30)}
    return over_runs(rau_buckets)(runs, by="all")


def test_several_runs_have_a_panel_each():
    plot = plot_rau_buckets(several(), tasks="price", backend="none")
    assert {"equal", "adatask"} <= set(words(plot))
    assert any("rAU of price" in word for word in words(plot))
    assert legend(plot)[0].label.endswith("owned by rating")
    assert legend(plot)[-1].label.endswith("owned by price")
    assert len(plot.axes) == 2
    assert plot.axes[0].called("stacked_area")[0]["heights"][-1, -1] > 90
    assert plot.axes[1].called("stacked_area")[0]["heights"][-1, -1] < 10
    assert len(plot.axes[1].called("band")) == 1  # the shorter run ends in a hatched gap


def test_several_runs_by_layer_stand_in_columns():
    runs = {"equal": planted_run(share=0.95), "adatask": planted_run(share=0.5)}
    plot = plot_rau_buckets(over_runs(rau_buckets)(runs), tasks="price", layers="each", backend="none")
    assert plot.axes.shape == (2, 2)
    assert plot.axes[1, 0].called("stacked_area")[0]["heights"][-1, -1] > 90
    assert plot.axes[1, 1].called("stacked_area")[0]["heights"][-1, -1] < 10


def test_several_runs_are_shown_for_one_task():
    runs = {name: planted_run(tasks=("a", "b", "c")) for name in ("one", "other")}
    with pytest.raises(BadOption, match="several runs are shown for one task; choose one: tasks='a'"):
        plot_rau_buckets(over_runs(rau_buckets)(runs, by="all"), backend="none")
