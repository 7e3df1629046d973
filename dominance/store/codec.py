"""One chunk as bytes and back: bitshuffle, LZ4, CRC-32C, and the rounding that makes float32 compress.

The bytes are those of the Zarr v3 codec chain ``bytes, blosc, crc32c``, so that any Zarr reader opens them; they are
made here rather than by zarr-python because then their size is known before they touch the disk, which a byte budget
needs, and because the training process is spared a second event loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import Blosc, blosc

# As zarr-python sets it: compression runs in threads that are ours already.
blosc.use_threads = False

MANTISSA_BITS = 10
"""Mantissa bits that rounding keeps: half a unit in the last place is a relative error of 2**-11 = 4.9e-4."""

OVERHEAD = 20
"""Bytes that an incompressible chunk is longer than its content: 16 of Blosc, 4 of the checksum."""

_DROPPED = 23 - MANTISSA_BITS
_HALF = np.uint32((1 << (_DROPPED - 1)) - 1)
_KEPT = np.uint32(0xFFFFFFFF ^ ((1 << _DROPPED) - 1))
_MAGNITUDE = np.uint32(0x7FFFFFFF)
_SMALLEST_NORMAL = np.uint32(0x00800000)
_INFINITY = np.uint32(0x7F800000)
_OVERFLOWING = np.uint32(0x7F7FF000)  # the smallest finite magnitude that would round to infinity
_TILE = 1 << 18


def round_mantissa(values: npt.NDArray[np.float32]) -> None:
    """Round a contiguous float32 array in place to 10 mantissa bits, to nearest, ties to even.

    NaN (payload included), infinities, zeros and subnormals are left as they are. A finite value that would round to
    infinity (magnitude above 3.4015e38) becomes the largest one that 10 bits hold, 3.4011621e38, sign kept.
    """
    bits = values.reshape(-1).view(np.uint32)
    for start in range(0, bits.size, _TILE):
        _round_bits(bits[start : start + _TILE])


def _round_bits(bits: npt.NDArray[np.uint32]) -> None:
    work = bits & _MAGNITUDE
    # One unsigned comparison finds all that plain rounding would harm, and zeros, which it would not.
    work -= _SMALLEST_NORMAL
    special = np.flatnonzero(work >= _OVERFLOWING - _SMALLEST_NORMAL)
    kept = bits[special]
    np.right_shift(bits, np.uint32(_DROPPED), out=work)
    work &= np.uint32(1)
    work += _HALF
    bits += work
    bits &= _KEPT
    if special.size:
        magnitude = kept & _MAGNITUDE
        overflows = (magnitude >= _OVERFLOWING) & (magnitude < _INFINITY)
        kept[overflows] &= _KEPT
        bits[special] = kept


def encode(chunk: npt.NDArray[Any]) -> bytes:
    """The bytes of one chunk, at most ``chunk.nbytes + OVERHEAD`` of them. ``chunk`` is C-contiguous, little-endian."""
    packed: bytes = _blosc().encode(chunk)
    return packed + int(google_crc32c.value(packed)).to_bytes(4, "little")


def decode(data: bytes, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    """The chunk that ``encode`` made ``data`` of.

    Raises:
        ValueError: the checksum does not match, or the content is no chunk of this dtype and shape.
    """
    result = np.empty(tuple(shape), little_endian(dtype))
    decode_into(np.frombuffer(data, np.uint8), result)
    return result


def decode_into(data: npt.NDArray[np.uint8], out: npt.NDArray[Any]) -> None:
    """The same, into a contiguous array.

    Raises:
        ValueError: the checksum does not match, or the content has another size; ``out`` may hold anything then.
    """
    packed, checksum = data[:-4], data[-4:].tobytes()
    if len(data) <= OVERHEAD or int(google_crc32c.value(packed)).to_bytes(4, "little") != checksum:
        raise ValueError("checksum does not match")
    # The checksum is no defence: what a stranger says that it holds is held against what it is to hold.
    size = int.from_bytes(packed[4:8].tobytes(), "little")
    if size != out.nbytes:
        raise ValueError(f"{size} bytes where {out.nbytes} should be")
    try:
        blosc.decompress(packed, out)
    except RuntimeError as error:
        raise ValueError(f"cannot be decompressed ({error})") from None


def largest(dtype: str, shape: Sequence[int]) -> int:
    """Most bytes that one chunk can take."""
    return prod(shape) * np.dtype(dtype).itemsize + OVERHEAD


def little_endian(dtype: str) -> np.dtype[Any]:
    return np.dtype(dtype).newbyteorder("<")


def codec_metadata(dtype: str) -> list[dict[str, Any]]:
    """What ``encode`` does, in the words of the Zarr v3 specification."""
    size = np.dtype(dtype).itemsize
    return [
        {"name": "bytes", "configuration": {"endian": "little"}} if size > 1 else {"name": "bytes"},
        {
            "name": "blosc",
            "configuration": {"typesize": size, "cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "blocksize": 0},
        },
        {"name": "crc32c"},
    ]


def _blosc() -> Any:
    return Blosc(cname="lz4", clevel=5, shuffle=Blosc.BITSHUFFLE)
