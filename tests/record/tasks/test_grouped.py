"""Groups of examples are tasks: their gradients are those of a mask and a pass a group, whatever the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import dominance
from dominance import Recorder, by_class, by_group, open_run
from dominance.record.split import gradients

torch.set_num_threads(1)

BATCH, LENGTH, WORDS = 12, 5, 11
IDS = ["de", "fr", "de", "ja", "fr", "de", "ja", "de", "de", "fr", "ja", "de"]


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def words(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(1, WORDS, shape, generator=torch.Generator().manual_seed(seed))


class Transformer(nn.Module):
    """Embeddings of words and of positions, attention within a sequence, and words as they came in for the output."""

    def __init__(self, mask: Tensor | None = None, *, tied: bool = True, again: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)
        self.places = nn.Embedding(LENGTH, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, WORDS, bias=False)
        self.mask, self.again = mask, again
        if tied:
            self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        seen = self.words(x) + self.places(torch.arange(x.shape[1]))
        run = partial(checkpoint, self.layer, use_reentrant=False) if self.again else self.layer
        out: Tensor = self.head(run(seen, self.mask))
        return out


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 4, padding_idx=1)
        self.memory = nn.LSTM(4, 6, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.memory(self.words(x))[0][:, -1])
        return out


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(WORDS, 4, mode="mean")
        self.head = nn.Sequential(nn.Tanh(), nn.Linear(4, 3))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.bag(x))
        return out


class Adapted(nn.Module):
    """A frozen weight, and an adapter of low rank beside it, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 6).requires_grad_(False)
        self.down, self.up = nn.Linear(6, 2, bias=False), nn.Linear(2, 6, bias=False)
        self.gain = nn.Parameter(torch.ones(6))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = torch.tanh(self.base(x) + self.up(self.down(x))) * self.gain
        out: Tensor = self.head(x)
        return out


def image_network(norm: nn.Module) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=2), nn.Flatten(),
        nn.Linear(16, 3),
    )  # fmt: skip


@dataclass(frozen=True)
class Kind:
    model: Callable[[], nn.Module]
    inputs: Callable[[int], Tensor]
    apart: bool = True
    """Whether no parameter takes a pass a group."""


def causal() -> Tensor:
    return nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)


KINDS = {
    "perceptron": Kind(
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)),
        lambda seed: drawn(BATCH, 6, seed=seed),
    ),
    "GroupNorm": Kind(lambda: image_network(nn.GroupNorm(2, 4)), lambda seed: drawn(BATCH, 2, 5, 5, seed=seed)),
    "BatchNorm": Kind(lambda: image_network(nn.BatchNorm2d(4)), lambda seed: drawn(BATCH, 2, 5, 5, seed=seed), False),
    "LSTM": Kind(Recurrent, lambda seed: words(BATCH, LENGTH, seed=seed)),
    "embedding bags": Kind(Bags, lambda seed: words(BATCH, LENGTH, seed=seed)),
    "tied embeddings": Kind(Transformer, lambda seed: words(BATCH, LENGTH, seed=seed)),
    "an adapter, used twice": Kind(Adapted, lambda seed: drawn(BATCH, 6, seed=seed)),
    "checkpointed": Kind(lambda: Transformer(again=True), lambda seed: words(BATCH, LENGTH, seed=seed), False),
    "scripted": Kind(
        lambda: nn.Sequential(torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.Tanh())), nn.Linear(8, 3)),
        lambda seed: drawn(BATCH, 6, seed=seed),
        False,
    ),
    "compiled": Kind(
        lambda: nn.Sequential(
            torch.compile(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), backend="aot_eager"), nn.Linear(8, 3)
        ),
        lambda seed: drawn(BATCH, 6, seed=seed),
        False,
    ),
    "a weight that is made of others": Kind(
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3)),
        lambda seed: drawn(BATCH, 6, seed=seed),
        False,
    ),
}


def made(kind: str) -> nn.Module:
    torch.manual_seed(0)
    return KINDS[kind].model().double()


def target_of(out: Tensor, seed: int) -> Tensor:
    return torch.randint(0, out.shape[-1], out.shape[:-1], generator=torch.Generator().manual_seed(seed))


def cross_entropy(out: Tensor, seed: int) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), target_of(out, seed).flatten())


def recorded(
    path: Path, net: nn.Module, batches: Iterable[tuple[Tensor, Any]], loss_of: Callable[[Tensor, int], Tensor]
):
    """One step of these micro-batches, each with its ids."""
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    with Recorder(path, net, optimizer, exact=True):
        for seed, (x, shares) in enumerate(batches):
            out = net(x)
            dominance.observe(at=out, shares=shares)
            loss_of(out, seed).backward()
        optimizer.step()
    return open_run(path)


def by_hand(
    net: nn.Module, batches: list[tuple[Tensor, list[Tensor]]], loss_of: Callable[[Tensor, int], Tensor]
) -> np.ndarray:
    """(group, parameter) with all other groups' entries of the output cut off."""
    rows = []
    for group in range(len(batches[0][1])):
        net.zero_grad()
        for seed, (x, masks) in enumerate(batches):
            out = net(x)
            loss_of(torch.where(masks[group], out, out.detach()), seed).backward()
        rows.append(
            torch.cat([torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in net.parameters()])
        )
    net.zero_grad()
    return torch.stack(rows).numpy()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many parameters took a pass a group, at each backward()."""
    taken: list[int] = []
    several = gradients.several

    def counted(tasks: object, parameters: list[Tensor], *others: object) -> object:
        if tasks:
            taken.append(len(parameters))
        return several(tasks, parameters, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(gradients, "several", counted)
    return taken


def masks_of(ids: list[str], dims: int) -> list[Tensor]:
    return [torch.tensor([each == name for each in ids]).reshape(-1, *[1] * (dims - 1)) for name in dict.fromkeys(IDS)]


def close(found: np.ndarray, want: np.ndarray, off: float = 3e-7) -> None:
    """To the rounding of what is stored: float32."""
    np.testing.assert_allclose(found, want, atol=off * np.abs(want).max(), rtol=off)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("kind", KINDS)
def test_groups_of_examples(kind: str, tmp_path: Path, passes: list[int]) -> None:
    x = KINDS[kind].inputs(0)
    dims = made(kind)(x).dim()
    want = by_hand(made(kind), [(x, masks_of(IDS, dims))], cross_entropy)
    run = recorded(tmp_path / "run", made(kind), [(x, by_group(IDS))], cross_entropy)
    assert run.attrs["tasks"] == ["de", "fr", "ja"]
    close(run["gradient/gradient"].values[0], want)
    close(run["gradient/gradient"].values[0].sum(0), run["gradient/total"].values[0])
    close(run["update/update"].values[0].sum(0), run["update/total"].values[0], 1e-5)
    assert run["loss/loss"].values[0].sum() == pytest.approx(float(run["loss/total"].values[0]))
    assert (passes == []) is KINDS[kind].apart


LOSSES = {
    "ignore_index": lambda out, seed: F.cross_entropy(
        out, target_of(out, seed).index_fill(0, torch.tensor([1, 2, 7]), -100)
    ),
    "label smoothing": lambda out, seed: F.cross_entropy(out, target_of(out, seed), label_smoothing=0.1),
    "class weights": lambda out, seed: F.cross_entropy(out, target_of(out, seed), torch.tensor([1.0, 5, 0.2]).double()),
    "sum": lambda out, seed: F.cross_entropy(out, target_of(out, seed), reduction="sum"),
    "a weight for each example": lambda out, seed: (
        F.cross_entropy(out, target_of(out, seed), reduction="none") * torch.arange(BATCH)
    ).mean(),
}


@pytest.mark.parametrize("kind", LOSSES)
def test_losses(kind: str, tmp_path: Path, passes: list[int]) -> None:
    x = KINDS["perceptron"].inputs(0)
    want = by_hand(made("perceptron"), [(x, masks_of(IDS, 2))], LOSSES[kind])
    run = recorded(tmp_path / "run", made("perceptron"), [(x, by_group(IDS))], LOSSES[kind])
    close(run["gradient/gradient"].values[0], want)
    assert passes == []
    if kind != "label smoothing":  # whose loss is not one of rows any more
        assert run["loss/loss"].values[0].sum() == pytest.approx(float(run["loss/total"].values[0]))


def test_uneven_micro_batches(tmp_path: Path, passes: list[int]) -> None:
    """Each has ids of its own, and not each has every group."""
    parts = [IDS[:7], IDS[7:9], [*IDS[9:], "de", "de", "ja", "ja"]]
    inputs = [drawn(len(ids), 6, seed=seed) for seed, ids in enumerate(parts)]
    masks = [masks_of(ids, 2) for ids in parts]
    want = by_hand(made("perceptron"), list(zip(inputs, masks, strict=True)), cross_entropy)
    batches = [(x, by_group(ids)) for x, ids in zip(inputs, parts, strict=True)]
    run = recorded(tmp_path / "run", made("perceptron"), batches, cross_entropy)
    close(run["gradient/gradient"].values[0], want)
    assert counted(run) == {("de", "examples"): 8, ("fr", "examples"): 3, ("ja", "examples"): 5}


def counted(run: object) -> dict[tuple[str, str], float]:
    table = run["metric"].to_dataset()  # type: ignore[index]
    assert set(table["split"].values) == {"groups"}
    keys = zip(table["event_task"].values, table["metric"].values, strict=True)
    return dict(zip(keys, table["value"].values, strict=True))


@pytest.mark.parametrize("packed", [True, False])
def test_groups_of_tokens(packed: bool, tmp_path: Path, passes: list[int]) -> None:
    """Documents of one sequence are apart where attention ends at their borders, and mixed where it does not."""
    ids = torch.tensor([0, 0, 1, 1, 2]).expand(BATCH, LENGTH)
    mask = torch.where(ids[0].unsqueeze(1) == ids[0], causal(), -torch.inf) if packed else causal()

    def net() -> nn.Module:
        torch.manual_seed(0)
        return Transformer(mask, tied=False).double()

    x = words(BATCH, LENGTH)
    masks = [(ids == group).unsqueeze(-1) for group in range(3)]
    want = by_hand(net(), [(x, masks)], cross_entropy)
    shares = by_group(ids, names=["prompt", "thought", "answer"])
    run = recorded(tmp_path / "run", net(), [(x, shares)], cross_entropy)
    close(run["gradient/gradient"].values[0], want)
    assert counted(run)["thought", "tokens"] == 2 * BATCH
    assert (passes == []) is packed


def test_half_precision(tmp_path: Path, passes: list[int]) -> None:
    """Parts add up to the step to its rounding, and are those of a mask to that of the precision."""

    def loss_of(out: Tensor, seed: int) -> Tensor:
        return F.cross_entropy(out.float(), target_of(out, seed))

    class Cast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made("perceptron").float()

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16):
                out: Tensor = self.inner(x.float())
            return out

    x = KINDS["perceptron"].inputs(0)
    want = by_hand(Cast(), [(x, masks_of(IDS, 2))], loss_of)
    run = recorded(tmp_path / "run", Cast(), [(x, by_group(IDS))], loss_of)
    close(run["gradient/gradient"].values[0], want, 2e-2)
    assert passes == []


def test_classes_and_what_is_of_none(tmp_path: Path) -> None:
    target = target_of(torch.zeros(BATCH, 3), 0).index_fill(0, torch.tensor([0, 5]), -100)

    def loss_of(out: Tensor, seed: int) -> Tensor:
        return F.cross_entropy(out, target)

    x = KINDS["perceptron"].inputs(0)
    want = by_hand(made("perceptron"), [(x, [(target == k).unsqueeze(1) for k in range(3)])], loss_of)
    run = recorded(tmp_path / "run", made("perceptron"), [(x, by_class(target, ["a", "b", "c"]))], loss_of)
    close(run["gradient/gradient"].values[0], want)
    assert sum(counted(run).values()) == BATCH - 2


def beside_another(path: Path, x: Any, ids: list[str]) -> xr.DataTree:
    """The run of a step on the loss "lm", of which the ids are groups, and a loss "aux"."""
    net: Any = made("perceptron")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(path, net, optimizer, exact=True):
        hidden = net[1](net[0](x))
        out = net[3](net[2](hidden))
        dominance.observe(at=out, shares=by_group(ids))
        lm = cross_entropy(out, 0)
        aux = hidden.square().mean()
        loss = lm + 0.1 * aux
        loss.backward()
        optimizer.step()
    return open_run(path)


def test_groups_of_one_loss_beside_another(tmp_path: Path) -> None:
    """Groups bear the name of their loss; the other loss is whole, and a regulariser is no task."""
    x = KINDS["perceptron"].inputs(0)
    run = beside_another(tmp_path / "run", x, IDS)
    assert sorted(run.attrs["tasks"]) == ["aux", "lm[de]", "lm[fr]", "lm[ja]"]
    want = by_hand(made("perceptron"), [(x, masks_of(IDS, 2))], cross_entropy)
    close(run["gradient/gradient"].sel(task=["lm[de]", "lm[fr]", "lm[ja]"]).values[0], want)
    close(run["gradient/gradient"].values[0].sum(0), run["gradient/total"].values[0], 1e-5)
    assert counted(run)["lm[de]", "examples"] == 6


def test_a_group_that_is_called_as_another_loss(tmp_path: Path) -> None:
    """Both are there, each under a name of its own."""
    x, ids = KINDS["perceptron"].inputs(0), ["aux" if each == "ja" else each for each in IDS]
    run = beside_another(tmp_path / "run", x, ids)
    assert sorted(run.attrs["tasks"]) == ["aux", "lm[aux]", "lm[de]", "lm[fr]"]
    want = by_hand(made("perceptron"), [(x, masks_of(IDS, 2))], cross_entropy)
    close(run["gradient/gradient"].sel(task=["lm[de]", "lm[fr]", "lm[aux]"]).values[0], want)
    assert counted(run)["lm[aux]", "examples"] == IDS.count("ja")


def test_a_group_that_a_batch_lacks(tmp_path: Path) -> None:
    net: Any = made("perceptron")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        for ids in (IDS, ["de"] * BATCH):
            out = net(KINDS["perceptron"].inputs(0))
            dominance.observe(at=out, shares=by_group(ids))
            optimizer.zero_grad()
            cross_entropy(out, 0).backward()
            optimizer.step()
    run = open_run(tmp_path / "run")
    table = run["metric"].to_dataset()
    last = table.isel(event=table["event_step"].values == 1)
    assert dict(zip(last["event_task"].values, last["value"].values, strict=True)) == {"de": 12, "fr": 0, "ja": 0}
    assert not run["gradient/gradient"].sel(task=["fr", "ja"]).values[1].any()


def test_the_training_is_the_same_to_the_bit(tmp_path: Path) -> None:
    x, plain, net = KINDS["perceptron"].inputs(0), made("perceptron"), made("perceptron")
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    cross_entropy(plain(x), 0).backward()
    optimizer.step()
    recorded(tmp_path / "run", net, [(x, by_group(IDS))], cross_entropy)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))


def test_a_sum_over_examples_is_not_taken_for_rows(tmp_path: Path) -> None:
    """Each group adds the same direction to one row, as often as it has examples: a multiple fits by chance."""

    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(drawn(1, 3))

        def forward(self, x: Tensor) -> Tensor:
            return x + (self.weight * 2).sigmoid()

    x, ids = torch.zeros(4, 3, dtype=torch.float64), ["de", "de", "fr", "ja"]  # 2 / 2 + 1 + 2 * 1 of 4: once "fr"
    masks = [torch.tensor([[each == name] for each in ids]) for name in ("de", "fr", "ja")]
    want = by_hand(Shift(), [(x, masks)], lambda out, seed: out.sum())
    run = recorded(tmp_path / "run", Shift(), [(x, by_group(ids))], lambda out, seed: out.sum())
    close(run["gradient/gradient"].values[0], want)
    assert (want != 0).all()


@pytest.mark.parametrize(
    ("ids", "names", "says"),
    [
        (torch.ones(4), None, "whole numbers or strings, not float32"),
        ([1.5, 2.0], None, "whole numbers or strings, not 1.5"),
        ([float("nan"), 1], None, "whole numbers or strings, not nan"),
        (torch.tensor([torch.nan, 1.0]), None, "whole numbers or strings, not float32"),
        (["de", None], None, "whole numbers or strings, not None"),
        ([["de"], ["de", "fr"]], None, "rows of different lengths"),
        ([], None, "missing"),
        ("de", None, "a sequence or a tensor, not str"),
        ([0, 2], ["de", "fr"], "no name for the group 2"),
    ],
)
def test_ids_that_are_none(ids: object, names: list[str] | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        by_group(ids, names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"a": torch.ones(4, 1), "b": torch.ones(4, 1)}, r"at \(0, 0\) they add up to 2"),
        ({"a": torch.tensor([[0.5], [1.0], [1.0], [1.0]])}, "they add up to 0.5"),
        ({"a": torch.full((4, 1), torch.nan)}, "they add up to nan"),
        ({"a": torch.ones(3, 1)}, "does not broadcast"),
    ],
)
def test_shares_that_do_not_add_up(shares: dict[str, Tensor], says: str, tmp_path: Path) -> None:
    net = nn.Linear(2, 2)
    with Recorder(tmp_path / "run", net, torch.optim.SGD(net.parameters())), pytest.raises(ValueError, match=says):
        dominance.observe(at=net(torch.ones(4, 2)), shares=shares)


def test_rewards_of_a_policy(tmp_path: Path) -> None:
    """Parts of an advantage: the gradient is linear in it, so that each reward's is that of its own advantage."""
    x, action = KINDS["perceptron"].inputs(0), target_of(torch.zeros(BATCH, 3), 1)
    speed, safety = drawn(BATCH, seed=2), drawn(BATCH, seed=3)

    def gradient(advantage: Tensor) -> np.ndarray:
        net = made("perceptron")
        (-advantage * net(x).log_softmax(1)[torch.arange(BATCH), action]).mean().backward()
        return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).numpy()

    net: Any = made("perceptron")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, exact=True):
        chosen = net(x).log_softmax(1)[torch.arange(BATCH), action]
        dominance.observe(at=chosen, shares=dominance.by_part(speed=speed, safety=safety))
        (-(speed + safety) * chosen).mean().backward()
        optimizer.step()
    run = open_run(tmp_path / "run")
    close(run["gradient/gradient"].values[0], np.stack([gradient(speed), gradient(safety)]))
