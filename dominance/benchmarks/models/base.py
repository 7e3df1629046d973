"""What the architectures have in common: an encoder up to the representation, and one head for each task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from dominance.errors import BadOption

Representation = Tensor | dict[str, Tensor]
MakeModule = Callable[[], nn.Module]


class Architecture(nn.Module):
    """Shared encoder and heads. Subclasses implement ``represent``, or ``encode`` where all tasks share one tensor.

    Args:
        heads: task -> what makes its head, a module from (batch, features) to the task's output; or from maps, (batch,
            features, height, width).
        multi_input: each task has inputs of its own: ``inputs`` is {task: tensor}, and may leave tasks out.

    Attributes:
        stem: what every input goes through first, shared by all; None: nothing.
    """

    stem: nn.Module | None

    def __init__(self, heads: Mapping[str, MakeModule], *, multi_input: bool) -> None:
        super().__init__()
        self.tasks = tuple(heads)
        self.multi_input = multi_input
        self.stem = None
        self.heads = nn.ModuleDict({task: make() for task, make in heads.items()})

    def represent(self, inputs: Any, tasks: tuple[str, ...]) -> dict[str, Tensor]:
        """What the heads of these tasks read, each (batch, features), of one batch of inputs."""
        raise NotImplementedError

    def encode(self, inputs: Any) -> Representation:
        """The representation: what lies between the encoder and the heads."""
        if not self.multi_input:
            return self.represent(self._read(inputs), self.tasks)
        return {task: self.represent(self._read(inputs[task]), (task,))[task] for task in self.tasks if task in inputs}

    def _read(self, inputs: Any) -> Any:
        return inputs if self.stem is None else self.stem(inputs)

    def decode(self, representation: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The output of each task whose representation is there."""
        if isinstance(representation, Tensor):
            return {task: self.heads[task](representation) for task in self.tasks}
        return {task: self.heads[task](representation[task]) for task in self.tasks if task in representation}

    def forward(self, inputs: Any) -> dict[str, Tensor]:
        """{task: output}."""
        return self.decode(self.encode(inputs))


def stages(encoder: nn.Module, architecture: str) -> list[nn.Module]:
    """The stages of a trunk: the children of a Sequential; one without parameters belongs to the stage before it.

    Raises:
        BadOption: the trunk is no Sequential, or has fewer than two stages.
    """
    if not isinstance(encoder, nn.Sequential):
        raise BadOption(
            f"{architecture} works between the stages of the trunk, and {type(encoder).__name__} shows none",
            fix="make the trunk a torch.nn.Sequential whose children are its stages, or choose another architecture",
        )
    found: list[list[nn.Module]] = []
    for child in encoder:
        if found and not list(child.parameters()):
            found[-1].append(child)
        else:
            found.append([child])
    if len(found) < 2:
        raise BadOption(
            f"{architecture} works between the stages of the trunk, and there is only one",
            fix="give a trunk of two stages or more, or choose another architecture",
        )
    return [stage[0] if len(stage) == 1 else nn.Sequential(*stage) for stage in found]


def width(stage: nn.Module, architecture: str) -> int:
    """The size of what a stage puts out: that of its last linear layer.

    Raises:
        BadOption: there is none, or a convolution comes after it.
    """
    for layer in reversed(list(stage.modules())):
        if isinstance(layer, nn.Linear):
            return layer.out_features
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            break
    raise BadOption(
        f"{architecture} needs stages that end in features, (batch, width); one has no linear layer at its end",
        fix="choose another architecture",
    )


def channels(stage: nn.Module) -> int | None:
    """The number of maps that a stage puts out, if it ends in maps: that of its last convolution; else None."""
    found = None
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            found = layer.out_channels
        elif isinstance(layer, (nn.Linear, nn.Flatten)):
            found = None
    return found
