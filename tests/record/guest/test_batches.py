"""``record --groups``: groups of examples are tasks of a script that is not changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from record.in_session import recorded
from torch import Tensor, nn
from torch.nn.modules import module as torch_module
from torch.utils.data import DataLoader, TensorDataset, dataloader

from dominance.config import parse_groups, record_options
from dominance.errors import BadOption
from dominance.record.guest.batches import Seats

torch.set_num_threads(1)
SIZE, BATCH = 24, 8
LANGUAGES = ["de", "fr", "de", "ja", "de", "fr", "de", "de"] * 3


def data() -> list[dict[str, Any]]:
    made = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(SIZE, 4, generator=made), torch.randint(0, 3, (SIZE,), generator=made)
    return [{"x": xs[i], "y": int(ys[i]), "lang": LANGUAGES[i], "origin": i % 5, "score": 0.5} for i in range(SIZE)]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def loss_of(net: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(net(batch["x"]), batch["y"])


def train(
    net: nn.Module, batches: Callable[[], Iterator[Any]], loss: Callable[[nn.Module, Any], Tensor] = loss_of
) -> list[Tensor]:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for batch in batches():
        optimizer.zero_grad()
        value = loss(net, batch)
        value.backward()
        optimizer.step()
    return list(net.parameters())


def loader(**options: Any) -> Iterator[Any]:
    return iter(DataLoader(data(), BATCH, **options))  # type: ignore[arg-type]


def by_hand(ids: list[Any], names: list[Any]) -> np.ndarray:
    """(step, group, parameter) of the training above."""
    net, steps = network(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for start, batch in zip(range(0, SIZE, BATCH), loader(), strict=True):
        rows = []
        for name in names:
            mine = torch.tensor([each == name for each in ids[start : start + BATCH]])
            losses = F.cross_entropy(net(batch["x"]), batch["y"], reduction="none")
            gradients = torch.autograd.grad((losses * mine).mean(), list(net.parameters()))
            rows.append(torch.cat([g.flatten() for g in gradients]).numpy())
        steps.append(np.stack(rows))
        optimizer.zero_grad()
        loss_of(net, batch).backward()
        optimizer.step()
    return np.stack(steps)


def test_each_language_is_a_task(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path / "run", lambda: train(network(), loader), "lang")
    assert run.attrs["tasks"] == ["de", "fr", "ja"]
    np.testing.assert_allclose(run["gradient/gradient"].values, by_hand(LANGUAGES, ["de", "fr", "ja"]), atol=1e-7)
    np.testing.assert_allclose(run["loss/loss"].values.sum(1), run["loss/total"].values, rtol=1e-6)
    said = capfd.readouterr().err.splitlines()
    assert said[0] == "dominance: value split by lang at what LogSoftmax makes (8 x 3); examples: de 5, fr 2, ja 1"
    assert run.attrs["groups"] == said[0].removeprefix("dominance: ")


def test_whole_numbers_are_named_by_their_key_and_the_rest_is_folded(tmp_path: Path) -> None:
    run = recorded(tmp_path / "run", lambda: train(network(), loader), "origin:2")
    assert run.attrs["tasks"] == ["origin 0", "origin 1", "other"]
    origins = [min(i % 5, 2) for i in range(SIZE)]
    np.testing.assert_allclose(run["gradient/gradient"].values, by_hand(origins, [0, 1, 2]), atol=1e-7)


@pytest.mark.parametrize(("key", "tasks"), [("target", "class"), ("1", "group")])
def test_a_position_and_the_target(key: str, tasks: str, tmp_path: Path) -> None:
    def pairs() -> Iterator[Any]:
        whole = data()
        xs, ys = torch.stack([each["x"] for each in whole]), torch.tensor([each["y"] for each in whole])
        return iter(DataLoader(TensorDataset(xs, ys), BATCH))

    run = recorded(
        tmp_path / "run",
        lambda: train(network(), pairs, lambda net, batch: F.cross_entropy(net(batch[0]), batch[1])),
        key,
    )
    assert run.attrs["tasks"] == [f"{tasks} {k}" for k in range(3)]
    labels = [each["y"] for each in data()]
    np.testing.assert_allclose(run["gradient/gradient"].values, by_hand(labels, [0, 1, 2]), atol=1e-7)


@pytest.mark.parametrize("kind", ["itself", "a copy", "a view"])
def test_batches_that_are_fetched_ahead(kind: str, tmp_path: Path) -> None:
    """As some wrappers of DataLoader do, to know which batch is the last."""

    def of(batch: Any) -> Any:
        x = batch["x"]
        return {**batch, "x": {"itself": x, "a copy": x.clone(), "a view": torch.atleast_3d(x)[:, :, 0]}[kind]}

    def ahead() -> Iterator[Any]:
        batches = loader()
        current = next(batches)
        for following in batches:
            yield of(current)
            current = following
        yield of(current)

    run = recorded(tmp_path / "run", lambda: train(network(), ahead), "lang")
    np.testing.assert_allclose(run["gradient/gradient"].values, by_hand(LANGUAGES, ["de", "fr", "ja"]), atol=1e-7)


def test_an_evaluation_between_the_steps(tmp_path: Path) -> None:
    """Its loader is another one, and what the model is called with is made of the batch."""

    def program() -> None:
        net = network()

        def loss(net: nn.Module, batch: Any) -> Tensor:
            value = F.cross_entropy(net(batch["x"] + 0), batch["y"])
            with torch.no_grad():
                for other in loader(shuffle=True):
                    net(other["x"])
            return value

        train(net, loader, loss)

    run = recorded(tmp_path / "run", program, "lang")
    np.testing.assert_allclose(run["gradient/gradient"].values, by_hand(LANGUAGES, ["de", "fr", "ja"]), atol=1e-7)


def test_a_loss_of_two_batches_is_not_recorded_and_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def program() -> None:
        def both(net: nn.Module, batch: Any) -> Tensor:
            return loss_of(net, batch[0]) + loss_of(net, batch[1])

        train(network(), lambda: zip(loader(), loader(shuffle=True), strict=True), both)

    recorded(tmp_path / "run", program, "lang")
    assert "which of the batches that were fetched the loss is of cannot be told" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("domain", "--groups domain: a batch has no 'domain'; it has x, y, lang, origin, score"),
        ("score", "--groups score: ids of groups are whole numbers or strings, not float64"),
    ],
)
def test_what_a_batch_does_not_have_is_said_before_the_first_step(
    key: str, says: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    net = network()
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(SystemExit):
        recorded(tmp_path / "run", lambda: train(net, loader), key, strict=True)
    assert says in capfd.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_ids_of_another_length_are_said_before_the_first_step(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def shorter() -> Iterator[Any]:
        def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
            return {"x": torch.stack([r["x"] for r in rows]), "y": torch.tensor([r["y"] for r in rows]),
                    "lang": [r["lang"] for r in rows[:-1]]}  # fmt: skip

        return loader(collate_fn=collate)

    net = network()
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(SystemExit):
        recorded(tmp_path / "run", lambda: train(net, shorter), "lang", strict=True)
    assert "the groups of this batch fit no tensor before the loss" in capfd.readouterr().err
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


def test_a_loss_without_a_batch_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def pooled(net: nn.Module, batch: Any) -> Tensor:
        out: Tensor = net(batch["x"].mean(0)).square().sum()
        return out

    recorded(tmp_path / "run", lambda: train(network(), loader, pooled), "lang")
    assert "the groups of this batch fit no tensor before the loss" in capfd.readouterr().err


def test_losses_that_are_as_many_as_the_batch_are_no_examples(tmp_path: Path) -> None:
    """Three columns, averaged over a batch of three, are a vector of three too."""

    def program() -> None:
        batches: DataLoader[Any] = DataLoader(data(), 3)  # type: ignore[arg-type]
        train(network(), lambda: iter(batches), lambda net, b: (net(b["x"]) - 1).square().mean(0).sum())

    run = recorded(tmp_path / "run", program, "lang")
    net, batch = network(), next(iter(DataLoader(data(), 3)))  # type: ignore[arg-type,call-overload]
    mine = torch.tensor([[name == "de"] for name in LANGUAGES[:3]])
    gradients = torch.autograd.grad(((net(batch["x"]) - 1).square() * mine).mean(0).sum(), list(net.parameters()))
    want = torch.cat([g.flatten() for g in gradients])
    np.testing.assert_allclose(run["gradient/gradient"].sel(task="de").values[0], want, atol=1e-7)


def test_what_batch_norm_does_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3))
    recorded(tmp_path / "run", lambda: train(net, loader), "lang")
    assert "examples act on each other through BatchNorm" in capfd.readouterr().err.splitlines()[0]


def test_the_training_is_the_same_to_the_bit_and_nothing_is_left(tmp_path: Path) -> None:
    plain, net, original = train(network(), loader), network(), dataloader._BaseDataLoaderIter.__next__
    recorded(tmp_path / "run", lambda: train(net, loader), "lang")
    assert all(torch.equal(a, b) for a, b in zip(plain, net.parameters(), strict=True))
    assert dataloader._BaseDataLoaderIter.__next__ is original
    assert not torch_module._global_forward_pre_hooks


def test_seats_go_to_the_largest_of_a_batch() -> None:
    seats = Seats("domain", 1)
    assert seats.fold([3, 5, 5], positive=False).counts == {"other": 1, "domain 5": 2}
    assert seats.fold([3, 3, 7], positive=False).counts == {"other": 3}


@pytest.mark.parametrize("text", ["", ":3", "domain:0", "domain:few"])
def test_what_cannot_be_read(text: str) -> None:
    with pytest.raises(BadOption, match="cannot be read"):
        parse_groups(text)


def test_from_the_environment(tmp_path: Path) -> None:
    assert record_options(environ={"DOMINANCE_GROUPS": "lang:3"}, folder=tmp_path).groups == "lang:3"


def test_a_loss_over_pairs_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def contrast(net: nn.Module, batch: Any) -> Tensor:
        seen = F.normalize(net(batch["x"]))
        return F.cross_entropy(seen @ seen.t() / 0.1, torch.arange(BATCH).flip(0))

    recorded(tmp_path / "run", lambda: train(network(), loader, contrast), "lang")
    assert "act on each other through a loss over pairs of examples" in capfd.readouterr().err.splitlines()[0]
