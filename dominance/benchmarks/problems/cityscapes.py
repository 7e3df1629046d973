"""CityScapes: what every pixel of a street scene is, and how far away."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dominance.benchmarks.benchmark import Settings
from dominance.benchmarks.problems.bases.scenes import DEPTH, SEGMENTATION, Backbone, Scenes, write_scenes


class CityScapes(Scenes):
    """Segmentation into seven classes and inverse depth of street scenes.

    The files are the user's own, as {train,val}/{image,label,depth}/N.npy: image (height, width, 3) from 0 to 1, label
    (height, width) from 0 to 6 and -1 for none, depth (height, width, 1), which is inverse there, and 0 for none. The
    set of MTAN has pictures of 128x256, and its labels in folders label_7 and label_19, which are taken if they are
    there. val is what is tested on, as in AdaTask, which has no validation set; with a folder test of the same form,
    as MoCoGrad has, that is, and val validates.

    mIoU and pixel accuracy are shares. Errors of the depth are means over all pixels that have one.

    Args:
        data: folder with train and val. There is no default: see ``write_sample`` for a small one to try.
        classes: how many there are.
        backbone: the trunk. small: a dilated residual network of four blocks. resnet18, resnet50: the published ones,
            dilated. segnet: encoder and decoder up to the picture's size. All but segnet have heads with atrous spatial
            pyramid pooling; segnet's have two convolutions.
        width: maps of the trunk's first stage; none: 16 of small, else 64, as published.
        head: maps of a branch in the heads; none: 32 with small, else 256.
        weights: file with a state dict in torchvision's names, to start a residual trunk from, such as one trained on
            ImageNet.
        held_out: share of the training pictures for validation, where there is no folder test; 0: no validation.
        augment: cut, stretch and mirror training pictures at random.
        check: read all files before the training begins, so that a bad one is found at once.
    """

    name = "cityscapes"
    title = "street scenes: class and depth of every pixel"
    licence = "the user's own copy, under the terms of Cityscapes"
    source = "Cityscapes (Cordts et al., CVPR 2016), as arrays by MTAN (Liu et al., CVPR 2019); AdaTask and MoCoGrad"
    settings = Settings(
        epochs=20,
        batch_size=8,
        lr=1e-3,
        published={
            "AdaTask": "MTAN on SegNet (backbone=segnet, --architecture mtan), 200 epochs, batch size 8, Adam with "
            "learning rate 1e-4, halved after 100 epochs (here milestones divide by ten), mean of the last ten epochs "
            "on the test set, three runs; Table 9: SegNet alone (--architecture hps)",
            "MoCoGrad": "2,975 / 125 / 500 pictures, ResNet-50 with atrous spatial pyramid pooling "
            "(backbone=resnet50), Adam with learning rate 1e-4, ten runs; Fig. 7: five architectures",
        },
    )
    kinds = (SEGMENTATION, DEPTH)
    how_to_get = "get the preprocessed CityScapes that https://github.com/lorenmt/mtan links to"

    def __init__(
        self,
        *,
        data: str | None = None,
        classes: Literal[7, 19] = 7,
        backbone: Backbone = "small",
        width: int | None = None,
        head: int | None = None,
        weights: str | None = None,
        held_out: float = 0.0,
        augment: bool = False,
        check: bool = True,
    ) -> None:
        self.classes = classes
        super().__init__(
            data=data,
            backbone=backbone,
            width=width,
            head=head,
            weights=weights,
            held_out=held_out,
            augment=augment,
            check=check,
        )

    def label_folder(self, split: Path) -> str:
        named = f"label_{self.classes}"
        return named if (split / named).is_dir() else "label"


def write_sample(
    folder: str | Path, train: int = 8, val: int = 4, size: tuple[int, int] = (32, 64), seed: int = 0
) -> Path:
    """Made-up pictures in the format of the data set; returns the folder. See ``scenes.write_scenes``."""
    splits = {"train": train, "val": val}
    return write_scenes(folder, splits, CityScapes.kinds, classes=7, size=size, seed=seed)
