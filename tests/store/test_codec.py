from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dominance.store.codec import OVERHEAD, decode, encode, round_mantissa

BITS = st.integers(0, 2**32 - 1)
SUBNORMAL = st.integers(0, 2**23 - 1)
NEAR_OVERFLOW = st.integers(0x7F7F0000, 0x7FFFFFFF)


def by_definition(bits: int) -> int:
    """Nearest number of 10 mantissa bits, found among the two neighbours by exact arithmetic; ties to the even one."""
    sign, exponent, mantissa = bits >> 31, (bits >> 23) & 0xFF, bits & 0x7FFFFF
    if exponent in (0, 255):
        return bits  # zero, subnormal, infinite, NaN
    exact = Fraction(2**23 + mantissa, 2**13)
    below = exact.numerator // exact.denominator
    distances = exact - below, below + 1 - exact
    kept = below + (distances[1] < distances[0] or (distances[0] == distances[1] and below % 2 == 1))
    if kept == 2**11:
        exponent, kept = exponent + 1, 2**10
    if exponent == 255:
        exponent, kept = 254, 2**11 - 1  # said in the docstring: the largest finite, not infinity
    return sign << 31 | exponent << 23 | (kept - 2**10) << 13


@settings(max_examples=300, deadline=None)
@given(st.lists(BITS | SUBNORMAL | NEAR_OVERFLOW, min_size=1, max_size=40))
@example([0x7F7FFFFF, 0xFF7FF000, 0x7F7FEFFF, 0x7F800000, 0x7F800001, 0x7FFFFFFF, 0xFFFFFFFF, 0x007FFFFF, 0x00800000])
@example([0x3F801000, 0x3F803000, 0x3F800FFF, 0x3FFFF000, 0, 0x80000000])
def test_rounding_is_the_definition(bits: list[int]) -> None:
    values = np.array(bits, np.uint32).view(np.float32)
    round_mantissa(values)
    assert [hex(b) for b in values.view(np.uint32)] == [hex(by_definition(b)) for b in bits]


def test_rounding_again_changes_nothing_and_the_error_is_as_said() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((300, 2000)) * 10.0 ** rng.integers(-30, 30, (300, 2000))
    values = values.astype(np.float32)
    once = values.copy()
    round_mantissa(once)
    assert np.max(np.abs(once / values.astype(np.float64) - 1)) <= 2**-11
    twice = once.copy()
    round_mantissa(twice)
    np.testing.assert_array_equal(twice, once)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "int8"])
def test_a_chunk_comes_back_and_is_never_longer_than_said(dtype: str) -> None:
    noise = np.random.default_rng(1).bytes(64 * 3 * 5 * np.dtype(dtype).itemsize)
    chunk = np.frombuffer(noise, dtype).reshape(64, 3, 5)
    data = encode(chunk)
    assert len(data) <= chunk.nbytes + OVERHEAD
    assert decode(data, dtype, (64, 3, 5)).tobytes() == chunk.tobytes()


@pytest.mark.parametrize("place", [0, 17, -1])
def test_a_flipped_bit_is_noticed(place: int) -> None:
    data = bytearray(encode(np.arange(100.0)))
    data[place] ^= 4
    with pytest.raises(ValueError, match="checksum does not match"):
        decode(bytes(data), "float64", (100,))


def test_a_chunk_of_another_shape_is_noticed() -> None:
    with pytest.raises(ValueError, match="800 bytes where 792 should be"):
        decode(encode(np.arange(100.0)), "float64", (99,))
