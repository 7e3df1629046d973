"""Per-task gradients against one pass a task, autograd's own batching, and TorchJD's mtl_backward.

    python tests/speed/task_gradients.py [--threads 1] [--tasks 2 4 8 16] [--nets mlp-32x8-b32 ...] [--rounds 15]

Prints the time of one pass a task and ratios to it, from medians of interleaved rounds; "to best" is ours over the
better of one pass a task and is_grads_batched. With one thread it is processor time, which other work on the machine
disturbs least; with more it is wall time, which tells nothing on a busy machine.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from dominance.optim.engine.gradients import task_gradients


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, width)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(self.embed(x)).mean(1)


def mlp(width: int, depth: int, batch: int, norm: bool = False) -> tuple[nn.Module, int, Tensor]:
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(width, width), *([nn.BatchNorm1d(width)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers), width, torch.randn(batch, width)


def convolutions(size: int) -> tuple[nn.Module, int, Tensor]:
    conv = (nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2))
    return nn.Sequential(*conv, nn.Flatten(), nn.Linear(64, 32)), 32, torch.randn(16, 1, size, size)


def resnet(width: int, size: int, batch: int) -> tuple[nn.Module, int, Tensor]:
    stem = (nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    body = (Block(width), Block(width), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*stem, *body), width, torch.randn(batch, 3, size, size)


NETS: dict[str, Callable[[], tuple[nn.Module, int, Tensor]]] = {
    "mlp-32x2-b32": lambda: mlp(32, 2, 32),
    "mlp-32x8-b32": lambda: mlp(32, 8, 32),
    "mlp-64x20-b32": lambda: mlp(64, 20, 32),
    "mlp-32x100-b32": lambda: mlp(32, 100, 32),  # 200 tensors
    "mlp-128x4-b64": lambda: mlp(128, 4, 64),
    "mlp-128x4-b1024": lambda: mlp(128, 4, 1024),
    "mlp-512x3-b64": lambda: mlp(512, 3, 64),
    "mlp-512x3-b512": lambda: mlp(512, 3, 512),
    "bn-mlp-128x4-b128": lambda: mlp(128, 4, 128, norm=True),
    "conv-8": lambda: convolutions(8),
    "conv-32": lambda: convolutions(32),
    "resnet-8": lambda: resnet(8, 8, 8),
    "resnet-16": lambda: resnet(16, 16, 16),
    "transformer": lambda: (Attention(64), 64, torch.randint(0, 100, (16, 12))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for name in asked.nets:
        for k in asked.tasks:
            print(f"{name:18} K={k:2}  {measured(name, k, asked.rounds)}", flush=True)


def measured(name: str, k: int, rounds: int) -> str:
    from torchjd.autojac import mtl_backward

    torch.manual_seed(0)
    trunk, width, x = NETS[name]()
    heads = [nn.Linear(width, 1) for _ in range(k)]
    of_heads = [list(head.parameters()) for head in heads]
    of_trunk = list(trunk.parameters())
    every = [*of_trunk, *(p for own in of_heads for p in own)]

    def loop(losses: list[Tensor], z: Tensor) -> object:
        last = len(losses) - 1
        return [torch.autograd.grad(a, every, retain_graph=i < last, allow_unused=True) for i, a in enumerate(losses)]

    def batched(losses: list[Tensor], z: Tensor) -> object:
        found = torch.autograd.grad(torch.stack(losses), every, torch.eye(k), is_grads_batched=True)
        return list(
            zip(*(g.unbind() for g in found), strict=True)
        )  # a row for each task, as the others but TorchJD give

    def torchjd(losses: list[Tensor], z: Tensor) -> object:
        return mtl_backward(losses, z, tasks_params=of_heads, shared_params=of_trunk)

    def ours(losses: list[Tensor], z: Tensor) -> object:
        return task_gradients(dict(zip(map(str, range(k)), losses, strict=True)), every)

    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    ways = (loop, batched, torchjd, ours)
    seconds: dict[str, list[float]] = {way.__name__: [] for way in ways}
    for round_ in range(rounds + 2):
        for way in (*ways[round_ % 4 :], *ways[: round_ % 4]):  # what comes first leaves its memory to the next
            z = trunk(x)
            losses = [head(z).square().mean() for head in heads]
            start = clock()
            kept = way(losses, z)
            spent = clock() - start
            if round_ >= 2:
                seconds[way.__name__].append(spent)
            del kept
            for p in every:
                p.grad = None
                if hasattr(p, "jac"):
                    del p.jac
    at = {way: median(times) for way, times in seconds.items()}
    best = min(at["loop"], at["batched"])
    ratios = "  ".join(f"{way} {at[way] / at['loop']:.2f}" for way in ("batched", "torchjd", "ours"))
    last = f"ours to best {at['ours'] / best:.2f}  to TorchJD {at['ours'] / at['torchjd']:.2f}"
    return f"loop {1e3 * at['loop']:8.2f} ms  {ratios}  {last}"


if __name__ == "__main__":
    main()
