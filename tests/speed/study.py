"""Studies of many runs: how long they take to list, and whether AU over all of them costs more than run by run.

    python tests/speed/study.py [--runs 1000] [--full 200] [--steps 128] [--coords 50000] [--rounds 3]

Makes that many small runs through the store's writer and lists them, as a process of its own: time, CPU time and peak
memory, for ``open_study``, for a figure of all scores, and for the command. Then rau_buckets over full runs: run by
run, as one graph of dask's in threads, and on a cluster of two worker processes, in turns; and the memory of each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from long_runs import write_long_run
from runs import planted_rows, write_run


def peak() -> float:
    """MB of resident memory that this process has had at most; of Linux."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def resident() -> float:
    """MB of resident memory that this process has now; of Linux."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1000


def small_runs(folder: Path, count: int) -> None:
    """A grid of methods, learning rates and seeds; 40 recorded steps each, and scores of three splits."""
    layout, rows = planted_rows(steps=40, layers={"trunk.0": 40, "trunk.1": 30})
    for number in range(count):
        method, lr, seed = ("uw", "pcgrad", "cagrad", "famo")[number % 4], 10.0 ** -(number // 4 % 5), number // 20
        logged = [
            {"step": 39, "epoch": 0, "task": task, "split": split, "name": "mse", "value": 1 + number / 1000}
            for task in layout.tasks
            for split in ("train", "val", "final")
        ]
        training = {"benchmark": "toy", "method": method, "lr": lr, "seed": seed}
        layout.attrs = {"training": training, "method": method, "benchmark": "toy", "metrics": logged}
        write_run(folder / f"{method}-{lr:g}-s{seed}", layout, rows)


def timed(what: str, work: Callable[[], Any]) -> Any:
    begun, processor = time.perf_counter(), time.process_time()
    found = work()
    wall, cpu = time.perf_counter() - begun, time.process_time() - processor
    print(f"{what}: {wall:.2f} s, {cpu:.2f} s of CPU, peak {peak():.0f} MB", flush=True)
    return found


def read(folder: str) -> None:
    """What a process of its own does with the small runs."""
    import matplotlib as mpl

    mpl.use("agg")
    from dominance import final_scores, open_study, plot_scores

    study = timed("open_study", lambda: open_study(folder))
    timed("figure of all scores", lambda: plot_scores(final_scores(study)).savefig(f"{folder}.png"))


def listing(folder: Path, count: int) -> None:
    small_runs(folder, count)
    print(f"{count} small runs", flush=True)
    subprocess.run([sys.executable, __file__, "--read", str(folder)], check=True)
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dominance", "study", str(folder)], check=True, capture_output=True)
    print(f"dominance study: {time.perf_counter() - begun:.2f} s, from its start to its end")


def averages(folder: Path, count: int, steps: int, coords: int, rounds: int) -> None:
    from dask.distributed import Client, LocalCluster

    from dominance import open_study, rau_buckets

    first = write_long_run(folder / "0", steps, coords, 2)
    for number in range(1, count):  # the same files: what is measured is not the disk
        shutil.copytree(first, folder / str(number), copy_function=os.link)
    size = count * steps * coords * 2 * 4 / 1e9
    print(f"{count} full runs, {size:.1f} GB of updates", flush=True)
    kinds = ("run by run", "threads of dask", "two workers")
    spent: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with cluster, Client(cluster, set_as_default=False) as client:

        def on(kind: str, part: slice) -> None:
            study = open_study(folder, dask=kind != "run by run").isel(seed=part)
            begun, processor = time.perf_counter(), time.process_time() + sum(client.run(time.process_time).values())
            with client.as_current() if kind == "two workers" else contextlib.nullcontext():
                rau_buckets(study, by="all", points=1)
            processor = time.process_time() + sum(client.run(time.process_time).values()) - processor
            spent[kind].append((time.perf_counter() - begun, processor))
            workers = ", ".join(f"{each:.0f}" for each in client.run(resident).values())
            runs = part.stop or count
            wall, cpu = spent[kind][-1]
            said = f"{wall:.2f} s, {cpu:.2f} s of CPU; then {resident():.0f} MB here, {workers} MB in the workers"
            print(f"  {kind}, {runs} runs: {said}", flush=True)

        for kind in kinds:  # workers import what they need, and memory comes to where it stays
            on(kind, slice(max(count // 10, 2)))
            spent[kind].clear()
        for _ in range(rounds):
            for kind in kinds:
                on(kind, slice(None))
    for kind in kinds:
        wall, cpu = (median(each) for each in zip(*spent[kind], strict=True))
        alone = [median(each) for each in zip(*spent[kinds[0]], strict=True)]
        print(
            f"{kind}: {wall / alone[0]:.2f} of the time of run by run, {cpu / alone[1]:.2f} of its CPU time", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--full", type=int, default=200)
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--coords", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.read:
        read(asked.read)
        return
    with tempfile.TemporaryDirectory() as name:
        if asked.runs:
            listing(Path(name, "small"), asked.runs)
        if asked.full:
            averages(Path(name, "full"), asked.full, asked.steps, asked.coords, asked.rounds)


if __name__ == "__main__":
    main()
