"""What ``--json`` prints is what docs/json.md says: every key of real documents, with its type."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dominance.analyse.verdict.finding import KINDS
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.config import RecordOptions
from dominance_cli.main import main
from dominance_cli.text import JSON_VERSION

PAGE = (Path(__file__).parents[2] / "docs/json.md").read_text("utf-8")
SECTIONS = {text.split("\n", 1)[0].strip("`"): text for text in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
SHARED = ("finding", "books", "account")
TYPES = {str: "text", bool: "yes/no", int: "number", float: "number", list: "list", dict: "object"}


@dataclass(frozen=True)
class Key:
    """A row of the page."""

    types: frozenset[str]
    optional: bool
    open: bool


def documented(section: str, place: str = "") -> dict[str, Key]:
    """The keys of a section, those of the objects that stand at the end of the page in their places."""
    found: dict[str, Key] = {}
    for name, said in re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", SECTIONS[section], re.MULTILINE):
        types = set(said.replace("(optional)", "").strip().split(" or "))
        for shared in types & set(SHARED):
            found |= documented(shared, f"{place}{name}.")
        plain = frozenset("object" if each in ("open", *SHARED) else each for each in types)
        found[f"{place}{name}"] = Key(plain, "(optional)" in said or name.endswith("[]"), "open" in types)
    return found


def keys(value: Any, known: dict[str, Key], place: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with its place, nothing below what is open."""
    if place in known and known[place].open:
        return
    if isinstance(value, dict):
        for key, each in value.items():
            below = f"{place}.{key}".lstrip(".")
            yield below, each
            yield from keys(each, known, below)
    elif isinstance(value, list):
        for each in value:
            yield from keys(each, known, f"{place}[]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json")
    for seed in range(2):
        options = TrainOptions("toy-2d", "equal-weight", seed=seed, epochs=6, settings={"steps": 10})
        train(options, folder / f"runs/{seed}", record=RecordOptions(every=1))
    (folder / "runs/begun.log").write_text("")
    return folder


@pytest.mark.parametrize(
    ("section", "arguments"),
    [
        ("summary", ["summary", "runs/0", "runs/1", "--by", "{tensor}"]),
        ("info", ["info", "runs/0", "--verify"]),
        ("compare", ["compare", "runs/0", "runs/1"]),
        ("mixture", ["mixture", "runs/0"]),
        ("study", ["study", "runs", "--owner"]),
        ("figures list", ["figures", "list"]),
    ],
)
def test_a_document_is_as_the_page_says(
    section: str, arguments: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(runs)
    capsys.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main([*arguments, "--json"])
    document = json.loads(capsys.readouterr().out)
    said = documented(section)
    found = list(keys(document, said))
    for place, value in found:
        assert place in said
        assert ("null" if value is None else TYPES[type(value)]) in said[place].types, place
    places = {place for place, _ in found}
    objects = {place.rpartition(".")[0] for place in places}
    assert {place for place, key in said.items() if not key.optional and place.rpartition(".")[0] in objects} <= places
    assert document["json_version"] == JSON_VERSION


def test_the_page_is_of_this_version() -> None:
    assert f"`json_version`: {JSON_VERSION}." in PAGE


def test_every_kind_of_finding_is_on_the_page() -> None:
    assert all(f"`{kind}`" in SECTIONS["finding"] for kind in KINDS)
