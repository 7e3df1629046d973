"""The lowest versions that are declared are those that `make lowest` runs."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [*PROJECT["dependencies"], *EXTRAS["examples"], *EXTRAS["dask"], *EXTRAS["remote"]]


def pinned(file: str) -> dict[str, Version]:
    lines = (ROOT / file).read_text().splitlines()
    found = [re.fullmatch(r"([\w.-]+)(?:\[.*\])?==(\S+)", line) for line in lines]
    return {canonicalize_name(m[1]): Version(m[2]) for m in found if m}


@pytest.mark.parametrize("line", DECLARED)
def test_the_lowest_that_is_declared_is_run(line: str) -> None:
    declared = Requirement(line)
    (bound,) = declared.specifier
    lowest = pinned("tests/lowest.txt")[canonicalize_name(declared.name)]
    assert (bound.operator, Version(bound.version)) == (">=", lowest)


@pytest.mark.parametrize("line", DECLARED)
def test_what_is_pinned_is_within_what_is_declared(line: str) -> None:
    declared = Requirement(line)
    assert pinned(".ci/requirements.txt")[canonicalize_name(declared.name)] in declared.specifier
