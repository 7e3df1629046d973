"""Gram matrices, mixing and sharing, against one flat float64 matrix."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.optim.engine import task_gradients as task_gradients_module
from dominance.optim.engine.gradients import Sharing
from dominance.optim.engine.task_gradients import Row, TaskGradients, gram_matrix, weighted_sum, weighted_sums

SHAPES = [(3, 4), (), (7,), (2, 3, 5), (0,), (11,)]


def some(k: int, *, dtype: torch.dtype = torch.float32, holes: bool = True) -> TaskGradients:
    """Gradients of random parameters; with holes, some tasks reach only some of them."""
    generator = torch.Generator().manual_seed(k)
    parameters = tuple(torch.zeros(s, dtype=dtype, requires_grad=True) for s in SHAPES)
    rows: list[Row] = [
        [
            None if holes and (i + j) % 4 == 0 else torch.randn(s, generator=generator).to(dtype)
            for j, s in enumerate(SHAPES)
        ]
        for i in range(k)
    ]
    shared = (True, True, False, True, True, True)
    return TaskGradients(tuple("abcdefghijkl"[:k]), parameters, rows, tuple(torch.ones(k)), shared)


def flat(gradients: TaskGradients, shared: bool = True) -> np.ndarray:
    return np.stack(
        [
            np.concatenate(
                [
                    np.zeros(p.numel()) if g is None else g.double().numpy().ravel()
                    for g, p, s in zip(row, gradients.parameters, gradients.shared, strict=True)
                    if s == shared
                ]
            )
            for row in gradients.rows
        ]
    )


@pytest.mark.parametrize("block", [4, 10, 1000])
@pytest.mark.parametrize("k", [1, 2, 5, 12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_gram_matrix_is_that_of_the_flat_matrix(
    k: int, dtype: torch.dtype, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task_gradients_module, "BLOCK", block)
    gradients = some(k, dtype=dtype)
    truth = flat(gradients) @ flat(gradients).T
    found = gradients.gram()
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, found.T)
    tolerance = 1e-13 if dtype == torch.float64 else 3e-6
    np.testing.assert_allclose(found, truth, rtol=tolerance, atol=tolerance * truth.max())


@pytest.mark.parametrize("k", [3, 10])
def test_long_gradients_are_summed_in_double_precision(k: int) -> None:
    rows = [torch.randn(400_000, generator=torch.Generator().manual_seed(i)) + 0.5 for i in range(k)]
    exact = torch.stack(rows).double()
    truth = (exact @ exact.T).numpy()
    assert np.abs(gram_matrix([[row] for row in rows]) - truth).max() < 1.5e-6 * truth.max()


def test_a_gram_matrix_of_nothing_is_zero() -> None:
    np.testing.assert_array_equal(gram_matrix([[None], [None]]), np.zeros((2, 2)))
    np.testing.assert_array_equal(gram_matrix([[], []]), np.zeros((2, 2)))


def test_half_precision_does_not_overflow() -> None:
    big = torch.full((4,), 300.0, dtype=torch.float16)
    assert gram_matrix([[big]])[0, 0] == 360_000


@pytest.mark.parametrize("holes", [False, True])
def test_mixed_and_total_are_products_with_the_flat_matrix(holes: bool) -> None:
    gradients = some(4, holes=holes)
    matrix = np.random.default_rng(0).standard_normal((4, 4))
    matrix[1, 2] = 0
    heads = np.array([1.0, 2.0, 0.5, -1.0])
    mixed = gradients.mixed(matrix, heads)
    np.testing.assert_allclose(flat(mixed), matrix @ flat(gradients), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(flat(mixed, False), heads[:, None] * flat(gradients, False), rtol=1e-6)
    total = gradients.total(matrix.sum(0), heads)
    summed = [weighted_sum([row[i] for row in mixed.rows], np.ones(4)) for i in range(len(SHAPES))]
    for one, two in zip(total, summed, strict=True):
        assert one is not None
        assert two is not None
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_sums_leave_the_rows_alone_and_equal_the_single_sums_to_the_bit() -> None:
    gradients = some(3, holes=False)
    before = [[g.clone() for g in row if g is not None] for row in gradients.rows]
    columns = [[g for g in row if g is not None] for row in gradients.rows]
    for weights in ((1, 1, 1), (0.3, 1, 0), (0, 0, 1), (2, -1, 0.5)):
        for at, made in enumerate(weighted_sums(columns, weights)):
            single = weighted_sum([column[at] for column in columns], weights)
            assert made is not None
            assert single is not None
            assert torch.equal(made, single)
    assert weighted_sums(columns, (0, 0, 0)) == [None] * len(SHAPES)
    for row, kept in zip(gradients.rows, before, strict=True):
        assert all(torch.equal(g, k) for g, k in zip(row, kept, strict=True) if g is not None)


def test_adding_micro_batches() -> None:
    one = some(3)
    two = TaskGradients(("b", "z"), one.parameters, [one.rows[0], one.rows[1]], (torch.tensor(2.0),) * 2, one.shared)
    both = one.add(two)
    assert both.tasks == ("a", "b", "c", "z")
    np.testing.assert_allclose(flat(both)[1], flat(one)[1] + flat(one)[0], rtol=1e-6)
    np.testing.assert_array_equal(both.loss_values(), [1, 3, 1, 2])
    with pytest.raises(ValueError, match="different parameters"):
        one.add(some(3))


def test_a_parameter_stays_shared_and_state_comes_back() -> None:
    w, v = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    g = torch.ones(1)
    sharing = Sharing()
    assert sharing.shared(("a", "b"), (w, v), [[g, g], [g, None]]) == (True, False)
    assert sharing.shared(("a",), (w, v), [[g, g]]) == (True, False)
    assert sharing.shared(("a",), (v, w), [[g, g]]) == (False, True)
    again = Sharing()
    again.restore(sharing.state())
    assert again.shared(("a",), (v, w), [[g, g]]) == (False, True)
    assert sharing.shared(("b",), (w, v), [[g, g]]) == (True, True)
    assert again.state() == [["a"], ["a", "b"]]


def test_frozen_parameters_keep_their_place_in_the_state_and_another_number_is_refused() -> None:
    u, v, w = (torch.zeros(1, requires_grad=True) for _ in range(3))
    g = torch.ones(1)
    sharing = Sharing()
    sharing.shared(("a", "b"), (v, w), [[g, g], [g, None]], (u, v, w))
    assert sharing.state() == [[], ["a", "b"], ["a"]]
    again = Sharing()
    again.restore(sharing.state())
    assert again.state() == sharing.state()
    assert again.shared(("a",), (u, w), [[g, g]], (u, v, w)) == (False, False)
    assert again.shared(("a",), (v,), [[g]], (u, v, w)) == (True,)
    again.restore(sharing.state())
    with pytest.raises(ValueError, match="of 3 parameters, and 2 are given"):
        again.shared(("a",), (v, w), [[g, g]])
    copied = pickle.loads(pickle.dumps(sharing))
    assert copied.shared(("b",), (w,), [[g]], (u, v, w)) == (True,)


def test_a_factor_of_zero_gives_zeros_where_the_task_reaches() -> None:
    w, v = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    g = torch.ones(1)
    gradients = TaskGradients(("a", "b"), (w, v), [[g, None], [g, g]], (g[0], g[0]), (True, True))
    assert [None if t is None else t.item() for t in gradients.total([1, 0])] == [1, 0]
    assert [[None if t is None else t.item() for t in row] for row in gradients.mixed(np.diag([0, 1])).rows] == [
        [0, None],
        [1, 1],
    ]
    assert gradients.total([1, 1], [0, 0])[1] is not None
    alone = TaskGradients(("a", "b"), (w, v), [[None, None], [None, g]], (g[0], g[0]), (True, False))
    assert alone.total([1, 1], [1, 0]) == [None, torch.zeros(1)]


def test_names_that_are_no_strings_are_refused() -> None:
    with pytest.raises(TypeError, match="strings"):
        TaskGradients((0,), (), [[]], (torch.ones(()),), ())  # type: ignore[arg-type]


def test_rows_of_the_wrong_length_are_refused() -> None:
    w = torch.zeros(1, requires_grad=True)
    empty: list[Row] = [[]]
    with pytest.raises(ValueError, match="one entry"):
        TaskGradients(("a",), (w,), empty, (torch.ones(()),), (True,))
    with pytest.raises(ValueError, match="1 rows"):
        TaskGradients(("a", "b"), (w,), empty, (torch.ones(()),), (True,))


def test_losses_of_several_types_are_read() -> None:
    mixed: tuple[Tensor, ...] = (torch.tensor(1.5), torch.tensor(2.5, dtype=torch.float64))
    found = TaskGradients(("a", "b"), (), [[], []], mixed, ())
    np.testing.assert_array_equal(found.loss_values(), [1.5, 2.5])


def test_tensors_of_different_shapes_have_no_inner_product() -> None:
    for shapes in (((2, 3), (3, 2)), ((4,), (7,)), ((0,), (7,))):
        with pytest.raises(ValueError, match="no inner product"):
            gram_matrix([[torch.ones(shape)] for shape in shapes])
    np.testing.assert_array_equal(gram_matrix([[None], [torch.ones(2)]]), [[0, 0], [0, 2]])


@pytest.mark.parametrize("factors", [(1e25, 1.0, 1e-25), (1e-24, 1e-30, 1e-21), (1e20, 1e30, 1e19)])
def test_numbers_whose_squares_float32_cannot_hold(factors: tuple[float, ...]) -> None:
    gradients = some(3)
    rows = [[None if g is None else g * f for g in row] for row, f in zip(gradients.rows, factors, strict=True)]
    exact = [[None if g is None else g.double() for g in row] for row in rows]
    np.testing.assert_allclose(gram_matrix(rows), gram_matrix(exact), rtol=1e-4)
    with_zero: list[Row] = [*rows, [None] * len(SHAPES), [torch.zeros(shape) for shape in SHAPES]]
    np.testing.assert_allclose(gram_matrix(with_zero)[:3, :3], gram_matrix(exact), rtol=1e-4)
    assert not gram_matrix(with_zero)[3:].any()
    broken: list[Row] = [*rows, [torch.full(shape, torch.inf) for shape in SHAPES]]
    assert not np.isfinite(gram_matrix(broken)[3, 3])
    assert np.isfinite(np.diagonal(gram_matrix(broken))[:3]).all()


def test_autocast_takes_no_digits_from_the_gram_matrix() -> None:
    gradients = some(3)
    plainly = gradients.gram()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(gradients.gram(), plainly)
