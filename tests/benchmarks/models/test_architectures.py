"""Each architecture against its formula written by hand, and which parameters its tasks share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dominance.benchmarks.models import ARCHITECTURES, OF_EXPERTS, build, parted
from dominance.benchmarks.models.base import Architecture, stages, width
from dominance.benchmarks.models.cgc import CGC
from dominance.benchmarks.models.cross_stitch import CrossStitch
from dominance.benchmarks.models.mmoe import MMoE
from dominance.benchmarks.models.ple import PLE
from dominance.errors import BadOption

torch.set_num_threads(1)
INPUTS, HIDDEN, FEATURES = 3, 5, 4
OUTPUTS = {"a": 2, "b": 1, "c": 3}
BATCH = 7


def encoder() -> nn.Module:
    return nn.Sequential(nn.Linear(INPUTS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, FEATURES), nn.Tanh())


def encoded(model: Architecture, x: Any) -> dict[str, Tensor]:
    """The representation, of a model that has one for each task."""
    found = model.encode(x)
    assert isinstance(found, Mapping)
    return dict(found)


def heads() -> dict[str, Callable[[], nn.Module]]:
    return {task: partial(nn.Linear, FEATURES, size) for task, size in OUTPUTS.items()}


def made(name: str, **more: Any) -> Architecture:
    torch.manual_seed(1)
    return build(name, encoder, FEATURES, heads(), **more)


def batch(seed: int = 2) -> Tensor:
    return torch.randn(BATCH, INPUTS, generator=torch.Generator().manual_seed(seed))


def reach(model: Architecture, inputs: Any) -> dict[str, set[str]]:
    """For each parameter, the tasks whose outputs depend on it."""
    found: dict[str, set[str]] = {}
    for task in OUTPUTS:
        model.zero_grad()
        model(inputs)[task].square().sum().backward()
        for name, parameter in model.named_parameters():
            found.setdefault(name, set())
            if parameter.grad is not None and parameter.grad.any():
                found[name].add(task)
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_shapes_and_what_lies_between(name: str) -> None:
    model, x = made(name), batch()
    outputs = model(x)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        task: (BATCH, size) for task, size in OUTPUTS.items()
    }
    representation = model.encode(x)
    assert isinstance(representation, Tensor) == (name == "hps")
    parts = [representation] if isinstance(representation, Tensor) else list(representation.values())
    assert all(part.shape == (BATCH, FEATURES) for part in parts)
    again = model.decode(representation)
    assert all(torch.equal(again[task], outputs[task]) for task in OUTPUTS)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_which_parameters_the_tasks_share(name: str) -> None:
    every = set(OUTPUTS)
    for parameter, tasks in reach(made(name), batch()).items():
        part = parameter.split(".")
        match part[0]:
            case "heads" | "gates" | "own" | "attention":
                assert tasks == {part[1]}, parameter
            case "columns":
                assert tasks == ({part[1]} if part[2] == "1" else every), parameter
            case "levels":
                own = part[2] == "gates" or (part[1] == "1" and part[2] == "own")
                assert tasks == ({part[3]} if own else every), parameter
            case "trunk" | "experts" | "shared" | "stitches":
                assert tasks == every, parameter
            case _:
                raise AssertionError(f"nothing is known of {parameter}")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_task_with_inputs_of_its_own(name: str) -> None:
    """A task's output is what a batch for all tasks would have given; a task without inputs has none."""
    joint, apart = made(name), made(name, multi_input=True)
    apart.load_state_dict(joint.state_dict())
    inputs = {"a": batch(3), "c": batch(4)}
    outputs = apart(inputs)
    assert list(outputs) == ["a", "c"]
    for task, x in inputs.items():
        torch.testing.assert_close(outputs[task], joint(x)[task], rtol=0, atol=0)
    assert not isinstance(apart.encode(inputs), Tensor)


def test_hps_by_hand() -> None:
    model, x = made("hps"), batch()
    w = dict(model.named_parameters())
    hidden = torch.tanh(x @ w["trunk.0.weight"].T + w["trunk.0.bias"])
    features = torch.tanh(hidden @ w["trunk.2.weight"].T + w["trunk.2.bias"])
    torch.testing.assert_close(model(x)["b"], features @ w["heads.b.weight"].T + w["heads.b.bias"])


@pytest.mark.parametrize("inputs", [INPUTS, None])
def test_mmoe_by_hand(inputs: int | None) -> None:
    """Σ_i softmax(W x)_i f_i(x), sample by sample; gates that cannot read x read the mean of the f_i."""
    torch.manual_seed(1)
    model, x = MMoE(encoder, FEATURES, heads(), experts=3, inputs=inputs), batch()
    gate = dict(model.named_parameters())["gates.b.linear.weight"]
    for sample, features in zip(x, encoded(model, x)["b"], strict=True):
        found = [expert(sample) for expert in model.experts]
        scores = gate @ (sample if inputs else sum(found) / 3)
        shares = scores.exp() / scores.exp().sum()
        torch.testing.assert_close(features, sum(share * f for share, f in zip(shares, found, strict=True)))


@pytest.mark.parametrize("name", OF_EXPERTS)
@pytest.mark.parametrize("multi_input", [False, True])
def test_experts_and_gates_read_what_the_stem_makes_of_the_inputs(name: str, multi_input: bool) -> None:
    torch.manual_seed(1)
    stem = nn.Sequential(nn.Linear(2, INPUTS), nn.Sigmoid())
    whole = build(name, encoder, FEATURES, heads(), multi_input=multi_input, inputs=INPUTS, stem=stem)
    plain = build(name, encoder, FEATURES, heads(), inputs=INPUTS)
    rest = {key: value for key, value in whole.state_dict().items() if not key.startswith("stem.")}
    plain.load_state_dict(rest)
    read = torch.randn(5, 2)
    expected = plain(stem(read))
    found = whole(dict.fromkeys(OUTPUTS, read) if multi_input else read)
    for task in OUTPUTS:
        torch.testing.assert_close(found[task], expected[task], rtol=0, atol=0)
    if not multi_input:
        assert reach(whole, read)["stem.0.weight"] == set(OUTPUTS)


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - set(OF_EXPERTS)))
def test_others_have_no_stem(name: str) -> None:
    with pytest.raises(BadOption, match="has no stem"):
        build(name, encoder, FEATURES, heads(), stem=nn.Linear(2, INPUTS))


def test_cgc_by_hand() -> None:
    """The gate of a task runs over the shared experts, then its own."""
    torch.manual_seed(1)
    model, x = CGC(encoder, FEATURES, heads(), shared=1, own=2, inputs=INPUTS), batch()
    gate = dict(model.named_parameters())["gates.c.linear.weight"]
    experts = [*model.shared, *model.own["c"]]
    for sample, features in zip(x, encoded(model, x)["c"], strict=True):
        scores = gate @ sample
        shares = scores.exp() / scores.exp().sum()
        expected = sum(share * expert(sample) for share, expert in zip(shares, experts, strict=True))
        torch.testing.assert_close(features, expected)


def test_the_experts_of_the_paper() -> None:
    """PUB, Sec. VI-A: eight experts; four shared ones and four of each task."""
    assert len(made("mmoe").experts) == 8
    cgc = made("cgc")
    assert (len(cgc.shared), len(cgc.own["a"])) == (4, 4)
    assert [(len(level.shared), len(level.own["a"])) for level in made("ple").levels] == [(4, 4)] * 2


def test_counts_of_experts_and_levels_are_typed_after_the_name() -> None:
    cgc, ple = made("cgc:shared=1,own=2"), made("ple:levels=3,shared=2,own=0")
    assert isinstance(cgc, CGC)
    assert isinstance(ple, PLE)
    assert (len(cgc.shared), len(cgc.own["a"])) == (1, 2)  # type: ignore[arg-type]
    assert [len(level.shared) for level in ple.levels] == [2, 2, 2]  # type: ignore[arg-type, union-attr]
    for wrong, says in (
        ("mmoe:experts=0", "experts=0 is too small"),
        ("mmoe:own=2", "mmoe has no own"),
        ("hps:experts=2", "hps has no experts"),
        ("ple:shared=0,own=0", "has no experts"),
    ):
        with pytest.raises(BadOption, match=says):
            parted(wrong)


def test_mmoe_of_two_levels_by_hand() -> None:
    """What the first level's experts find is mixed by one gate for the second's, and by each task's for its gate."""
    model, x = made("mmoe:experts=3,levels=2", inputs=INPUTS), batch()
    first, second = model.levels  # type: ignore[misc]
    found = torch.stack([expert(x) for expert in first.shared], 1)

    def mixed(gate: nn.Module, reads: Tensor, experts: Tensor) -> Tensor:
        return torch.einsum("be,bef->bf", torch.softmax(gate.linear(reads), 1), experts)  # type: ignore[operator]

    common = mixed(first.gate, x, found)
    again = torch.stack([expert(common) for expert in second.shared], 1)
    for task, output in model(x).items():
        read = mixed(first.gates[task], x, found)
        torch.testing.assert_close(output, model.heads[task](mixed(second.gates[task], read, again)))
    assert all(len(own) == 0 for own in first.own.values())
    shared = {name for name, tasks in reach(model, x).items() if len(tasks) == len(OUTPUTS)}
    assert {name for name, _ in model.named_parameters() if ".shared." in name} <= shared


@pytest.mark.parametrize("levels", [2, 3])
def test_ple_by_hand(levels: int) -> None:
    """Tang et al. 2020, Eq. 4-6, sample by sample: g^k = softmax(W_k g^k) S_k, and g^s with the experts of all."""
    torch.manual_seed(1)
    model, x = PLE(encoder, FEATURES, heads(), levels=levels, shared=1, own=2, inputs=INPUTS), batch()
    w = dict(model.named_parameters())

    def mixed(gate: str, read: Tensor, found: list[Tensor]) -> Tensor:
        scores = (w[gate + ".linear.weight"] @ read).exp()
        return sum((s / scores.sum() * f for s, f in zip(scores, found, strict=True)), torch.zeros(FEATURES))

    for sample, features in zip(x, encoded(model, x)["c"], strict=True):
        reads = dict.fromkeys(["shared", *OUTPUTS], sample)
        for j, level in enumerate(model.levels):
            experts = {"shared": list(level.shared), **{task: list(level.own[task]) for task in OUTPUTS}}
            found = {of: [expert(reads[of]) for expert in each] for of, each in experts.items()}
            after = {
                task: mixed(f"levels.{j}.gates.{task}", reads[task], found["shared"] + found[task]) for task in OUTPUTS
            }
            if j + 1 < levels:
                after["shared"] = mixed(
                    f"levels.{j}.gate", reads["shared"], [f for each in found.values() for f in each]
                )
            reads = after
        torch.testing.assert_close(features, reads["c"])


def test_ple_of_one_level_is_cgc() -> None:
    torch.manual_seed(1)
    cgc = CGC(encoder, FEATURES, heads(), shared=1, own=2)
    ple = PLE(encoder, FEATURES, heads(), levels=1, shared=1, own=2)
    state = {name if name.startswith("heads") else f"levels.0.{name}": w for name, w in cgc.state_dict().items()}
    ple.load_state_dict(state)
    assert all(torch.equal(output, cgc(batch())[task]) for task, output in ple(batch()).items())
    with pytest.raises(BadOption, match="levels is 0"):
        PLE(encoder, FEATURES, heads(), levels=0)


def test_later_experts_have_the_activation_of_the_trunk() -> None:
    assert [type(part) for part in made("ple").levels[1].shared[0]] == [nn.Linear, nn.Tanh]
    plain = PLE(lambda: nn.Linear(INPUTS, FEATURES), FEATURES, heads())
    assert [type(part) for part in plain.levels[1].own["b"][3]] == [nn.Linear, nn.ReLU]


def test_cross_stitch_by_hand() -> None:
    model, x = made("cross-stitch"), batch()
    w = dict(model.named_parameters())
    with torch.no_grad():
        w["stitches.0"].copy_(torch.tensor([[0.5, 0.2, 0.3], [0.0, 1.0, 0.0], [-0.1, 0.4, 0.7]]))
    first = [torch.tanh(x @ w[f"columns.{t}.0.0.weight"].T + w[f"columns.{t}.0.0.bias"]) for t in OUTPUTS]
    mixed = {"a": 0.5 * first[0] + 0.2 * first[1] + 0.3 * first[2], "b": first[1]}
    for task, value in mixed.items():
        last = torch.tanh(value @ w[f"columns.{task}.1.0.weight"].T + w[f"columns.{task}.1.0.bias"])
        torch.testing.assert_close(encoded(model, x)[task], last)


def test_stitches_start_near_their_own_column() -> None:
    torch.manual_seed(1)
    model = CrossStitch(encoder, heads(), same=0.8)
    torch.testing.assert_close(model.stitches[0].detach(), torch.full((3, 3), 0.1) + 0.7 * torch.eye(3))
    alone = CrossStitch(encoder, {"a": heads()["a"]})
    assert alone.stitches[0].item() == 1


def test_mtan_by_hand() -> None:
    model, x = made("mtan"), batch()
    w = dict(model.named_parameters())

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    p1 = torch.tanh(linear("trunk.0.0", x))
    p2 = torch.tanh(linear("trunk.1.0", p1))
    mask1 = torch.sigmoid(linear("attention.b.0.mask", torch.relu(linear("attention.b.0.reduce", p1))))
    read = torch.cat([p2, mask1 * p1], 1)
    mask2 = torch.sigmoid(linear("attention.b.1.mask", torch.relu(linear("attention.b.1.reduce", read))))
    torch.testing.assert_close(encoded(model, x)["b"], mask2 * p2)


def test_a_stage_begins_where_there_are_parameters() -> None:
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 2))
    found = [[type(part).__name__ for part in stage.modules()][-1] for stage in stages(trunk, "mtan")]
    assert found == ["Flatten", "Dropout", "Linear"]


@pytest.mark.parametrize(
    ("name", "trunk", "says"),
    [
        ("cross-stitch", lambda: nn.Linear(3, 4), "Linear shows none; make the trunk a torch.nn.Sequential"),
        ("mtan", lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "there is only one"),
        ("mtan", lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Linear(3, 4)), "no linear layer at its end"),
        ("mtan", lambda: nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 4)), "no linear layer at its end"),
        ("transformer", encoder, "no architecture 'transformer'; choose from hps, mmoe, cgc, ple, cross-stitch, mtan"),
    ],
)
def test_what_does_not_fit(name: str, trunk: Callable[[], nn.Module], says: str) -> None:
    with pytest.raises(BadOption, match=says):
        build(name, trunk, FEATURES, heads())


def test_width_is_that_of_the_last_linear_layer() -> None:
    assert width(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 6), nn.BatchNorm1d(6)), "mtan") == 6


def map_encoder() -> nn.Module:
    """Three pictures' channels in, four maps of half the size out."""
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.Tanh(), nn.Conv2d(5, FEATURES, 2, stride=2), nn.Tanh())


def map_heads() -> dict[str, Callable[[], nn.Module]]:
    return {task: partial(nn.Conv2d, FEATURES, size, 1) for task, size in OUTPUTS.items()}


def pictures() -> Tensor:
    return torch.randn(BATCH, 3, 6, 8, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("name", ["hps", "mmoe", "cgc", "cross-stitch", "mtan"])
def test_trunks_that_end_in_maps(name: str) -> None:
    torch.manual_seed(1)
    model = build(name, map_encoder, FEATURES, map_heads()).eval()
    outputs = model(pictures())
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        task: (BATCH, size, 3, 4) for task, size in OUTPUTS.items()
    }
    every = set(OUTPUTS)
    for parameter, tasks in reach(model, pictures()).items():
        part = parameter.split(".")
        own = part[0] in ("heads", "gates", "own", "attention") or (part[0] == "columns" and part[2] == "1")
        assert tasks == ({part[1]} if own else every), parameter


def test_a_gate_over_maps_by_hand() -> None:
    """The means of the experts' maps are read, and one share goes for all places of an expert's maps."""
    torch.manual_seed(1)
    model, x = MMoE(map_encoder, FEATURES, map_heads(), experts=3), pictures()
    gate = dict(model.named_parameters())["gates.b.linear.weight"]
    features = encoded(model, x)["b"]
    for sample in range(BATCH):
        found = [expert(x[sample : sample + 1])[0] for expert in model.experts]
        read = sum(maps.mean(dim=(1, 2)) for maps in found) / 3
        shares = (gate @ read).softmax(0)
        torch.testing.assert_close(features[sample], sum(s * maps for s, maps in zip(shares, found, strict=True)))


def test_mtan_over_maps_by_hand() -> None:
    """In evaluation, with batch norm as it begins: mask = sigmoid(W₂ relu(W₁ [p; pooled relu(W₀ â)]))."""
    torch.manual_seed(1)
    model, x = build("mtan", map_encoder, FEATURES, map_heads()).eval(), pictures()
    w = dict(model.named_parameters())
    scale = (1 + 1e-5) ** -0.5

    def convolved(name: str, maps: Tensor, **more: Any) -> Tensor:
        return F.conv2d(maps, w[f"{name}.weight"], w[f"{name}.bias"], **more)

    p1 = torch.tanh(convolved("trunk.0.0", x, padding=1))
    p2 = torch.tanh(convolved("trunk.1.0", p1, stride=2))
    at = "attention.b."
    mask1 = torch.sigmoid(scale * convolved(f"{at}0.mask.0", torch.relu(scale * convolved(f"{at}0.reduce.0", p1))))
    carried = torch.relu(scale * convolved(f"{at}1.carry.0", mask1 * p1, padding=1))
    read = torch.cat([p2, F.max_pool2d(carried, 2)], dim=1)
    mask2 = torch.sigmoid(scale * convolved(f"{at}1.mask.0", torch.relu(scale * convolved(f"{at}1.reduce.0", read))))
    torch.testing.assert_close(encoded(model, x)["b"], mask2 * p2)
