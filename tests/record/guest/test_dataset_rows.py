"""``record --groups`` where the batch has no ids and its dataset has: the run is that of a batch which has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from record.in_session import in_session, recorded
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, dataloader

from dominance.config import RecordOptions

torch.set_num_threads(1)
SIZE, BATCH, EPOCHS = 26, 8, 2
Row = dict[str, Any]


def rows() -> list[Row]:
    made = torch.Generator().manual_seed(0)
    xs, ys = torch.randn(SIZE, 4, generator=made), torch.randint(0, 3, (SIZE,), generator=made)
    langs = torch.randint(0, 3, (SIZE,), generator=made).tolist()
    return [{"x": xs[i], "y": int(ys[i]), "lang": ["de", "fr", "ja"][langs[i]]} for i in range(SIZE)]


def with_ids(items: list[Row]) -> Row:
    return {**without_ids(items), "lang": [item["lang"] for item in items]}


def without_ids(items: list[Row]) -> Row:
    return {"x": torch.stack([item["x"] for item in items]), "y": torch.tensor([item["y"] for item in items])}


class Made(Dataset[Any]):
    """Items as random augmentation makes them, each draw counted; ids are in the items, in an attribute, or in none."""

    def __init__(self, *, items: bool = False, attribute: bool = False, off: int = 0) -> None:
        self._rows, self._items, self.seen = rows(), items, 0
        if attribute:
            self.lang = np.array([row["lang"] for row in self._rows][: SIZE - off])

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> Row:
        self.seen += 1
        row = {**self._rows[index], "x": self._rows[index]["x"] + 0.1 * torch.randn(4)}
        return row if self._items else {"x": row["x"], "y": row["y"]}


class Stored(Dataset[Any]):
    """Items as they lie."""

    def __init__(self) -> None:
        self.lang = [row["lang"] for row in rows()]

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, index: int) -> Row:
        return rows()[index]


class Stream(IterableDataset[Any]):
    lang = tuple(row["lang"] for row in rows())

    def __len__(self) -> int:
        return SIZE

    def __iter__(self) -> Iterator[Row]:
        return iter(rows())


def train(dataset: Any, collate: Callable[[list[Row]], Row], **options: Any) -> tuple[list[Tensor], Tensor]:
    """The parameters, and a number drawn after it all."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batches: DataLoader[Any] = DataLoader(dataset, BATCH, collate_fn=collate, **options)
    for epoch in range(EPOCHS):
        for number, batch in enumerate(batches):
            optimizer.zero_grad()
            F.cross_entropy(net(batch["x"]), batch["y"]).backward()
            optimizer.step()
            if number == 1 and epoch == 0:
                break  # with workers, batches that were drawn are given to nobody
    return list(net.parameters()), torch.rand(3)


def counts(run: xr.DataTree) -> list[tuple[int, str, float]]:
    table = run["metric"].to_dataset(inherit=False).to_dataframe()
    table = table[table["metric"] == "examples"]
    return sorted(zip(table["event_step"], table["event_task"], table["value"], strict=True))


OPTIONS: dict[str, dict[str, Any]] = {
    "in order": {},
    "shuffled": {"shuffle": True},
    "drop_last": {"shuffle": True, "drop_last": True},
    "workers": {"shuffle": True, "num_workers": 2},
    "the same workers": {"shuffle": True, "num_workers": 2, "persistent_workers": True},
}
PICKED = list(range(SIZE - 1, 3, -2))
DATASETS: dict[str, Callable[[], Any]] = {
    "list": rows,
    "attribute": lambda: Made(attribute=True),
    "subset": lambda: Subset(Made(attribute=True), PICKED),
    "concatenated": lambda: ConcatDataset([Stored(), Made(attribute=True)]),
    "items": lambda: Made(items=True),
}
CASES = [(kind, "shuffled") for kind in DATASETS] + [("attribute", options) for options in OPTIONS]


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_the_run_is_that_of_a_batch_which_has_the_ids(kind: str, options: str, tmp_path: Path) -> None:
    full = Made(items=True)
    same = {"subset": Subset(full, PICKED), "concatenated": ConcatDataset([Stored(), full]), "list": rows()}
    given, dataset = OPTIONS[options], DATASETS[kind]()
    want = recorded(tmp_path / "want", lambda: train(same.get(kind, full), with_ids, **given))
    plain, found = train(DATASETS[kind](), without_ids, **given), []
    run = recorded(tmp_path / "run", lambda: found.append(train(dataset, without_ids, **given)))
    assert all(torch.equal(a, b) for a, b in zip(plain[0], found[0][0], strict=True))
    assert torch.equal(plain[1], found[0][1])
    assert run.attrs["tasks"] == want.attrs["tasks"]
    for name in ("gradient/gradient", "loss/loss"):
        np.testing.assert_array_equal(run[name].values, want[name].values)
    assert counts(run) == counts(want)
    assert run.attrs["groups"] == want.attrs["groups"].replace("by lang at", "by lang of the dataset at")


def test_no_item_is_made_a_second_time_and_nothing_is_left(tmp_path: Path) -> None:
    loader = dataloader._BaseDataLoaderIter
    dataset, originals = Made(items=True), (loader.__next__, loader._next_index)
    batches = iter(DataLoader(dataset, BATCH, collate_fn=without_ids))

    def program() -> None:
        net = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        batch = next(batches)
        F.cross_entropy(net(batch["x"]), batch["y"]).backward()
        optimizer.step()

    recorded(tmp_path / "run", program)
    assert dataset.seen == BATCH
    assert (loader.__next__, loader._next_index) == originals
    assert batches._dataset_fetcher.collate_fn is without_ids  # type: ignore[attr-defined]


SAID: dict[str, tuple[Any, dict[str, Any], str]] = {
    "unknown": (Made(attribute=True), {}, "a batch has no 'domain'; it has x, y; its dataset has x, y, lang"),
    "unknown in a list": (rows(), {"num_workers": 1}, "it has x, y; its dataset has x, y, lang"),
    "unknown in items": (Made(items=True), {}, "it has x, y; its dataset has x, y, lang"),
    "unknown in a subset": (Subset(Made(attribute=True), PICKED), {"num_workers": 1}, "its dataset has lang"),
    "no columns": (Made(), {}, "it has x, y; its dataset has x, y"),
    "length": (Made(attribute=True, off=1), {}, f"lang of its dataset has {SIZE - 1} entries for {SIZE} rows"),
    "stream": (Stream(), {"num_workers": 1}, "the rows of an IterableDataset have no numbers to look them up by"),
    "out of order": (Made(attribute=True), {"num_workers": 2, "in_order": False}, "cannot be told with in_order=False"),
    "keys": (Made(attribute=True), {"sampler": ["a"] * BATCH}, "its sampler gives a list of other things than whole"),
}


@pytest.mark.parametrize("case", SAID)
def test_what_cannot_be_looked_up_is_said_before_the_first_step(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dataset, options, says = SAID[case]
    if case == "keys":
        dataset = type("Keyed", (Made,), {"__getitem__": lambda self, key: Made.__getitem__(self, 0)})(attribute=True)
    stepped = []
    hook = register_optimizer_step_post_hook(lambda *_: stepped.append(1))
    key = "domain" if "unknown" in case or case == "no columns" else "lang"
    try:
        with pytest.raises(SystemExit):
            recorded(tmp_path / "run", lambda: train(dataset, without_ids, **options), key, strict=True)
    finally:
        hook.remove()
    said = [line for line in capfd.readouterr().err.splitlines() if f"--groups {key}: " in line]
    assert len(said) == 1
    assert says in said[0]
    assert not stepped


def test_a_stream_in_this_process_has_its_ids_in_the_items(tmp_path: Path) -> None:
    want = recorded(tmp_path / "want", lambda: train(Stream(), with_ids))
    run = recorded(tmp_path / "run", lambda: train(Stream(), without_ids))
    np.testing.assert_array_equal(run["gradient/gradient"].values, want["gradient/gradient"].values)


def test_items_that_cannot_be_asked_end_the_recording_and_not_the_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Item(dict[str, Any]):
        def keys(self) -> Any:
            raise RuntimeError("these keys are not for you")

        def __contains__(self, key: object) -> bool:
            raise RuntimeError("these keys are not for you")

    def items() -> Any:
        return [Item(row) for row in rows()]

    plain, found = train(items(), without_ids), []
    recorded_as = RecordOptions(every=1, groups="lang", exact=True)
    with in_session(tmp_path / "run", recorded_as):
        found.append(train(items(), without_ids))
    assert all(torch.equal(a, b) for a, b in zip(plain[0], found[0][0], strict=True))
    assert "the training goes on: RuntimeError: these keys are not for you" in capfd.readouterr().err
