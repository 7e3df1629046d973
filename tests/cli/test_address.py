"""``dominance record -o s3://...``: a store that answers, one that is slow, one that fails; and a second writer."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from forks import Forks
from s3_server import S3Server, s3_server
from store_rows import make_layout, make_row

from dominance.errors import RunExists, Unreachable
from dominance.store import upload
from dominance.store.address import Objects, OnlyWriter
from dominance.store.reader import open_run
from dominance.store.upload import Mirror
from dominance.store.verify import verify
from dominance.store.writer import RunWriter

TRAIN = """
import hashlib, sys, time
from pathlib import Path
import torch
from torch import nn

torch.manual_seed(1)
trunk, heads = nn.Linear(4, 6), nn.ModuleList([nn.Linear(6, 1), nn.Linear(6, 1)])
optimizer = torch.optim.SGD([*trunk.parameters(), *heads.parameters()], lr=0.1)
for step in range(30):
    features = torch.tanh(trunk(torch.randn(5, 4)))
    depth = (heads[0](features) ** 2).mean()
    seg = (heads[1](features) - 1).abs().mean()
    loss = depth + 0.5 * seg
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step == 15 and len(sys.argv) > 1:
        time.sleep(float(sys.argv[1]))
print(hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in trunk.parameters())).hexdigest())
Path("trained").touch()
sys.exit(3)
"""
ADDRESS = "s3://bucket/runs/first"


@pytest.fixture
def server() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "spool").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "spool"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


@dataclass
class Python:
    """Runs ``python`` in the folder of the script, with the surroundings of the test."""

    forks: Forks
    place: Path

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        anew = "import tempfile; tempfile.tempdir = None"  # another folder may be known already
        return self.forks.python(*words, cwd=self.place, environment=os.environ, before=anew)

    def record(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self("-m", "dominance", "record", "--every", "1", *words)


@pytest.fixture
def python(forks: Forks, place: Path) -> Python:
    return Python(forks, place)


def test_a_run_at_an_address_is_that_of_a_folder(python: Python, place: Path, server: S3Server) -> None:
    plain = python("train.py")
    here, there = python.record("-o", "here", "train.py"), python.record("-o", ADDRESS, "train.py")
    assert (there.stdout, there.returncode) == (here.stdout, here.returncode) == (plain.stdout, plain.returncode)
    assert there.stderr == here.stderr.replace("report here", f"report {ADDRESS}").replace("in here", f"in {ADDRESS}")
    ours, theirs = open_run(place / "here"), open_run(ADDRESS)
    assert theirs.attrs["status"] == ours.attrs["status"]
    for array in ("update/update", "gradient/total", "loss/loss", "layer/gram"):
        np.testing.assert_array_equal(ours[array].values, theirs[array].values)
    assert verify(ADDRESS) == []
    assert not list((place / "spool").glob("dominance-*")), "nothing is left of it here"
    assert not [key for key in server.objects if key.endswith(".lock")]


def test_what_is_refused_is_refused_before_the_script(python: Python, place: Path, server: S3Server) -> None:
    def refused(says: str, *words: str, **environment: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            found = python.record(*words, "train.py")
        assert found.returncode == 2
        assert says in found.stderr
        assert found.stderr.count("\n") == 1
        assert not (place / "trained").exists()

    refused("names no run in a bucket", "-o", "s3://bucket")
    refused("nope://bucket: cannot be used", "-o", "nope://bucket/run")
    refused("check the address, the network and the credentials", "-o", "http://127.0.0.1:1/run")
    refused("--resume needs a folder", "-o", ADDRESS, "--resume")
    refused("a training of several processes needs a folder", "-o", ADDRESS, WORLD_SIZE="2", RANK="0")
    claim = OnlyWriter(Objects("s3://bucket/runs"), "first", replace=False)
    for force in ([], ["--force"]):
        refused("a recording in progress writes into it", "-o", ADDRESS, *force)
    claim.release()
    server.objects["bucket/runs/first/notes.txt"] = b"mine", time.time()
    refused("exists; give --force", "-o", ADDRESS)
    refused("holds something that is no dominance run", "-o", ADDRESS, "--force")
    assert server.keys("bucket") == ["bucket/runs/first/notes.txt"]
    server.fault = lambda method, key: True
    refused("check the address, the network and the credentials", "-o", ADDRESS)


def test_a_run_that_is_there_is_replaced_with_force(python: Python, server: S3Server) -> None:
    server.objects["bucket/runs/first/data.zarr/zarr.json"] = b"{}", time.time()
    server.objects["bucket/runs/first/data.zarr/old/c.0"] = b"", time.time()
    server.objects["bucket/runs/first-2/data.zarr/zarr.json"] = b"{}", time.time()
    assert python.record("-o", ADDRESS, "--force", "train.py").returncode == 3
    assert verify(ADDRESS) == []
    assert "bucket/runs/first/data.zarr/old/c.0" not in server.objects
    assert "bucket/runs/first-2/data.zarr/zarr.json" in server.objects


def test_a_store_that_fails_ends_nothing(python: Python, server: S3Server) -> None:
    plain = python("train.py")
    server.fault = lambda method, key: len(server.puts) > 20
    found = python.record("-o", ADDRESS, "train.py")
    assert (found.stdout, found.returncode) == (plain.stdout, plain.returncode)
    (said,) = [line for line in found.stderr.splitlines() if "cannot be used" in line]
    assert said.startswith(f"dominance: {ADDRESS}")
    left = Path(said.split("the run is in ")[1].split(",")[0])
    assert verify(left) == []
    assert open_run(left).sizes["step"] == 30


def test_a_store_that_fails_for_a_while_has_it_all_in_the_end(python: Python, server: S3Server) -> None:
    asked: list[float] = []

    def for_a_while(method: str, key: str) -> bool:
        if "data.zarr" in key and method == "PUT":
            asked.append(time.monotonic())
        return bool(asked) and asked[-1] - asked[0] < 3

    server.fault = for_a_while
    assert python.record("-o", ADDRESS, "train.py", "3").returncode == 3
    assert len(asked) > 5
    assert verify(ADDRESS) == []
    assert open_run(ADDRESS).sizes["step"] == 30


def test_a_training_does_not_wait_for_a_slow_store(python: Python, place: Path, server: S3Server) -> None:
    def until_trained(method: str, key: str) -> bool:
        end = time.monotonic() + 60
        while "data.zarr" in key and not (place / "trained").exists() and time.monotonic() < end:
            time.sleep(0.01)
        return False

    server.fault = until_trained
    begun = time.monotonic()
    assert python.record("-o", ADDRESS, "train.py", "3").returncode == 3
    assert time.monotonic() - begun < 50
    assert verify(ADDRESS) == []


def test_a_reader_sees_whole_rows_after_every_object(
    tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a run that grows, and gets a task, while it is put; every state of the store in between is a whole run."""
    layout, objects = make_layout(), Objects("s3://bucket/runs")
    claim = OnlyWriter(objects, "first", replace=False)
    monkeypatch.setattr(upload, "_AT_ONCE", 1)
    mirror = Mirror(tmp_path / "spool", objects)
    states: list[dict[str, bytes]] = []
    appended = 0
    with RunWriter(tmp_path / "spool" / "first", layout, exact=True) as writer:

        def meanwhile(method: str, key: str) -> bool:
            """The training goes on between two objects."""
            nonlocal appended
            if method == "PUT":
                states.append({each: content for each, (content, _) in server.objects.items()})
                if len(states) % 9 == 0:
                    writer.append(make_row(layout, appended))
                    writer.flush()
                    appended += 1
            return False

        server.fault = meanwhile
        for _ in range(4):
            mirror.sync(claim)
        server.fault = lambda method, key: False
        writer.grow_tasks(["late"])
    mirror.sync(claim)
    seen = []
    for number, state in enumerate(states[::7]):
        for key, content in state.items():
            file = tmp_path / f"state{number}" / key.removeprefix("bucket/runs/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        run = tmp_path / f"state{number}" / "first"
        if (run / "data.zarr" / "zarr.json").exists():
            assert verify(run) == []
            seen.append(open_run(run).sizes["step"])
    assert seen == sorted(seen)
    assert seen[-1] > 5
    assert verify(ADDRESS) == []
    assert open_run(ADDRESS)["task"].values.tolist() == ["a", "b", "late"]


def test_a_writer_that_was_taken_over_stops(tmp_path: Path, server: S3Server) -> None:
    objects = Objects("s3://bucket/runs")
    first = OnlyWriter(objects, "first", replace=False)
    key = "bucket/runs/first/.lock"
    server.objects[key] = server.objects[key][0], time.time() - 3600  # as if its machine were gone
    second = OnlyWriter(objects, "first", replace=False)
    with pytest.raises(RunExists, match="another recording has taken it over"):
        first.check()
    first.release()
    second.check()


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(Unreachable, match=r"needs the package obstore; pip install 'dominance\[remote\]'"):
        Objects("s3://bucket/runs")


def test_a_training_that_is_killed_leaves_what_it_had_committed(place: Path, server: S3Server) -> None:
    words = [sys.executable, "-m", "dominance", "record", "--every", "1", "-o", ADDRESS, "train.py", "300"]
    with subprocess.Popen(words, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        end = time.monotonic() + 90
        while time.monotonic() < end:  # ten seconds after its first step, at the latest
            if server.keys("bucket/runs/first/data.zarr/zarr.json") and open_run(ADDRESS).sizes["step"]:
                break
            time.sleep(0.2)
        training.kill()
    while server.keys("bucket/runs/first/.lock") and time.monotonic() < end:
        time.sleep(0.05)
    assert not server.keys("bucket/runs/first/.lock")
    assert verify(ADDRESS) == []
    assert open_run(ADDRESS).sizes["step"] == 15  # the one after has no end yet
    assert not list((place / "spool").glob("dominance-*"))
