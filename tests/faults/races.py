"""Several recordings that are told one run directory: one of them records, the others are refused before they begin."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from forks import Forks

from dominance.store.reader import open_run
from dominance.store.verify import verify
from faults.trainings import training

STEPS = 40


def races(forks: Forks, folder: Path, count: int, writers: int = 2) -> list[str]:
    """What was wrong with each race that did not have one winner."""
    wrong = []
    for number in range(count):
        place = folder / f"race-{number}"
        how = random.Random(number).choice([[], ["--force"], ["--resume"]])
        codes = forks.run_together([_enter(place, at, how) for at in range(writers)])
        if problem := _judged(place, codes, how):
            wrong.append(f"race {number}: {problem}")
    return wrong


def _enter(place: Path, number: int, how: list[str]) -> dict[str, Any]:
    own = place / str(number)
    own.mkdir(parents=True)
    return training(own, record=["--every", "1", *how, "-o", str(place / "run")], steps=STEPS)


def _judged(place: Path, codes: list[int], how: list[str]) -> str:
    """One after the other they may both record, where the later one may take the place of the earlier, or go on."""
    errors = [(place / str(number) / "errors").read_text() for number in range(len(codes))]
    began = [(place / str(number) / "progress").exists() for number in range(len(codes))]
    for code, error, script in zip(codes, errors, began, strict=True):
        if code not in (0, 2) or (code == 2 and (script or len(error.splitlines()) != 1)):
            return f"exit code {code}, script {'begun' if script else 'not begun'}: {error[-300:]!r}"
    if codes.count(0) != 1 and not how:
        return f"exit codes {codes}"
    if 0 not in codes:
        return "nobody recorded"
    steps = open_run(place / "run")["step"].values.tolist()
    if damage := verify(place / "run"):
        return f"damage: {damage[:3]}"
    return "" if steps in (list(range(STEPS)), list(range(2 * STEPS))) else f"steps {steps}"
