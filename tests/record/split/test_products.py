"""Inner products of a tile, in float32 where that is good enough and in float64 where it is not."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dominance.record.split import products
from dominance.record.split.products import TILE, Products, single_precision

torch.set_num_threads(1)

SIZES = [1, 512, 4096, 4097, TILE]


def randoms(size: int, count: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(size, generator=generator) for _ in range(count)]


def exact(tensors: list[Tensor]) -> np.ndarray:
    wide = torch.stack(tensors).double()
    return (wide @ wide.T).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1e-16, 1.0, 1e15, 1e25])
def test_products_of_any_size_are_good_to_float32(size: int, scale: float) -> None:
    tensors = randoms(size, 5, scale)
    gram, squares = Products().of(tensors[:3], tensors[3:])

    want = exact(tensors)
    norms = np.sqrt(np.diag(want))
    np.testing.assert_array_less(np.abs(gram - want[:3, :3]), 3e-7 * np.outer(norms[:3], norms[:3]))
    np.testing.assert_allclose(squares, np.diag(want)[3:], rtol=3e-7)


def test_one_small_tensor_among_large_ones_is_not_lost() -> None:
    large, small = randoms(TILE, 2)
    gram, squares = Products().of([large, 1e-30 * small], [1e-30 * small])

    want = exact([large, 1e-30 * small])
    np.testing.assert_allclose(gram[1, 1], want[1, 1], rtol=1e-6)
    np.testing.assert_allclose(squares[0], want[1, 1], rtol=1e-6)


def test_zeros_and_nan_are_what_they_are() -> None:
    gram, squares = Products().of([torch.zeros(TILE)], [torch.full((TILE,), torch.nan)])

    assert gram.tolist() == [[0]]
    assert np.isnan(squares).all()


def test_products_do_not_follow_what_the_script_asked_of_its_own() -> None:
    tensors = randoms(TILE, 3)
    asked: Any = torch.backends.mkldnn
    asked.matmul.fp32_precision = "bf16"
    try:
        assert not single_precision()
        gram, _ = Products().of(tensors)
    finally:
        asked.matmul.fp32_precision = "none"
    with torch.autocast("cpu", torch.bfloat16):
        other, _ = Products().of(tensors)

    assert single_precision()
    np.testing.assert_allclose(gram, exact(tensors), rtol=1e-7)
    np.testing.assert_allclose(other, exact(tensors), rtol=1e-7)


def test_room_that_is_used_again_does_not_show() -> None:
    products = Products()
    products.of(randoms(TILE, 4))
    gram, _ = products.of(randoms(4096, 2))

    np.testing.assert_allclose(gram, exact(randoms(4096, 2)), atol=1e-3)


@pytest.mark.parametrize("size", [2 * TILE, 3 * TILE - 512])
def test_tensors_of_several_tiles(size: int) -> None:
    tensors = randoms(size, 3)
    gram, squares = Products().of(tensors[:2], tensors[2:])

    want = exact(tensors)
    np.testing.assert_allclose(gram, want[:2, :2], rtol=3e-7, atol=3e-7 * size)
    np.testing.assert_allclose(squares, want[2:, 2:].diagonal(), rtol=3e-7)


def test_tensors_of_two_precisions() -> None:
    one, other = randoms(600, 2)
    np.testing.assert_allclose(products.inner_products([one, other.double()]), exact([one, other]), rtol=1e-12)


@pytest.mark.parametrize(("size", "slowly"), [(4096, 0), (TILE, 0), (3584, 1), (4097, 1)])
def test_large_ones_of_whole_blocks_take_the_quick_way(size: int, slowly: int, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    exactly = products.products_and_squares
    monkeypatch.setattr(products, "products_and_squares", lambda *rows: (asked.append(1), exactly(*rows))[1])
    Products().of(randoms(size, 2))
    assert len(asked) == slowly


def test_room_that_is_not_needed_any_more_is_let_go() -> None:
    made = Products()
    made.of(randoms(TILE, 4))
    made.trim()
    assert len(made._room) == 4 * TILE
    made.of(randoms(TILE, 2))
    made.trim()
    assert len(made._room) == 4 * TILE, "half of it was needed"
    made.of(randoms(TILE, 1))
    made.trim()
    assert len(made._room) == 0


def test_products_that_stay_on_their_device() -> None:
    one, other, third = randoms(600, 3)
    found = products.products_on_device([one, other], [third]).numpy()
    want = exact([one, other, third])
    np.testing.assert_allclose(found, [*want[:2, :2].ravel(), want[2, 2]], rtol=1e-12, atol=1e-9)
