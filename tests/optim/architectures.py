"""Awkward networks with several tasks: each function returns a module and a function that makes its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

Losses = Callable[[], dict[str, Tensor]]
TASKS = ("a", "b", "c", "d", "e")


class Doubled(torch.autograd.Function):
    """A user's own function: batching cannot know what it does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient if float(gradient.sum()) < 1e9 else gradient


def _heads(width: int) -> nn.ModuleDict:
    return nn.ModuleDict({task: nn.Linear(width, 1) for task in TASKS})


def _through(trunk: nn.Module, x: Tensor, width: int = 8) -> tuple[nn.Module, Losses]:
    model = nn.ModuleDict({"trunk": trunk, "heads": _heads(width)})

    def losses() -> dict[str, Tensor]:
        z = trunk(x)
        return {task: (head(z) - 1).square().mean() for task, head in model["heads"].items()}

    return model, losses


def mlp() -> tuple[nn.Module, Losses]:
    return _through(nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.ReLU()), torch.randn(7, 6))


def batch_norm() -> tuple[nn.Module, Losses]:
    return _through(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()), torch.randn(7, 6))


def residual_convolutions() -> tuple[nn.Module, Losses]:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x + self.norm(self.conv(x)))

    trunk = nn.Sequential(nn.Conv2d(3, 8, 3), Residual(), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _through(trunk, torch.randn(4, 3, 8, 8))


def transformer() -> tuple[nn.Module, Losses]:
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    return _through(nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), torch.randn(4, 5, 8))


def recurrent() -> tuple[nn.Module, Losses]:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn = nn.LSTM(6, 8, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            states, _ = self.rnn(x)
            return states[:, -1]

    return _through(Last(), torch.randn(4, 5, 6))


def own_function() -> tuple[nn.Module, Losses]:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return Doubled.apply(super().forward(x))  # type: ignore[no-any-return]

    return _through(Own(6, 8), torch.randn(7, 6))


def in_place() -> tuple[nn.Module, Losses]:
    class Written(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            z = super().forward(x) * 1
            z[:, 0] = x[:, 0]
            return z.relu_()

    return _through(Written(6, 8), torch.randn(7, 6))


def embedding() -> tuple[nn.Module, Losses]:
    return _through(nn.Sequential(nn.Embedding(9, 8), nn.LayerNorm(8)), torch.tensor([[1, 2], [3, 3]]))


def dropout() -> tuple[nn.Module, Losses]:
    return _through(nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 8)), torch.randn(7, 6))


def frozen() -> tuple[nn.Module, Losses]:
    trunk = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8))
    trunk[0].requires_grad_(False)
    return _through(trunk, torch.randn(7, 6))


def unused() -> tuple[nn.Module, Losses]:
    model, losses = mlp()
    model["unused"] = nn.Linear(3, 3)  # type: ignore[operator]
    return model, losses


def experts() -> tuple[nn.Module, Losses]:
    """Gates of one task each mix what all share."""
    x = torch.randn(7, 6)
    model = nn.ModuleDict(
        {
            "experts": nn.ModuleList(nn.Linear(6, 8) for _ in range(3)),
            "gates": nn.ModuleDict({task: nn.Linear(6, 3) for task in TASKS}),
            "heads": _heads(8),
        }
    )

    def losses() -> dict[str, Tensor]:
        out = torch.stack([torch.relu(expert(x)) for expert in model["experts"]], dim=1)  # type: ignore[union-attr]
        found = {}
        for task in TASKS:
            mixed = (model["gates"][task](x).softmax(1).unsqueeze(2) * out).sum(1)  # type: ignore[index]
            found[task] = model["heads"][task](mixed).square().mean()  # type: ignore[index]
        return found

    return model, losses


def some_tasks_each() -> tuple[nn.Module, Losses]:
    """Two trunks: one of the first three tasks, one of the last three; "c" has both."""
    x = torch.randn(7, 6)
    model = nn.ModuleDict({"left": nn.Linear(6, 8), "right": nn.Linear(6, 8), "heads": _heads(8)})

    def losses() -> dict[str, Tensor]:
        left, right = torch.tanh(model["left"](x)), torch.tanh(model["right"](x))
        inner = {"a": left, "b": left, "c": left + right, "d": right, "e": right}
        return {task: model["heads"][task](z).square().mean() for task, z in inner.items()}  # type: ignore[index]

    return model, losses


def two_levels() -> tuple[nn.Module, Losses]:
    """Some heads begin below others."""
    x = torch.randn(7, 6)
    model = nn.ModuleDict({"low": nn.Linear(6, 8), "high": nn.Linear(8, 8), "heads": _heads(8)})

    def losses() -> dict[str, Tensor]:
        low = torch.tanh(model["low"](x))
        high = torch.tanh(model["high"](low))
        return {
            task: model["heads"][task](low if k < 2 else high).square().mean()  # type: ignore[index]
            for k, task in enumerate(TASKS)
        }

    return model, losses


def entered_twice() -> tuple[nn.Module, Losses]:
    """Each task uses the representation twice."""
    model, _ = mlp()
    x = torch.randn(7, 6)

    def losses() -> dict[str, Tensor]:
        z = model["trunk"](x)  # type: ignore[index]
        heads = model["heads"].items()  # type: ignore[index]
        return {task: (head(z) * z.sum(1, keepdim=True)).square().mean() for task, head in heads}

    return model, losses


def own_inputs() -> tuple[nn.Module, Losses]:
    """Each task has its own batch: only the parameters are shared."""
    trunk = nn.Sequential(nn.Linear(6, 8), nn.ReLU())
    model = nn.ModuleDict({"trunk": trunk, "heads": _heads(8)})
    inputs = {task: torch.randn(5, 6) for task in TASKS}

    def losses() -> dict[str, Tensor]:
        return {task: model["heads"][task](trunk(x)).square().mean() for task, x in inputs.items()}  # type: ignore[index]

    return model, losses


def one_output_each() -> tuple[nn.Module, Losses]:
    """No heads: each task takes its column of one output."""
    trunk = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))
    x = torch.randn(7, 6)

    def losses() -> dict[str, Tensor]:
        return {task: out.square().mean() for task, out in zip(TASKS, trunk(x).unbind(1), strict=True)}

    return trunk, losses


def shared_scale() -> tuple[nn.Module, Losses]:
    """A shared parameter in every head, beside the trunk."""
    model, _ = mlp()
    model["scale"] = nn.ParameterList([nn.Parameter(torch.ones(1))])  # type: ignore[operator]
    x = torch.randn(7, 6)

    def losses() -> dict[str, Tensor]:
        z = model["trunk"](x)  # type: ignore[index]
        scale = model["scale"][0]  # type: ignore[index]
        return {task: (head(z) * scale).square().mean() for task, head in model["heads"].items()}  # type: ignore

    return model, losses


def nested_losses() -> tuple[nn.Module, Losses]:
    """One loss holds another."""
    model, inner = mlp()

    def losses() -> dict[str, Tensor]:
        found = inner()
        found["b"] = found["b"] + found["a"]
        return found

    return model, losses


ARCHITECTURES = {
    make.__name__: make
    for make in (
        mlp, batch_norm, residual_convolutions, transformer, recurrent, own_function, in_place, embedding, dropout,
        frozen, unused, experts, entered_twice, some_tasks_each, two_levels, own_inputs, one_output_each,
        shared_scale, nested_losses,
    )
}  # fmt: skip
