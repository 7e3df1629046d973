"""CPU seconds of ``info``, ``summary`` and ``report`` of a small run, each a process of its own as a user starts it.

    python tests/speed/reading.py [--run RUN] [--rounds 7] [--against CHECKOUT]

Without RUN, one of Gaussian updates is written: three tasks, 460 steps, as the digits of `make demo` have. With
CHECKOUT, another checkout of the project reads the same run in turn, and the median of the ratios is told. What the
libraries take that a labelled dataset needs (numpy, pandas, xarray) is measured in the same rounds. It asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))
from runs import planted_rows, write_run

HERE = Path(__file__).resolve()
LAYERS = {"trunk.0": 1200, "trunk.2": 3000, "trunk.6": 4000, "trunk.8": 1200}
COMMAND = "import sys; from dominance_cli.main import main; main()"


def cpu(checkout: Path, code: str, *arguments: str) -> float:
    """User and system seconds of one interpreter that finds the package in that checkout."""
    where = os.pathsep.join(str(folder) for folder in (checkout, checkout / ".ci" / "typing"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": where},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--against", type=Path, help="another checkout of the project")
    given = parser.parse_args()
    builds = [HERE.parents[2], *([given.against.resolve()] if given.against else [])]
    with tempfile.TemporaryDirectory() as temporary:
        run = given.run or Path(temporary) / "run"
        if given.run is None:
            write_run(run, *planted_rows(steps=460, tasks=("left", "right", "recon"), layers=LAYERS))
        commands = {
            "info": ["info", str(run)],
            "summary": ["summary", str(run)],
            "report": ["report", str(run), "-o", str(Path(temporary) / "report"), "--force"],
        }
        cpu(builds[0], COMMAND, *commands["report"])  # what is compiled and cached once
        rounds = [
            {
                "libraries": [cpu(builds[0], "import numpy, pandas, xarray")],
                **{name: [cpu(build, COMMAND, *command) for build in builds] for name, command in commands.items()},
            }
            for _ in range(given.rounds)
        ]
    for name in rounds[0]:
        taken = f"{name:10} {median(each[name][0] for each in rounds):5.2f} s"
        if len(rounds[0][name]) > 1:
            ratio = median(each[name][0] / each[name][1] for each in rounds)
            taken += f", {ratio:.2f} of the other checkout's {median(each[name][1] for each in rounds):.2f} s"
        print(taken)


if __name__ == "__main__":
    main()
