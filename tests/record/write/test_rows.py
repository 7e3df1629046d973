"""Rows: statistics by brute force in float64, and what NaN stands for."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.parameters import Named
from dominance.record.split import products
from dominance.record.split.products import inner_products
from dominance.record.split.splits import GradientSplit, StepSplit
from dominance.record.write.row_shape import RowShape
from dominance.record.write.rows import StepRow
from dominance.record.write.sampling import Sample
from dominance.schema import TASK_STATISTICS, TOTAL_STATISTICS, Layout, Parameter

torch.set_num_threads(1)

# The first and last parameter are one layer; of the first, coordinates 1 and 4 are kept, of the others all.
P, Q, R = torch.zeros(2, 3), torch.zeros(2), torch.zeros(3)
NAMED = [Named(P, "trunk.weight", "trunk"), Named(Q, "head.weight", "head"), Named(R, "trunk.bias", "trunk")]
SAMPLE = Sample(
    np.array([0, 0, 1, 1, 2, 2, 2], np.int32), np.array([1, 4, 0, 1, 0, 1, 2]), np.array([3, 3, 1, 1, 1, 1, 1.0])
)


def row(attribution: str = "additive", tasks: tuple[str, ...] = ("a", "b")) -> StepRow:
    parameters = [Parameter(n.name, n.layer, tuple(n.tensor.shape)) for n in NAMED]
    layout = Layout(
        list(tasks), parameters, ["trunk", "head"], SAMPLE.parameter, SAMPLE.index, SAMPLE.weight, attribution
    )
    return StepRow(RowShape(layout, NAMED, SAMPLE), tasks, step=7, epoch=2)


def randoms(like: Tensor, count: int, seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(like.shape, generator=generator) for _ in range(count)]


def filled(row: StepRow, parameter: Tensor, seed: int, **changes: object) -> tuple[Tensor, GradientSplit, StepSplit]:
    """Add this parameter with random parts; returned for the truth."""
    total, *g, rest = randoms(parameter, 4, seed)
    *u, update, residual, unattributed, decay, solo = randoms(parameter, 7, seed + 100)
    gradient = GradientSplit({"b": g[0], "a": g[1]}, rest)
    step = StepSplit(update, {"a": u[0], "b": u[1]}, residual, unattributed, decay, closure=1e-7, rounding=0.0)
    for name, value in changes.items():
        setattr(step, name, value if name != "solo" else {"b": solo})
    row.add(parameter, 0.1 * seed, total, gradient, step)
    return total, gradient, step


def dot(*pairs: tuple[Tensor, Tensor]) -> float:
    return sum(float((x.double() * y.double()).sum()) for x, y in pairs)


@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
@pytest.mark.parametrize("size", [1, 1000, products._WIDE_TILE + 3])
def test_inner_products(scale: float, size: int) -> None:
    """Also where the squares are no float32."""
    tensors = [scale * t for t in randoms(torch.zeros(size), 3, 0)]
    g = np.stack([t.numpy() for t in tensors]).astype(np.float64)
    norms = np.sqrt(np.diag(g @ g.T))
    found = inner_products(tensors)
    assert found.dtype == np.float64
    assert np.abs(found - g @ g.T).max() <= 1e-12 * norms.max() ** 2
    np.testing.assert_allclose(np.diag(found), norms**2, rtol=1e-12)


def test_inner_products_of_tensors_of_any_layout() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    found = inner_products([x.T, torch.arange(6.0).reshape(3, 2), torch.ones(()).expand(3, 2)])
    assert found.tolist() == [[55, 0 + 3 + 2 + 12 + 8 + 25, 15], [50, 55, 15], [15, 15, 6]]
    assert inner_products([torch.zeros(0)]).tolist() == [[0]]


def test_statistics_of_a_layer_of_two_parameters() -> None:
    made = row()
    (gp, p, sp), (gr, r, sr) = filled(made, P, 1), filled(made, R, 2)
    task, total, gram = (made.values[f"layer/{name}"][0] for name in ("task", "total", "gram"))
    for k, name in enumerate(("a", "b")):
        want = {
            "gradient_sq": dot((p.tasks[name], p.tasks[name]), (r.tasks[name], r.tasks[name])),
            "update_sq": dot((sp.tasks[name], sp.tasks[name]), (sr.tasks[name], sr.tasks[name])),
            "gradient_dot_update": dot((p.tasks[name], sp.total), (r.tasks[name], sr.total)),
            "solo_sq": math.nan,
        }
        np.testing.assert_allclose(task[k], [want[s] for s in TASK_STATISTICS], rtol=1e-12)
        for other, second in enumerate(("a", "b")):
            want_gram = dot((p.tasks[name], p.tasks[second]), (r.tasks[name], r.tasks[second]))
            np.testing.assert_allclose(gram[k, other], want_gram, rtol=1e-9)
    want = {
        "gradient_sq": dot((gp, gp), (gr, gr)),
        "update_sq": dot((sp.total, sp.total), (sr.total, sr.total)),
        "gradient_dot_update": dot((gp, sp.total), (gr, sr.total)),
        "residual_gradient_sq": dot((p.residual, p.residual), (r.residual, r.residual)),
        "residual_sq": dot((sp.residual, sp.residual), (sr.residual, sr.residual)),
        "unattributed_sq": dot((sp.unattributed, sp.unattributed), (sr.unattributed, sr.unattributed)),
        "decay_sq": dot((sp.decay, sp.decay), (sr.decay, sr.decay)),
        "outside_sq": 0.0,
        "unexplained_gradient_sq": 0.0,
    }
    np.testing.assert_allclose(total, [want[s] for s in TOTAL_STATISTICS], rtol=1e-9)
    assert (made.values["layer/total"][1] == 0).all(), "the other layer"
    np.testing.assert_allclose(cast(Any, made.values["learning_rate/value"]), [0.2, np.nan])


def test_kept_coordinates() -> None:
    made = row()
    gp, p, sp = filled(made, P, 1)
    gq, q, sq = filled(made, Q, 2)
    for k, name in enumerate(("a", "b")):
        for path, tp, tq in (("gradient/gradient", p, q), ("update/update", sp, sq)):
            want = [*tp.tasks[name].flatten()[[1, 4]].tolist(), *tq.tasks[name].tolist(), 0, 0, 0]
            assert made.values[path][k].tolist() == want
    for path, whole_p, whole_q in (
        ("gradient/total", gp, gq),
        ("update/total", sp.total, sq.total),
        ("update/residual", sp.residual, sq.residual),
        ("update/unattributed", sp.unattributed, sq.unattributed),
        ("update/decay", sp.decay, sq.decay),
    ):
        assert made.values[path].tolist() == [*whole_p.flatten()[[1, 4]].tolist(), *whole_q.tolist(), 0, 0, 0]
    assert all(made.values[spec.path].shape == spec.shape for spec in made._shape.layout.arrays())


def test_absent_parts_are_zero_and_an_absent_task_too() -> None:
    made = row()
    made.add(Q, 0.1, torch.ones(2), GradientSplit({"a": torch.ones(2)}), StepSplit(torch.ones(2), closure=0.0))
    assert made.values["update/decay"].tolist() == [0] * 7
    assert made.values["gradient/gradient"][1].tolist() == [0] * 7
    assert made.values["layer/task"][1, 1, :3].tolist() == [0] * 3
    assert made.values["layer/total"][1].tolist() == [2, 2, 2] + [0] * (len(TOTAL_STATISTICS) - 3)


def test_the_worst_closure_is_kept() -> None:
    made = row()
    for parameter, closure in ((P, 1e-7), (Q, 3e-7), (R, 2e-7)):
        filled(made, parameter, 1, closure=closure)
    assert made.values["closure"] == 3e-7


def test_a_step_that_is_not_split_additively() -> None:
    """Its additive updates are not known; those of other parameters are."""
    made = row("both")
    _, _, step = filled(made, P, 1, tasks={}, closure=math.nan, solo=True)
    filled(made, Q, 2, solo=True)
    filled(made, R, 3, solo=True)
    update = made.values["update/update"]
    assert np.isnan(update[:, :2]).all()
    assert np.isfinite(update[:, 2:]).all()
    statistics = made.values["layer/task"][:, :, TASK_STATISTICS.index("update_sq")]
    assert np.isnan(statistics).tolist() == [[True, True], [False, False]]
    assert made.values["update/solo"][1, :2].tolist() == step.solo["b"].flatten()[[1, 4]].tolist()
    solo: Any = made.values["layer/task"][:, 1, TASK_STATISTICS.index("solo_sq")]
    assert (solo > 0).all()
    assert made.values["closure"] == 1e-7


def test_losses() -> None:
    made = row(tasks=("a", "b", "c"))
    made.losses({"b": 2.0, "a": 1.0}, {"b": 0.5, "a": math.nan}, 3.0)
    np.testing.assert_array_equal(made.values["loss/loss"], [1, 2, np.nan])
    np.testing.assert_array_equal(made.values["loss/weight"], [np.nan, 0.5, np.nan])
    assert made.values["loss/total"] == 3
    assert [made.values[name].item() for name in ("step", "epoch", "skipped")] == [7, 2, 0]


def test_a_skipped_step() -> None:
    """The gradients mean nothing, and nothing moved."""
    made = row()
    filled(made, P, 1, total=torch.zeros(2, 3), tasks={})
    made.skip()
    assert made.values["skipped"] == 1
    for path in ("gradient/gradient", "gradient/total", "layer/task", "layer/total", "layer/gram"):
        assert np.isnan(made.values[path]).all(), path
    assert (made.values["update/total"] == 0).all()


def test_a_row_holds_no_tensor_of_the_step() -> None:
    made = row()
    total, _, _ = filled(made, R, 1)
    kept = made.values["gradient/total"].copy()
    total += 1
    assert (made.values["gradient/total"] == kept).all()
    assert not made.holds(torch.zeros(3))
    assert made.holds(R)


def test_half_and_double_parts() -> None:
    made = row()
    halves = torch.tensor([1.5, 2.5], dtype=torch.bfloat16)
    made.add(Q, 0.1, torch.ones(2, dtype=torch.float64), GradientSplit({"a": halves}), StepSplit(halves, closure=0.0))
    assert made.values["gradient/gradient"][0, 2:4].tolist() == [1.5, 2.5]
    assert made.values["layer/gram"][1, 0, 0] == 1.5**2 + 2.5**2
