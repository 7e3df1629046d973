"""What the recorder needs of torch is there, or said to be missing before anything is replaced."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.optim import SGD

from dominance import Recorder
from dominance.config import RecordOptions
from dominance.errors import RecordingFailed
from dominance.record.guest import torch_internals
from dominance.record.script.session import ScriptSession, SessionResult
from dominance.record.tasks.positions import Positions


def test_all_of_it_is_there() -> None:
    assert torch_internals.absent() == []


@pytest.mark.parametrize("path", ["torch._C._no_such_thing", "torch.no_such_module.thing", "torch.compiler.nothing"])
def test_what_is_not_there_is_named(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_internals, "_ABSENT", [])
    missing = torch_internals._find(path)
    assert path in torch_internals.absent()
    with pytest.raises(RecordingFailed, match=path):
        missing(1)


def test_a_recorder_on_such_a_torch_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_internals, "_ABSENT", ["torch.compiler.set_stance"])
    before = replaced(torch)
    net = nn.Linear(1, 1)
    with (
        pytest.raises(RecordingFailed, match=r"has no torch\.compiler\.set_stance.*2\.13 to 2\.15"),
        Recorder(tmp_path / "run", net, SGD(net.parameters()), quiet=True),
    ):
        raise AssertionError("entered")
    assert replaced(torch) == before


def test_a_recording_that_cannot_begin_leaves_all_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, net = replaced(torch), nn.Linear(1, 1)
    with monkeypatch.context() as planted:
        planted.setattr(Positions, "on", planted_fault)
        with pytest.raises(RuntimeError, match="planted"), Recorder(tmp_path / "run", net, SGD(net.parameters())):
            raise AssertionError("entered")
    assert replaced(torch) == before
    with Recorder(tmp_path / "run", net, SGD(net.parameters()), quiet=True):  # its lock is free
        pass


def test_a_command_that_cannot_begin_has_nothing_to_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_internals, "_ABSENT", ["torch.compiler.set_stance"])
    session = ScriptSession(
        tmp_path / "run", RecordOptions(), script="train.py", argv=["train.py"], force=False, resume=False
    )
    session.check_output()
    with pytest.raises(RecordingFailed, match=r"has no torch\.compiler\.set_stance"):
        session.start()
    assert session.finish("complete") == SessionResult({}, None)


def planted_fault(*_args: object) -> None:
    raise RuntimeError("planted")


def replaced(torch: ModuleType) -> list[object]:
    """What a recording has its own instead of."""
    return [torch.autograd._engine_run_backward, torch.Tensor.register_hook, torch.is_anomaly_enabled]
