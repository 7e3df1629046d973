"""{split}/{part}/N.npy: what is read, and how a file that is missing or wrong is named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dominance.benchmarks.data.scene_files import SceneFiles, scene_files
from dominance.benchmarks.problems.nyuv2 import write_sample
from dominance.errors import BadData, MissingData

PARTS = {part: part for part in ("image", "label", "depth", "normal")}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("scenes"), train=3, val=1, size=(16, 24)) / "train"


@pytest.fixture
def split(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "train"))


def found(split: Path) -> SceneFiles:
    return scene_files(split, PARTS, 13)


def change(part: str, number: int, edit: Callable[[np.ndarray], np.ndarray | None]) -> Callable[[Path], None]:
    def do(split: Path) -> None:
        path = split / part / f"{number}.npy"
        values = np.load(path)
        edited = edit(values)
        np.save(path, values if edited is None else edited)

    return do


def at(row: int, column: int, value: float | list[float]) -> Callable[[np.ndarray], None]:
    def put(values: np.ndarray) -> None:
        values[row, column] = value

    return put


def test_what_is_read(split: Path) -> None:
    files = found(split)
    assert (files.numbers, files.size) == ((0, 1, 2), (16, 24))
    files.check()
    depth, raw = files.read("depth", 1), np.load(split / "depth" / "1.npy")[..., 0]
    assert depth.shape == (16, 24)
    np.testing.assert_array_equal(np.isnan(depth), raw == 0)
    np.testing.assert_array_equal(depth[raw > 0], raw[raw > 0])
    normal, raw = files.read("normal", 2), np.load(split / "normal" / "2.npy")
    np.testing.assert_array_equal(np.isnan(normal).all(axis=2), (raw == 0).all(axis=2))
    assert np.isnan(normal).any()
    np.testing.assert_allclose(np.linalg.norm(normal[~np.isnan(normal).any(axis=2)], axis=1), 1, rtol=1e-5)


def test_other_kinds_of_numbers_and_numbering(split: Path) -> None:
    """Whole labels, doubles, a depth without its last axis, numbers with gaps, other folder names."""
    change("label", 0, lambda values: values.astype(np.int8))(split)
    change("image", 0, lambda values: values.astype(np.float64))(split)
    change("depth", 0, lambda values: values[..., 0])(split)
    for part in PARTS:
        (split / part / "2.npy").rename(split / part / "17.npy")
    (split / "label").rename(split / "label_13")
    files = scene_files(split, {**PARTS, "label": "label_13"}, 13)
    assert files.numbers == (0, 1, 17)
    files.check()


def test_held_out(split: Path) -> None:
    kept, held = found(split).without([1])
    assert (kept.numbers, held.numbers) == ((0, 2), (1,))


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda s: (s / "depth" / "1.npy").unlink(), MissingData, r"depth.1\.npy is missing: there is image/1\.npy"),
        (lambda s: (s / "image" / "1.npy").unlink(), MissingData, r"image.1\.npy is missing: there is label/1\.npy"),
        (lambda s: shutil.rmtree(s / "normal"), MissingData, r"normal is no folder; point data=PATH"),
        (lambda s: [p.unlink() for p in (s / "label").iterdir()], MissingData, r"label has no \.npy file"),
        (lambda s: (s / "label" / "1.npy").rename(s / "label" / "one.npy"), BadData, "one.npy: its name is no number"),
        (change("depth", 1, lambda v: v[:8]), BadData, r"depth.1\.npy: shape \(8, 24, 1\); \(16, 24, 1\) is meant"),
        (change("image", 0, lambda v: v[..., 0]), BadData, r"image.0\.npy: shape \(16, 24\); \(height, width, 3\)"),
        (change("image", 0, lambda v: np.moveaxis(v, -1, 0)), BadData, r"0\.npy: shape \(3, 16, 24\)"),
        (
            change("label", 2, lambda v: v[..., None]),
            BadData,
            r"label.2\.npy: shape \(16, 24, 1\); \(16, 24\) is meant",
        ),
        (lambda s: (s / "label" / "1.npy").write_bytes(b"no array"), BadData, r"label.1\.npy: is no array"),
        (lambda s: (s / "label" / "1.npy").write_bytes(b""), BadData, r"label.1\.npy: is no array"),
        (
            lambda s: (s / "label" / "1.npy").write_bytes((s / "label" / "0.npy").read_bytes()[:-9]),
            BadData,
            r"label.1\.npy: is no array",
        ),
        (change("label", 1, lambda v: v.astype(object)), BadData, r"label.1\.npy: is no array"),
        (change("label", 1, lambda v: v.astype(str)), BadData, r"label.1\.npy: holds <U"),
    ],
)
def test_found_at_once(split: Path, harm: Callable[[Path], object], error: type[Exception], message: str) -> None:
    harm(split)
    with pytest.raises(error, match=message):
        found(split)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (change("image", 1, at(3, 5, np.nan)), r"image.1\.npy: row 3, column 5: nan is no number"),
        (change("image", 1, lambda v: v * 255), r"image.1\.npy: .* is no brightness; 0 to 1 is meant"),
        (change("label", 1, at(3, 5, 13)), r"label.1\.npy: row 3, column 5: 13 is no class; 0 to 12 is meant"),
        (change("label", 1, at(3, 5, -2)), r"row 3, column 5: -2 is no class"),
        (change("label", 1, at(3, 5, 0.5)), r"row 3, column 5: 0\.5 is no class"),
        (change("depth", 1, at(3, 5, -1)), r"depth.1\.npy: row 3, column 5: -1 is no depth"),
        (change("depth", 1, at(3, 5, np.inf)), r"depth.1\.npy: row 3, column 5: inf is no number"),
        (change("normal", 1, at(3, 5, [0, 0, 2])), r"normal.1\.npy: row 3, column 5: 2 is no length of a normal"),
    ],
)
def test_found_when_it_is_read(split: Path, harm: Callable[[Path], None], message: str) -> None:
    harm(split)
    files = found(split)
    files.read("image", 0)
    with pytest.raises(BadData, match=message):
        files.check()
