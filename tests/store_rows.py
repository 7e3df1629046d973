"""Runs whose every value follows from its place: row ``step`` of an array can be told without having been kept."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dominance.schema import Layout, Parameter
from dominance.store.writer import RunWriter


def make_layout(tasks: int = 2, coords: int = 40, layers: int = 3, attribution: str = "additive") -> Layout:
    """``coords`` coordinates spread over one parameter a layer; the first layer is task-specific, the others shared."""
    names = [f"trunk.{i}" for i in range(layers)]
    known = tuple(chr(ord("a") + i) for i in range(tasks))
    parameters = [
        Parameter(f"{name}.weight", name, (coords, 2), known[:1] if i == 0 else known) for i, name in enumerate(names)
    ]
    parameter = np.sort(np.arange(coords) % layers)
    return Layout(
        list(known),
        parameters,
        names,
        parameter,
        np.arange(coords) * 2,
        1.0 + np.arange(coords),
        attribution,
        {"seed": 7},
    )


def value(path: str, shape: tuple[int, ...], dtype: str, step: int) -> Any:
    """What ``path`` holds in row ``step``: never NaN and never -1, different in every place, exact in float32."""
    place = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape)
    salt = sum(map(ord, path)) % 97
    result = 1.0 + step + place / 1024 + salt * 4096
    return result.astype(dtype) if np.dtype(dtype).kind == "f" else np.asarray(step + salt % 7).astype(dtype)


def make_row(layout: Layout, step: int) -> dict[str, Any]:
    row = {spec.path: value(spec.path, spec.shape, spec.dtype, step) for spec in layout.arrays(exact=True)}
    return row | {"step": step, "skipped": 0}


def expected(layout: Layout, path: str, rows: int) -> np.ndarray[Any, Any]:
    """Rows 0 to ``rows`` of an array, as ``make_row`` makes them."""
    spec = next(spec for spec in layout.arrays(exact=True) if spec.path == path)
    if path in ("step", "skipped"):
        return np.arange(rows) if path == "step" else np.zeros(rows, np.int8)
    return np.stack([value(path, spec.shape, spec.dtype, step) for step in range(rows)])


def write_run(path: Path, layout: Layout, steps: int, **options: Any) -> Path:
    with RunWriter(path, layout, exact=True, **options) as writer:
        for step in range(writer.committed_steps, steps):
            assert writer.append(make_row(layout, step))
    return path


def noise_row(layout: Layout, rng: np.random.Generator) -> dict[str, Any]:
    """Random bits, NaN and infinities among them: LZ4 finds nothing in it."""
    row: dict[str, Any] = {}
    for spec in layout.arrays(exact=True):
        size = int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
        row[spec.path] = np.frombuffer(rng.bytes(size), spec.dtype).reshape(spec.shape)
    return row


def in_child(work: Callable[[], None]) -> None:
    """Run ``work`` in a fork of this process, as a DataLoader worker would."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001 - the child must never get back into pytest
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def files_of(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


def size_of(path: Path) -> int:
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def du(path: Path) -> int:
    """Bytes of the disk that a folder takes, as the command of that name counts them; in memory, where folders take
    nothing, a block for each of them.
    """
    total = 0
    for found in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # removed meanwhile
            total += max(found.lstat().st_blocks * 512, 4096 * found.is_dir())
    return total


def attributes_of(path: Path) -> dict[str, Any]:
    return dict(json.loads((path / "data.zarr" / "zarr.json").read_bytes())["attributes"])
