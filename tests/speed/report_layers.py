"""What ``dominance report`` of a run of many layers takes: CPU seconds, and the most memory.

    python tests/speed/report_layers.py [--layers 5000] [--steps 60] [--coords 6] [--profile]

The run is of Gaussian updates; its report is made by a process of its own, as a user starts it. It asserts nothing.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from runs import planted_rows, write_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=5000)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--coords", type=int, default=6, help="of each layer")
    parser.add_argument("--keep", type=Path, help="folder for the run and its report; default a temporary one")
    parser.add_argument("--profile", action="store_true", help="write profile.out, for pstats, there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.keep or Path(temporary)
        run = folder / "run"
        if not run.exists():
            layers = {f"block.{i // 10}.sub{i % 10}": asked.coords for i in range(asked.layers)}
            write_run(run, *planted_rows(steps=asked.steps, layers=layers))
        profile = ["-m", "cProfile", "-o", str(folder / "profile.out")] if asked.profile else []
        begun = time.perf_counter()
        command = [
            sys.executable,
            *profile,
            "-m",
            "dominance",
            "report",
            str(run),
            "-o",
            str(folder / "report"),
            "--force",
        ]
        subprocess.run(command, check=True)
        took = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(
            f"{asked.layers} layers, {asked.steps} steps: {took.ru_utime + took.ru_stime:.1f} s of CPU,"
            f" {time.perf_counter() - begun:.1f} s, {took.ru_maxrss / 1024:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
