"""Choosing layers by name."""

from __future__ import annotations

import pytest
from runs import planted_rows, write_run

import dominance
from dominance.errors import BadOption
from dominance.plots.inputs import choose_layers, steps_left_out


def test_a_name_with_glob_characters_is_first_a_name():
    assert choose_layers(["block[0]", "block[1]"], "block[1]") == (["block[1]"], "")


def test_a_list_keeps_its_order_and_holds_nothing_twice():
    assert choose_layers(["a.0", "a.1", "b"], ["b", "a.*", "a.1"])[0] == ["b", "a.0", "a.1"]


def test_named_layers_are_never_thinned():
    known = [f"layer{i}" for i in range(300)]
    assert choose_layers(known, "layer*") == (known, "")
    assert len(choose_layers(known, "each")[0]) == 120


def test_an_unknown_layer_is_answered_with_the_first_known_ones():
    with pytest.raises(BadOption) as caught:
        choose_layers([f"layer{i}" for i in range(20)], ["layer1", "head"])
    assert str(caught.value).endswith("there are layer0, layer1, layer2, layer3, layer4, layer5, layer6, layer7, ...")


def test_nothing_left_out_is_nothing_said():
    assert steps_left_out({"steps_recorded": 5, "left_out_skipped": 0}) == ""


@pytest.mark.parametrize("plot", [dominance.plot_losses, dominance.plot_effective_tasks, dominance.plot_gradient_norms])
def test_several_runs_are_refused_in_words(plot, tmp_path):
    runs = dominance.open_runs([write_run(tmp_path / name, *planted_rows(steps=n)) for name, n in (("a", 4), ("b", 6))])
    with pytest.raises(BadOption, match=r"this plot shows one run, not 2 \(a, b\)"):
        plot(runs, backend="none")
