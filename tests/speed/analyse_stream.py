"""How fast a stored run is analysed, against the same analysis of a raw memory map.

    python tests/speed/analyse_stream.py [--steps 2048] [--coords 100000] [--tasks 3] [--points 200] [--repeats 5]

Prints medians of interleaved runs in GB of raw float32 updates, after one warm-up of each, and the peak memory. On a
machine that is busy with other work the rate per second of processor time is the one to trust.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import xarray as xr

sys.path.insert(0, str(Path(__file__).parents[1]))

from runs import as_tree, make_rows

from dominance import open_run, rau, rau_buckets
from dominance.store.writer import RunWriter


def build(folder: Path, steps: int, coords: int, tasks: int) -> tuple[xr.DataTree, xr.DataTree, int]:
    """The same run in the store and as a tree over a raw memory map; and the bytes of its raw updates."""
    rng = np.random.default_rng(0)
    layout, small = make_rows(
        np.zeros((1, tasks, coords), dtype=np.float32), layers={"a": coords // 4, "b": coords - coords // 4}
    )
    raw = np.lib.format.open_memmap(folder / "raw.npy", mode="w+", dtype=np.float32, shape=(steps, tasks, coords))
    scale = 1e-3 * np.exp(rng.standard_normal((tasks, coords), dtype=np.float32))
    writer = RunWriter(folder / "run", layout)
    keep = ("skipped", "loss/weight", "layer/total", "layer/task")
    for step in range(steps):
        update = rng.standard_normal((tasks, coords), dtype=np.float32) * scale
        raw[step] = update
        writer.append({"step": step, "update/update": update} | {key: small[key][0] for key in keep})
    writer.close()
    raw.flush()
    rows = {
        key: np.repeat(value, steps, axis=0) if "/" in key and value.nbytes < 10_000 else value
        for key, value in small.items()
    }
    rows = {key: np.broadcast_to(value, (steps, *value.shape[1:])) for key, value in rows.items()}
    rows |= {"step": np.arange(steps), "update/update": np.load(folder / "raw.npy", mmap_mode="r")}
    return open_run(folder / "run"), as_tree(layout, rows), raw.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 2048), ("coords", 100_000), ("tasks", 3), ("points", 200), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        stored, mapped, size = build(Path(name), asked.steps, asked.coords, asked.tasks)
        on_disk = sum(file.stat().st_size for file in Path(name, "run", "data.zarr", "update", "update").rglob("*"))
        print(f"updates: {size / 1e9:.2f} GB raw, {on_disk / 1e9:.2f} GB on disk")
        jobs: dict[str, Any] = {
            "rau_buckets": lambda run: rau_buckets(run, points=asked.points),
            "rau": lambda run: rau(run),
        }
        seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for repeat in range(asked.repeats + 1):
            for job, call in jobs.items():
                for where, run in (("store", stored), ("memory map", mapped)):
                    wall, processor = time.perf_counter(), time.process_time()
                    call(run)
                    spent = (time.perf_counter() - wall, time.process_time() - processor)
                    if repeat:
                        seconds.setdefault((job, where), []).append(spent)
        for job in jobs:
            for clock, unit in enumerate(("GB/s", "GB per processor second")):
                speeds = [
                    size / 1e9 / median(spent[clock] for spent in seconds[job, where])
                    for where in ("store", "memory map")
                ]
                rates = f"{speeds[0]:.2f} from the store, {speeds[1]:.2f} from a memory map"
                print(f"{job}: {rates}, ratio {speeds[0] / speeds[1]:.2f} ({unit})")
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, the map included")


if __name__ == "__main__":
    main()
