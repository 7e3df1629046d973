"""What an offline run of W&B holds is what the run says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from runs import planted_rows, write_run

from dominance import open_run, send
from dominance.analyse.scalars import scalars

pytest.importorskip("wandb")
pytestmark = pytest.mark.filterwarnings("ignore")  # W&B's own


BLOCK = 32768
"""An offline run is a LevelDB log: blocks of records, each after a checksum, a length, and which part of one it is."""


def records(data: bytes) -> Iterator[bytes]:
    at, whole = 7, b""  # after W&B's own mark
    while at + 7 <= len(data):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK
            continue
        length, part = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if part in (1, 4):  # all of it, or its end
            yield whole
            whole = b""


def read(file: Path) -> list[dict[str, float]]:
    """The history of an offline run, by W&B's own messages."""
    from wandb.proto import wandb_internal_pb2

    rows = []
    for data in records(file.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            items = record.history.item
            rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
    return rows


def test_an_offline_run_holds_what_the_run_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    path = write_run(tmp_path / "run", *planted_rows(steps=12))
    assert send(path, "wandb").startswith(f"wandb sync {path}/wandb/offline-run-")
    (file,) = path.glob("wandb/offline-run-*/*.wandb")
    rows = {int(row["_step"]): row for row in read(file)}
    with open_run(path) as run:
        for step, seconds, numbers in scalars(run):
            expected = {**numbers, "time": seconds}
            assert {name: rows[step][name] for name in expected} == pytest.approx(expected)
        assert len(rows) == run.sizes["step"]
