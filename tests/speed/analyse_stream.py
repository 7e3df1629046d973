"""How fast a stored run is analysed, against the same analysis of a raw memory map, and how the cost grows.

    python tests/speed/analyse_stream.py [--steps 2048] [--coords 100000] [--tasks 3] [--points 200] [--repeats 5]
    python tests/speed/analyse_stream.py --growth

The first prints medians of interleaved runs in GB of raw float32 updates, after one warm-up of each: from the store as
it is written, from the same chunks without compression, and from a raw memory map; and the peak memory. The second
prints processor time over 100 times the steps and 100 times the coordinates, as a multiple of what is proportional.
On a machine that is busy with other work the rate per second of processor time is the one to trust: with free cores,
two threads take two of these a second.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import google_crc32c
import numpy as np
import xarray as xr
from numcodecs import Blosc

sys.path.insert(0, str(Path(__file__).parents[1]))

from long_runs import write_long_run
from runs import as_tree, make_rows

from dominance import open_run, rau, rau_buckets
from dominance.store.writer import RunWriter


def build(folder: Path, steps: int, coords: int, tasks: int) -> tuple[dict[str, xr.DataTree], int]:
    """The same run in the store, in the store without compression, and over a raw memory map; bytes of its updates."""
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
    runs = {
        "store": open_run(folder / "run"),
        "uncompressed store": open_run(uncompressed(folder / "run", folder / "plain")),
        "memory map": as_tree(layout, rows),
    }
    return runs, raw.nbytes


def uncompressed(run: Path, to: Path) -> Path:
    """The run with chunks of updates that the same codec reads and that it did not compress."""
    shutil.copytree(run, to)
    for chunk in (to / "data.zarr/update/update").glob("c.*"):
        if chunk.is_file():
            values = np.frombuffer(Blosc().decode(chunk.read_bytes()[:-4]), dtype=np.float32)
            packed = Blosc(cname="lz4", clevel=0, shuffle=Blosc.BITSHUFFLE).encode(values)
            chunk.write_bytes(packed + int(google_crc32c.value(packed)).to_bytes(4, "little"))
    return to


def speeds(asked: argparse.Namespace, folder: Path) -> None:
    runs, size = build(folder, asked.steps, asked.coords, asked.tasks)
    for name in ("run", "plain"):
        on_disk = sum(file.stat().st_size for file in (folder / name / "data.zarr/update/update").rglob("*"))
        print(f"updates: {size / 1e9:.2f} GB raw, {on_disk / 1e9:.2f} GB in {name}")
    jobs: dict[str, Callable[[xr.DataTree], Any]] = {
        "rau_buckets": lambda run: rau_buckets(run, points=asked.points),
        "rau": rau,
    }
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for repeat in range(asked.repeats + 1):
        for job, call in jobs.items():
            for where, run in runs.items():
                wall, processor = time.perf_counter(), time.process_time()
                call(run)
                spent = (time.perf_counter() - wall, time.process_time() - processor)
                if repeat:
                    seconds.setdefault((job, where), []).append(spent)
    for job in jobs:
        for clock, unit in enumerate(("GB/s", "GB per processor second")):
            rate = {where: size / 1e9 / median(spent[clock] for spent in seconds[job, where]) for where in runs}
            said = ", ".join(f"{where} {each:.2f}" for where, each in rate.items())
            ratios = ", ".join(f"{rate[where] / rate['memory map']:.2f}" for where in list(runs)[:2])
            print(f"{job} ({unit}): {said}; stores against the memory map {ratios}")


def growth(folder: Path) -> None:
    """Processor seconds of rau_buckets over runs that are 1, 10 and 100 times as long or as wide."""
    for what, sizes in (
        ("steps", [(160 * times, 60_000) for times in (1, 10, 100)]),
        ("coordinates", [(640, 3_000 * times) for times in (1, 10, 100)]),
    ):
        costs = []
        for steps, coords in sizes:
            run = open_run(write_long_run(folder / f"{steps}-{coords}", steps, coords))
            rau_buckets(run, points=20)
            spent = []
            for _ in range(3):
                start = time.process_time()
                rau_buckets(run, points=20)
                spent.append(time.process_time() - start)
            costs.append(median(spent) / run["update/update"].nbytes * 1e9)
            print(f"{steps} steps of {coords} coordinates: {median(spent):.2f} s, {costs[-1]:.2f} s a GB")
        each = ", ".join(f"{cost / costs[-1]:.2f}" for cost in costs)
        print(f"cost a GB over 100 times the {what}, against the largest: {each}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 2048), ("coords", 100_000), ("tasks", 3), ("points", 200), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--growth", action="store_true")
    asked = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        if asked.growth:
            growth(Path(name))
        else:
            speeds(asked, Path(name))
        print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, maps included")


if __name__ == "__main__":
    main()
