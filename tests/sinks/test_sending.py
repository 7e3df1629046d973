"""Numbers of a run on their way to a logger: all of them once, in order, also while the run grows."""

from __future__ import annotations

import json
import platform
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from runs import planted_rows, write_run

from dominance import open_run, send
from dominance.analyse.scalars import scalars
from dominance.config import SINKS, RecordOptions
from dominance.errors import BadOption, NotARun
from dominance.record.write.follower import Follower
from dominance.store.ended import ended
from dominance.store.writer import RunWriter

Told = list[tuple[int, dict[str, float]]]


def listener() -> tuple[Told, Callable[[int, Mapping[str, float]], None]]:
    told: Told = []
    return told, lambda step, numbers: told.append((step, dict(numbers)))


def test_a_callable_is_told_every_step_once(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=30))
    told, tell = listener()
    assert send(path, tell) == ""
    with open_run(path) as run:
        assert told == [(step, numbers) for step, _, numbers in scalars(run)]
        again, tell = listener()
        send(run, tell)
    assert again == told


def test_what_comes_between_a_look_and_the_end_is_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run is opened while it grows, and has ended when that is asked."""
    layout, rows = planted_rows(steps=30, attrs={"host": platform.node()})
    writer = RunWriter(tmp_path / "run", layout, exact=True)
    for i in range(20):
        writer.append({key: values[i] for key, values in rows.items()})
    writer.flush()

    def asked(attrs: Mapping[Any, Any]) -> bool:
        for i in range(20, 30):
            writer.append({key: values[i] for key, values in rows.items()})
        writer.append_event({"step": 29, "epoch": 0, "task": "price", "split": "val", "name": "auc", "value": 0.5})
        writer.close()
        return ended(attrs)

    monkeypatch.setattr("dominance.sinks.sending.ended", asked)
    told, tell = listener()
    send(tmp_path / "run", tell, follow=True)
    with open_run(tmp_path / "run") as run:
        assert told == [(step, numbers) for step, _, numbers in scalars(run)]
    assert told[-1][1]["metric/val/price/auc"] == 0.5


def test_a_run_that_grows_gives_what_it_gives_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dominance.sinks.sending.EASY", 0.0)
    layout, rows = planted_rows(steps=30, attrs={"host": platform.node()})
    writer = RunWriter(tmp_path / "run", layout, exact=True)

    def append(steps: range) -> None:
        for i in steps:
            writer.append({key: values[i] for key, values in rows.items()})
        late = {"step": steps[-1], "epoch": 0, "task": "price", "split": "val", "name": "auc", "value": 0.5}
        writer.flush()
        time.sleep(0.3)  # a look may come between a step and what is logged at it
        writer.append_event(late)
        writer.flush()

    append(range(10))
    told, tell = listener()
    thread = threading.Thread(target=lambda: send(tmp_path / "run", tell, follow=True, every=0.05), daemon=True)
    thread.start()
    append(range(10, 20))
    append(range(20, 30))
    end = time.monotonic() + 60
    while not told and time.monotonic() < end:
        time.sleep(0.05)
    assert told, "nothing was sent while the run was written"
    writer.close()
    thread.join(60)
    assert not thread.is_alive()
    with open_run(tmp_path / "run") as run:
        assert told == [(step, numbers) for step, _, numbers in scalars(run)]
    assert [step for step, numbers in told if "metric/val/price/auc" in numbers] == [9, 19, 29]


def test_a_run_whose_process_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", *planted_rows(steps=12, attrs={"host": platform.node()}))
    root = path / "data.zarr" / "zarr.json"
    document = json.loads(root.read_bytes())
    document["attributes"]["status"] = "recording"
    root.write_text(json.dumps(document))
    told, tell = listener()
    send(path, tell, follow=True)
    assert len(told) == 12


def test_what_cannot_be_sent_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BadOption, match="no sink is called 'tensorbord'; choose from tensorboard, wandb, mlflow"):
        RecordOptions(to="tensorbord")
    with pytest.raises(NotARun):
        send(tmp_path, print)
    path = write_run(tmp_path / "run", *planted_rows(steps=4))
    with open_run(path) as run, pytest.raises(BadOption, match="give its path"):
        send(run, print, follow=True)


@pytest.mark.parametrize("name", SINKS)
def test_a_package_that_is_missing_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dominance.config.find_spec", lambda package: None)
    with pytest.raises(BadOption, match=rf"{name} is not installed; pip install 'dominance\[{name}\]'"):
        RecordOptions(to=name)


def test_what_fails_beside_a_training_is_a_line_in_its_end(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "nothing", "tensorboard")
    (line,) = follower.wait(60)
    assert "nothing" in line
    assert line.startswith("error: ")
