"""Trainings in several processes, of many forms: ``distributed_training.py FORM...``, launched as torchrun does.

Each process leaves ``FORM/state-RANK.pt`` in the folder: weights, gradients, buffers, random states. With TRUTH set it
takes the task gradients of its own batches by hand instead, into ``FORM/truth-RANK.pt``: step -> task -> parameter ->
gradient.
"""

import contextlib
import os
import random
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

STEPS, BATCH = 4, 5
SHARED = 2
"""Steps whose gradients are averaged, of a training by local SGD."""
LONGEST = 0.1
"""To what length the form "clipped" cuts the gradient."""
TRUTH = bool(os.environ.get("TRUTH"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())
        self.price_head, self.stars_head = nn.Linear(8, 1), nn.Linear(8, 1)
        self.again = False

    def forward(self, x: Tensor, only: str | None = None) -> dict[str, Tensor]:
        z = checkpoint(self.trunk, x, use_reentrant=False) if self.again else self.trunk(x)
        heads = {"price": self.price_head, "stars": self.stars_head}
        return {name: head(z) for name, head in heads.items() if only in (None, name)}


@dataclass
class Form:
    """How one training differs from the plainest one."""

    wrap: dict[str, Any] = field(default_factory=dict)
    """Options of DistributedDataParallel."""
    micro: int = 1
    """Passes for each step of the optimizer."""
    no_sync: bool = True
    """Whether all passes but the last are under ``no_sync``."""
    has: Callable[[int, int], set[str]] = lambda rank, step: {"price", "stars"}
    """The tasks that a process has in a step."""
    prepare: Callable[[Net, DistributedDataParallel], None] = lambda net, model: None
    optimizer: Callable[[Any], torch.optim.Optimizer] = lambda p: torch.optim.Adam(p, lr=0.05)
    passes: str = "sum"
    """"sum": one backward() of the sum; "each": one for each task."""
    between: Callable[[DistributedDataParallel, Tensor], None] = lambda model, x: None
    """What happens between forward and backward()."""
    more: Callable[[dict[str, Tensor]], None] = lambda losses: None
    """What becomes of the losses."""
    after: Callable[[Net], None] = lambda net: None
    """What happens between backward() and the step."""
    uneven: dict[str, Any] | None = None
    """Options of ``join``: each process has as many batches as its rank says."""


def of_rank(rank: int, step: int) -> set[str]:
    return {"price"} if rank == 0 else {"stars"}


def now_and_then(rank: int, step: int) -> set[str]:
    return {"price"} if (rank + step) % 2 else {"price", "stars"}


def at_times(rank: int, step: int) -> set[str]:
    return {"price"} if rank and step % 2 else {"price", "stars"}


def compressed(net: Net, model: DistributedDataParallel) -> None:
    from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import fp16_compress_hook

    model.register_comm_hook(dist.group.WORLD, fp16_compress_hook)


def summed(net: Net, model: DistributedDataParallel) -> None:
    def hook(state: Any, bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda future: future.value()[0])

    model.register_comm_hook(None, hook)


def halved(net: Net, model: DistributedDataParallel) -> None:
    net.trunk[0].weight.register_hook(lambda gradient: gradient / 2)


def checkpointed(net: Net, model: DistributedDataParallel) -> None:
    net.again = True


@torch.no_grad()
def look_in_between(model: DistributedDataParallel, x: Tensor) -> None:
    model(x)


class OverAll(torch.autograd.Function):
    """The sum over the processes, as projects write it themselves."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        value = value.clone()
        dist.all_reduce(value)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        dist.all_reduce(gradient)
        return gradient


def talk(losses: dict[str, Tensor]) -> None:
    losses["price"] = losses["price"] + OverAll.apply(losses["price"]) ** 2


def clip(net: Net) -> None:
    nn.utils.clip_grad_norm_(net.parameters(), LONGEST)


def momentum(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)


def sharded(parameters: Any) -> torch.optim.Optimizer:
    from torch.distributed.optim import ZeroRedundancyOptimizer

    return ZeroRedundancyOptimizer(parameters, torch.optim.Adam, lr=0.05)


def at_first(group_size: int | None) -> Callable[[Net, DistributedDataParallel], None]:
    """Local SGD: gradients are averaged over all in the first ``SHARED`` steps, then over groups, or not."""

    def prepare(net: Net, model: DistributedDataParallel) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks.post_localSGD_hook import PostLocalSGDState, post_localSGD_hook

        part = None if group_size is None else dist.new_subgroups(group_size)[0]
        state = PostLocalSGDState(None, part, SHARED, post_local_gradient_allreduce=part is not None)
        model.register_comm_hook(state, post_localSGD_hook)

    return prepare


def local(parameters: Any) -> torch.optim.Optimizer:
    from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
    from torch.distributed.optim import PostLocalSGDOptimizer

    averager = PeriodicModelAverager(period=2, warmup_steps=SHARED)
    return PostLocalSGDOptimizer(torch.optim.Adam(parameters, lr=0.05), averager)


def hierarchical(parameters: Any) -> torch.optim.Optimizer:
    from torch.distributed.algorithms.model_averaging import hierarchical_model_averager as of_torch
    from torch.distributed.optim import PostLocalSGDOptimizer

    groups = OrderedDict([(1, dist.get_world_size() // 2), (2, dist.get_world_size())])
    averager = of_torch.HierarchicalModelAverager(period_group_size_dict=groups, warmup_steps=SHARED)
    return PostLocalSGDOptimizer(momentum(parameters), averager)


FORMS = {
    "plain": Form(),
    "momentum": Form(optimizer=momentum),
    "sharded_optimizer": Form(optimizer=sharded),
    "accumulated": Form(micro=3),
    "averaged_each_time": Form(micro=3, no_sync=False),
    "static_graph": Form({"static_graph": True}),
    "bucket_view": Form({"gradient_as_bucket_view": True}, micro=2),
    "small_buckets": Form({"bucket_cap_mb": 0.0001}),
    "unused": Form({"find_unused_parameters": True}, has=now_and_then),
    "unused_accumulated": Form({"find_unused_parameters": True}, micro=2, has=now_and_then),
    "a_task_each": Form({"find_unused_parameters": True}, has=of_rank),
    "compressed": Form(prepare=compressed),
    "summed": Form(prepare=summed),
    "hooked": Form(prepare=halved),
    "checkpointed": Form(prepare=checkpointed),
    "forward_in_between": Form({"broadcast_buffers": False}, between=look_in_between),
    "talking": Form(more=talk),
    "talking_apart": Form({"find_unused_parameters": True}, more=talk, has=at_times),
    "clipped": Form(after=clip),
    "uneven": Form({"broadcast_buffers": False}, uneven={}),
    "uneven_by_active": Form({"broadcast_buffers": False}, uneven={"divide_by_initial_world_size": False}),
}

LOCAL = {
    "local": Form(prepare=at_first(None), optimizer=local),
    "local_of_one": Form(prepare=at_first(1), optimizer=local),
    "local_in_pairs": Form(prepare=at_first(2), optimizer=local),
    "hierarchical": Form(prepare=at_first(None), optimizer=hierarchical),
}
"""Local SGD: the second in groups of one process, the third of two."""


def batches(form: Form, rank: int) -> Iterator[tuple[int, list[tuple[Tensor, Tensor, Tensor]]]]:
    generator = torch.Generator().manual_seed(100 + rank)
    for step in range(STEPS if form.uneven is None else STEPS + (2 * (rank == 0))):
        parts = []
        for _ in range(form.micro):
            x = torch.randn(BATCH, 4, generator=generator)
            parts.append((x, x.sum(1, keepdim=True) + rank, 5 * x[:, :1]))
        yield step, parts


class ByHand:
    """Task gradients of this process's own batches, summed over those of a step."""

    def __init__(self, net: Net) -> None:
        self.parameters = dict(net.named_parameters())
        self.steps: dict[int, dict[str, dict[str, Tensor]]] = {}
        self.now: dict[str, dict[str, Tensor]] = {}

    def take(self, losses: dict[str, Tensor]) -> None:
        for name, loss in losses.items():
            held = self.now.setdefault(name, {})
            found = torch.autograd.grad(loss, list(self.parameters.values()), retain_graph=True, allow_unused=True)
            for at, gradient in zip(self.parameters, found, strict=True):
                if gradient is not None:
                    held[at] = held.get(at, 0) + gradient

    def end(self, step: int) -> None:
        self.steps[step] = self.now
        self.now = {}


def train(form: Form, net: Net, model: DistributedDataParallel, by_hand: ByHand | None) -> None:
    rank = dist.get_rank()
    optimizer = form.optimizer(model.parameters())
    form.prepare(net, model)
    for step, parts in batches(form, rank):
        optimizer.zero_grad()
        for number, (x, price, stars) in enumerate(parts):
            last = number == form.micro - 1
            has = form.has(rank, step)
            with contextlib.nullcontext() if last or not form.no_sync else model.no_sync():
                out = model(x, None if len(has) == 2 else next(iter(has)))
                form.between(model, x)
                losses = {}
                if "price" in out:
                    losses["price"] = F.mse_loss(out["price"], price)
                if "stars" in out:
                    losses["stars"] = 0.5 * F.l1_loss(out["stars"], stars)
                form.more(losses)
                if by_hand is not None:
                    by_hand.take(losses)
                loss = sum(losses.values())
                loss.backward()
        if by_hand is not None:
            by_hand.end(step)
        form.after(net)
        optimizer.step()


def run(name: str) -> None:
    form = {**FORMS, **LOCAL}[name]
    if TRUTH:
        # Passes in the first iteration would be taken for the script's.
        form.wrap.pop("static_graph", None)
    rank = dist.get_rank()
    torch.manual_seed(3)
    net = Net()
    model = DistributedDataParallel(net, **form.wrap)
    torch.manual_seed(10 + rank)
    random.seed(rank)
    by_hand = ByHand(net) if TRUTH else None
    with contextlib.nullcontext() if form.uneven is None else model.join(**form.uneven):
        train(form, net, model, by_hand)
    state = {
        "weights": net.state_dict(),
        "gradients": {at: p.grad for at, p in net.named_parameters()},
        "random": [torch.get_rng_state(), random.random()],
    }
    os.makedirs(name, exist_ok=True)
    if by_hand is None:
        torch.save(state, f"{name}/state-{rank}.pt")
    else:
        torch.save(by_hand.steps, f"{name}/truth-{rank}.pt")


def main(names: list[str]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=timedelta(seconds=60))
    for name in names:
        run(name)
    dist.barrier()


if __name__ == "__main__":
    main(sys.argv[1:])
