"""A writer that is killed at any moment leaves a run that opens and holds what was committed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from store_rows import du, expected, files_of, make_layout, make_row, write_run

from dominance.errors import BadOption, CorruptRun
from dominance.schema import Layout, Parameter
from dominance.store.reader import open_run
from dominance.store.verify import verify
from dominance.store.writer import RunWriter

TRIALS = 10
WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from store_rows import du, make_layout, make_row
from dominance.store.writer import RunWriter
layout = make_layout()
rows = [make_row(layout, step) for step in range(256)]
done = int(sys.argv[3])
writer = RunWriter(Path(sys.argv[1]), layout, exact=True, resume=True, keep=(done, done), flush_seconds=0.05)
for step in range(done, 100_000):
    row = rows[step] if step < 256 else make_row(layout, step)
    writer.append_event({"step": step, "split": "s", "name": f"m{step % 7}", "value": float(step)})
    writer.append(row)
    if step % 29 == 0:
        writer.flush()
    print(step, flush=True)
"""


def check(path: Path, layout: Layout) -> int:
    assert verify(path) == []
    run = open_run(path)
    assert run.attrs["status"] == "recording"
    count = run.sizes["step"]
    if count:
        for spec in layout.arrays(exact=True):
            node = {"layer/task": None, "layer/total": None, "learning_rate/value": "learning_rate/learning_rate"}
            name = node.get(spec.path, spec.path)
            if name is not None:
                np.testing.assert_array_equal(run[name].values, expected(layout, spec.path, count), err_msg=spec.path)
        due = expected(layout, "layer/task", count)
        np.testing.assert_array_equal(run["layer/solo_sq"].values, due[..., 3])
    if "metric" in run.children:
        metric = run["metric"]
        events = metric["value"].values
        assert len(events) >= count  # each was appended before its row
        np.testing.assert_array_equal(events, np.arange(len(events)))
        assert metric["metric"].values.tolist() == [f"m{i % 7}" for i in range(len(events))]
    return count


def test_killed_at_random_moments_and_resumed(tmp_path: Path) -> None:
    layout, path = make_layout(), tmp_path / "run"
    moments = random.Random(0)
    counts = [0]
    for _ in range(TRIALS):
        arguments = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parents[1]), str(counts[-1])]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(moments.randrange(60)):
                assert process.stdout.readline()
            time.sleep(moments.uniform(0.0, 0.01))
            process.kill()
        counts.append(check(path, layout))
    assert counts == sorted(counts)  # nothing that was committed is ever lost
    assert counts[-1] > 0
    if "metric" not in open_run(path).children:
        pytest.fail("no event survived")


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(tmp_path: Path) -> None:
    layout = make_layout()
    whole = write_run(tmp_path / "whole", layout, 300)
    part = tmp_path / "part"
    for end in (0, 1, 40, 64, 65, 128, 200, 300):
        write_run(part, layout, end, resume=True)
    assert files_of(part) == files_of(whole)


@pytest.mark.parametrize("kept", [0, 1, 63, 64, 70, 199, 200, 500])
def test_a_run_cut_back_to_a_checkpoint_goes_on_to_the_bit(kept: int, tmp_path: Path) -> None:
    layout = make_layout()
    whole = write_run(tmp_path / "whole", layout, 300)
    part = write_run(tmp_path / "part", layout, 200)
    with RunWriter(part, layout, exact=True, resume=True, keep=(kept, 0)) as writer:
        assert writer.committed_steps == open_run(part).sizes["step"] == min(kept, 200)
    assert verify(part) == []
    write_run(part, layout, 300, resume=True)
    assert files_of(part) == files_of(whole)


def test_events_are_cut_back_too(tmp_path: Path) -> None:
    path = tmp_path / "run"
    for keep, step in ((None, 0), ((9, 2), 3)):
        with RunWriter(path, make_layout(), resume=True, keep=keep) as writer:
            writer.append(make_row(make_layout(), step))
            for event in range(step, step + 3):
                writer.append_event({"step": event, "split": "s", "name": "m", "value": float(event)})
    metric = open_run(path)["metric"]
    assert metric["value"].values.tolist() == [0, 1, 3, 4, 5]
    assert verify(path) == []


def test_rounded_runs_resume_to_the_bit_too(tmp_path: Path) -> None:
    layout = make_layout()
    for name, ends in (("whole", [100]), ("part", [7, 30, 100])):
        for end in ends:
            with RunWriter(tmp_path / name, layout, resume=True) as writer:
                for step in range(writer.committed_steps, end):
                    writer.append(
                        {path: value / 3 if np.ndim(value) else value for path, value in make_row(layout, step).items()}
                    )
    assert files_of(tmp_path / "part") == files_of(tmp_path / "whole")


@pytest.mark.usefixtures("blocks_of_64")
def test_what_lies_beyond_the_committed_steps_is_dropped(tmp_path: Path) -> None:
    layout = make_layout()
    path = write_run(tmp_path / "run", layout, 200)
    root = path / "data.zarr" / "zarr.json"
    root.write_text(root.read_text().replace('"committed_steps": 200', '"committed_steps": 70'))
    leftover = path / "data.zarr" / "update" / "update" / "c.1.0.0.partial"
    leftover.write_bytes(b"half")
    with RunWriter(path, layout, exact=True, resume=True) as writer:
        assert writer.committed_steps == 70
        assert not leftover.exists()
        chunks = path / "data.zarr" / "update" / "update"
        assert not (chunks / "c.2.0.0").exists()
        assert (chunks / "c.1.0.0").exists()
        assert open_run(path).sizes["step"] == 70
        writer.append({"step": 70})
    run = open_run(path)
    assert run.sizes["step"] == 71
    np.testing.assert_array_equal(run["update/update"][:70], expected(layout, "update/update", 70))
    assert np.isnan(run["update/update"][70]).all()
    assert verify(path) == []


def test_bytes_are_counted_on_after_a_resume(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 100)
    with RunWriter(path, make_layout(), exact=True, resume=True) as writer:
        assert writer.bytes_written == du(path)
    assert writer.bytes_written == du(path)


def test_resuming_where_nothing_is_starts_a_run(tmp_path: Path) -> None:
    write_run(tmp_path / "run", make_layout(), 2, resume=True)
    (tmp_path / "run" / "data.zarr" / "zarr.json").unlink()  # as if killed while it was made
    write_run(tmp_path / "run", make_layout(), 1, resume=True)
    assert open_run(tmp_path / "run").sizes["step"] == 1


def test_another_layout_is_not_resumed(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    before = files_of(path)

    def refused(says: str, layout: Layout, *, exact: bool = True) -> None:
        with pytest.raises(BadOption, match=says) as caught:
            RunWriter(path, layout, exact=exact, resume=True)
        assert caught.value.fix
        assert "\n" not in str(caught.value)

    refused("attribution is additive, not both", make_layout(attribution="both"))
    refused("recorded with --exact", make_layout(), exact=False)
    refused("its tasks are a,b, not a", make_layout(tasks=1))
    refused("first that differs is trunk.0.weight", make_layout(coords=41))
    refused("first that differs is trunk.3.weight", make_layout(layers=4))
    other = make_layout()
    other.coord_index = other.coord_index + 1
    refused("keeps other coordinates", other)
    other = make_layout()
    other.parameters[2] = Parameter("head", "trunk.2", (40, 2), ("a", "b"))
    refused("first that differs is trunk.2.weight", other)
    assert files_of(path) == before


def test_a_damaged_run_is_not_resumed(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", make_layout(), 3)
    chunk = path / "data.zarr" / "loss" / "loss" / "c.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-5] + b"12345")
    with pytest.raises(CorruptRun, match=r"chunk loss/loss/c\.0\.0 cannot be read"):
        RunWriter(path, make_layout(), exact=True, resume=True)
