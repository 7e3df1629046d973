"""A detector in one stage: what of its backbone is trained by the classes, the boxes, and whether something is there?

Each picture has one bright shape of three kinds at some place; a grid of 4 x 4 cells says of each whether the shape's
middle lies in it (``objectness``), and of the one that has it which shape it is (``classes``) and where its box lies
(``box``), as in YOLO (Redmon et al. 2016):

    python -m dominance.examples.detection
    dominance record -m dominance.examples.detection

``--pixels`` measures boxes in pixels instead of parts of the picture: the same boxes, a gradient 1,024 times as large.
``--cells sum`` adds objectness up over the 16 cells, of which 15 are empty, where ``mean`` (default) averages it.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIZE, GRID, KINDS, BATCH = 32, 4, 3, 32


def pictures(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures (count, 1, 32, 32), kinds (count,), and boxes (count, 4): middle, width and height, in pixels."""
    kind = torch.randint(KINDS, (count,), generator=generator)
    size = torch.rand(count, 2, generator=generator) * 8 + 6
    middle = torch.rand(count, 2, generator=generator) * (SIZE - 16) + 8
    y, x = torch.meshgrid(torch.arange(SIZE) + 0.5, torch.arange(SIZE) + 0.5, indexing="ij")
    across = (x - middle[:, 0, None, None]) / size[:, 0, None, None] * 2
    down = (y - middle[:, 1, None, None]) / size[:, 1, None, None] * 2
    shapes = torch.stack(
        [
            torch.maximum(across.abs(), down.abs()) < 1,  # a rectangle
            across.square() + down.square() < 1,  # an ellipse
            (torch.maximum(across.abs(), down.abs()) < 1) & (torch.minimum(across.abs(), down.abs()) < 0.3),  # a cross
        ]
    )
    picture = shapes[kind, torch.arange(count)].float()
    picture = picture + 0.2 * torch.randn(picture.shape, generator=generator)
    return picture[:, None], kind, torch.cat([middle, size], dim=1)


class Detector(nn.Module):
    """A backbone that all losses share, and a head of one convolution that says 1 + 4 + 3 numbers of each cell."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((1, 8), (8, 16), (16, 32)):
            layers += [nn.Conv2d(inside, outside, 3, stride=2, padding=1), nn.ReLU()]
        self.backbone = nn.Sequential(*layers)
        self.objectness, self.box, self.classes = (nn.Conv2d(32, n, 1) for n in (1, 4, KINDS))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (batch, 1, 4, 4), boxes (batch, 4, 4, 4) in parts of the picture, logits (batch, 3, 4, 4)."""
        found = self.backbone(picture)
        return self.objectness(found), self.box(found), self.classes(found)


def train(*, pixels: bool = False, cells: str = "mean", steps: int = 300, seed: int = 0) -> tuple[float, float, float]:
    """Train, and return of new pictures how often the cell and the kind are right, and how far boxes lie off."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Detector()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    scale = float(SIZE) if pixels else 1.0
    for _ in range(steps):
        picture, kind, boxes = pictures(BATCH, generator)
        logits, found, scores = model(picture)
        place = _cell(boxes)
        there = F.one_hot(place, GRID * GRID).float()
        said = F.binary_cross_entropy_with_logits(logits.flatten(1), there, reduction="none")
        objectness = (said.sum(1) if cells == "sum" else said.mean(1)).mean()
        box = F.mse_loss(scale * _at(found, place), scale * boxes / SIZE)
        classes = F.cross_entropy(_at(scores, place), kind)
        loss = objectness + box + classes
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        picture, kind, boxes = pictures(512, generator)
        logits, found, scores = model(picture)
        place = _cell(boxes)
        right = (logits.flatten(1).argmax(1) == place).float().mean()
        known = (_at(scores, place).argmax(1) == kind).float().mean()
        off = (SIZE * _at(found, place) - boxes).abs().mean()
    return float(right), float(known), float(off)


def _cell(boxes: Tensor) -> Tensor:
    """(batch,) number of the cell in which the middle of a box lies."""
    column, row = (boxes[:, :2] * GRID / SIZE).long().clamp(max=GRID - 1).T
    cell: Tensor = row * GRID + column
    return cell


def _at(found: Tensor, place: Tensor) -> Tensor:
    """(batch, channels) of the cell that has the middle."""
    return found.flatten(2)[torch.arange(len(place)), :, place]


def main() -> None:
    """Train it, and say how well it detects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", action="store_true")
    parser.add_argument("--cells", choices=("mean", "sum"), default="mean")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    right, known, off = train(**vars(args))
    print(f"cell right {right:.2f}, kind right {known:.2f}, box off by {off:.1f} pixels")


if __name__ == "__main__":
    main()
