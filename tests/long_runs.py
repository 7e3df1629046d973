"""Runs of any length on little disk: the chunks of their updates are one block of steps, linked again and again."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from runs import make_rows

from dominance.store.grid import block_rows, cut
from dominance.store.writer import RunWriter

SMALL = ("step", "epoch", "time", "skipped", "loss/weight", "layer/task", "layer/total")
"""What an analysis of updates reads besides them; those of other arrays are missing, and an error to read."""


def write_long_run(path: Path, steps: int, coords: int, tasks: int = 3, layers: int = 2) -> Path:
    """Updates are Gaussian, of another size for each task and coordinate; every block of steps is the same."""
    rng = np.random.default_rng(0)
    sizes = [coords // layers] * (layers - 1)
    named = {f"layer.{i}": size for i, size in enumerate([*sizes, coords - sum(sizes)])}
    layout, rows = make_rows(np.ones((1, tasks, coords), dtype=np.float32), layers=named)
    scale = 1e-3 * np.exp(rng.standard_normal((tasks, coords), dtype=np.float32))
    keep = {key: rows[key][0] for key in SMALL if key not in ("step", "epoch", "time")}
    block = cut(layout.arrays(), block_rows(layout.arrays()))["update/update"].rows
    writer = RunWriter(path, layout)
    for step in range(block):
        update = rng.standard_normal((tasks, coords), dtype=np.float32) * scale
        writer.append({"step": step, "update/update": update} | keep)
    writer.close()

    root = path / "data.zarr"
    chunks = root / "update" / "update"
    for number in range(1, -(-steps // block)):
        for file in chunks.glob("c.0.*"):
            os.link(file, chunks / file.name.replace("c.0.", f"c.{number}.", 1))
    for name in (other.parent.relative_to(root).as_posix() for other in root.rglob("zarr.json")):
        document = json.loads((root / name / "zarr.json").read_bytes())
        if document["node_type"] == "array" and document["dimension_names"][0] == "step":
            document["shape"][0] = steps
            (root / name / "zarr.json").write_text(json.dumps(document))
    document = json.loads((root / "zarr.json").read_bytes())
    del document["consolidated_metadata"]
    document["attributes"]["committed_steps"] = steps
    (root / "zarr.json").write_text(json.dumps(document))
    # Zarr by itself leaves out chunks of fill alone, which a writer never does.
    with zarr.config.set({"array.write_empty_chunks": True}):
        for name in SMALL:
            array: Any = zarr.open_array(root / name, mode="r+")
            array[:] = np.arange(steps) if name == "step" else np.broadcast_to(array[0], array.shape)
    return path


def size_on_disk(path: Path) -> int:
    """Bytes, each file once however often it is linked."""
    files = {file.stat().st_ino: file.stat().st_size for file in path.rglob("*") if file.is_file()}
    return sum(files.values())
