"""``python -m faults KIND NUMBERS``: what befalls a run or its recording, tried and judged; exit code 1 where one ends
badly. Without arguments everything is tried, and ``--table docs/reliability.md`` writes down what came of it.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from forks import Forks

from faults.metadata import run
from faults.peers import appended
from faults.polls import polls
from faults.races import races
from faults.trainings import KINDS, program

BEGIN, END = "<!-- trials -->", "<!-- end of trials -->"


@dataclass(frozen=True)
class Tried:
    """A promise, and what its trials came to."""

    promise: str
    trials: int
    failures: int
    note: str = ""


def metadata(count: int, _: Path) -> list[Tried]:
    """Damaged metadata."""
    bad = run(range(count))
    return [Tried("a run with damaged metadata is read, or refused in one line", count, len(bad))]


def kills(count: int, folder: Path) -> list[Tried]:
    """Trainings that are killed."""
    found = program(["kill -9"], count, folder)
    bad = sum(bool(each.wrong) for each in found)
    lost = [each.lost for each in found if each.lost is not None]
    middle = sorted(lost)[len(lost) // 2]
    note = f"of up to 300 steps at most {max(lost)} were lost, in half of the trials at most {middle}"
    return [Tried("what was recorded before `kill -9` is whole", count, bad, note)]


def trainings(count: int, folder: Path) -> list[Tried]:
    """Every kind of fault."""
    found = program(list(KINDS), count, folder)
    bad = collections.Counter(each.kind for each in found if each.wrong)
    kinds = {each.kind for each in found}
    promise = f"{len(kinds)} kinds of fault leave weights, output and exit code of the training as without recording"
    return [Tried(promise, len(found), bad.total(), ", ".join(sorted(bad)))]


def polled(count: int, folder: Path) -> list[Tried]:
    """Readers of runs that grow."""
    with Forks() as forks:
        found = polls(forks, folder, count)
    for line in found.wrong[:20]:
        print(line)
    return [Tried("a reader of a run that grows sees whole rows, and the budget holds", found.count, len(found.wrong))]


def raced(count: int, folder: Path) -> list[Tried]:
    """Writers of one run."""
    with Forks() as forks:
        wrong = races(forks, folder, count)
    print(*wrong, sep="\n")
    return [Tried("of two recordings into one folder one records, the other is refused", count, len(wrong))]


def peers(count: int, folder: Path) -> list[Tried]:
    """What zarr's own append makes of the same kills."""
    return [
        Tried(
            "beside it: `append` of zarr's arrays, killed: no row that was never written",
            count,
            appended(folder, count),
        )
    ]


TRIALS: dict[str, tuple[Callable[[int, Path], list[Tried]], int]] = {
    "kills": (kills, 200),
    "trainings": (trainings, 3),
    "polls": (polled, 10_000),
    "races": (raced, 50),
    "metadata": (metadata, 10_000),
    "peers": (peers, 20),
}


def with_rows(text: str, found: list[Tried]) -> str:
    """The page with these rows in its table; those of other promises stay."""
    before, old, after = text.partition(BEGIN)[0], text.partition(BEGIN)[2].partition(END)[0], text.partition(END)[2]
    rows = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("|")}
    for heading in ("promise", "---"):
        rows.pop(heading, None)
    rows |= {each.promise: f"| {each.promise} | {each.trials:,} | {each.failures} | {each.note} |" for each in found}
    table = "\n".join(["| promise | trials | failures | |", "| --- | --- | --- | --- |", *rows.values()])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("kind", nargs="?", choices=[*TRIALS, "all"], default="all")
    parser.add_argument("count", nargs="?", type=int, help="how many [default: as many as docs/reliability.md says]")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="one damage of metadata, and how it ended")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the rows into the table of this file")
    options = parser.parse_args()
    if options.show is not None:
        return 1 if run([options.show], show=True) else 0
    found: list[Tried] = []
    for kind in TRIALS if options.kind == "all" else [options.kind]:
        trial, usual = TRIALS[kind]
        start = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            found += trial(options.count or usual, Path(folder))
        last = found[-1]
        print(
            f"{last.promise}: {last.trials} trials, {last.failures} failures, {time.monotonic() - start:.0f} s",
            flush=True,
        )
    if options.table is not None:
        options.table.write_text(with_rows(options.table.read_text(), found))
    return 1 if any(each.failures for each in found if "beside it" not in each.promise) else 0


if __name__ == "__main__":
    sys.exit(main())
