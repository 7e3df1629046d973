"""Checkpoints: whole or not at all, and no code runs when one is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dominance.benchmarks.train import checkpoint
from dominance.errors import CorruptRun, NotARun, SchemaTooNew


def test_round_trip(tmp_path: Path) -> None:
    state = {"t": torch.arange(3.0), "n": None, "deep": {"a": [1, 2.5, "x"], "b": (True,)}}
    checkpoint.save(tmp_path / "run", state)
    found = checkpoint.load(tmp_path / "run")
    assert torch.equal(found.pop("t"), state["t"])  # type: ignore[arg-type]
    assert found == {"n": None, "deep": state["deep"]}
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.pt"]


def test_a_failure_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, {"n": 1})
    save = torch.save

    def half(value: object, file: object) -> None:
        save(value, file)  # type: ignore[arg-type]
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="full"):
        checkpoint.save(tmp_path, {"n": 2})
    assert checkpoint.load(tmp_path) == {"n": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit",))


def test_what_cannot_be_loaded(tmp_path: Path) -> None:
    with pytest.raises(NotARun):
        checkpoint.load(tmp_path)
    path = tmp_path / "checkpoint.pt"
    for content in ({"version": 1, "x": Harmful()}, {"no": "version"}, [1]):
        torch.save(content, path)
        with pytest.raises(CorruptRun, match="cannot be read"):
            checkpoint.load(tmp_path)
    torch.save({"version": checkpoint.VERSION + 1}, path)
    with pytest.raises(SchemaTooNew, match="upgrade"):
        checkpoint.load(tmp_path)
    checkpoint.save(tmp_path, {"t": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptRun):
        checkpoint.load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(CorruptRun):
        checkpoint.load(tmp_path)
