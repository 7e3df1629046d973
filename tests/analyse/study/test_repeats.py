from __future__ import annotations

import numpy as np
import pytest
from studies import scored

from dominance.analyse.study.delta import delta
from dominance.analyse.study.repeats import difference, partners, require_repeats
from dominance.errors import BadOption


@pytest.mark.parametrize(
    ("ours", "theirs", "order"),
    [
        ([0, 1], [1, 0], [1, 0]),
        ([5], [5], [0]),
        ([0, 1], [0, 1, 2], None),
        ([0, None], [0, None], None),
        ([0, 0], [0, 0], None),
        ([0, 1], [2, 3], None),
    ],
)
def test_partners(ours: list[int | None], theirs: list[int | None], order: list[int] | None) -> None:
    found = partners(ours, theirs)
    assert (None if found is None else found.tolist()) == order


def test_pairs_are_sharper_where_seeds_matter() -> None:
    luck = np.array([0.0, 5.0, 10.0])
    ours, theirs = luck + np.array([1.0, 1.1, 0.9]), luck[[1, 0, 2]]
    order = np.array([1, 0, 2])
    assert difference(ours, theirs, order).value == pytest.approx(1.0)
    assert difference(ours, theirs, order).se < 0.1 < 3 < difference(ours, theirs, None).se


def test_unknown_scores_are_left_out() -> None:
    found = difference(np.array([1.0, np.nan, 3.0]), np.array([0.0, 0.0, 1.0]), np.array([0, 1, 2]))
    assert (found.value, found.dof) == (1.5, 1)
    assert difference(np.array([1.0, np.nan]), np.array([0.5]), None).value == 0.5


def test_other_methods_are_no_repeats() -> None:
    one, other = (scored({"a": {"error": 1.0}}, method=method) for method in ("pub", ""))
    with pytest.raises(BadOption, match="differ in their method: pub in x, unknown in y"):
        require_repeats({"x": one, "y": other}, "joint")
    one.attrs["training"] = {"seed": 0, "lr": 0.1, "threads": 1}
    other = scored({"a": {"error": 1.0}}, method="pub")
    other.attrs["training"] = {"seed": 1, "lr": 0.01, "threads": 2}
    with pytest.raises(BadOption, match=r"differ in their lr: 0.1 in x, 0.01 in y"):
        require_repeats({"x": one, "y": other}, "joint")
    other.attrs["training"]["lr"] = 0.1
    require_repeats({"x": one, "y": other}, "joint")
    with pytest.raises(BadOption, match="differ in their tasks: a in x, b in y"):
        require_repeats({"x": one, "y": scored({"b": {"error": 1.0}}, method="pub")}, "joint")


def test_tasks_in_another_order_are_the_same_tasks() -> None:
    """A method that gives a task no weight at first has it last in its runs."""
    tables = [{"a": {"error": 1.0}, "b": {"error": 4.0}}, {"b": {"error": 2.0}, "a": {"error": 3.0}}]
    joint = [scored(table, directions={"error": False}, seed=seed) for seed, table in enumerate(tables)]
    require_repeats(dict(zip("xy", joint, strict=True)), "joint")
    baseline = {task: scored({task: {"error": 2.0}}, directions={"error": False}) for task in "ab"}
    # (1 - 2) / 2 and (4 - 2) / 2 of the first, (3 - 2) / 2 and (2 - 2) / 2 of the second; as a gain, the opposite
    found = delta(joint, baseline, kind="mocograd")
    assert float(found.delta) == pytest.approx(-np.mean([(-0.5 + 1.0) / 2, (0.5 + 0.0) / 2]))
