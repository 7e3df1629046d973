"""The worked examples of CONTRIBUTING.md are followed in a copy of the package, word for word, and work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```(\w+)\n# (\S+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S)
FILES = {path: text for kind, path, text in BLOCKS if kind == "python"}
LINES = [(path, text) for kind, path, text in BLOCKS if kind == "diff"]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the examples in it."""
    house = tmp_path_factory.mktemp("house")
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("dominance", "cli"):
        shutil.copytree(ROOT / name, house / name, ignore=skip)
    for name in ("pyproject.toml", "conftest.py", "tests/runs.py", "tests/studies.py", "tests/forks.py"):
        (house / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, house / name)
    for path, text in FILES.items():
        assert not (house / path).exists()
        (house / path).parent.mkdir(parents=True, exist_ok=True)
        (house / path).write_text(text, encoding="utf-8")
    for path, text in LINES:
        after, *new = text.splitlines()
        assert after[0] == " "
        assert all(line[0] == "+" for line in new)
        old = (house / path).read_text("utf-8")
        assert old.count(f"{after[1:]}\n") == 1
        added = "".join(f"{line[1:]}\n" for line in new)
        (house / path).write_text(old.replace(f"{after[1:]}\n", f"{after[1:]}\n{added}"), encoding="utf-8")
    return house


def in_house(house: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(house), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=house, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_their_tests_and_docstrings_pass(house: Path) -> None:
    assert len(FILES) == 6
    # tests of the same name lie in two rooms, as everywhere here
    in_house(house, "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", *sorted(FILES))


def test_the_examples_are_written_as_the_rest_is(house: Path) -> None:
    if find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    in_house(house, "ruff", "check", "--no-cache", *FILES)
    in_house(house, "ruff", "format", "--no-cache", "--check", *FILES)


def test_an_example_is_one_file_one_test_and_one_line() -> None:
    files, tests = ({path for path in FILES if path.startswith(room)} for room in ("dominance/", "tests/"))
    assert {re.sub(r"(\w+)\.py$", r"test_\1.py", path.replace("dominance/", "tests/", 1)) for path in files} == tests
    assert [len(text.splitlines()) for _, text in LINES] == [2] * len(files)
