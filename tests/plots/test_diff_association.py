from __future__ import annotations

import pytest
from plots.overlap import problems
from studies import scored

from dominance.analyse.study.diff_association import diff_association
from dominance.errors import BadOption
from dominance.plots.diff_association import plot_diff_association


def result(score=(1, 2, 3), diff=(3, 1, 2)):
    runs = {name: scored({"a": {"auc": 0.5}}, method=name) for name in "xyz"}
    score, diff = (dict(zip(runs, map(float, values), strict=True)) for values in (score, diff))
    return diff_association(runs, score=score, diff=diff)


def test_counts_and_tests():
    plot = plot_diff_association(result(), backend="none")
    (cells,) = plot.axes[0].called("cells")
    assert cells["values"].tolist() == [[1, 2], [0, 0]]
    assert cells["texts"] == [["1 (33 %)", "2 (67 %)"], ["0 (0 %)", "0 (0 %)"]]
    names = {call["which"]: call["labels"] for call in plot.axes[0].called("axis")}
    assert names == {"y": ["lower average score", "higher average score"], "x": ["lower Diff", "higher Diff"]}
    assert "67 % have the better score with the lower Diff" in plot.note
    assert "No χ²" in plot.note
    assert "p = 1 (run in stratum)" in plot.note


def test_chi_square_is_told_with_its_reservation():
    plot = plot_diff_association(result((1, 3, 2), (3, 1, 2)), backend="none")
    assert "χ²(1) = 3.00, p = 0.083, as if pairs were independent" in plot.note


def test_given_axes_and_names():
    axes = plot_diff_association(result(), backend="none").axes[0]
    axes.calls.clear()
    plot_diff_association(result(), ax=axes, labeller={"lower Diff": "closer"}, backend="none")
    names = {call["which"]: call["labels"] for call in axes.called("axis")}
    assert names["x"] == ["closer", "higher Diff"]


def test_nothing_runs_into_another():
    assert problems(plot_diff_association(result()).figure) == []


def test_errors():
    with pytest.raises(BadOption, match="no confusion matrix"):
        plot_diff_association(result().drop_vars("confusion"), backend="none")
