"""What one look at a run shows, as a screen and as a line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from runs import make_rows, write_run

from dominance.analyse.live import Live
from dominance_cli.main import main
from dominance_cli.watch_view import line


def told(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    return int(caught.value.code or 0)


def test_one_look_shows_losses_and_layers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    updates = np.ones((30, 2, 4)) * [[[1.0], [9.0]]]
    write_run(tmp_path / "run", *make_rows(updates, tasks=["price", "rating"], loss=np.full((30, 2), 0.25)))
    assert told("watch", str(tmp_path / "run"), "--once") == 0
    out, err = capfd.readouterr()
    assert "30 steps recorded, the last one step 29" in out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith(("price", "rating"))] == [
        ["price", "0.25"],
        ["rating", "0.25"],
    ]
    assert "rating 100 %  1." in out  # it owns all of it: 9 / 10 of every parameter
    assert "dominance summary" in err


def test_names_cannot_reach_the_terminal_as_they_are(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", *make_rows(np.ones((30, 2, 4)), tasks=["\x1b[31mprice", "[bold]"]))
    assert told("watch", str(tmp_path / "run"), "--once") == 0
    out = capfd.readouterr().out
    assert "\x1b" not in out
    assert "[bold]" in out


def test_a_run_without_shared_parameters_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "run", *make_rows(np.ones((30, 1, 4)), tasks=["price"]))
    assert told("watch", str(tmp_path / "run"), "--once") == 0
    assert "no parameter is reached by two tasks" in " ".join(capfd.readouterr().out.split())


def seen(losses: list[list[float]], owned: list[float] | None = None) -> Live:
    """Of two tasks; with a picture where it is said what each owns at the last of the steps."""
    values: Any = np.array(losses).reshape(-1, 2)
    picture = None
    if owned is not None:
        shares = np.stack([np.zeros(2), owned])
        picture = xr.Dataset({"effective_tasks": (("row", "step"), [[2.0, 1.25]]),
                              "owned": (("row", "step", "task"), shares[None])})  # fmt: skip
    return Live(["price", "rating"], np.arange(len(values)) * 1000, len(values), values, np.ones(2), 1.0, picture)


def test_a_line_before_the_first_step() -> None:
    assert line(seen([])) == "waiting for the first step"


def test_a_line_without_shared_layers() -> None:
    assert line(seen([[1.0, 2.0], [0.12345, math.nan]])) == "step 1,000: price 0.1235"


@pytest.mark.parametrize(
    ("owned", "end"), [([0.25, 0.5], "; rating owns 50 %"), ([0.0, 0.0], ""), ([math.nan, 0.1], "; rating owns 10 %")]
)
def test_a_line_tells_who_owns_most_at_the_last_step(owned: list[float], end: str) -> None:
    assert (
        line(seen([[1.0, 2.0], [0.5, 3.0]], owned))
        == f"step 1,000: price 0.5, rating 3; effective tasks 1.25 of 2{end}"
    )
