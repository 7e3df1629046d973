"""Zero or not, the same or not: whatever the first entries say, it is true of all."""

import pytest
import torch

from dominance.record.compare import differ_at_first, nonzero, same

SHAPES = [(), (0,), (7,), (5000,), (3, 5000), (5000, 3), (1, 1, 20000), (2, 3, 4, 500)]


@pytest.mark.parametrize("shape", SHAPES)
def test_zeros_are_zero(shape: tuple[int, ...]) -> None:
    assert not nonzero(torch.zeros(shape))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != (0,)])
@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("value", [1e-40, float("nan"), float("inf")])
def test_one_entry_anywhere_is_found(shape: tuple[int, ...], place: int, value: float) -> None:
    tensor = torch.zeros(shape)
    tensor.reshape(-1)[place] = value

    assert nonzero(tensor)


def test_zero_is_told_of_tensors_of_other_strides() -> None:
    tensor = torch.zeros(300, 300)
    tensor[299, 0] = 1

    assert nonzero(tensor.T)
    assert not nonzero(torch.zeros(300, 300).T)
    assert nonzero(torch.ones(1).expand(90000))


def test_nan_does_not_differ_from_nan() -> None:
    tensor = torch.full((100, 100), torch.nan)

    assert not differ_at_first(tensor, tensor.clone())


def test_what_begins_alike_is_not_said_to_differ() -> None:
    tensor = torch.randn(100, 100)
    other = tensor.clone()
    other[-1, -1] += 1

    assert not differ_at_first(tensor, other)


def test_first_entries_that_differ_are_seen() -> None:
    tensor = torch.randn(100, 100)
    other = tensor.clone()
    other[0, 0] += 1

    assert differ_at_first(tensor, other)


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != (0,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_one_entry_that_differs_anywhere_is_seen(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = torch.randn(shape).to(dtype)
    other = tensor.clone()
    other.reshape(-1)[-1] += 1

    assert same(tensor, tensor.clone())
    assert not same(tensor, other)


def test_zero_is_the_same_as_negative_zero() -> None:
    assert same(torch.zeros(100, 100), -torch.zeros(100, 100))


def test_views_that_begin_in_the_middle_of_eight_bytes_are_compared() -> None:
    whole = torch.randn(10001)

    assert same(whole[1:], whole[1:].clone())
    assert not same(whole[1:], whole[:-1].clone())


def test_layouts_that_differ_are_compared_by_entry() -> None:
    tensor = torch.randn(100, 100)

    assert same(tensor.T, tensor.T.contiguous())
    assert not same(tensor.T, tensor)
