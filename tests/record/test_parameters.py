"""Names, layers and order of parameters: of one model, and of whatever a running program holds."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam

import dominance
from dominance.record.parameters import ParameterTable, named_parameters


@pytest.fixture(autouse=True)
def _nothing_left_of_other_tests() -> Iterator[None]:
    """Discovery looks through the whole process: models and optimizers of other tests must be gone."""
    gc.collect()
    yield
    gc.collect()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
        self.head = nn.Linear(3, 1)
        self.scale = nn.Parameter(torch.ones(2))


NAMES = ["scale", "trunk.0.weight", "trunk.0.bias", "head.weight", "head.bias"]
LAYERS = ["scale", "trunk.0", "trunk.0", "head", "head"]


def wrap(name: str, child: nn.Module) -> nn.Module:
    """A module of this class name around ``child``, as the wrapper of that name holds it."""
    attribute = {"FullyShardedDataParallel": "_fsdp_wrapped_module", "CheckpointWrapper": "_checkpoint_wrapped_module"}
    outer: nn.Module = type(name, (nn.Module,), {})()
    outer.add_module(attribute.get(name, "module"), child)
    return outer


def named(table: ParameterTable) -> list[tuple[str, str]]:
    return [(entry.name, entry.layer) for entry in table.named.values()]


def discovered(frame: FrameType, *wanted: Tensor) -> ParameterTable:
    table = ParameterTable()
    table.discover(wanted, [frame])
    return table


def test_names_are_those_of_torch() -> None:
    net = Net()
    found = list(named_parameters(net))
    assert [entry.name for entry in found] == [name for name, _ in net.named_parameters()] == NAMES
    assert [entry.layer for entry in found] == LAYERS
    assert all(entry.tensor is p for entry, p in zip(found, net.parameters(), strict=True))


@pytest.mark.parametrize(
    "wrapped",
    [
        nn.DataParallel,
        lambda net: torch.compile(net, backend="eager"),
        lambda net: torch.compile(nn.DataParallel(net), backend="eager"),
        lambda net: wrap("DistributedDataParallel", torch.compile(net, backend="eager")),
        lambda net: wrap("FullyShardedDataParallel", net),
    ],
)
def test_wrappers_add_no_prefix(wrapped: Any) -> None:
    assert [entry.name for entry in named_parameters(wrapped(Net()))] == NAMES


def test_a_wrapper_inside_a_model() -> None:
    net = Net()
    net.trunk[0] = wrap("CheckpointWrapper", net.trunk[0])
    found = list(named_parameters(net))
    assert [entry.name for entry in found] == NAMES
    assert [entry.layer for entry in found] == LAYERS


def test_an_attribute_called_module_keeps_its_name() -> None:
    net = nn.Module()
    net.module = nn.Linear(1, 1)
    assert [entry.name for entry in named_parameters(nn.DataParallel(net))] == ["module.weight", "module.bias"]


class Table(nn.Embedding):
    """A user's own."""


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table, self.deep = Table(3, 2), nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2))
        self.gain = nn.Parameter(torch.ones(1))


def test_the_class_of_torch_that_owns_a_parameter() -> None:
    found = {entry.name: entry.module for entry in named_parameters(nn.DataParallel(Scaled()))}
    assert found == {
        "gain": "Module",
        "table.weight": "Embedding",
        "deep.bias": "Linear",
        "deep.parametrizations.weight.original": "Linear",
    }


def test_the_class_is_known_of_what_is_discovered() -> None:
    users, deep, bias = Table(3, 2), nn.Linear(2, 1, bias=False), torch.zeros(2, requires_grad=True)
    optimizer = SGD([users.weight, deep.weight, bias], lr=0.1)
    table = discovered(sys._getframe())
    assert [(entry.name, entry.module) for entry in table.named.values()] == [
        ("users.weight", "Embedding"), ("deep.weight", "Linear"), ("bias", "Tensor"),
    ]  # fmt: skip
    del optimizer


def test_a_tied_weight_is_listed_once() -> None:
    net = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "decoder": nn.Linear(3, 5, bias=False)})
    net["decoder"].weight = net["embedding"].weight
    assert [entry.name for entry in named_parameters(net)] == ["embedding.weight"]


def test_a_model_that_is_given() -> None:
    net, table = Net(), ParameterTable()
    table.add_model(net)
    assert len(table) == 5
    assert table.modules == [net]
    assert table.ids() == {id(p) for p in net.parameters()}
    net.head.requires_grad_(False)
    assert [table.named[p].name for p in table.trainable()] == NAMES[:3]


def test_one_model_is_discovered_without_a_prefix() -> None:
    net = Net()
    optimizer = SGD(net.parameters(), lr=0.1)
    table = ParameterTable()
    assert optimizer in table.discover([net.head.weight], [sys._getframe()])
    assert named(table) == list(zip(NAMES, LAYERS, strict=True))
    assert table.modules == [net]


def test_a_part_of_a_model_that_an_optimizer_holds() -> None:
    net = Net()
    optimizer = SGD(net.head.parameters(), lr=0.1)
    assert named(discovered(sys._getframe())) == [("head.weight", "head"), ("head.bias", "head")]
    del optimizer


def test_several_models_are_named_by_variables_in_the_order_of_the_optimizer() -> None:
    encoder, decoder = nn.Linear(2, 2, bias=False), nn.Linear(2, 1)
    optimizer = SGD([*decoder.parameters(), *encoder.parameters()], lr=0.1)
    want = [("decoder.weight", "decoder"), ("decoder.bias", "decoder"), ("encoder.weight", "encoder")]
    assert named(discovered(sys._getframe())) == want
    del optimizer


def test_models_in_containers_and_on_self() -> None:
    def run(self: Any) -> ParameterTable:
        return discovered(sys._getframe())

    heads = {"depth": nn.Linear(1, 1), "seg": nn.Linear(1, 1)}
    towers = [nn.Linear(1, 1), nn.Linear(1, 1)]
    holder = type("Trainer", (), {})()
    holder.trunk = nn.Sequential(nn.Linear(1, 1))
    optimizer = SGD([p for m in (holder.trunk, *heads.values(), *towers) for p in m.parameters()], lr=0.1)
    table = discovered(sys._getframe())
    layers = list(dict.fromkeys(layer for _, layer in named(table)))
    assert layers == ["sequential1.0", "heads.depth", "heads.seg", "towers.0", "towers.1"]
    layers = list(dict.fromkeys(layer for _, layer in named(run(holder))))
    assert layers == ["trunk.0", "linear2", "linear3", "linear4", "linear5"]
    del optimizer


def test_a_variable_goes_before_the_model_of_a_trainer() -> None:
    def run(self: Any, table: ParameterTable) -> None:
        table.discover([], [sys._getframe(), sys._getframe(1)])

    trunk, head, table = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False), ParameterTable()
    trainer = type("Trainer", (), {})()
    trainer.model, trainer.extra = trunk, nn.Linear(1, 1, bias=False)
    optimizer = SGD([trunk.weight, head.weight, trainer.extra.weight], lr=0.1)
    run(trainer, table)
    assert [layer for _, layer in named(table)] == ["trunk", "head", "extra"]
    del optimizer


def test_two_models_that_two_frames_call_the_same() -> None:
    def inner(net: nn.Module, table: ParameterTable) -> None:
        table.discover([], [sys._getframe(), sys._getframe(1)])

    net, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    optimizer = SGD([net.weight, other.weight], lr=0.1)
    table = ParameterTable()
    inner(other, table)
    assert named(table) == [("net.weight", "net"), ("net2.weight", "net2")]
    del optimizer


def test_two_models_in_variables_of_one_name() -> None:
    def inner(table: ParameterTable) -> nn.Module:
        net = nn.Linear(1, 1, bias=False)
        table.discover([net.weight], [sys._getframe()])
        return net

    net, table = nn.Linear(1, 1, bias=False), ParameterTable()
    table.discover([net.weight, torch.zeros(1, requires_grad=True)], [])
    kept = [inner(table), inner(table)]
    assert named(table)[2:] == [("net.weight", "net"), ("net2.weight", "net2")]
    del kept


def test_bare_tensors_and_the_extra_parameters_of_an_optimizer() -> None:
    net = nn.Linear(1, 1, bias=False)
    log_variance = torch.zeros(2, requires_grad=True)
    optimizer = Adam([*net.parameters(), log_variance, torch.zeros(3, requires_grad=True)], lr=0.1)
    reached = torch.zeros(1, requires_grad=True)
    table = discovered(sys._getframe(), reached)
    names = [name for name, _ in named(table)]
    assert names == ["weight", "log_variance", "tensor2", "reached"]
    assert [layer for _, layer in named(table)][1:] == names[1:]
    del optimizer


def test_the_variable_of_a_loop_is_no_name() -> None:
    def found() -> ParameterTable:
        first, second, third = (torch.zeros(2, requires_grad=True) for _ in range(3))
        opt = torch.optim.SGD([first, second, third], lr=0.1)
        for p in opt.param_groups[0]["params"]:
            p.data.zero_()
        for _, q in enumerate((first, second)):
            q.data.zero_()
        frame = inspect.currentframe()
        assert frame is not None
        return discovered(frame)

    assert [name for name, _ in named(found())] == ["first", "second", "third"]


def test_of_a_model_that_no_optimizer_lists_all_that_trains_is_taken() -> None:
    """A loss does not reach what lies below a checkpoint of the old kind before its backward pass."""
    net, other = Net(), nn.Linear(1, 1)
    net.scale.requires_grad_(False)
    table = discovered(sys._getframe(), net.head.weight)
    assert [name for name, _ in named(table)] == [name for name in NAMES if name != "scale"]
    assert not set(table.named) & set(other.parameters())


def test_a_weight_shared_by_two_models_belongs_to_the_larger() -> None:
    small, large = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)
    small.weight = large.weight
    optimizer = SGD(large.parameters(), lr=0.1)
    table = discovered(sys._getframe())
    assert table.modules == [large]
    del optimizer


def test_what_is_found_later_is_added() -> None:
    net = nn.Linear(1, 1, bias=False)
    table = discovered(sys._getframe(), net.weight)
    late, weight = nn.Linear(1, 1, bias=False), torch.zeros(1, requires_grad=True)
    table.discover([net.weight, late.weight, weight], [sys._getframe()])
    assert [name for name, _ in named(table)] == ["weight", "late.weight", "weight2"]
    assert table.modules == [net, late]


class Proxy:
    """Says it is a tensor only when asked, and must not be asked."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        raise AssertionError("woken up")


def test_lazy_proxies_are_not_woken_up() -> None:
    net, lazy, several = nn.Linear(1, 1), Proxy(), [Proxy()]
    assert len(discovered(sys._getframe(), *net.parameters())) == 2
    del lazy, several


def test_names_are_unique() -> None:
    """Of many models in one list, and tensors of the same name."""
    nets = [nn.Linear(1, 1) for _ in range(30)]
    optimizer = SGD([p for net in nets for p in net.parameters()], lr=0.1)
    table = discovered(sys._getframe())
    assert len(table) == 60
    assert len({name for name, _ in named(table)}) == 60
    assert len({layer for _, layer in named(table)}) == 30
    del optimizer


def test_embeddings_are_told_apart_in_a_recorded_run(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net = nn.ModuleDict({"users": Table(3, 2), "deep": nn.Linear(2, 2)})
    optimizer = SGD(net.parameters(), lr=0.1)
    with dominance.Recorder(tmp_path / "run", net, optimizer):
        for _ in range(2):
            out = net["deep"](net["users"](torch.tensor([0, 1])))
            click, rating = out[:, 0].square().mean(), out[:, 1].square().mean()
            optimizer.zero_grad()
            (click + rating).backward()
            optimizer.step()
    run = dominance.open_run(tmp_path / "run")
    assert [each["module"] for each in run.attrs["parameters"]] == ["Embedding", "Linear", "Linear"]
    assert dominance.rau_buckets(run, by="kind").layer.values.tolist() == ["embedding", "mlp"]


def test_complex_parameters_are_said_not_to_be_recorded(tmp_path: Path) -> None:
    trunk, heads = nn.Linear(2, 3, dtype=torch.complex64), nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    middle = nn.Linear(3, 3)
    net = nn.ModuleList([trunk, middle, *heads])
    optimizer = Adam(net.parameters(), lr=0.1)
    with dominance.Recorder(tmp_path / "run", net, optimizer, every=1) as recorder:
        z = middle(trunk(torch.ones(4, 2, dtype=torch.complex64)).abs())
        losses = {"a": heads[0](z).square().mean(), "b": (heads[1](z) - 1).square().mean()}
        recorder.observe(losses)
        sum(losses.values()).backward()
        optimizer.step()
    with dominance.open_run(tmp_path / "run") as run:
        assert run.attrs["remarks"] == ["2 parameter tensors are complex: nothing is recorded of them"]
        assert {each["layer"] for each in run.attrs["parameters"]} == {"1", "2", "3"}
        assert (run["update/update"].to_numpy() != 0).any()


class Attention(nn.Module):
    """As transformers write it: the width of a head is said, a property computes their number."""

    def __init__(self) -> None:
        super().__init__()
        self.head_dim = 2
        self.q_proj, self.to_out = nn.Linear(4, 4), nn.ModuleList([nn.Linear(4, 4)])

    @property
    def num_heads(self) -> int:
        raise AssertionError("nobody may ask")


def test_attention_says_how_many_heads_it_has() -> None:
    net = nn.ModuleDict({"encoder": nn.TransformerEncoderLayer(6, 3), "own": Attention()})
    found = {each.name: (each.heads, each.head_dim) for each in named_parameters(net)}
    assert found["encoder.self_attn.in_proj_weight"] == found["encoder.self_attn.out_proj.weight"] == (3, 2)
    assert found["own.q_proj.weight"] == found["own.to_out.0.bias"] == (0, 2)
    assert found["encoder.linear1.weight"] == (0, 0)
    assert {each.heads for each in named_parameters(nn.MultiheadAttention(6, 3))} == {3}


def test_what_a_module_calls_heads_need_not_be_a_number() -> None:
    net = nn.Linear(2, 2)
    net.num_heads, net.heads = nn.Linear(1, 1), "two"  # type: ignore[assignment]
    assert {(each.heads, each.head_dim) for each in named_parameters(net)} == {(0, 0)}
