"""Peak memory of analysing a run that is much larger than memory.

    python tests/speed/analyse_memory.py [--gigabytes 50] [--coords 300000] [--tasks 3]

The run has that many GB of raw float32 updates; its chunks are links to one block of steps, so that it takes little
room on disk. Prints the peak resident memory of the process, imports included, beside that of the same run of a
hundredth of the steps. Each is measured in a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from long_runs import size_on_disk, write_long_run

from dominance import au, open_run, rau_buckets

ANALYSES: dict[str, Callable[[Any], object]] = {"rau_buckets": rau_buckets, "au": au}


def peak() -> float:
    """GB of resident memory that this process has had at most; of Linux."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024 / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=50)
    parser.add_argument("--coords", type=int, default=300_000)
    parser.add_argument("--tasks", type=int, default=3)
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        analysis, path = asked.measure
        run = open_run(path)
        before, start, processor = peak(), time.perf_counter(), time.process_time()
        ANALYSES[analysis](run)
        size = run["update/update"].nbytes / 1e9
        rate = f"{size / (time.perf_counter() - start):.2f} GB/s, {size / (time.process_time() - processor):.2f} a core"
        print(f"{analysis} of {size:.1f} GB: peak {peak():.2f} GB, {before:.2f} before it began; {rate}", flush=True)
        return
    steps = int(asked.gigabytes * 1e9 / (4 * asked.coords * asked.tasks))
    with tempfile.TemporaryDirectory() as name:
        for number in (steps // 100, steps):
            path = write_long_run(Path(name, str(number)), number, asked.coords, asked.tasks)
            print(f"{number} steps, {size_on_disk(path) / 1e9:.2f} GB on disk", flush=True)
            for analysis in ANALYSES:
                subprocess.run([sys.executable, __file__, "--measure", analysis, str(path)], check=True)


if __name__ == "__main__":
    main()
