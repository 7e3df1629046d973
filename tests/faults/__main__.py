"""``python -m faults 0:2000``: runs whose metadata were changed, opened and read; exit code 1 where one ends badly."""

from __future__ import annotations

import argparse
import collections
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from faults.judge import judge
from faults.mutations import base, mutate


def run(numbers: Iterable[int], *, show: bool = False) -> dict[str, list[str]]:
    """What is wrong with each mutation that ends badly, by number and change.

    Args:
        show: print each mutation and how it ended; else those that end badly.
    """
    bad: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        whole = base(Path(folder, "whole", "run"))
        for number in numbers:
            path = Path(folder, "changed", "run")
            shutil.rmtree(path.parent, ignore_errors=True)
            shutil.copytree(whole, path)
            mutation = mutate(path, number)
            found = judge(path)
            name = f"{number} {mutation.file}: {mutation.what}"
            wrong = [f"{command}: {outcome.wrong}" for command, outcome in found.items() if outcome.wrong]
            if wrong:
                bad[name] = wrong
            if show or wrong:
                print(name, [each.code for each in found.values()], *wrong, sep="\n    ", flush=True)
    return bad


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("numbers", nargs="?", default="0:10000", help="17, or 0:10000 [default]")
    parser.add_argument("--show", action="store_true", help="print each one")
    options = parser.parse_args()
    first, _, last = options.numbers.partition(":")
    numbers = range(int(first), int(last) if last else int(first) + 1)
    start = time.monotonic()
    bad = run(numbers, show=options.show)
    kinds = collections.Counter(line.partition(": ")[2] for lines in bad.values() for line in lines)
    for kind, count in kinds.most_common(40):
        print(f"{count:6} {kind}")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{len(numbers)} runs, {len(bad)} ended badly; {time.monotonic() - start:.0f} s, at most {most} MB")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
