"""A training in several processes that averages its gradients itself: ``averaging_by_hand.py FORM``."""

from __future__ import annotations

import os
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

STEPS = 4
TRUTH = bool(os.environ.get("TRUTH"))


def average(parameters: list[nn.Parameter], form: str) -> None:
    if form == "alone":
        # Each process trains a model of its own; what is told is a number for the log.
        dist.all_reduce(torch.ones(1))
        return
    if form == "packed":
        flat = torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        at = 0
        for p in parameters:
            if p.grad is not None:
                p.grad.copy_(flat[at : at + p.numel()].view_as(p))
                at += p.numel()
        return
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
        dist.all_reduce(p.grad)
        if form != "summed":
            p.grad /= dist.get_world_size()


def main(form: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    rank = dist.get_rank()
    torch.manual_seed(0)
    trunk, low, high = nn.Linear(4, 8), nn.Linear(8, 1), nn.Linear(8, 1)
    net = nn.ModuleDict({"trunk": trunk, "low": low, "high": high})
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    torch.manual_seed(1 + rank)
    steps: dict[int, dict[str, dict[str, Tensor]]] = {}
    for step in range(STEPS):
        z = trunk(torch.randn(6, 4)).tanh()
        loss_low, loss_high = low(z).square().mean(), (high(z) - 5).abs().mean()
        parts = {"loss_low": loss_low, "loss_high": loss_high}
        if form == "missing" and rank and step % 2:
            del parts["loss_high"]
        if TRUTH:
            named = dict(net.named_parameters())
            steps[step] = {}
            for task, loss in parts.items():
                found = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
                steps[step][task] = {name: g for name, g in zip(named, found, strict=True) if g is not None}
        optimizer.zero_grad()
        sum(parts.values()).backward()
        average(list(net.parameters()), form)
        optimizer.step()
    os.makedirs(form, exist_ok=True)
    gradients = {name: p.grad for name, p in net.named_parameters()}
    random = [torch.get_rng_state(), 0.0]
    if TRUTH:
        torch.save(steps, f"{form}/truth-{rank}.pt")
    else:
        torch.save({"weights": net.state_dict(), "gradients": gradients, "random": random}, f"{form}/state-{rank}.pt")
    dist.barrier()


if __name__ == "__main__":
    main(sys.argv[1])
