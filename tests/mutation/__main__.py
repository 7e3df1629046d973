"""How much the tests of a module see: one small change at a time, and whether they fail by it.

    PYTHONPATH=tests python -m mutation [--most 20] [--seed 0] [MODULE ...] [--tests TEST ...]

A module is a path like ``dominance/analyse/kernels/gcd.py``; without one, the arithmetic that the numbers of a run go
through. Its tests are those of the file of its name in ``tests``, and those of its own docstrings; or those of
``--tests``. The changes are cosmic-ray's; ``--most`` of them are drawn. They are made in a copy. Of each that no test
sees, the line is printed.
"""

from __future__ import annotations

import argparse
import gc
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).parents[2]
COPIED = ("dominance", "cli", ".ci", "tests", "conftest.py", "pyproject.toml")
OF_TYPES = "ReplaceBinaryOperator_BitOr"
"""What begins so changes mostly types: ``X | None``."""
SECONDS, TIMES = 60, 10
"""A change after which the tests take longer than this, and so many times as long as without it, is seen."""
HEAVY = ("matplotlib.pyplot", "numpy", "scipy.stats", "torch", "xarray", "zarr")
"""Imported once, for all children."""
KERNELS = ("buckets", "gcd", "geometry", "noise_scale", "second_moment")
RECORDER = ("compare", "split/rescaling", "tasks/cut", "write/books", "write/sampling")
MODULES = [f"dominance/analyse/kernels/{name}.py" for name in KERNELS] + [
    f"dominance/record/{name}.py" for name in RECORDER
]


@dataclass(frozen=True)
class Mutant:
    """One change: which operator's, and which of those that it can make."""

    operator: Any
    occurrence: int
    line: int

    def of(self, text: str) -> str:
        """The module with the change."""
        return str(mutate_code(text, self.operator, self.occurrence))


def mutants(text: str) -> Iterator[Mutant]:
    """Every change to code that is not a type or a docstring."""
    tree = get_ast(text)
    for name in operator_names():
        kind = get_operator(name)
        if OF_TYPES in name or kind.arguments():
            continue
        operator = kind()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(places):
            yield Mutant(operator, occurrence, line)


def tests_of(module: Path) -> list[str]:
    """The paths that pytest is given."""
    mirrored = ROOT / "tests" / module.relative_to(module.parts[0]).with_name(f"test_{module.name}")
    if not mirrored.is_file():
        raise SystemExit(f"{mirrored.relative_to(ROOT)} is not there: nothing tests {module} by its name")
    return [str(mirrored.relative_to(ROOT)), str(module)]


def passes(folder: Path, tests: list[str], seconds: float) -> bool:
    """Whether the tests see nothing: in a child, which has all but our own modules. One that does not end is seen."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        signal.alarm(math.ceil(seconds))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.path[:0] = [str(folder), str(folder / ".ci" / "typing")]
        os._exit(int(pytest.main(["-q", "-x", "--assert=plain", "-p", "no:cacheprovider", *tests])))
    return os.waitpid(child, 0)[1] == 0


def survivors(module: Path, folder: Path, tests: list[str], most: int, seed: int) -> tuple[int, list[str]]:
    """How many changes were tried, and a line for each that no test saw."""
    text, there = (ROOT / module).read_text("utf-8"), folder / module
    began = time.monotonic()
    if not passes(folder, tests, TIMES * SECONDS):
        raise SystemExit(f"the tests of {module} fail as it is: {' '.join(tests)}")
    seconds = SECONDS + TIMES * (time.monotonic() - began)
    every = list(mutants(text))
    drawn = random.Random(seed).sample(every, min(most, len(every)))
    unseen = []
    for mutant in sorted(drawn, key=lambda one: one.line):
        changed = mutant.of(text)
        there.write_text(changed, "utf-8")
        if passes(folder, tests, seconds):
            pairs = zip(text.splitlines(), changed.splitlines(), strict=False)
            before, after = next(pair for pair in pairs if pair[0] != pair[1])
            unseen.append(f"  {module}:{mutant.line}: {before.strip()}  ->  {after.strip()}")
    there.write_text(text, "utf-8")
    return len(drawn), unseen


def main() -> None:
    for heavy in HEAVY:
        import_module(heavy)
    gc.freeze()  # what children need not look through
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", type=Path, metavar="MODULE")
    parser.add_argument("--tests", nargs="+", metavar="TEST", help="of the modules, in place of those of their names")
    parser.add_argument("--most", type=int, default=20, help="changes to a module")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, symlinks=True)
            else:
                shutil.copy(ROOT / name, folder / name)
        tried, left = 0, 0
        for module in given.modules or map(Path, MODULES):
            count, unseen = survivors(module, folder, given.tests or tests_of(module), given.most, given.seed)
            tried, left = tried + count, left + len(unseen)
            print(f"{module}: {count - len(unseen)} of {count} changes are seen", *unseen, sep="\n", flush=True)
    print(f"in all {tried - left} of {tried}, {(tried - left) / tried:.0%}")


if __name__ == "__main__":
    main()
