"""Three scripts of different make, none of which knows of us, under ``dominance try``."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from forks import Forks

SCRIPTS = Path(__file__).parent / "scripts"


def tried(forks: Forks, folder: Path, script: str, *options: str) -> dict[str, str]:
    """Method -> its line of the table."""
    words = ["try", "-q", "--seeds", "1", "-j", "1", "--methods", "nash-mtl,adatask", str(SCRIPTS / script), *options]
    done = forks.python("-m", "dominance", *words, cwd=folder)
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.split("\n\n")[0].splitlines()
    return {"": head, **{line.split("  ")[0]: line for line in lines}}


def people(path: Path) -> Path:
    """A file of the form of the census', of people that are made up."""
    rng = random.Random(0)
    lines = []
    for _ in range(300):
        fields = [str(rng.randrange(9)) for _ in range(42)]
        fields[7], fields[39] = rng.choice(["Never married", "Widowed"]), str(rng.randrange(53))
        fields[41] = rng.choice(["- 50000.", "50000+."])
        lines.append(", ".join(fields))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_plain_loop_with_clipping_and_a_cycle_of_learning_rates(forks: Forks, tmp_path: Path) -> None:
    table = tried(forks, tmp_path, "clipped_loop.py", "--steps", "30")
    assert list(table) == ["", "as it is", "nash-mtl", "adatask"]
    assert "rent_loss loss" in table[""]
    assert "liked_loss loss" in table[""]


def test_a_mixture_of_experts(forks: Forks, tmp_path: Path) -> None:
    table = tried(forks, tmp_path, "census_mmoe.py", "--steps", "30", "--data", str(people(tmp_path / "people.csv")))
    assert list(table) == ["", "as it is", "nash-mtl", "adatask"]
    assert all(f"{task}_loss loss" in table[""] for task in ("income", "married", "weeks"))


def test_a_lightning_module(forks: Forks, tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    table = tried(forks, tmp_path, "digits_lightning.py", "--epochs", "1")
    assert list(table) == ["", "as it is", "nash-mtl", "adatask"]
    assert "digit_loss loss" in table[""]
    assert "ink_loss loss" in table[""]
