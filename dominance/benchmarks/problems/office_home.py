"""Office-Home: which of 65 things a picture shows, one task for each of four kinds of pictures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.data.own_files import own_data
from dominance.benchmarks.data.splits import derived_generator, each_task_its_own, split_rows
from dominance.benchmarks.metrics.per_sample import ACCURACY, accuracy
from dominance.benchmarks.models.backbones import load_weights, maps_of, read_weights, resnet
from dominance.benchmarks.problems.bases.encoder_heads import EncoderHeads
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadData, MissingData

DOMAINS = {
    "Art": ("Art",),
    "Clipart": ("Clipart",),
    "Product": ("Product",),
    "Real_World": ("Real World", "Real_World", "RealWorld"),
}
"""Task -> the names that its folder may have."""

SHARES = {"train": 0.6, "val": 0.2, "test": 0.2}
SUFFIXES = (".jpg", ".jpeg", ".png")
MEAN, DEVIATION = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=np.float32)
"""Of the colours in ImageNet, as usual."""

Pictures = tuple[list[Path], npt.NDArray[np.int64]]
"""Files, and the class of each."""


class OfficeHome(EncoderHeads):
    """Four classifications, each with its own pictures: art, clip art, products, and photographs.

    The files are the user's own: folders Art, Clipart, Product and Real World, in each the same 65 folders with the
    pictures of a class, .jpg or .png. Each task's pictures are split at random, 60 : 20 : 20. A picture is read when a
    batch needs it, and brought to one size and to ImageNet's mean and deviation of the colours.

    Args:
        data: folder with the four. There is no default: see ``write_sample`` for a small one to try.
        classes: how many folders each of the four must have.
        size: height and width that pictures are brought to; 224 is the published one.
        backbone: the trunk. small: a residual network of four blocks. resnet18: the published one. resnet50.
        width: maps of the trunk's first stage; none: 16 of small, else 64, as published.
        weights: file with a state dict in torchvision's names, to start the trunk from, such as one trained on
            ImageNet.
    """

    name = "office-home"
    title = "65 classes of things, one task for each of four kinds of pictures"
    licence = "the user's own copy, under Office-Home's fair-use notice: research only"
    source = "Office-Home (Venkateswara et al., CVPR 2017), https://www.hemanthdv.org/officeHomeDataset.html; MoCoGrad"
    settings = Settings(
        epochs=10,
        batch_size=32,
        lr=1e-3,
        published={
            "MoCoGrad": "60 % / 20 % / 20 % at random, ResNet-18 (backbone=resnet18, size=224), one-layer heads, Adam "
            "with learning rate 1e-4, average accuracy, ten runs; lambda 0.12",
        },
    )
    architectures = ("hps", "mmoe", "cgc", "ple", "cross-stitch")
    multi_input = True

    def __init__(
        self,
        *,
        data: str | None = None,
        classes: int = 65,
        size: int = 64,
        backbone: Literal["small", "resnet18", "resnet50"] = "small",
        width: int | None = None,
        weights: str | None = None,
    ) -> None:
        self.data, self.backbone = data, backbone
        self.classes, self.size = at_least(2, classes=classes), at_least(64, size=size)
        self.width = None if width is None else at_least(1, width=width)
        self.weights = None if weights is None else Path(weights)

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(domain, self.classes, (ACCURACY,)) for domain in DOMAINS)

    def load(self, seed: int) -> None:
        """Find the pictures, and see that each can be opened."""
        get = "get them from https://www.hemanthdv.org/officeHomeDataset.html and point data=PATH to the folder"
        root = own_data(self.data, self, f"{get} with Art and the others", "pictures")
        pictures = find_pictures(root, self.classes)
        generator = derived_generator(seed, self.name)
        self.splits: dict[str, dict[str, Pictures]] = {split: {} for split in SHARES}
        for domain, (files, labels) in pictures.items():
            for split, rows in split_rows(len(files), SHARES, generator).items():
                self.splits[split][domain] = ([files[row] for row in rows.tolist()], labels[rows.numpy()])
        self._loaded = None if self.weights is None else read_weights(self.weights)

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        pictures = self.splits[split]
        sizes = {domain: len(files) for domain, (files, _) in pictures.items()}
        for own in each_task_its_own(sizes, batch_size, generator):
            inputs = {
                domain: torch.stack([read_picture(pictures[domain][0][row], self.size) for row in rows.tolist()])
                for domain, rows in own.items()
            }
            yield Batch(inputs, {domain: torch.from_numpy(pictures[domain][1])[rows] for domain, rows in own.items()})

    def encoder(self) -> nn.Module:
        made = resnet(self.backbone, self.width, dilated=False)
        if self._loaded is not None and self.weights is not None:
            load_weights(made, self._loaded, self.weights)
        return made.append(nn.AdaptiveAvgPool2d(1)).append(nn.Flatten())

    @property
    def features(self) -> int:
        return maps_of(self.backbone, self.width)

    def head(self, task: str) -> nn.Module:
        return nn.Linear(self.features, self.classes)

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(output, target)

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        return {ACCURACY.name: accuracy(output, target)}


def find_pictures(root: Path, classes: int) -> dict[str, Pictures]:
    """The pictures of each of the four kinds, in the order of their names; classes are numbered by name.

    Raises:
        MissingData: a folder is not there, or a class has no picture.
        BadData: the classes are not as many as they should be or not the same in all four, or a file is no picture.
    """
    found: dict[str, Pictures] = {}
    first: tuple[Path, list[str]] | None = None
    for domain, names in DOMAINS.items():
        folder = next((root / name for name in names if (root / name).is_dir()), None)
        if folder is None:
            raise MissingData(f"{root / names[0]} is no folder", fix=f"point data=PATH to the folder with {names[0]}")
        kinds = sorted(path.name for path in _visible(folder) if path.is_dir())
        if first is None:
            first = folder, kinds
        odd = sorted(set(kinds) ^ set(first[1]))
        if odd:
            where, other = (folder, first[0]) if odd[0] in kinds else (first[0], folder)
            raise BadData(f"{where / odd[0]}: there is no {other / odd[0]}", fix="all four must have the same classes")
        if len(kinds) != classes:
            raise BadData(
                f"{folder}: has {len(kinds)} classes, {classes} are meant", fix=f"or set classes={len(kinds)}"
            )
        files: list[Path] = []
        labels: list[int] = []
        for label, kind in enumerate(kinds):
            own = _visible(folder / kind)
            if not own:
                raise MissingData(f"{folder / kind} has no picture", fix="get the folder again")
            for path in own:
                _check(path)
            files += own
            labels += [label] * len(own)
        found[domain] = files, np.array(labels, dtype=np.int64)
    return found


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _check(path: Path) -> None:
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() not in SUFFIXES:
        raise BadData(f"{path}: is no {', '.join(SUFFIXES)} file", fix="take it out of the folder")
    try:
        with Image.open(path):
            pass
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(f"{path}: is no picture ({type(error).__name__})", fix=_AGAIN) from None


_AGAIN = "get the file again, or take it out of the folder"


def read_picture(path: Path, size: int) -> Tensor:
    """A picture as (3, size, size) float32, colours in ImageNet's mean and deviation.

    Raises:
        BadData: the file ends too early, or cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            sized = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError) as error:  # a broken png is a SyntaxError of Pillow
        raise BadData(f"{path}: cannot be read ({error})", fix=_AGAIN) from None
    values = (np.asarray(sized, dtype=np.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


def write_sample(folder: str | Path, classes: int = 65, each: int = 5, size: int = 64, seed: int = 0) -> Path:
    """Made-up pictures in the format of the data set, ``each`` of every class in all four; returns the folder.

    A class is a direction and a width of stripes; the four have other colours and noise.
    """
    from PIL import Image

    random = np.random.default_rng(seed)
    angles, waves = random.uniform(0, np.pi, classes), random.uniform(2, 8, classes)
    rows, columns = np.mgrid[0:size, 0:size] / size
    for names in DOMAINS.values():
        paper, ink = random.uniform(0, 255, (2, 3))
        for kind in range(classes):
            own = Path(folder) / names[0] / f"Thing_{kind:02d}"
            own.mkdir(parents=True, exist_ok=True)
            for number in range(1, each + 1):
                along = columns * np.cos(angles[kind]) + rows * np.sin(angles[kind])
                stripes = np.sin(2 * np.pi * (along * waves[kind] + random.random()))[..., None]
                colours = np.where(stripes > 0, ink, paper) + random.normal(scale=20, size=(size, size, 3))
                Image.fromarray(colours.clip(0, 255).astype(np.uint8)).save(own / f"{number:05d}.jpg", quality=90)
    return Path(folder)
