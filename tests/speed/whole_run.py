"""What the default schedule costs a whole run, its start and its end included: CPU seconds over the plain program's.

    python tests/speed/whole_run.py [--seconds 60] [--rounds N] [--nets ...] [-- FLAGS OF dominance record]

Each run is a process of its own, as a user starts it: ``python SCRIPT``, then ``dominance record SCRIPT``, in turns.
How many steps take the seconds is told by a plain run of a few. It asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve()
NETS = ("tiny MLP", "MLP 6x1024", "ResNet", "transformer")
_ENOUGH = 5.0
"""Seconds of steps that tell what one costs."""


def train(kind: str, tasks: int, optimizer: str, steps: int) -> None:
    """The script that is recorded; without a number of steps it prints what one costs."""
    import torch
    from record_cost import losses, net, optimizer_of

    torch.set_num_threads(1)
    model, x = net(kind, tasks)
    by = optimizer_of(model, optimizer)

    def step() -> None:
        by.zero_grad()
        sum(losses(model, x)).backward()
        by.step()

    if steps:
        for _ in range(steps):
            step()
        return
    for _ in range(3):
        step()
    start = time.process_time()
    while time.process_time() - start < _ENOUGH:
        step()
        steps += 1
    print((time.process_time() - start) / steps)


def cpu_seconds(command: list[str], folder: str) -> tuple[float, str]:
    """Of the process and those it started, and what it printed."""
    given = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, printed
    return usage.ru_utime + usage.ru_stime, printed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--tasks", type=int, default=4)
    parser.add_argument("--optimizer", default="Adam")
    parser.add_argument("--train", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--said", action="store_true", help="print what record prints")
    parser.add_argument("flags", nargs="*", help="of dominance record, after --")
    given = parser.parse_args()
    if given.train:
        train(given.train[0], int(given.train[1]), given.train[2], int(given.train[3]))
        return
    print("| net | K | optimizer | steps | plain, s | recorded / plain |", "|---|---|---|---|---|---|", sep="\n")
    for kind in given.nets:
        script = [str(HERE), "--train", kind, str(given.tasks), given.optimizer]
        with tempfile.TemporaryDirectory() as folder:
            each = float(cpu_seconds([sys.executable, *script, "0"], folder)[1])
            steps = max(int(given.seconds / each), 1)
            plain, ratios = [], []
            for turn in range(given.rounds):
                plain.append(cpu_seconds([sys.executable, *script, str(steps)], folder)[0])
                run = [sys.executable, "-m", "dominance", "record", *given.flags, "-o", f"run-{turn}"]
                seconds, printed = cpu_seconds([*run, *script, str(steps)], folder)
                ratios.append(seconds / plain[-1])
                if given.said:
                    print(printed)
        cells = [kind, str(given.tasks), given.optimizer, str(steps), f"{median(plain):.1f}", f"{median(ratios):.3f}"]
        print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
