"""A graph that may be gone through once only is seen before the first pass, and nothing of it is touched."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
import torch.distributed as dist
from forks import Forks
from torch import Tensor, nn
from torch.autograd.graph import save_on_cpu, saved_tensors_hooks
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from dominance.record.guest.limits import CannotLook, look_at, unaltered, unrecordable

torch.set_num_threads(1)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one."""
    store = f"file://{os.path.join(tmp_path, 'store')}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def refusal(loss: Tensor) -> str:
    with pytest.raises(CannotLook) as caught:
        look_at([loss.grad_fn])
    return caught.value.reason


def test_an_ordinary_graph_may_be_gone_through() -> None:
    assert look_at([nn.Linear(2, 2)(torch.ones(1, 2)).sum().grad_fn]) == ([], False)


@pytest.mark.usefixtures("alone")
def test_a_static_graph_is_learned_in_the_first_backward() -> None:
    net = DistributedDataParallel(nn.Linear(2, 1), static_graph=True)
    loss = net(torch.ones(3, 2)).sum()
    assert "static_graph=True" in refusal(loss)
    loss.backward()
    loss = net(torch.ones(3, 2)).sum()
    assert look_at([loss.grad_fn])[0] == []
    loss.backward()


@pytest.mark.usefixtures("alone")
def test_unused_parameters_are_no_static_graph() -> None:
    net = DistributedDataParallel(nn.Linear(2, 1), find_unused_parameters=True)
    assert look_at([net(torch.ones(3, 2)).sum().grad_fn])[0] == []


def test_a_selective_checkpoint_is_not_unpacked() -> None:
    ran: list[int] = []
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(lambda *args: ran.append(1))
    contexts = partial(create_selective_checkpoint_contexts, [torch.ops.aten.addmm.default])
    x = torch.ones(1, 2, requires_grad=True)
    loss = checkpoint(lambda y: layer(y).sin(), x, use_reentrant=False, context_fn=contexts).sum()
    assert "selective" in refusal(loss)
    assert ran == [1]
    loss.backward()


def test_an_ordinary_checkpoint() -> None:
    x = torch.ones(1, 2, requires_grad=True)
    loss = checkpoint(torch.sin, x, use_reentrant=False).sum()
    assert look_at([loss.grad_fn])[0] == []


@pytest.mark.parametrize("reentrant", [True, False])
def test_forward_hooks_that_a_checkpoint_calls_again(reentrant: bool) -> None:
    layer, heard = nn.utils.spectral_norm(nn.Linear(2, 2)), []
    x = torch.ones(1, 2, requires_grad=True)
    layer.register_forward_hook(lambda module, given, out: print(out.shape))
    loss = checkpoint(layer, x, use_reentrant=reentrant).sum()
    assert look_at([loss.grad_fn], [layer])[0] == []
    layer.register_forward_pre_hook(lambda *args: heard.append(1))
    assert look_at([loss.grad_fn], [layer])[0] == [], "it returns nothing, and is left out"
    layer.register_forward_pre_hook(lambda *args: (heard.append(1), None)[1])
    with pytest.raises(CannotLook, match="forward hook"):
        look_at([loss.grad_fn], [nn.Sequential(layer)])
    assert look_at([layer(x).sum().grad_fn], [layer])[0] == [], "nothing is computed again"


away: dict[int, Tensor] = {}


def put(tensor: Tensor) -> int:
    away[len(away)] = tensor
    return len(away) - 1


def counted(tensor: Tensor) -> Tensor:
    away[-1] = tensor
    return tensor


class Store:
    def __init__(self) -> None:
        self.held: dict[int, Tensor] = {}
        self.calls = 0

    def put(self, tensor: Tensor) -> int:
        self.held[len(self.held)] = tensor
        return len(self.held) - 1

    def count(self, key: int) -> Tensor:
        self.calls += 1
        return self.held[key]

    def get(self, key: int) -> Tensor:
        return self.held[key]


store = Store()


@pytest.mark.parametrize(
    ("pack", "unpack"),
    [
        (put, lambda key: away.pop(key)),
        (lambda x: x, counted),
        (store.put, store.count),
        (store.put, partial(lambda f, x: f(x), store.get)),
    ],
    ids=["taken out", "written down", "counted", "calls what cannot be read"],
)
def test_saved_tensors_that_are_brought_back_with_effects(pack: Any, unpack: Any) -> None:
    with saved_tensors_hooks(pack, unpack):
        loss = torch.ones(2, requires_grad=True).sin().sum()
    assert "saved tensors are brought back by" in refusal(loss)
    loss.backward()


def test_saved_tensors_that_are_brought_back_without_effects() -> None:
    for hooks in (
        save_on_cpu(),
        saved_tensors_hooks(store.put, store.get),
        saved_tensors_hooks(lambda x: x.half(), lambda x: x.float() if x.is_floating_point() else x),
    ):
        with hooks:
            loss = torch.ones(2, requires_grad=True).sin().sum()
        assert look_at([loss.grad_fn])[0] == []


class Frees(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.kept = x
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        kept, ctx.kept = ctx.kept, None
        return gradient * kept


class Scales(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.exp())
        ctx.more = [x.exp()]
        return x.exp()

    @staticmethod
    def backward(ctx, gradient):
        (found,) = ctx.saved_tensors
        ctx.more[0].data.mul_(2)
        return found.data.mul_(gradient).clone()


class Plain(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        print("in backward")
        return gradient * torch.cos(x)


X = torch.tensor([1.0, 2.0], requires_grad=True)


def test_a_function_that_frees_what_it_kept() -> None:
    assert "Frees" in refusal(Frees.apply(X).sum())


def test_a_function_without_effects() -> None:
    assert look_at([Plain.apply(X).sum().grad_fn]) == ([], True), "and it is the script's own"


def test_what_a_function_scales_in_place_is_put_back() -> None:
    out = Scales.apply(X)
    loss = (3 * out).sum()
    doubtful, _ = look_at([loss.grad_fn])
    assert doubtful == [out.grad_fn]
    with pytest.raises(CannotLook, match="Scales"), unaltered(doubtful):
        torch.autograd.grad(loss, [X], retain_graph=True)
    more = out.grad_fn.more[0]
    assert torch.equal(more, X.exp())
    (gradient,) = torch.autograd.grad(loss, [X])
    assert torch.equal(gradient, 3 * X.exp())


def test_a_compiled_pass_that_gives_its_buffers_away() -> None:
    class Compiled(torch.autograd.Function):
        metadata = cast(Any, SimpleNamespace(bw_donated_idxs=[0]))

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return gradient

    Compiled.__module__ = "torch._functorch._aot_autograd.runtime_wrappers"
    assert "gives its buffers away" in refusal(Compiled.apply(X).sum())
    Compiled.metadata.bw_donated_idxs = []
    assert look_at([Compiled.apply(X).sum().grad_fn]) == ([], False)


@pytest.mark.usefixtures("alone")
def test_a_model_of_shards_is_named_where_it_is_not_of_rows_over_all_processes() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, fully_shard
    from torch.distributed.tensor import Shard
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (1,))

    def model() -> nn.Module:
        return nn.Sequential(nn.Linear(2, 2))

    assert unrecordable(model().parameters(), [model()]) is None
    sharded: Any = fully_shard(model(), mesh=mesh)
    assert unrecordable([], [sharded]) is None
    split = parallelize_module(model(), mesh, {"0": ColwiseParallel()})
    assert "DTensors" in str(unrecordable(split.parameters()))
    assert "DTensors" in refusal(split(torch.ones(1, 2)).sum())
    by_columns: Any = fully_shard(model(), mesh=mesh, shard_placement_fn=lambda p: Shard(p.dim() - 1))
    assert "only whole parameters, sharded by rows" in str(unrecordable([], [by_columns]))
    hybrid: Any = fully_shard(model(), mesh=init_device_mesh("cpu", (1, 1), mesh_dim_names=("copies", "pieces")))
    assert unrecordable([], [hybrid]) is None
    offloaded: Any = fully_shard(model(), mesh=mesh, offload_policy=CPUOffloadPolicy(pin_memory=False))
    assert "with offloading" in str(unrecordable([], [offloaded]))


SHARDED = """
import tempfile
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
dist.init_process_group("gloo", store=dist.FileStore(tempfile.mktemp(), 1), rank=0, world_size=1)
mesh = dist.init_device_mesh("cpu", (1,))
torch.manual_seed(0)
net = nn.ModuleDict({"trunk": nn.Linear(6, 8), "a": nn.Linear(8, 1), "b": nn.Linear(8, 1)})
for module in net.values():
    fully_shard(module, mesh=mesh)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for step in range(4):
    z = net["trunk"](torch.randn(4, 6)).tanh()
    a_loss, b_loss = net["a"](z).square().mean(), net["b"](z).abs().mean()
    optimizer.zero_grad()
    (a_loss + b_loss).backward()
    optimizer.step()
    print(a_loss.item(), b_loss.item())
dist.destroy_process_group()
"""


def test_a_model_sharded_over_one_process_is_recorded(forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SHARDED)
    runs = [
        forks.python(*command, "train.py", cwd=tmp_path)
        for command in ([], ["-m", "dominance", "record", "--every", "1", "-o", "run"])
    ]
    assert [each.returncode for each in runs] == [0, 0]
    assert runs[0].stdout == runs[1].stdout
    assert runs[1].stderr.splitlines() == [
        "dominance: 2 tasks: a_loss, b_loss", "dominance: 4 steps recorded in run", "dominance report run"
    ]  # fmt: skip
