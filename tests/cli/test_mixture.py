"""``dominance mixture`` on runs that were written to disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from analyse.test_mixture import counted
from runs import make_rows, write_run

from dominance import mixture, open_run
from dominance_cli.main import main


def write(path: Path, names: list[str], *, steps: int = 60) -> Path:
    """Groups with 1, 2, 3... examples, the first of them with the longest gradient."""
    rng = np.random.default_rng(0)
    k = len(names)
    g = rng.standard_normal((steps, k, 30)) + 1 / np.arange(1, k + 1)[:, None]
    events = counted(np.tile(np.arange(1, k + 1), (steps, 1)), names)
    return write_run(path, *make_rows(g, g, tasks=names, metrics=events))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("mixture") / "run", ["code", "prose", "tables"])


def ask(capfd: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as left:
        main(["mixture", *map(str, arguments)])
    assert left.value.code == code
    return capfd.readouterr()


def test_present_shares_stand_beside_what_the_formulas_give(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = ask(capfd, run)
    found = mixture(open_run(run))
    assert "60 recorded steps in 6 windows" in out
    assert "Share of the examples" in out
    table = out.split("\n\n")[3].splitlines()
    assert table[0].split() == ["group", "examples", "gradient", "update", "PiKE", "DGA"]
    cells = {line.split()[0]: line.split() for line in table[1:]}
    assert cells["tables"][1] == "50"
    for name, column in (("pike", 4), ("dga", 7)):
        assert cells["code"][column] == f"{100 * float(found[f'mean_{name}'].sel(task='code')):.0f}"
    (early,) = (part for part in out.split("\n\n") if part.lstrip().startswith("PiKE early"))
    assert "Weights from single windows: means early" in out
    shown = next(line.split() for line in early.splitlines() if line.startswith("code"))
    thirds = [float(found.pike.sel(task="code")[at].mean()) for at in (slice(0, 2), slice(2, 4), slice(4, 6))]
    assert shown[1:4] == [f"{100 * share:.0f}" for share in thirds]
    assert "arXiv 2502.06244" in out
    assert "arXiv 2410.02498" in out
    assert max(map(len, out.splitlines()[1:])) <= 80
    assert err.splitlines()[-1].endswith(f"dominance summary {run}")


def test_a_target_and_a_picture(run: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, err = ask(capfd, run, "--target", "tables", "-o", tmp_path / "m.svg")
    assert "along that of tables." in " ".join(out.split())
    assert f"drawn in {tmp_path / 'm.svg'}" in err
    assert (tmp_path / "m.svg").stat().st_size > 1000
    _, err = ask(capfd, run, "--target", "poems", code=2)
    assert err.count("\n") == 1
    assert "target 'poems' is no group of this run; choose from code, prose, tables" in err


def test_json(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    document = json.loads(ask(capfd, run, "--json")[0])
    found = mixture(open_run(run))
    assert [row["task"] for row in document["rows"]] == found.task.values.tolist()
    for name in ("pike", "dga", "present", "gradient", "update"):
        assert [row[name] for row in document["rows"]] == pytest.approx(found[f"mean_{name}"].values.tolist())
    assert document["over_training"][1]["pike"]["code"] == pytest.approx(float(found.pike.sel(task="code")[1]))
    assert document["over_training"][1]["first_step"] == 10


def test_sixty_groups_are_folded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = [f"a-domain-with-a-rather-long-name-{i}" for i in range(60)]
    out, _ = ask(capfd, write(tmp_path / "many", names, steps=30))
    assert max(map(len, out.splitlines()[1:])) <= 80
    assert out.count("49 more") == 2
    table = out.split("\n\n")[3].splitlines()
    assert len(table) == 13
    assert sum(float(line[28:36]) for line in table[1:]) == pytest.approx(100, abs=6)


def test_terms_of_a_loss(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    g = np.random.default_rng(0).standard_normal((20, 2, 30)) + 1
    write_run(tmp_path / "run", *make_rows(g, g, tasks=["price", "stars"]))
    out, _ = ask(capfd, tmp_path / "run")
    assert "2 terms of the loss" in out
    assert "PiKE weighs samples" in out
    assert [row["pike"] for row in json.loads(ask(capfd, tmp_path / "run", "--json")[0])["rows"]] == [None, None]


def test_what_is_missing_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    g = np.ones((3, 1, 4))
    write_run(tmp_path / "run", *make_rows(g, g, metrics=counted(np.ones((3, 1)), ["a"])))
    out, err = ask(capfd, tmp_path / "run", code=2)
    assert not out
    assert err.count("\n") == 1
    assert "dominance record --groups KEY" in err or "no layer is reached by two tasks" in err
