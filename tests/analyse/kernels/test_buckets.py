from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominance.analyse.kernels.buckets import bucket_counts
from dominance.analyse.kernels.ratio import ratio

EDGES = (0, 0.2, 0.4, 0.6, 0.8, 1)


def by_definition(values: list[float], edges: tuple[float, ...]) -> list[int]:
    counts = [0] * (len(edges) - 1)
    for value in values:
        for b in range(len(counts)):
            if edges[b] < value <= edges[b + 1] or (b == 0 and value == 0):
                counts[b] += 1
    return counts


@pytest.mark.parametrize(
    ("value", "bucket"),
    [(0.0, 0), (1e-300, 0), (0.2, 0), (0.2000001, 1), (0.4, 1), (0.5, 2), (0.6, 2), (0.8, 3), (0.8000001, 4), (1.0, 4)],
)
def test_edges_belong_to_the_bucket_below(value: float, bucket: int) -> None:
    counts = bucket_counts(np.array([[value]]), EDGES)[0, :, 0]
    assert counts.tolist() == [int(b == bucket) for b in range(5)]


@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.1, 3.3e-11, 7.77e5])
def test_a_ratio_that_is_an_edge_but_for_rounding(scale: float) -> None:
    five_alike = ratio(np.full((5, 1), scale))  # 0.2 each
    assert bucket_counts(five_alike, EDGES)[:, 0].tolist() == [[1]] * 5
    ten_alike = ratio(np.full((10, 200), scale) * np.random.default_rng(0).random(200))  # a fifth come out above 0.1
    assert bucket_counts(ten_alike, (0, 0.1, 1))[:, :, 0].tolist() == [[200, 0]] * 10
    four_to_one = ratio(np.array([[4 * scale], [scale]]))  # 0.8 and 0.2
    assert bucket_counts(four_to_one, EDGES)[:, :, 0].tolist() == [[0, 0, 0, 1, 0], [1, 0, 0, 0, 0]]


def test_untouched_is_in_no_bucket() -> None:
    assert bucket_counts(np.full((2, 3), np.nan), EDGES).sum() == 0


@given(
    st.lists(
        st.sampled_from([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1 / 3, np.nan]), min_size=1, max_size=20
    ),
    st.sampled_from([EDGES, (0, 0.5, 1), (0, 1), (0, 0.1, 1 / 3, 1)]),
    st.integers(0, 2**20),
)
@settings(deadline=None)
def test_against_the_definition_in_segments(values: list[float], edges: tuple[float, ...], cut: int) -> None:
    starts = np.unique([0, cut % len(values)])
    counts = bucket_counts(np.array([values, values[::-1]]), edges, starts)
    for task, row in enumerate((values, values[::-1])):
        for s, part in enumerate(np.split(np.array(row), starts[1:])):
            assert counts[task, :, s].tolist() == by_definition(part.tolist(), edges)
