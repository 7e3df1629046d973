"""Rows that have lain apart step after step are taken to do so, until the graph says that they may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import dominance
from dominance import Recorder, by_group, open_run
from dominance.record.split import one_pass
from dominance.record.split.layouts import LAST, ExampleGroups, Layouts, laid_out, owners_of

torch.set_num_threads(1)

BATCH, LENGTH, WORDS, KNOWN = 6, 4, 7, 5


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, WORDS)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(self.words(x)))
        return out


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passes each step took through the activations for the groups' rows."""
    taken = [0]
    grad = torch.autograd.grad

    def counted(outputs: Any, inputs: Any, *others: Any, **named: Any) -> Any:
        taken[-1] += len(inputs) > 1
        return grad(outputs, inputs, *others, **named)

    monkeypatch.setattr(one_pass.torch.autograd, "grad", counted)
    return taken


def losses_of(net: nn.Module, x: Tensor) -> Tensor:
    """Of tokens laid flat, or of examples."""
    out = net(x)
    if x.is_floating_point():
        return out.square().sum(1)
    return F.cross_entropy(out.flatten(0, 1), x.roll(1, 1).flatten(), reduction="none")


def by_hand(net: nn.Module, x: Tensor, ids: list[str]) -> np.ndarray:
    rows = []
    for name in dict.fromkeys(ids):
        losses = losses_of(net, x)
        own = torch.tensor([each == name for each in ids])
        found = torch.autograd.grad(torch.where(own, losses, losses.detach()).mean(), list(net.parameters()))
        rows.append(torch.cat([g.flatten() for g in found]))
    return torch.stack(rows).numpy()


def step_of(net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, ids: list[str]) -> None:
    """One of the training, whose losses are those of the groups."""
    optimizer.zero_grad()
    losses = losses_of(net, x)
    dominance.observe(at=losses, shares=by_group(ids))
    losses.mean().backward()
    optimizer.step()


def assert_last_is(want: np.ndarray | None, path: Path) -> None:
    """The groups' gradients of the step in which the graph is another one."""
    found = open_run(path)["gradient/gradient"].values[KNOWN]
    assert want is not None
    np.testing.assert_allclose(found, want, atol=1e-6 * np.abs(want).max(), rtol=1e-6)


def test_tokens_that_are_of_several_groups_all_of_a_sudden(tmp_path: Path) -> None:
    """Until then each sequence was of one group, and attention mixed none."""
    torch.manual_seed(0)
    net = Attending().double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    want = None
    with Recorder(tmp_path / "run", net, optimizer, exact=True, quiet=True):
        for step in range(KNOWN + 1):
            x = torch.randint(0, WORDS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(step))
            ids = [name for name in ("de", "fr", "ja", "fr", "de", "ja") for _ in range(LENGTH)]
            if step == KNOWN:
                ids = ["de", "fr", "ja", *ids[3:]]
                want = by_hand(net, x, ids)
            step_of(net, optimizer, x, ids)
    assert_last_is(want, tmp_path / "run")


def test_a_norm_that_begins_to_mix_examples(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    want, ids = None, ["de", "fr", "ja", "fr", "de", "ja"]
    with Recorder(tmp_path / "run", net, optimizer, exact=True, quiet=True):
        for step in range(KNOWN + 1):
            net.train(step == KNOWN)
            x = torch.randn(BATCH, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
            if step == KNOWN:
                want = by_hand(net, x, ids)
            step_of(net, optimizer, x, ids)
    assert_last_is(want, tmp_path / "run")


def test_a_graph_that_keeps_examples_apart_takes_one_pass_less(tmp_path: Path, passes: list[int]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with Recorder(tmp_path / "run", net, optimizer, quiet=True):
        for _ in range(12):
            passes.append(0)
            step_of(net, optimizer, torch.randn(BATCH, 5, dtype=torch.float64), ["de", "fr", "ja", "fr", "de", "ja"])
    assert passes[1:] == [2, 2, *[1] * 7, 2, 1, 1]


def test_rows_of_which_the_sequence_comes_first() -> None:
    owners = ExampleGroups(torch.tensor([0, 2, 1]), 1)
    codes = torch.tensor([[0, 2, 1], [0, -1, 1]])
    seen = Layouts()
    for _ in range(3):
        known = seen.known("graph", owners)
        if known is None:
            seen.saw("graph", owners, [codes])
    assert known == (LAST,)
    assert laid_out((2, 3), owners, LAST).tolist() == [[0, 2, 1], [0, 2, 1]]
    assert seen.known("another", owners) is None


@pytest.mark.parametrize(
    ("rows", "block"),
    [
        ([0, 0, 1, 1, 0, 0], 2),
        ([0, 1, 1, 1, 0, 0], 1),
        ([0, 0, 0, 0, 1, 1], 2),
        ([0, 0, 0, 0, 1, 1, 1, 1], 4),
        ([0, -1, 0, 1], None),
    ],
)
def test_whose_the_entries_are(rows: list[int], block: int | None) -> None:
    starts = [torch.tensor([float(each == k) for each in rows]) for k in (0, 1)]
    owners = owners_of([starts])
    assert (None if owners is None else owners.block) == block
    assert owners is None or owners.codes.tolist() == rows


def test_an_entry_of_two_groups_is_of_none() -> None:
    assert owners_of([[torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 2.0, 2.0])]]) is None


@pytest.mark.parametrize("dims", [1, 2, 3, 4])
def test_entries_without_a_group_are_examples_only_where_they_hold_rows(dims: int) -> None:
    starts = [torch.zeros(3, *[2] * (dims - 1)) for _ in range(2)]
    starts[0][0], starts[1][2] = 1, 1
    owners = owners_of([starts])
    assert (owners is None) == (dims < 3)
    assert owners is None or owners.codes.tolist() == [0, -1, 1]


@pytest.mark.parametrize("codes", [[0, 0, 0], [1, 1, 0], [0, 2, 1]])
def test_of_one_group_alone_nothing_is_learned(codes: list[int]) -> None:
    owners, seen = ExampleGroups(torch.tensor(codes), 1), Layouts()
    for _ in range(4):
        seen.saw("graph", owners, [torch.tensor([codes])])
        known = seen.known("graph", owners)
    assert (known is None) == (len(set(codes)) == 1)


def test_rows_of_which_the_first_group_has_none_lie_as_well() -> None:
    owners, seen = ExampleGroups(torch.tensor([0, 2, 1]), 1), Layouts()
    for _ in range(4):
        seen.saw("graph", owners, [torch.tensor([[-1, 2, 1], [-1, -1, 1]])])
        known = seen.known("graph", owners)
    assert known == (LAST,)
