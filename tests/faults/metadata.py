"""Runs whose metadata were changed, opened and read: each is read, or refused in one line."""

from __future__ import annotations

import shutil
import tempfile
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
