"""Scene understanding: what every pixel of a picture is, how far away, and which way its surface faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from dominance.benchmarks.benchmark import Batch, Metric, Scorer, Task
from dominance.benchmarks.data.own_files import own_data
from dominance.benchmarks.data.scene_augmentation import augmented
from dominance.benchmarks.data.scene_files import SceneFiles, scene_files
from dominance.benchmarks.data.splits import derived_generator, minibatches
from dominance.benchmarks.metrics import per_pixel
from dominance.benchmarks.models.backbones import RESNETS, load_weights, maps_of, read_weights, trunk
from dominance.benchmarks.models.dense_heads import ASPP, full_size_head
from dominance.benchmarks.problems.bases.encoder_heads import EncoderHeads
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadData, BadOption

Backbone = Literal["small", "resnet18", "resnet50", "segnet"]

SEGMENTATION, DEPTH, NORMAL = "segmentation", "depth", "normal"
METRICS: Mapping[str, tuple[Metric, ...]] = {
    SEGMENTATION: per_pixel.SEGMENTATION,
    DEPTH: per_pixel.DEPTH,
    NORMAL: per_pixel.NORMAL,
}
PART = {SEGMENTATION: "label", DEPTH: "depth", NORMAL: "normal"}
"""Task -> the part of the files that has its labels."""


class Scenes(EncoderHeads):
    """Segmentation by cross-entropy, depth by absolute error, normals by 1 - cos, over the pixels that have a label.

    Pictures are read when a batch needs them, whatever the size of the set: memory holds one batch.
    """

    architectures = ("hps", "mmoe", "cgc", "cross-stitch", "mtan")
    kinds: ClassVar[tuple[str, ...]]
    """The tasks."""
    how_to_get: ClassVar[str]
    classes: int
    """How many the segmentation has."""

    def __init__(
        self,
        *,
        data: str | None = None,
        backbone: Backbone = "small",
        width: int | None = None,
        head: int | None = None,
        weights: str | None = None,
        held_out: float = 0.0,
        augment: bool = False,
        check: bool = True,
    ) -> None:
        self.data, self.backbone, self.augment, self.check = data, backbone, augment, check
        self.width = None if width is None else at_least(1, width=width)
        self.head_width = at_least(1, head=head) if head is not None else 32 if backbone == "small" else 256
        self.weights = None if weights is None else Path(weights)
        if weights is not None and backbone not in RESNETS:
            raise BadOption(f"{backbone} takes no weights", fix=f"choose from {', '.join(RESNETS)}")
        if not 0 <= held_out < 1:
            raise BadOption(f"held_out={held_out} is no share", fix="give 0, or a number between 0 and 1")
        self.held_out = held_out

    @property
    def tasks(self) -> tuple[Task, ...]:
        outputs = {SEGMENTATION: self.classes, DEPTH: 1, NORMAL: 3}
        return tuple(Task(kind, outputs[kind], METRICS[kind]) for kind in self.kinds)

    def label_folder(self, split: Path) -> str:
        """Where the labels of a split lie."""
        return "label"

    def load(self, seed: int) -> None:
        """Find the files and check their shapes, and with ``check`` all their values."""
        root = own_data(self.data, self, f"{self.how_to_get}, and point data=PATH to it", "pictures")
        train, last = self._files(root / "train"), self._files(root / "val")
        if (root / "test").is_dir():
            held, test = last, self._files(root / "test")
        else:
            count = round(len(train.numbers) * self.held_out)
            order = torch.randperm(len(train.numbers), generator=derived_generator(seed, self.name))
            train, held = train.without(train.numbers[i] for i in order[:count].tolist())
            test = last
        self.files = {"train": train, "val": held, "test": test}
        self.size = train.size
        for files in self.files.values():
            if files.size != self.size:
                sizes = f"{files.size[0]}x{files.size[1]}, those to train on {self.size[0]}x{self.size[1]}"
                raise BadData(
                    f"{files.folder}: its pictures are {sizes}",
                    fix="bring all to one size",
                )
            if self.check:
                files.check()
        if self.backbone == "segnet" and any(side % 32 for side in self.size):
            raise BadOption(
                f"segnet halves pictures five times, and these are {self.size[0]}x{self.size[1]}",
                fix="bring them to multiples of 32, or take another backbone",
            )
        self._loaded = None if self.weights is None else read_weights(self.weights)

    def _files(self, split: Path) -> SceneFiles:
        folders = {"image": "image", **{PART[kind]: PART[kind] for kind in self.kinds}}
        return scene_files(split, {**folders, "label": self.label_folder(split)}, self.classes)

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        files = self.files[split]
        for rows in minibatches(len(files.numbers), batch_size, generator):
            numbers = [files.numbers[row] for row in rows.tolist()]
            if not numbers:
                return
            images = _maps([files.read("image", number) for number in numbers])
            targets = {kind: self._target(files, kind, numbers) for kind in self.kinds}
            if self.augment and split == "train" and generator is not None:
                images, targets = augmented(images, targets, generator)
            yield Batch(images, targets)

    def _target(self, files: SceneFiles, kind: str, numbers: list[int]) -> Tensor:
        found = [files.read(PART[kind], number) for number in numbers]
        if kind == SEGMENTATION:
            return torch.from_numpy(np.stack(found)).long()
        return _maps([values.reshape(*self.size, -1) for values in found])

    def encoder(self) -> nn.Module:
        made = trunk(self.backbone, self.width)
        if self._loaded is not None and self.weights is not None:
            load_weights(made, self._loaded, self.weights)
        return made

    @property
    def features(self) -> int:
        return maps_of(self.backbone, self.width)

    def head(self, task: str) -> nn.Module:
        outputs = next(found.outputs for found in self.tasks if found.name == task)
        if self.backbone == "segnet":
            return full_size_head(self.features, outputs)
        return ASPP(self.features, self.head_width, outputs, self.size)

    def loss(self, task: str, output: Tensor, target: Tensor) -> Tensor | None:
        """Cross-entropy, mean absolute error, or mean of 1 - cos; None if no pixel has a label."""
        if task == SEGMENTATION:
            return per_pixel.segmentation_loss(output, target)
        return per_pixel.depth_loss(output, target) if task == DEPTH else per_pixel.normal_loss(output, target)

    def score(self, task: str, output: Tensor, target: Tensor) -> dict[str, float]:
        scorer = self.scorer(task)
        scorer.add(output, target)
        return scorer.scores()

    def scorer(self, task: str) -> Scorer:
        if task == SEGMENTATION:
            return per_pixel.Segmentation(self.classes)
        return per_pixel.Depth() if task == DEPTH else per_pixel.Normals()


def _maps(pictures: list[npt.NDArray[np.float32]]) -> Tensor:
    """(height, width, channels) of each -> (batch, channels, height, width)."""
    return torch.from_numpy(np.stack(pictures)).movedim(-1, 1).contiguous()


def write_scenes(
    folder: str | Path,
    splits: Mapping[str, int],
    kinds: tuple[str, ...],
    *,
    classes: int,
    size: tuple[int, int],
    seed: int,
) -> Path:
    """Made-up pictures in the format of the data sets; returns the folder.

    A picture is a tilted ground with two boxes before it, each of one class. The colour says the class, brightness
    falls with the depth and hue changes with the normal, with noise: a small network can learn all three. Some pixels
    have no label.
    """
    random = np.random.default_rng(seed)
    colours = random.uniform(0.2, 1.0, (classes, 3))
    rows, columns = np.mgrid[0 : size[0], 0 : size[1]] / np.reshape(size, (2, 1, 1))
    root = Path(folder)
    for split, count in splits.items():
        for part in ("image", *(PART[kind] for kind in kinds)):
            (root / split / part).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            label = np.full(size, random.integers(classes))
            depth = 1 + 3 * (1 - rows) + random.uniform(0, 1)
            normal = np.broadcast_to(_unit(random.normal(size=3)), (*size, 3)).copy()
            for _ in range(2):
                top, left = random.uniform(0, 0.6, 2)
                box = (rows >= top) & (rows < top + 0.4) & (columns >= left) & (columns < left + 0.4)
                label[box] = random.integers(classes)
                depth[box] = random.uniform(0.5, 2)
                normal[box] = _unit(random.normal(size=3))
            image = colours[label] * (1.2 - depth[..., None] / 6) * (0.8 + 0.2 * normal)
            image = np.clip(image + random.normal(scale=0.02, size=image.shape), 0, 1)
            for values in (label, depth, normal):
                values[random.random(size) < 0.03] = -1 if values is label else 0
            parts = {"image": image, "label": label, "depth": depth[..., None], "normal": normal}
            for part in ("image", *(PART[kind] for kind in kinds)):
                np.save(root / split / part / f"{number}.npy", parts[part].astype(np.float32))
    return root


def _unit(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return vector / np.sqrt(vector @ vector)
