"""Room that is handed out again."""

from __future__ import annotations

import torch

from dominance.record.rules.pool import Pool


def test_the_same_memory_after_a_restart_and_not_before() -> None:
    pool = Pool()
    first, second = pool.take(torch.empty(4, 5)), pool.take(torch.empty(3))
    assert first.data_ptr() != second.data_ptr()
    pool.restart()
    assert pool.take(torch.empty(2, 3)).data_ptr() == first.data_ptr()
    assert pool.take(torch.empty(30)).shape == (30,)


def test_like_in_shape_strides_and_dtype() -> None:
    pool = Pool()
    for like in (
        torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.empty(3, 4).T,
        torch.empty(()),
        torch.empty(0, 2),
        torch.empty(5, dtype=torch.float64),
    ):
        made = pool.take(like)
        assert (made.shape, made.stride(), made.dtype) == (like.shape, like.stride(), like.dtype)


def test_without_reuse_all_is_new() -> None:
    pool = Pool(reuse=False)
    one = pool.take(torch.empty(4))
    pool.restart()
    assert pool.take(torch.empty(4)).data_ptr() != one.data_ptr()
