"""TikTok: will a short video be liked, will it be watched to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from dominance.benchmarks.data.log_encoder import LogEncoder
from dominance.benchmarks.data.own_files import own_data
from dominance.benchmarks.data.splits import derived_generator, split_rows
from dominance.benchmarks.data.tables import read_pieces, refuse, whole_numbers, yes_or_no
from dominance.benchmarks.problems.bases.short_videos import ShortVideos, adatask_settings
from dominance.benchmarks.setting_checks import at_least
from dominance.errors import BadData, MissingData

FILE = "final_track2_train.txt"
COLUMNS = (
    *("uid", "user_city", "item_id", "author_id", "item_city", "channel"),
    *("finish", "like", "music_id", "device", "time", "duration_time"),
)
"""In the order of the file, which has no header."""

LABELS = ("like", "finish")
CATEGORIES = tuple(column for column in COLUMNS if column not in (*LABELS, "time"))
SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}


class TikTok(ShortVideos):
    """Like and finish, from who watches what: user, item, author, both cities, channel, music, device and duration.

    The file is the user's own: final_track2_train.txt of the ICME 2019 challenge, without a header, its columns
    separated by tabs or single spaces: uid, user_city, item_id, author_id, item_city, channel, finish, like, music_id,
    device, time, duration_time, all whole numbers; -1 is a value like any other. All but the labels and time, that of
    publication, are categories. Rows are split at random, 80 : 10 : 10. The file is read in pieces, and four bytes a
    value lie in memory, twice while it is split.

    AdaTask calls like task A and finish task B, and weighs their AUC 7 : 3.

    Args:
        data: the file, or the folder that it lies in. There is no default: see ``write_sample`` for a small one to try.
        rows: read no more than the first rows; none: all.
        least: values seen fewer times in training count as one.
        embedding: length of an embedding.
        width: units of each of the trunk's two layers, which AdaTask does not tell.
    """

    name = "tiktok"
    title = "short videos: liked, and watched to the end"
    licence = "the user's own copy, under the terms of the ICME 2019 challenge"
    source = (
        "ICME 2019 Short Video Understanding, track 2, https://www.biendata.xyz/competition/icmechallenge2019; AdaTask"
    )
    settings = adatask_settings("19,622,340 rows at random 8:1:1")
    labels: ClassVar = {label: label for label in LABELS}

    def __init__(
        self,
        *,
        data: str | None = None,
        rows: int | None = None,
        least: int = 10,
        embedding: int = 10,
        width: int = 128,
    ) -> None:
        super().__init__(data=data, least=least, embedding=embedding, width=width)
        self.rows = None if rows is None else at_least(10, rows=rows)

    def load(self, seed: int) -> None:
        gathered = LogEncoder(CATEGORIES, (), LABELS)
        for piece in read_log(self._file(), self.rows):
            gathered.add(piece)
        rows = split_rows(gathered.rows, SHARES, derived_generator(seed, self.name))
        self.splits, self.sizes = gathered.split(rows, self.least)

    def _file(self) -> Path:
        get = f"get {FILE} of the ICME 2019 short video challenge and point data=PATH to it"
        path = own_data(self.data, self, get)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise MissingData(f"{path} is no file", fix=f"point data=PATH to {FILE}")
        return path


def read_log(path: Path, rows: int | None = None) -> Iterator[pd.DataFrame]:
    """The file in pieces, checked.

    Raises:
        BadData: a row has not twelve columns, a value is no whole number, a label is not 0 or 1, or a duration is
            negative.
    """
    for frame in read_pieces(path, names=COLUMNS, sep=_separator(path), rows=rows):
        found = {column: whole_numbers(frame, column, path) for column in COLUMNS if column not in LABELS}
        refuse(found["duration_time"] < 0, frame, path, "duration_time is below 0")
        found |= {label: yes_or_no(frame, label, path) for label in LABELS}
        yield pd.DataFrame(found, index=frame.index)


def _separator(path: Path) -> str:
    with path.open("rb") as file:
        first = file.readline(10_000)
    for separator in ("\t", " "):
        if first.count(separator.encode()) == len(COLUMNS) - 1:
            return separator
    raise BadData(
        f"{path}: row 1: is not twelve columns, separated by tabs or spaces", fix=f"take {FILE} as it came, unzipped"
    )


def write_sample(folder: str | Path, rows: int = 6000, seed: int = 0) -> Path:
    """Made-up rows in the format of the data set; returns the folder.

    Some users like more than others, some authors are liked more, and short videos are finished more often.
    """
    random = np.random.default_rng(seed)
    users, authors = random.normal(size=60), random.normal(size=30)
    user, author = random.integers(60, size=rows), random.integers(30, size=rows)
    duration = random.integers(3, 60, rows)
    like = random.random(rows) < 1 / (1 + np.exp(3 - 1.5 * users[user] - 1.5 * authors[author]))
    finish = random.random(rows) < 1 / (1 + np.exp(0.08 * (duration - 25) - users[user]))
    columns = {
        "uid": user,
        "user_city": user % 7,
        "item_id": author * 10 + random.integers(10, size=rows),
        "author_id": author,
        "item_city": random.integers(-1, 9, rows),
        "channel": random.integers(4, size=rows),
        "finish": finish.astype(int),
        "like": like.astype(int),
        "music_id": random.integers(-1, 20, rows),
        "device": user + 1000,
        "time": 53_000_000_000 + random.integers(10**6, size=rows),
        "duration_time": duration,
    }
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns)[list(COLUMNS)].to_csv(path / FILE, sep="\t", header=False, index=False)
    return path
