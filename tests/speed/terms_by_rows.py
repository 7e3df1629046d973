"""What it would save to take the inner products of K losses from rows, as groups' are: in plain steps.

    python tests/speed/terms_by_rows.py [--losses 8] [--batches 64,256] [--rounds 5]

K heads over an MLP of 6 x 1024. Median ratios of CPU time to the plain step (forward, backward, Adam), on one thread:

- passes: a pass a loss, all weight gradients formed, and the inner products of these
- rows: a pass a loss through the activations alone; inner products of a layer from its input and the K output gradients
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from dominance.record.split.row_products import RowFactors
from dominance.record.split.sampled import gram_of

WIDE, DEEP = 1024, 6


class Steps:
    """One model, whose losses are taken apart in two ways."""

    def __init__(self, losses: int, batch: int) -> None:
        torch.manual_seed(0)
        self.layers = [nn.Linear(WIDE, WIDE) for _ in range(DEEP)]
        self.heads = nn.Linear(WIDE, losses)
        self.x, self.y = torch.randn(batch, WIDE), torch.randn(batch, losses)
        self.weights = [layer.weight for layer in self.layers]
        parameters = [*(p for layer in self.layers for p in layer.parameters()), *self.heads.parameters()]
        self.optimizer = torch.optim.Adam(parameters, lr=1e-4)

    def forward(self) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The losses, and of each layer what goes in and what comes out."""
        given, made, z = [], [], self.x
        for layer in self.layers:
            given.append(z)
            made.append(layer(z))
            z = made[-1].relu()
        return (self.heads(z) - self.y).square().mean(0), given, made

    def plain(self) -> None:
        self._end(self.forward()[0])

    def passes(self) -> list[np.ndarray]:
        losses, _, _ = self.forward()
        found = [torch.autograd.grad(loss, self.weights, retain_graph=True) for loss in losses]
        grams = [gram_of([g.reshape(-1) for g in each]) for each in zip(*found, strict=True)]
        self._end(losses)
        return grams

    def rows(self) -> list[np.ndarray]:
        losses, given, made = self.forward()
        edges = [GradientEdge(each.grad_fn, each.output_nr) for each in made]
        found = [torch.autograd.grad(loss, edges, retain_graph=True) for loss in losses]
        grams, count = [], len(losses)
        index = torch.zeros(0, dtype=torch.long)
        for a, d in zip(given, zip(*found, strict=True), strict=True):
            codes = torch.arange(count).repeat_interleave(len(a))
            grams.append(RowFactors(torch.cat(d), a.detach().repeat(count, 1), codes, count).sampled(index)[1])
        self._end(losses)
        return grams

    def _end(self, losses: Tensor) -> None:
        self.optimizer.zero_grad()
        losses.sum().backward()
        self.optimizer.step()


def timed(step: Callable[[], object]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--losses", type=int, default=8)
    parser.add_argument("--batches", default="64,256")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for batch in map(int, options.batches.split(",")):
        one, other = Steps(options.losses, batch), Steps(options.losses, batch)
        assert np.allclose(one.passes(), other.rows(), rtol=1e-3)
        rounds = [[timed(each) for each in (one.plain, one.passes, one.rows)] for _ in range(options.rounds)]
        passes, rows = (median(each[i] / each[0] for each in rounds) for i in (1, 2))
        print(f"batch {batch}, K = {options.losses}: passes {passes:.2f}, rows {rows:.2f}")


if __name__ == "__main__":
    main()
