"""Places: nothing overlaps and nothing is cut off, measured on real figures."""

from __future__ import annotations

import numpy as np
import pytest
from plots.overlap import problems
from plots.shares import buckets, degrees, losses
from runs import planted_run

from dominance.plots.backends import Entry, none
from dominance.plots.effective_tasks import plot_effective_tasks
from dominance.plots.gcd import plot_gcd
from dominance.plots.gradient_norms import plot_gradient_norms
from dominance.plots.losses import plot_losses
from dominance.plots.rau_buckets import plot_rau_buckets
from dominance.plots.sheets import columns_for, legend_rows

TASKS = {
    "two": ["left", "reconstruction_of_the_whole_image_from_its_code"],
    "three": ["left", "right", "reconstruction"],
    "nine": ["action", "adventure", "animation_and_comedy_with_a_long_name", *(f"genre_{i}" for i in range(6))],
}
LAYERS = {
    "two": [f"trunk.{i}" for i in range(4)],
    "three": [f"encoder.block{i // 3}.conv{i % 3}" for i in range(12)],
    "nine": [f"backbone.transformer.encoder.layers.{i}.self_attention.output_projection" for i in range(18)],
}


def everything(name, steps):
    tasks, layers = TASKS[name], LAYERS[name]
    by_layer = buckets(tasks, layers, steps).assign_attrs(left_out_skipped=3, steps_recorded=steps + 3)
    by_layer["untouched"][:, ::3] = 0.5
    by_layer["share_se"][:] = 0.03
    decay = np.exp(-np.linspace(0, 9, steps))[:, None] * np.linspace(1, 2e4, len(tasks))
    yield plot_rau_buckets(buckets(tasks, steps=steps))
    yield plot_rau_buckets(by_layer, layers="each")
    yield plot_rau_buckets(by_layer, layers="each", tasks=tasks[-1])
    yield plot_gcd(degrees(tasks, steps=steps))
    yield plot_gcd(degrees(tasks, layers, steps), layers="each")
    yield plot_losses(losses(decay, tasks, weight=0.3333))
    yield plot_effective_tasks(buckets(tasks, steps=steps))
    yield plot_effective_tasks(by_layer, layers="each")
    yield plot_gradient_norms(planted_run(steps=2, tasks=tasks, layers=dict.fromkeys(layers, 3)))


@pytest.mark.parametrize(("name", "steps"), [("two", 5), ("two", 1), ("three", 400), ("nine", 60)])
def test_no_words_overlap_and_none_are_cut_off(name, steps):
    for plot in everything(name, steps):
        for figure in plot.figures:
            assert problems(figure) == []
            assert min(text.get_fontsize() for text in figure.findobj(lambda a: hasattr(a, "get_fontsize"))) >= 7
            assert figure.get_size_inches()[0] <= 7.2 + 1e-6


def test_the_check_can_fail():
    plot = plot_rau_buckets(buckets())
    figure = plot.figure
    figure.text(0.1, 0.1, "one and the same")
    figure.text(0.12, 0.1, "place for two")
    figure.text(0.98, 0.5, "off the page")
    says = problems(figure)
    assert any("runs into" in line for line in says)
    assert any("cut off" in line for line in says)


def test_columns_make_rows_as_even_as_can_be():
    assert [columns_for(count) for count in (1, 4, 5, 6, 9, 12)] == [1, 4, 5, 3, 5, 4]


def test_a_legend_breaks_into_rows_and_shortens_what_no_row_holds():
    entries = [Entry(label, "#000000") for label in ("a" * 20, "b" * 20, "c" * 200)]
    rows = legend_rows(none, entries, 3.0)
    assert [len(row) for row in rows] == [1, 1, 1]
    assert "…" in rows[-1][0].label
    assert legend_rows(none, [], 3.0) == []
