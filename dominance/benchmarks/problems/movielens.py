"""MovieLens by genre: how a user rates a film, one task for each of nine genres."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.embedded import coded
from dominance.benchmarks.metrics import MAE, RMSE
from dominance.benchmarks.one_number import Embedded
from dominance.benchmarks.options import at_least
from dominance.benchmarks.packages import packaged
from dominance.benchmarks.splits import derived_generator, split_rows
from dominance.benchmarks.tables import numbers, read_table, whole_numbers
from dominance.errors import BadData, MissingData

GENRES = ("Crime", "Documentary", "Fantasy", "Film-Noir", "Horror", "Mystery", "Thriller", "War", "Western")
"""The nine of MoCoGrad's eighteen."""

ALL_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""In the order of the flags in u.item."""

INSTALL = "pip install --no-deps recbole==1.2.1"


class MovieLens(Embedded):
    """Nine regressions, each with its own samples: the ratings of the films of its genre.

    A film with two of the genres is in both tasks. The ratings are split at random, 80 : 10 : 10, before they are given
    to genres, so that no rating is trained on in one task and tested in another. The trunk reads embeddings of user and
    film; MoCoGrad's is a transformer over the user's history.

    Args:
        embedding: length of an embedding.
        width: units of each of the trunk's two layers.
        data: folder with u.data and u.item (100k), ratings.dat and movies.dat (1M, 10M), or ml-100k.inter and
            ml-100k.item; None: the 100k ratings that come with recbole.
    """

    name = "movielens"
    title = "ratings of films, one regression for each of nine genres"
    licence = "GroupLens: research use with citation, no redistribution; read where it lies, never copied"
    source = "MovieLens (Harper and Konstan 2015); as nine tasks in MoCoGrad (ICDE 2024), section V-A"
    settings = Settings(
        epochs=10,
        batch_size=256,
        lr=1e-3,
        published={
            "MoCoGrad": "ten million ratings (ml-10m), nine genres, 80 % / 10 % / 10 % at random, BST model as shared "
            "layers, one-layer heads, Adam with learning rate 1e-4, RMSE, ten runs",
        },
    )
    multi_input = True

    def __init__(self, *, embedding: int = 32, width: int = 64, data: str | None = None) -> None:
        self.embedding, self.width = at_least(1, embedding=embedding), at_least(1, width=width)
        self.data = data

    @property
    def tasks(self) -> tuple[Task, ...]:
        return tuple(Task(genre, 1, (RMSE, MAE)) for genre in GENRES)

    def load(self, seed: int) -> None:
        ratings, genres = read_movielens(None if self.data is None else Path(self.data))
        shares = {"train": 0.8, "val": 0.1, "test": 0.1}
        rows = split_rows(len(ratings), shares, derived_generator(seed, self.name))
        train = np.zeros(len(ratings), dtype=bool)
        train[rows["train"].numpy()] = True
        inputs, self.sizes = coded(ratings, ("user", "item"), train)
        targets = torch.from_numpy(ratings["rating"].to_numpy(np.float32))
        items = ratings["item"].to_numpy()
        of_genre = {
            genre: torch.tensor(np.isin(items, [item for item, found in genres.items() if genre in found]))
            for genre in GENRES
        }
        self.splits = {}
        for split, chosen in rows.items():
            own = {genre: chosen[mask[chosen]] for genre, mask in of_genre.items()}
            self.splits[split] = Batch(
                {genre: inputs[mine] for genre, mine in own.items()},
                {genre: targets[mine] for genre, mine in own.items()},
            )


def read_movielens(folder: Path | None) -> tuple[pd.DataFrame, dict[int, frozenset[str]]]:
    """The ratings, with columns user, item and rating, and the genres of each item; formats see ``MovieLens``.

    Raises:
        MissingData: no such files, or the package is not installed.
        BadData: a rating is not within 0.5 to 5, is of an unknown item, or a row is not of the format.
    """
    if folder is None:
        folder = packaged("recbole", "dataset_example/ml-100k", INSTALL)
    for name, items, read_ratings, read_genres in (
        ("u.data", "u.item", _tab_ratings, _flags),
        ("ratings.dat", "movies.dat", _colon_ratings, _colon_genres),
        ("ml-100k.inter", "ml-100k.item", _atomic_ratings, _atomic_genres),
    ):
        path = folder / name
        if path.is_file():
            if not (folder / items).is_file():
                raise MissingData(f"{folder} has {name} and no {items}", fix=f"put {items} beside it")
            ratings, genres = read_ratings(path), read_genres(folder / items)
            _check(ratings, genres, path)
            return ratings, genres
    raise MissingData(
        f"{folder} has no u.data, ratings.dat or ml-100k.inter",
        fix=f"point data=PATH to an unpacked MovieLens archive, or {INSTALL}",
    )


def _check(ratings: pd.DataFrame, genres: dict[int, frozenset[str]], path: Path) -> None:
    wrong = ~ratings["rating"].between(0.5, 5).to_numpy()
    if wrong.any():
        place = int(np.argmax(wrong))
        value = ratings["rating"].iloc[place]
        raise BadData(f"{path}: row {ratings.index[place]}: {value:g} is no rating", fix="0.5 to 5 is meant")
    unknown = ~ratings["item"].isin(list(genres)).to_numpy()
    if unknown.any():
        place = int(np.argmax(unknown))
        item = ratings["item"].iloc[place]
        raise BadData(
            f"{path}: row {ratings.index[place]}: there is no item {item}", fix="take both files from one archive"
        )


def _ratings(frame: pd.DataFrame, columns: tuple[str, str, str], path: Path) -> pd.DataFrame:
    user, item, rating = columns
    found = {
        "user": whole_numbers(frame, user, path),
        "item": whole_numbers(frame, item, path),
        "rating": numbers(frame, rating, path),
    }
    return pd.DataFrame(found, index=frame.index)


def _tab_ratings(path: Path) -> pd.DataFrame:
    return _ratings(
        read_table(path, names=["user", "item", "rating", "time"], sep="\t"), ("user", "item", "rating"), path
    )


def _colon_ratings(path: Path) -> pd.DataFrame:
    names = [
        "user",
        "blank 1",
        "item",
        "blank 2",
        "rating",
        "blank 3",
        "time",
    ]  # "::" read as two separators: far faster
    return _ratings(read_table(path, names=names, sep=":"), ("user", "item", "rating"), path)


def _atomic_ratings(path: Path) -> pd.DataFrame:
    columns = ("user_id:token", "item_id:token", "rating:float")
    return _ratings(read_table(path, sep="\t", columns=columns), columns, path)


def _flags(path: Path) -> dict[int, frozenset[str]]:
    names = ["item", "title", "release", "video release", "url", *ALL_GENRES]
    frame = read_table(path, names=names, sep="|", text=names[1:5], encoding="latin-1", quoted=False)
    flags = np.stack([whole_numbers(frame, genre, path) for genre in ALL_GENRES], axis=1) == 1
    items = whole_numbers(frame, "item", path)
    return {int(i): frozenset(np.array(ALL_GENRES)[row].tolist()) for i, row in zip(items, flags, strict=True)}


def _colon_genres(path: Path) -> dict[int, frozenset[str]]:
    """Rows like ``1::Toy Story (1995)::Animation|Comedy``; titles may hold a single colon."""
    found = {}
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8")  # the 10M archive
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # the 1M archive
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split("::")
        if len(parts) != 3 or not parts[0].strip().isdecimal():
            raise BadData(f"{path}: row {number}: {line[:60]!r}", fix="ITEM::TITLE::GENRE|GENRE is meant")
        found[int(parts[0])] = frozenset(parts[2].strip().split("|"))
    return found


def _atomic_genres(path: Path) -> dict[int, frozenset[str]]:
    columns = ("item_id:token", "class:token_seq")
    frame = read_table(path, sep="\t", text=columns[1:], columns=columns, quoted=False)
    items = whole_numbers(frame, columns[0], path)
    return {int(i): frozenset(found.split()) for i, found in zip(items, frame[columns[1]], strict=True)}
