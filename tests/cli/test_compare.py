"""``dominance compare`` on runs that were written to disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance_cli.main import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One task owns it before, none after; and the folder "same" of two runs like the first."""
    path = tmp_path_factory.mktemp("runs")
    layers = {"trunk.0": 60, "trunk.1": 40}
    write_run(path / "before", *planted_rows(0, 240, 0.95, layers=layers))
    write_run(path / "after", *planted_rows(1, 240, 0.5, layers=layers))
    for seed in (2, 3):
        write_run(path / "same" / f"seed-{seed}", *planted_rows(seed, 240, 0.95, layers=layers))
    return path


def compare(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as left:
        main(["compare", *map(str, arguments)])
    assert left.value.code == code
    return capfd.readouterr()


def test_what_changed_is_said_in_one_table(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = compare(capfd, runs / "before", runs / "after")
    assert "Changed beyond noise: owner price → nobody; effective tasks" in " ".join(out.split())
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines() if line}
    assert rows["owner"] == ["owner", "price", "nobody", "another", "yes"]
    assert rows["effective tasks"][-1] == "yes"
    assert rows["owned by price"][-1] == "yes"
    assert rows["GCD price × rating"][-1] == "no"
    assert max(map(len, out.splitlines())) <= 80
    assert "- price owns" in out
    assert err.splitlines()[-1].endswith(f"dominance report {runs / 'before'} {runs / 'after'}")


def test_where_nothing_changed_it_says_so(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = compare(capfd, runs / "before", runs / "same" / "seed-2")
    assert "Changed beyond noise: nothing." in out
    assert "One run on each side" in out


def test_folders_of_seeds_are_taken_together(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = compare(capfd, runs / "same", runs / "after")
    assert "(2 runs; of the first:)" in out
    assert "One run on one side" in " ".join(out.split())


def test_json(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, _ = compare(capfd, runs / "before", runs / "after", "--json")
    document = json.loads(out)
    assert (document["before"]["owner"], document["after"]["owner"]) == ("price", "nobody")
    assert document["owner_changed"] is True
    by_quantity = {row["quantity"]: row for row in document["rows"]}
    assert by_quantity["gcd"]["beyond_noise"] is False
    assert set(by_quantity) <= set(document["units"])
    assert document["before"]["runs"][0]["findings"][0]["kind"] == "dominance"


def test_a_figure(runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "change.pdf"
    _, err = compare(capfd, runs / "before", runs / "after", "-o", target)
    assert target.read_bytes().startswith(b"%PDF")
    assert f"drawn in {target}" in err
    _, err = compare(capfd, runs / "before", runs / "after", "-o", target, code=2)
    assert "is already there" in err
    _, err = compare(capfd, runs / "before", runs / "after", "-o", tmp_path / "change.doc", code=2)
    assert "no figure format" in err
