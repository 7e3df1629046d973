"""NYUv2: what every pixel of an indoor scene is, how far away, and which way its surface faces."""

from __future__ import annotations

from pathlib import Path

from dominance.benchmarks.benchmark import Settings
from dominance.benchmarks.problems.bases.scenes import DEPTH, NORMAL, SEGMENTATION, Scenes, write_scenes


class NYUv2(Scenes):
    """Segmentation into 13 classes, depth and surface normals of indoor scenes.

    The files are the user's own, as {train,val}/{image,label,depth,normal}/N.npy: image (height, width, 3) from 0 to 1,
    label (height, width) from 0 to 12 and -1 for none, depth (height, width, 1) and 0 for none, normal (height, width,
    3) of length 1 and zeros for none. The set of MTAN has 795 and 654 pictures of 288x384. val is what is tested on, as
    in the papers, which have no validation set; with a folder test of the same form, that is, and val validates.

    mIoU and pixel accuracy are shares. Errors of the depth are means over all pixels that have one, angles are in
    degrees, within_11, within_22 and within_30 are the shares below 11.25, 22.5 and 30 degrees.

    Args:
        data: folder with train and val. There is no default: see ``write_sample`` for a small one to try.
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

    name = "nyuv2"
    title = "indoor scenes: class, depth and surface normal of every pixel"
    licence = "the user's own copy, under the terms of NYU Depth V2"
    source = "NYU Depth V2 (Silberman et al., ECCV 2012), as arrays by MTAN (Liu et al., CVPR 2019); MoCoGrad and PUB"
    settings = Settings(
        epochs=20,
        batch_size=8,
        lr=1e-3,
        published={
            "MoCoGrad": "795 / 654 pictures, ResNet-50 with atrous spatial pyramid pooling (backbone=resnet50), Adam "
            "with learning rate 1e-4, ten runs",
            "PUB": "MTAN on SegNet (backbone=segnet, --architecture mtan), 300 epochs, batch size 4, Adam with "
            "learning rate 1e-4 and warm-up over 10 % of the steps, which is not offered here, three runs",
        },
    )
    classes = 13
    kinds = (SEGMENTATION, DEPTH, NORMAL)
    how_to_get = "get the preprocessed NYUv2 that https://github.com/lorenmt/mtan links to"


def write_sample(
    folder: str | Path, train: int = 8, val: int = 4, size: tuple[int, int] = (32, 64), seed: int = 0
) -> Path:
    """Made-up pictures in the format of the data set; returns the folder. See ``scenes.write_scenes``."""
    splits = {"train": train, "val": val}
    return write_scenes(folder, splits, NYUv2.kinds, classes=NYUv2.classes, size=size, seed=seed)
