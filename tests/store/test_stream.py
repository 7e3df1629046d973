from __future__ import annotations

from pathlib import Path

import numpy as np
from store_rows import expected, make_layout, make_row
from zarr import open_array

from dominance.store.disk import Disk
from dominance.store.grid import cut
from dominance.store.stream import Head, Stream


def make_stream(full: list[Head]) -> Stream:
    return Stream(cut(make_layout().arrays(exact=True), 64), 64, on_full=full.append, alive=lambda: True)


def test_rows_are_never_written_before_the_block_ahead_of_them(tmp_path: Path) -> None:
    full: list[Head] = []
    stream, disk, layout = make_stream(full), Disk(tmp_path), make_layout()
    for step in range(70):
        stream.append(make_row(layout, step))
    assert stream.head is not None
    assert [(head.start, head.count) for head in full] == [(0, 64)]
    assert not stream.write(disk, stream.head)
    assert stream.committed == 0
    assert stream.write(disk, full[0])
    assert not stream.write(disk, full[0])
    assert stream.write(disk, stream.head)
    assert stream.committed == stream.count == 70
    stored = open_array(tmp_path / "update" / "update", mode="r")
    np.testing.assert_array_equal(stored[...], expected(layout, "update/update", 70))


def test_a_block_is_given_back_once() -> None:
    full: list[Head] = []
    stream, layout = make_stream(full), make_layout()
    row = make_row(layout, 0)
    for _ in range(3 * 64):
        stream.append(row)
    assert stream.head is not None
    assert len({id(head.block) for head in (*full, stream.head)}) == 3
    for _ in range(3):
        stream.give_back(full[0])
    for _ in range(64):
        stream.append(row)
    assert stream.head.block is full[0].block
    assert stream.waited == 0


def test_an_interrupted_row_does_not_count() -> None:
    class Interrupting(dict[str, object]):
        def get(self, key: str, default: object = None) -> object:
            if key == "loss/loss":
                raise KeyboardInterrupt
            return super().get(key, default)

    stream, layout = make_stream([]), make_layout()
    stream.append(make_row(layout, 0))
    try:
        stream.append(Interrupting(make_row(layout, 1)))
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("not interrupted")
    assert stream.count == 1
    stream.append(make_row(layout, 2))
    assert stream.head is not None
    assert stream.head.block["step"][:2].tolist() == [0, 2]
