from __future__ import annotations

import functools
import http.server
import pickle
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import obstore.store
import pytest
import xarray as xr
from runs import planted_rows, write_run
from zarr.storage import LocalStore, MemoryStore

from dominance import open_run, open_runs, rau, rau_buckets
from dominance.errors import BadOption, CorruptRun, DominanceError, NotARun, Unreachable
from dominance.store.chunks import ChunkReader, supports
from dominance.store.files import LocalFiles, files_of
from dominance.store.lazy import behind
from dominance.store.probes import write_probe
from dominance.store.reader import array
from dominance.store.verify import verify
from dominance_cli.main import main

pytestmark = pytest.mark.usefixtures("blocks_of_64")

STEPS = 70


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    layout, rows = planted_rows(steps=STEPS)
    layout.attrs["metrics"] = [{"step": 1, "epoch": 0, "task": "price", "split": "val", "name": "mse", "value": 2.0}]
    run = write_run(tmp_path_factory.mktemp("bucket") / "run", layout, rows)
    write_probe(run, "noise", xr.Dataset({"change": ("task", [1.0, 2.0])}, {"task": ["price", "rating"]}))
    return run


def contents(path: Path) -> dict[str, bytes]:
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_size_and_time_leave_out_what_is_gone_when_it_is_looked_at(path: Path, tmp_path: Path, monkeypatch) -> None:
    """As the first writing of a file under another name is, which then gets its own."""
    whole = LocalFiles(path).size()
    listed = list(path.rglob("*"))
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: iter([*listed, tmp_path / "gone.partial"]))
    assert LocalFiles(path).size() == whole
    assert LocalFiles(path).written() == max(file.stat().st_mtime for file in listed if file.is_file())


@pytest.fixture
def url(path: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    for key, data in contents(path).items():
        files.pipe_file(f"/bucket/run/{key}", data)
    yield "memory://bucket/run"
    files.rm("/bucket", recursive=True)


@pytest.fixture(scope="module")
def endpoint(path: Path) -> Iterator[str]:
    """An object store as far as reading goes: path-style keys below a bucket, 404 for what is not there."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(path.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def bucket(endpoint: str, name: str) -> obstore.store.S3Store:
    return obstore.store.S3Store(
        name,
        prefix="run",
        endpoint=endpoint,
        skip_signature=True,
        region="us-east-1",
        client_options={"allow_http": True},
        retry_config={"max_retries": 0},
    )


def same_tree(run: xr.DataTree, local: xr.DataTree) -> None:
    trees = [run.load().copy(), local.load().copy()]
    for tree in trees:
        tree.attrs = {**tree.attrs, "path": ""}
    xr.testing.assert_identical(*trees)


def test_a_url_is_a_run(url: str, path: Path) -> None:
    run = open_run(url + "/")
    assert run.attrs["path"] == url
    same_tree(run, open_run(path))
    assert float(run["probe/noise/change"].sum()) == 3
    assert verify(url) == []
    xr.testing.assert_identical(rau_buckets(run), rau_buckets(open_run(path)))


def test_stores_of_zarr_and_of_obstore_are_runs(path: Path, endpoint: str) -> None:
    local, memory = open_run(path), obstore.store.MemoryStore()
    for key, data in contents(path).items():
        memory.put(key, data)
    for store in (memory, obstore.store.LocalStore(path), LocalStore(path), bucket(endpoint, path.parent.name)):
        run = open_run(store)
        same_tree(run, local)
        np.testing.assert_array_equal(rau(run).rau, rau(local).rau)


def test_chunks_come_through_the_same_reader(url: str, path: Path) -> None:
    far, near = (behind(open_run(each)["update/update"].variable) for each in (url, path))
    assert far is not None
    assert near is not None
    assert supports(far)
    for coords in (slice(0, far.shape[-1]), slice(3, 600)):
        readers = ChunkReader(far, coords), ChunkReader(near, coords)
        for steps in (slice(0, 64), slice(64, STEPS)):
            one, other = (reader.read(steps) for reader in readers)
    np.testing.assert_array_equal(one, other)


def test_several_runs_from_urls(url: str, path: Path) -> None:
    tree = open_runs({"far": url, "near": path})
    np.testing.assert_array_equal(tree["update/update"][0], tree["update/update"][1])
    assert open_runs([url])["run"].values.tolist() == ["run"]


def test_a_file_url_is_a_local_path(path: Path) -> None:
    assert open_run(path.as_uri()).attrs["path"] == str(path.resolve())
    assert isinstance(files_of(path.as_uri()), LocalFiles)


def test_damage_is_found_far_away(url: str) -> None:
    files = fsspec.filesystem("memory")
    key = "/bucket/run/data.zarr/update/update/c.1.0.0"
    data = bytearray(files.cat_file(key))
    data[len(data) // 2] ^= 1
    files.pipe_file(key, bytes(data))
    files.rm("/bucket/run/data.zarr/update/total/c.0.0")
    run = open_run(url)
    with pytest.raises(CorruptRun, match=r"memory://bucket/run/data.zarr/update/update/c.1.0.0: .*checksum"):
        rau(run)
    with pytest.raises(CorruptRun, match=r"memory://bucket/run: update/update cannot be read"):
        run["update/update"].load()
    first, second = verify(url)
    assert "update/update: chunk update/update/c.1.0.0 (rows 64 to 69): checksum does not match" in first
    assert "update/total: chunk update/total/c.0.0 (rows 0 to 63) is missing" in second


def one_line(caught: pytest.ExceptionInfo[DominanceError]) -> None:
    assert "\n" not in str(caught.value)
    assert caught.value.fix


def test_where_there_is_no_run(endpoint: str, path: Path) -> None:
    for nothing in ("memory://nothing/run", obstore.store.MemoryStore(), MemoryStore(), bucket(endpoint, "none")):
        with pytest.raises(NotARun, match=r"no dominance run \(it has no data.zarr\)") as caught:
            open_run(nothing)
        one_line(caught)


def test_a_store_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again when it is asked
    with pytest.raises(Unreachable, match=r'S3Store\(bucket="b", prefix="run"\): cannot be read .*network') as caught:
        open_run(bucket(f"http://127.0.0.1:{port}", "b"))
    one_line(caught)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", *planted_rows(steps=3))
    chunk = run / "data.zarr/update/update/c.0.0.0"
    chunk.unlink()
    chunk.mkdir()
    with pytest.raises(Unreachable, match=r"update/update/c.0.0.0: cannot be read \(Is a directory\)") as caught:
        rau(open_run(run))
    one_line(caught)
    (run / "data.zarr/loss/loss/zarr.json").unlink()
    (run / "data.zarr/loss/loss/zarr.json").mkdir()
    with pytest.raises(Unreachable, match=r"loss/loss/zarr.json: cannot be read"):
        open_run(run)


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)  # which is taken in its place
    with pytest.raises(Unreachable, match="s3://bucket/run: needs the package s3fs; pip install fsspec s3fs") as caught:
        open_run("s3://bucket/run")
    one_line(caught)


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("nope://bucket/run", None, "nope://bucket/run: .*not known: nope"),
        ({"a": 1}, None, "a dict is no run"),
        ("runs/first", {"anon": True}, "storage_options without a URL"),
    ],
)
def test_what_cannot_be_opened(given: Any, options: Any, message: str) -> None:
    with pytest.raises(BadOption, match=message) as caught:
        open_run(given, storage_options=options)
    one_line(caught)


def test_storage_options_reach_the_file_system(url: str) -> None:
    store: Any = files_of(url, {"anon": True}).store
    assert store.fs.sync_fs.storage_options["anon"] is True
    assert open_run(url, storage_options={"anon": True}).sizes["step"] == STEPS


def test_files_travel_without_what_they_have_opened(url: str, path: Path) -> None:
    for source in (url, path):
        variable = open_run(source)["update/update"].variable
        array(open_run(source), "update/update")
        there = pickle.loads(pickle.dumps(variable))
        assert len(pickle.dumps(variable)) < 10_000
        np.testing.assert_array_equal(there[3:5], variable[3:5])


def test_the_command_line_reads_urls(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (["info", "--verify", url], ["summary", url], ["report", url, "--figures", "losses"]):
        with pytest.raises(SystemExit) as left:
            main(command)
        assert left.value.code == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "every checksum matches" in said
    assert "memory://bucket/run, step 69" in said
    assert sorted(file.name for file in (tmp_path / "run-report").iterdir()) == ["losses.pdf", "report.pdf"]
    size = sum(map(len, contents(path).values()))
    with pytest.raises(SystemExit):
        main(["info", "--json", url])
    assert f'"bytes": {size}' in capsys.readouterr().out
