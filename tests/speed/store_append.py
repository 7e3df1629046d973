"""What recording costs the caller a step, and how fast a run is read, beside a plain memory map.

    python tests/speed/store_append.py [--folder FOLDER] [--rounds 5]

Appends rows of 0.8 and 16 MB to a run and to a memory map of the same values in turns, then streams update/update from
both in turns. Times are medians over the steps (append) and over the rounds (read).
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from store_rows import make_layout

from dominance.store.reader import array, open_run
from dominance.store.writer import RunWriter

TASKS = 2
PAUSE = {0.8: 0.004, 16.0: 0.06}  # seconds of training between two steps, in which the writer's thread may work
STEPS = {0.8: 256, 16.0: 48}


def row_of(coords: int, rng: np.random.Generator) -> dict[str, Any]:
    layout = make_layout(TASKS, coords)
    row: dict[str, Any] = {
        spec.path: rng.standard_normal(spec.shape).astype(spec.dtype) for spec in layout.arrays() if spec.shape
    }
    return row | {"step": 0, "time": 0.0}


def train(seconds: float) -> None:
    """Stands for a training step: numpy work outside the interpreter's lock, as torch's is."""
    end = time.perf_counter() + seconds
    matrix = np.ones((200, 200), np.float32)
    while time.perf_counter() < end:
        matrix @ matrix


def append(folder: Path, megabytes: float) -> int:
    coords = int(megabytes * 1e6 / 4 / (2 * TASKS + 5))
    rng = np.random.default_rng(0)
    row = row_of(coords, rng)
    per_step = [value for value in row.values() if np.ndim(value)]
    size = sum(value.nbytes for value in per_step)
    steps = STEPS[megabytes]
    mapped = np.memmap(folder / "raw", np.uint8, "w+", shape=(steps, size))
    writer = RunWriter(folder / "run", make_layout(TASKS, coords))
    times: dict[str, list[float]] = {"store": [], "memmap": []}
    for step in range(steps):
        row["step"] = step
        begun = time.perf_counter()
        writer.append(row)
        times["store"].append(time.perf_counter() - begun)
        train(PAUSE[megabytes])
        begun = time.perf_counter()
        place = 0
        for value in per_step:
            mapped[step, place : place + value.nbytes] = value.reshape(-1).view(np.uint8)
            place += value.nbytes
        times["memmap"].append(time.perf_counter() - begun)
        train(PAUSE[megabytes])
    begun = time.perf_counter()
    writer.close()
    closing = time.perf_counter() - begun
    store, raw = median(times["store"]) * 1e3, median(times["memmap"]) * 1e3
    print(
        f"append {size / 1e6:5.1f} MB a step: store {store:7.3f} ms, memmap {raw:7.3f} ms, ratio {store / raw:5.2f}; "
        f"mean {np.mean(times['store']) * 1e3:.3f} ms, waited {writer.waited_seconds:.2f} s, close {closing:.2f} s, "
        f"{writer.bytes_written / (steps * size):.2f} of the raw bytes"
    )
    return coords


def read(folder: Path, coords: int, rounds: int) -> None:
    run = open_run(folder / "run")
    stored = array(run, "update/update")
    assert stored is not None
    steps, tasks = stored.shape[:2]
    raw = np.memmap(folder / "values", np.float32, "w+", shape=(steps, tasks, coords))
    raw[...] = stored[...]
    times: dict[str, list[float]] = {"store": [], "memmap": []}
    for _ in range(rounds):
        for name, source in (("store", stored), ("memmap", raw)):
            begun = time.perf_counter()
            for first in range(0, steps, stored.chunks[0]):
                for task in range(tasks):
                    float(np.asarray(source[first : first + stored.chunks[0], task]).max())
            times[name].append(time.perf_counter() - begun)
    rate = {name: raw.nbytes / 1e9 / median(values) for name, values in times.items()}
    print(
        f"read update/update, {raw.nbytes / 1e6:.0f} MB: store {rate['store']:.2f} GB/s, "
        f"memmap {rate['memmap']:.2f} GB/s, ratio {rate['memmap'] / rate['store']:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", help="where to write; default a temporary folder")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for megabytes in STEPS:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            read(folder, append(folder, megabytes), options.rounds)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
