"""Pictures with labels of their pixels as {split}/{part}/N.npy: found at once, read one by one, and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dominance.errors import BadData, MissingData

CHANNELS = {"image": 3, "label": 0, "depth": 1, "normal": 3}
"""Part -> the length of a file's last axis; 0: it has none, it is (height, width)."""

LENGTHS = (0.9, 1.1)
"""Of a normal: those that come from resized pictures are not quite of length 1."""


@dataclass(frozen=True)
class SceneFiles:
    """The pictures of one split.

    Attributes:
        folder: of the split.
        parts: part -> its folder in the split's.
        numbers: of the pictures, ascending: the N of N.npy.
        size: height and width, the same for all.
        classes: labels are 0 to classes - 1, and -1 for none.
    """

    folder: Path
    parts: Mapping[str, str]
    numbers: tuple[int, ...]
    size: tuple[int, int]
    classes: int

    def read(self, part: str, number: int) -> npt.NDArray[np.float32]:
        """One file, checked: (height, width, 3) of an image or normal, (height, width) of a label or depth.

        A depth of 0 and a normal of three zeros mean that there is none; both become NaN.

        Raises:
            BadData: a value is no number or cannot be what it should be.
        """
        path = self.folder / self.parts[part] / f"{number}.npy"
        values = np.asarray(_open(path), dtype=np.float32)
        if part in ("label", "depth"):
            values = values.reshape(self.size)
        _refuse(~np.isfinite(values), values, path, "no number")
        if part == "image":
            _refuse((values < -0.5) | (values > 1.5), values, path, "no brightness; 0 to 1 is meant")
        elif part == "label":
            known = (values == np.round(values)) & (values >= -1) & (values < self.classes)
            _refuse(~known, values, path, f"no class; 0 to {self.classes - 1} is meant, -1 where there is none")
        elif part == "depth":
            _refuse(values < 0, values, path, "no depth; 0 is meant where there is none")
            values = np.where(values > 0, values, np.nan).astype(np.float32)
        else:
            length = np.sqrt(np.square(values).sum(axis=2, keepdims=True))
            wrong = (length != 0) & ((length < LENGTHS[0]) | (length > LENGTHS[1]))
            _refuse(wrong, length, path, "no length of a normal; 1 is meant, three zeros where there is none")
            values = (values / np.where(length > 0, length, np.nan)).astype(np.float32)
        return values

    def check(self) -> None:
        """Read every file.

        Raises:
            BadData: as ``read``.
        """
        for number in self.numbers:
            for part in self.parts:
                self.read(part, number)

    def without(self, numbers: Iterable[int]) -> tuple[SceneFiles, SceneFiles]:
        """The split without some of its pictures, and those."""
        held = tuple(sorted(set(numbers)))
        kept = tuple(number for number in self.numbers if number not in held)
        return replace(self, numbers=kept), replace(self, numbers=held)


def scene_files(folder: Path, parts: Mapping[str, str], classes: int, *, least: int = 16) -> SceneFiles:
    """The pictures of one split: every one has all parts, and all have one shape. Only the files' heads are read.

    Args:
        folder: of the split.
        parts: part -> its folder in the split's.
        least: height and width are at least this.

    Raises:
        MissingData: a folder is not there, holds no file, or a picture lacks a part.
        BadData: a file is no array, or has another shape than the first picture has.
    """
    numbers = {part: _numbers(folder / name) for part, name in parts.items()}
    pictures = numbers["image"]
    for part, found in numbers.items():
        gone, more = sorted(pictures - found), sorted(found - pictures)
        if gone or more:
            there, other = ("image", part) if gone else (part, "image")
            number = (gone or more)[0]
            raise MissingData(
                f"{folder / parts[other] / f'{number}.npy'} is missing: there is {parts[there]}/{number}.npy",
                fix="get it again, or take away all files of that number",
            )
    size: tuple[int, int] | None = None
    for number in sorted(pictures):
        for part, name in parts.items():
            path = folder / name / f"{number}.npy"
            shape = _open(path).shape
            if size is None:
                if len(shape) != 3 or shape[2] != 3 or min(shape[:2]) < least:
                    raise BadData(
                        f"{path}: shape {_shown(shape)}",
                        fix=f"(height, width, 3) is meant, at least {least} high and wide",
                    )
                size = (shape[0], shape[1])
            last = CHANNELS[part]
            meant = (*size, last) if last else size
            if shape != meant and not (last == 1 and shape == size):
                raise BadData(
                    f"{path}: shape {_shown(shape)}", fix=f"{_shown(meant)} is meant, as the first picture has"
                )
    assert size is not None
    return SceneFiles(folder, parts, tuple(sorted(pictures)), size, classes)


def _numbers(folder: Path) -> set[int]:
    if not folder.is_dir():
        raise MissingData(
            f"{folder} is no folder", fix="point data=PATH to a folder with {train,val}/{image,...}/N.npy"
        )
    found = [path.stem for path in folder.glob("*.npy")]
    if not found:
        raise MissingData(f"{folder} has no .npy file", fix="files named 0.npy, 1.npy, ... are meant")
    for name in found:
        if not name.isdecimal():
            raise BadData(f"{folder / name}.npy: its name is no number", fix="files named 0.npy, 1.npy, ... are meant")
    return {int(name) for name in found}


def _open(path: Path) -> npt.NDArray[np.floating]:
    """The array of a file, of which nothing but the head is read until it is used.

    Raises:
        BadData: it is no array of numbers.
    """
    try:
        found: npt.NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise BadData(f"{path}: is no array ({str(error).splitlines()[0][:80]})", fix="get the file again") from None
    if found.dtype.kind not in "fiu":
        raise BadData(f"{path}: holds {found.dtype}, no numbers", fix="get the file again")
    return found


def _refuse(wrong: npt.NDArray[np.bool_], values: npt.NDArray[np.float32], path: Path, what: str) -> None:
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        where = f"row {place[0]}, column {place[1]}"
        raise BadData(f"{path}: {where}: {values[place]:g} is {what}", fix="mend the file, or get it again")


def _shown(shape: tuple[int, ...]) -> str:
    return f"({', '.join(map(str, shape))})"
