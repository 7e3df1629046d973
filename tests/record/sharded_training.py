"""Trainings of a model that FSDP2 shards, of many forms: ``sharded_training.py FORM...``, launched as torchrun does.

Each process leaves ``FORM/state-RANK.pt``: its pieces of weights and gradients, and random states. With JOINED=SIZE set
one process trains the model as it is, on the batches of SIZE processes joined.
"""

import contextlib
import fcntl
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

STEPS, BATCH = 4, 5
LONGEST = 0.1
JOINED = int(os.environ.get("JOINED", "0"))

Batch = tuple[Tensor, Tensor, Tensor]
Outputs = dict[str, Tensor]


class Net(nn.Module):
    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 9), nn.Tanh())
        self.deep = nn.Sequential(nn.Linear(9, 8), nn.Tanh())
        self.price_head, self.stars_head = nn.Linear(8, 1), nn.Linear(8, 1)
        self.again = again

    def forward(self, x: Tensor) -> Outputs:
        z = self.trunk(x)
        z = checkpoint(self.deep, z, use_reentrant=False) if self.again else self.deep(z)
        return {"price": self.price_head(z), "stars": self.stars_head(z)}


def all_of_it(net: Net, **options: Any) -> None:
    for part in (net.trunk, net.deep, net):
        fully_shard(part, **options)


def copied(net: Net, **options: Any) -> None:
    """Two copies of the model, each sharded over half of the processes (HSDP)."""
    from torch.distributed.device_mesh import init_device_mesh

    size = (2, dist.get_world_size() // 2)
    all_of_it(net, mesh=init_device_mesh("cpu", size, mesh_dim_names=("copy", "shard")), **options)


def root_alone(net: Net, **options: Any) -> None:
    fully_shard(net, **options)


def parts_alone(net: Net, **options: Any) -> None:
    for part in (net.trunk, net.deep, net.price_head, net.stars_head):
        fully_shard(part, **options)


def adam(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.05)


def momentum(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)


def decayed(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=0.05, foreach=False)


class OfSigns(torch.optim.SGD):
    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for p in (p for group in self.param_groups for p in group["params"] if p.grad is not None):
            p.add_(p.grad.sign(), alpha=-0.01)


def by_signs(parameters: Any) -> torch.optim.Optimizer:
    return OfSigns(parameters, lr=0.01)


@dataclass
class Form:
    """How one training differs from the plainest one."""

    shard: Callable[..., None] = all_of_it
    options: dict[str, Any] = field(default_factory=dict)
    """Of ``fully_shard``."""
    micro: int = 1
    """Passes for each step of the optimizer."""
    sync: bool = False
    """Whether each of them reduces the gradients, and not the last only."""
    low: torch.dtype | None = None
    """What passes are computed in."""
    optimizer: Callable[[Any], torch.optim.Optimizer] = adam
    apart: bool = False
    """Whether there is a backward() for each task."""
    again: bool = False
    """Whether a part is computed again in the backward pass."""
    clips: bool = False
    absent: Callable[[int, int], bool] = lambda rank, step: False
    """Whether a process has no stars in a step."""
    frozen: bool = False
    """Whether the first layer is frozen in every second step."""
    reads: bool = False
    """Whether the script looks at the whole weights between the steps."""

    partly: bool = False
    """Whether gradients are reduced over one copy of the model in each pass, and over all copies in the last only."""


BF16 = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)

FORMS = {
    "plain": Form(),
    "kept": Form(options={"reshard_after_forward": False}),
    "resharded": Form(options={"reshard_after_forward": True}),
    "root": Form(root_alone),
    "parts": Form(parts_alone),
    "momentum": Form(optimizer=momentum),
    "decayed": Form(optimizer=decayed),
    "low": Form(options={"mp_policy": BF16}, low=torch.bfloat16),
    "low_accumulated": Form(options={"mp_policy": BF16}, low=torch.bfloat16, micro=2),
    "accumulated": Form(micro=3),
    "reduced_each_time": Form(micro=3, sync=True),
    "clipped": Form(clips=True),
    "apart": Form(apart=True),
    "checkpointed": Form(again=True),
    "absent": Form(absent=lambda rank, step: rank == 1 and step % 2 == 1),
    "frozen": Form(frozen=True),
    "read": Form(reads=True),
    "by_signs": Form(optimizer=by_signs),
}

COPIED = {
    "copied": Form(copied, clips=True),
    "copied_momentum": Form(copied, optimizer=momentum, absent=lambda rank, step: rank == 1 and step % 2 == 1),
    "copied_accumulated": Form(copied, micro=2),
    "copied_partly": Form(copied, micro=3, partly=True),
}
"""HSDP."""


def batches(form: Form, rank: int) -> Iterator[list[Batch]]:
    generator = torch.Generator().manual_seed(100 + rank)
    for _ in range(STEPS):
        parts = []
        for _ in range(form.micro):
            x = torch.randn(BATCH, 4, generator=generator)
            parts.append((x, x.sum(1, keepdim=True) + rank, 5 * x[:, :1]))
        yield parts


class Sharded:
    """The model as this process has it."""

    def __init__(self, form: Form, net: Net) -> None:
        self.form, self.net = form, net
        form.shard(net, **form.options)
        self.shards = [module for module in net.modules() if isinstance(module, torch.distributed.fsdp.FSDPModule)]
        self.ranks = [dist.get_rank()]

    def __call__(self, x: Tensor) -> Outputs:
        return self.net(x)

    def sync(self, wanted: bool, *, partly: bool) -> None:
        for module in self.shards:
            (module.set_requires_all_reduce if partly else module.set_requires_gradient_sync)(wanted)


class Joined:
    """The model of one process, which has the batches of all."""

    def __init__(self, form: Form, net: Net) -> None:
        self.form, self.net = form, net
        self.ranks = list(range(JOINED))

    def __call__(self, x: Tensor) -> Outputs:
        if self.form.low is None:
            return self.net(x)
        low = {name: p.to(self.form.low) for name, p in self.net.named_parameters()}
        return functional_call(self.net, low, (x.to(self.form.low),))

    def sync(self, wanted: bool, *, partly: bool) -> None:
        pass


def train(form: Form, model: Sharded | Joined) -> None:
    net = model.net
    optimizer = form.optimizer(net.parameters())
    for step, parts in enumerate(zip(*(batches(form, rank) for rank in model.ranks), strict=True)):
        if form.frozen:
            net.trunk.requires_grad_(step % 2 == 0)
        optimizer.zero_grad()
        for number, together in enumerate(zip(*parts, strict=True)):
            model.sync(form.sync or number == form.micro - 1, partly=form.partly)
            outs = [model(x) for x, _, _ in together]
            price, stars = (torch.cat([out[name].float() for out in outs]) for name in ("price", "stars"))
            price_is, stars_is = (torch.cat(of) for of in list(zip(*together, strict=True))[1:])
            counts = torch.tensor([0.0 if form.absent(rank, step) else 0.5 for rank in model.ranks])
            price_loss = F.mse_loss(price, price_is)
            stars_loss = (counts.repeat_interleave(BATCH)[:, None] * (stars - stars_is).square()).mean()
            if form.apart:
                price_loss.backward(retain_graph=True)
                stars_loss.backward()
            else:
                (price_loss + stars_loss).backward()
        if form.clips:
            nn.utils.clip_grad_norm_(net.parameters(), LONGEST)
        optimizer.step()
        if form.reads:
            with contextlib.suppress(AttributeError):
                [cast(Any, p).full_tensor() for p in net.parameters()]


def local(tensor: Tensor | None) -> Tensor | None:
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def run(name: str) -> None:
    form = {**FORMS, **COPIED}[name]
    torch.manual_seed(3)
    net = Net(again=form.again)
    model = Joined(form, net) if JOINED else Sharded(form, net)
    torch.manual_seed(10 + model.ranks[0])
    random.seed(model.ranks[0])
    train(form, model)
    state: Mapping[str, Any] = {
        "weights": {at: local(p.detach()) for at, p in net.named_parameters()},
        "gradients": {at: local(p.grad) for at, p in net.named_parameters()},
        "random": [torch.get_rng_state(), random.random()],
    }
    os.makedirs(name, exist_ok=True)
    torch.save(state, f"{name}/state-{model.ranks[0]}.pt")


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    if not JOINED:
        dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    for name in names:
        if name == "failing":
            sys.exit(dist.get_rank())
        ends = {"waiting": part_and_wait, "raising": part_in_an_error}.get(name)
        if ends is not None:
            ends()
            return
        run(name)
    if not JOINED:
        dist.destroy_process_group()


def part_and_wait() -> None:
    """The first process waits until the second has ended, as where it has started it itself."""
    held = os.open("alive", os.O_CREAT | os.O_RDWR)
    rank = dist.get_rank()
    if rank == 1:
        fcntl.flock(held, fcntl.LOCK_EX)
    dist.barrier()
    dist.destroy_process_group()
    if rank == 0:
        fcntl.flock(held, fcntl.LOCK_EX)


def part_in_an_error() -> None:
    """The second process tidies up after an error, while the first goes on."""
    if dist.get_rank() == 0:
        return
    began = time.monotonic()
    try:
        raise RuntimeError("no more data")
    finally:
        dist.destroy_process_group()
        print("parted within", round(time.monotonic() - began), "s")


if __name__ == "__main__":
    main(sys.argv[1:])
