"""Pictures cut, stretched and mirrored with their labels, as is usual in training on NYUv2 and CityScapes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SCALES = (1.0, 1.2, 1.5)


def augmented(
    images: Tensor, targets: dict[str, Tensor], generator: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Of each picture a window is stretched to full size, and every other one, at random, is mirrored.

    A window's height and width are those of the picture divided by a scale of 1, 1.2 or 1.5. Things come nearer by
    that scale: depths are divided by it. A mirrored normal has the other sign in its first component, which points
    along the rows of pixels. Images are stretched bilinearly, labels take the nearest pixel's.

    Args:
        images: (batch, 3, height, width).
        targets: by task: "segmentation" (batch, height, width), "depth" (batch, 1, ...), "normal" (batch, 3, ...).
        generator: of all that is random.
    """
    height, width = images.shape[2:]
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    for place in range(len(images)):
        scale = SCALES[_below(len(SCALES), generator)]
        tall, wide = int(height / scale), int(width / scale)
        top, left = _below(height - tall + 1, generator), _below(width - wide + 1, generator)
        mirrored = bool(_below(2, generator))
        window = (..., slice(top, top + tall), slice(left, left + wide))
        image = F.interpolate(
            images[place : place + 1][window], size=(height, width), mode="bilinear", align_corners=True
        )
        rows = top + (torch.arange(height) * tall) // height  # each pixel's nearest one in the window
        columns = left + (torch.arange(width) * wide) // width
        own = {task: target[place][..., rows, :][..., columns] for task, target in targets.items()}
        if "depth" in own:
            own["depth"] = own["depth"] / scale
        if mirrored:
            image = image.flip(-1)
            own = {task: target.flip(-1) for task, target in own.items()}
            if "normal" in own:
                own["normal"] = own["normal"] * torch.tensor([-1.0, 1.0, 1.0]).reshape(3, 1, 1)
        found.append((image[0], own))
    return torch.stack([image for image, _ in found]), {
        task: torch.stack([own[task] for _, own in found]) for task in targets
    }


def _below(end: int, generator: torch.Generator) -> int:
    return int(torch.randint(end, (1,), generator=generator))
