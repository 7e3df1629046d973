"""Whose units are: by hand, by brute force over loops, and of models in which a unit is used by one task alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from runs import as_tree, brute_force_au, make_rows, make_run
from torch import nn

from dominance import Recorder, Units, au, open_run, ownership, rau, rau_buckets, unit_shares
from dominance.analyse.known_units import known
from dominance.analyse.units import partition
from dominance.benchmarks.models.cgc import CGC
from dominance.benchmarks.models.mmoe import MMoE
from dominance.benchmarks.models.ple import PLE
from dominance.errors import BadOption, NothingRecorded
from dominance.schema import Parameter

torch.set_num_threads(1)
STEPS = 6


def recorded(
    folder: Path, net: nn.Module, losses: Any, *, steps: int = STEPS, lr: float = 0.01, **options: Any
) -> xr.DataTree:
    """A run of ``losses(net, generator)`` by SGD, every step."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(1)
    with Recorder(folder, net, optimizer, every=1, exact=True, quiet=True, **options):
        for _ in range(steps):
            optimizer.zero_grad()
            sum(losses(net, generator).values()).backward()
            optimizer.step()
    return open_run(folder)


def by_name(found: xr.Dataset, variable: str = "owner") -> dict[str, Any]:
    return dict(zip(found["layer"].values.tolist(), found[variable].values.tolist(), strict=True))


def test_by_brute_force() -> None:
    """Rows of a matrix and its bias, over two layers: sums of AU by loops over scalars."""
    rng = np.random.default_rng(0)
    both = ("a", "b", "c")
    parameters = [
        Parameter("one.weight", "one", (3, 4), both, "Linear"),
        Parameter("one.bias", "one", (3,), both, "Linear"),
        Parameter("two.weight", "two", (2, 3), both, "Linear"),
    ]
    updates = rng.standard_normal((5, 3, 21))
    updates[3, 1] = 0
    run = make_run(updates, parameters=parameters)
    average = brute_force_au(np.float32(updates), 0.9)[-1]
    expected: dict[str, np.ndarray] = {}
    for coord in range(21):
        unit = (
            f"one[{coord // 4}]" if coord < 12 else f"one[{coord - 12}]" if coord < 15 else f"two[{(coord - 15) // 3}]"
        )
        expected[unit] = expected.get(unit, np.zeros(3)) + average[:, coord]
    found = unit_shares(run, by="neuron", decay=0.9)
    assert found["layer"].values.tolist() == list(expected)
    assert by_name(found, "size") == {"one[0]": 5, "one[1]": 5, "one[2]": 5, "two[0]": 3, "two[1]": 3}
    summed = au(run, by="neuron", decay=0.9)["au"]
    for unit, values in expected.items():
        np.testing.assert_allclose(found["share"].sel(layer=unit), values / values.sum(), rtol=1e-9)
        np.testing.assert_allclose(summed.sel(layer=unit), values, rtol=1e-9)
    np.testing.assert_allclose(found["frequency"].sel(task="b"), 0.8)
    np.testing.assert_array_equal(found["touched"], 1)
    gradient = np.float32(-1000 * updates).astype(float) ** 2
    use = [gradient[:, :, 15:18].sum((0, 2)), gradient.sum((0, 2))]
    np.testing.assert_allclose(found["use"].sel(layer="two[0]"), use[0] / use[1], rtol=1e-6)
    xr.testing.assert_allclose(rau(run, by="neuron", decay=0.9)["rau"].transpose("layer", "task"), found["share"])


def test_a_sample_stands_for_its_unit() -> None:
    """Of each row of six, one to three places were kept: a row counts for six all the same."""
    table = Parameter("table", "table", (4, 6), ("a", "b"), "Embedding")
    index = np.array([0, 1, 2, 7, 13, 14, 20, 21, 22, 23])
    weight = np.full(len(index), 2.4)
    updates = np.zeros((1, 2, len(index)), dtype=np.float32)
    updates[0, 0], updates[0, 1] = 2, 1
    layout, rows = make_rows(updates, parameters=[table], coord_weight=weight)
    layout.coord_index = index
    run = as_tree(layout, rows)
    found = unit_shares(run, by="row")
    assert by_name(found, "sampled") == {"table[0]": 3, "table[1]": 1, "table[2]": 2, "table[3]": 4}
    assert set(by_name(found, "size").values()) == {6}
    summed = au(run, by="row")["au"]
    np.testing.assert_allclose(summed, np.tile(0.01 * 6 * np.array([[4.0], [1.0]]), (1, 4)))
    shares = rau_buckets(run, by="row", edges=(0, 0.7, 1)).share.isel(step=-1, bucket=-1)
    np.testing.assert_array_equal(shares, np.tile([1.0, 0.0], (4, 1)))


def test_parts_of_two_parameters_count_for_what_they_have_not_for_what_was_kept() -> None:
    """Row 0 of x and of y, six scalars each, of which one and three were kept; a moves x, b moves y: a half each."""
    both = [Parameter(name, name, (2, 6), ("a", "b"), "Embedding") for name in "xy"]
    updates = np.zeros((1, 2, 8), dtype=np.float32)
    updates[0, 0, :4] = updates[0, 1, 4:] = 1
    layout, rows = make_rows(updates, parameters=both, coord_weight=np.full(8, 3.0))
    layout.coord_index = np.array([0, 6, 7, 8, 0, 1, 2, 6])
    run = as_tree(layout, rows)
    units = Units("*", axis=0, name="row")
    found = rau_buckets(run, by=units)
    assert found["layer"].values.tolist() == ["row 0", "row 1"]
    np.testing.assert_allclose(found.share.isel(step=-1, bucket=-1), 0.5)
    np.testing.assert_allclose(unit_shares(run, by=units)["share"], 0.5)


def test_buckets_by_unit_are_those_of_its_coordinates(tmp_path: Path) -> None:
    """Against counting rAU of every coordinate, and in units that are whole parameters against those."""
    updates = np.random.default_rng(1).standard_normal((4, 2, 24))
    parameters = [Parameter("x", "x", (4, 3), ("a", "b")), Parameter("y", "y", (3, 4), ("a", "b"))]
    run = make_run(updates, parameters=parameters)
    units = [Units("x", axis=0, count=2, name="half"), Units("y", axis=1, count=2, name="half")]
    found = rau_buckets(run, by=units)
    each = rau(run)["rau"].values
    halves = np.array([i // 6 for i in range(12)] + [i % 4 // 2 for i in range(12)])
    for half in (0, 1):
        mine = each[:, halves == half]
        counted = [np.histogram(row, bins=(0, 0.2, 0.4, 0.6, 0.8, 1))[0] / mine.shape[1] for row in mine]
        np.testing.assert_allclose(found.share.sel(layer=f"half {half}").isel(step=-1), counted)
    whole = rau_buckets(run, by="{name}")
    usual = rau_buckets(run, by="parameter")
    xr.testing.assert_allclose(whole.drop_attrs(), usual.drop_attrs())
    owner = ownership(run, by=units)
    np.testing.assert_array_equal(owner.share, found.share.isel(bucket=-1, drop=True))


class Heads(nn.Module):
    """Self-attention whose head 0 only task a reads, the others both."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 4, batch_first=True)
        self.a, self.b = nn.Linear(8, 1), nn.Linear(8, 1)
        with torch.no_grad():
            self.attention.out_proj.weight.zero_()
            for head in range(4):  # head h leads to the features 2 h and 2 h + 1 alone
                self.attention.out_proj.weight[2 * head : 2 * head + 2, 2 * head : 2 * head + 2] = torch.eye(2)


def test_a_head_that_one_task_reads_is_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Heads()
    net.attention.out_proj.requires_grad_(False)  # else a would move the columns of other heads, too

    def losses(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        x = torch.randn(5, 7, 8, generator=generator)
        out = net.attention(x, x, x)[0]
        first, others = torch.zeros(8), torch.ones(8)
        first[:2], others[:2] = 1, 0
        return {"a": (net.a(out * first) - 1).square().mean(), "b": (net.b(out * others) + 1).square().mean()}

    run = recorded(tmp_path / "run", net, losses)
    kept = {each["name"]: (each.get("heads"), each.get("head_dim")) for each in run.attrs["parameters"]}
    assert kept["attention.in_proj_weight"] == kept["attention.out_proj.weight"] == (4, 2)
    assert kept["a.weight"] == (None, None)
    found = unit_shares(run, by="head")
    assert found["layer"].values.tolist() == [f"attention, head {i}" for i in range(4)]
    assert by_name(found) == {f"attention, head {i}": "a" if i == 0 else "b" for i in range(4)}
    assert by_name(found, "size") == dict.fromkeys(found["layer"].values, 3 * 2 * 8 + 3 * 2)
    np.testing.assert_allclose(found["use"].sel(task="a"), [1, 0, 0, 0], atol=1e-12)
    assert found["use"].sel(task="b")[0] < 0.2 * found["use"].sel(task="b")[1:].min() + 1e-12
    owner = ownership(run, by="head").owner
    assert dict(zip(owner["layer"].values, owner.values, strict=True)) == by_name(found)


class Forked(nn.Module):
    """Task a reads neuron 3 of the layer, task b all others."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 1), nn.Linear(6, 1)


def test_a_neuron_that_one_task_reads_is_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def losses(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        out = net.trunk(torch.randn(9, 5, generator=generator))
        third = torch.nn.functional.one_hot(torch.tensor(3), 6).float()
        return {"a": (net.a(out * third) - 1).square().mean(), "b": (net.b(out * (1 - third)) + 1).square().mean()}

    found = unit_shares(recorded(tmp_path / "run", Forked(), losses), by=Units("trunk.*", axis=0))
    assert by_name(found) == {f"trunk[{i}]": "a" if i == 3 else "b" for i in range(6)}
    np.testing.assert_array_equal(found["frequency"].sel(task="a"), [0, 0, 0, 1, 0, 0])


def test_rows_of_an_embedding_by_how_often_they_are_there(tmp_path: Path) -> None:
    """Row i is in every (i + 1)-th step; even ones are in a's loss, odd ones in b's, row 6 is never there."""
    torch.manual_seed(0)

    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.a, self.b = nn.Embedding(7, 4), nn.Linear(4, 1), nn.Linear(4, 1)

    step = iter(range(12))

    def losses(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        now = next(step)
        there = [i for i in range(6) if now % (i + 1) == 0]
        even, odd = (torch.tensor([i for i in there if i % 2 == parity] or [parity]) for parity in (0, 1))
        return {"a": (net.a(net.embed(even)) - 1).square().mean(), "b": (net.b(net.embed(odd)) + 1).square().mean()}

    found = unit_shares(recorded(tmp_path / "run", Table(), losses, steps=12), by="row")
    often = [len([now for now in range(12) if now % (i + 1) == 0]) / 12 for i in range(6)]
    often[1] = len([now for now in range(12) if now % 2 == 0 or not any(now % k == 0 for k in (2, 4, 6))]) / 12
    np.testing.assert_allclose(found["touched"], [*often, 0])
    assert list(by_name(found).values()) == ["a", "b", "a", "b", "a", "b", ""]
    assert math.isnan(found["share"].sel(layer="embed[6]", task="a"))


def one_expert() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh())


def two_heads() -> dict[str, Any]:
    return {"a": lambda: nn.Linear(4, 1), "b": lambda: nn.Linear(4, 1)}


def both(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
    out = net(torch.randn(6, 3, generator=generator))
    return {"a": (out["a"] - 1).square().mean(), "b": (out["b"] + 1).square().mean()}


class Said(nn.Module):
    """A gate that says the same of every sample."""

    def __init__(self, said: torch.Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(said)

    def forward(self, read: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(read), -1)


def test_an_expert_that_one_gate_uses_is_its_tasks_own(tmp_path: Path) -> None:
    """a's gate takes expert 1 alone, b's gate what is left."""
    torch.manual_seed(0)
    net = MMoE(one_expert, 4, two_heads(), experts=3, inputs=3)
    for task, chosen in (("a", torch.tensor([-6.0, 6, -6])), ("b", torch.tensor([6.0, -6, 6]))):
        net.gates[task].linear = Said(chosen)
    found = unit_shares(recorded(tmp_path / "run", net, both), by="expert")
    assert by_name(found) == {"expert 0": "b", "expert 1": "a", "expert 2": "b"}
    np.testing.assert_allclose(found["use"].sel(task="a"), [0, 1, 0], atol=1e-4)
    assert (found["use"].sel(task="b") > 0.05).values.tolist() == [True, False, True]
    assert (found["size"] == 16).all()


@pytest.mark.parametrize(
    ("make", "labels", "alone"),
    [
        (
            lambda: CGC(one_expert, 4, two_heads(), shared=2, own=1, inputs=3),
            ["expert 0", "expert 1"],
            {"a, expert 0": "a", "b, expert 0": "b"},
        ),
        (
            lambda: PLE(one_expert, 4, two_heads(), levels=2, shared=1, own=1, inputs=3),
            ["level 0, expert 0", "level 0, a, expert 0", "level 0, b, expert 0", "level 1, expert 0"],
            {"level 1, a, expert 0": "a", "level 1, b, expert 0": "b"},
        ),
    ],
    ids=["CGC", "PLE"],
)
def test_experts_of_other_architectures(tmp_path: Path, make: Any, labels: list[str], alone: dict[str, str]) -> None:
    """Experts that two tasks reach: of the last level a task's own ones are its alone, and no question."""
    torch.manual_seed(0)
    found = unit_shares(recorded(tmp_path / "run", make(), both), by="expert")
    assert found["layer"].values.tolist() == labels
    assert found.attrs["units_left_out"] == 0
    assert found.attrs["alone"] == alone
    np.testing.assert_allclose(found["use"].sum("layer"), 1)


def test_exact_shares_are_those_of_all_coordinates(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def losses(net: nn.Module, generator: torch.Generator) -> dict[str, torch.Tensor]:
        out = net.trunk(torch.randn(9, 5, generator=generator))
        return {"a": (net.a(out) - 1).square().mean(), "b": (net.b(out) + 1).square().mean()}

    run = recorded(tmp_path / "run", Forked(), losses, averages=True)
    exact, usual = (unit_shares(run, by="neuron", exact=flag) for flag in (True, False))
    np.testing.assert_allclose(exact["share"], usual["share"], rtol=1e-4)
    buckets = rau_buckets(run, by="neuron", exact=True).share.isel(step=-1)
    np.testing.assert_allclose(buckets, rau_buckets(run, by="neuron").share.isel(step=-1))


def test_several_runs() -> None:
    runs = {name: make_run(np.full((2, 2, 4), value)) for name, value in (("one", 1.0), ("two", 2.0))}
    found = unit_shares(runs, by=Units("trunk.weight", axis=0))
    assert found["share"].dims == ("run", "layer", "task")
    np.testing.assert_array_equal(found["share"], 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "layer"}, "'layer' tells of no units"),
        ({"by": "nothing.{x}.*"}, "no shared parameter fits 'nothing"),
        ({"by": Units("trunk.weight", axis=0, count=3)}, "an axis of 4 does not have 1 x 3 equal parts"),
        ({"by": Units("trunk.weight", axis=7)}, "that fits 'trunk.weight' has the axis; trunk.weight has fewer"),
        ({"by": [Units("trunk*"), "trunk*"]}, "some of these are Units"),
        ({"by": "{x}", "owns": 0.4}, "owns=0.4"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadOption, match=message):
        unit_shares(make_run(np.ones((1, 2, 4))), **options)


@pytest.mark.parametrize("word", ["expert", "head", "neuron", "row"])
def test_a_model_without_such_units(word: str) -> None:
    with pytest.raises(NothingRecorded, match=f"no {word} is known in this model"):
        unit_shares(make_run(np.ones((1, 2, 4))), by=word)


@pytest.mark.parametrize(("options", "what"), [({"count": 0}, "count=0"), ({"stacks": 0}, "stacks=0")])
def test_units_that_cannot_be(options: Any, what: str) -> None:
    with pytest.raises(BadOption, match=what):
        Units("x", axis=0, **options)
    with pytest.raises(BadOption, match="pattern is empty"):
        Units("")
    with pytest.raises(BadOption, match="count and stacks are of an axis"):
        Units("x", count=2 if "count" in options else None, stacks=2 if "stacks" in options else 1)


def test_heads_of_attention_in_other_words() -> None:
    """Which scalars are head 1's, of layouts that libraries have: marked by hand, by loops over rows and columns."""
    tasks = ("a", "b")

    def attention(name: str, shape: tuple[int, ...], heads: int, dim: int, module: str = "Linear") -> Parameter:
        return Parameter(name, name.rpartition(".")[0], shape, tasks, module, heads, dim)

    packed = attention("h.0.attn.c_attn.weight", (4, 12), 2, 0, "Module")  # transformers' Conv1D: inputs, outputs
    back = attention("h.0.attn.c_proj.weight", (4, 4), 2, 0, "Module")
    elsewhere = attention("h.0.mlp.c_proj.weight", (16, 4), 2, 0, "Module")  # not beside a projection to queries
    few = [attention("b.q_proj.weight", (8, 4), 4, 2), attention("b.k_proj.weight", (4, 4), 4, 2)]
    out = attention("b.o_proj.weight", (4, 8), 4, 2)
    everything = [packed, back, elsewhere, *few, out]
    told = known("head", everything, "run")
    names = np.concatenate([np.repeat(each.name, math.prod(each.shape)) for each in everything])
    index = np.concatenate([np.arange(math.prod(each.shape)) for each in everything])
    found = partition(told, everything, names, index)
    said = [found.labels[code] if code >= 0 else "" for code in found.code]
    expected = []
    for each in everything:
        for row in range(each.shape[0]):
            for column in range(each.shape[1]):
                expected.append(
                    {
                        packed.name: f"h.0.attn, head {column % 4 // 2}",
                        back.name: f"h.0.attn, head {row // 2}",
                        elsewhere.name: "",
                        few[0].name: f"b, head {row // 2}",
                        few[1].name: f"b, key and value head {row // 2}",
                        out.name: f"b, head {column // 2}",
                    }[each.name]
                )
    assert said == expected
