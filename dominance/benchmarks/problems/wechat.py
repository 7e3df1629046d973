"""WeChat Channels: will a video be forwarded, its author's picture clicked, the video liked, its comments read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from dominance.benchmarks.benchmark import Batch
from dominance.benchmarks.data.log_encoder import LogEncoder
from dominance.benchmarks.data.own_files import files_in, own_data
from dominance.benchmarks.data.tables import numbers, read_pieces, read_table, refuse, whole_numbers, yes_or_no
from dominance.benchmarks.problems.bases.short_videos import ShortVideos, adatask_settings
from dominance.errors import BadData

ACTIONS, FEEDS = "user_action.csv", "feed_info.csv"
TASKS = {"forwarded": "forward", "click_avatar": "click_avatar", "like": "like", "read_comment": "read_comment"}
"""Task -> its column; a task cannot be called forward, which is a method of torch's modules."""

LABELS = tuple(TASKS.values())
TEXT = ("bgm_song_id", "bgm_singer_id")
"""Columns that may be empty."""

CATEGORIES = ("userid", "feedid", "device", "authorid", *TEXT)
NUMBERS = ("videoplayseconds",)
ACTION_COLUMNS = ("userid", "feedid", "date_", "device", *LABELS)
FEED_COLUMNS = ("feedid", "authorid", "videoplayseconds", *TEXT)


class WeChat(ShortVideos):
    """Four actions, from who sees which video: user, video, device, author, song, singer and duration.

    The files are the user's own: user_action.csv and feed_info.csv of the WeChat Big Data Challenge 2021, with headers,
    as in its folder wechat_algo_data1. Of the first are read userid, feedid, date_, device, forward, click_avatar, like
    and read_comment, of the second feedid, authorid, videoplayseconds, bgm_song_id and bgm_singer_id, of which the
    latter two may be empty. The last day of date_ is tested on, the day before validates, the others are trained on: of
    14 days 12, 1 and 1, as in AdaTask. The file of actions is read in pieces, and four bytes a value lie in memory,
    twice while it is split.

    AdaTask tells of four tasks A to D with official weights 1 : 2 : 3 : 4. In the challenge those are the weights of
    forward, click_avatar, like and read_comment; the first is called forwarded here.

    Args:
        data: folder with the two files. There is no default: see ``write_sample`` for a small one to try.
        least: values seen fewer times in training count as one.
        embedding: length of an embedding.
        width: units of each of the trunk's two layers, which AdaTask does not tell.
    """

    name = "wechat"
    title = "videos in WeChat: forwarded, author clicked, liked, comments read"
    licence = "the user's own copy, under the terms of the WeChat Big Data Challenge 2021"
    source = "WeChat Big Data Challenge 2021, https://algo.weixin.qq.com/2021/intro; AdaTask"
    numbers = len(NUMBERS)
    labels = TASKS
    settings = adatask_settings(
        "8,373,653 rows of 14 days: 12, 1 and 1",
        "; Table 7: MMoE with four experts (--architecture mmoe has eight)",
    )

    def load(self, seed: int) -> None:
        """The split is by days: the seed does not matter."""
        get = f"get {ACTIONS} and {FEEDS} of the WeChat Big Data Challenge 2021 and point data=PATH to their folder"
        actions, feeds = files_in(own_data(self.data, self, get), ACTIONS, FEEDS)
        gathered = LogEncoder(CATEGORIES, NUMBERS, LABELS)
        pieces: list[npt.NDArray[np.int64]] = []
        for piece in read_actions(actions, read_feeds(feeds)):
            gathered.add(piece)
            pieces.append(piece["date_"].to_numpy())
        days = np.concatenate(pieces)
        known = np.unique(days)  # ascending
        if len(known) < 3:
            raise BadData(f"{actions}: date_ has {len(known)} days", fix="give three or more, of which two are to test")
        on = {"train": days < known[-2], "val": days == known[-2], "test": days == known[-1]}
        rows = {split: torch.from_numpy(np.flatnonzero(these)) for split, these in on.items()}
        splits, self.sizes = gathered.split(rows, self.least)
        self.splits = {
            split: Batch(data.inputs, {task: data.targets[label] for task, label in TASKS.items()})
            for split, data in splits.items()
        }


def read_feeds(path: Path) -> pd.DataFrame:
    """What is known of the videos, by feedid: authorid, videoplayseconds, bgm_song_id, bgm_singer_id.

    Raises:
        BadData: a column is missing, a value is no number, a duration is negative, or a feedid comes twice.
    """
    frame = read_table(path, columns=FEED_COLUMNS, text=TEXT)
    feeds = whole_numbers(frame, "feedid", path)
    twice = pd.Index(feeds).duplicated()
    refuse(twice, frame, path, f"feedid {feeds[int(np.argmax(twice))]} is there before")
    seconds = numbers(frame, "videoplayseconds", path)
    refuse(seconds < 0, frame, path, "videoplayseconds is below 0")
    found = {"authorid": whole_numbers(frame, "authorid", path), "videoplayseconds": seconds.astype(np.float32)}
    return pd.DataFrame({**found, **{column: frame[column].to_numpy() for column in TEXT}}, index=feeds)


def read_actions(path: Path, feeds: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The actions in pieces, checked, each with what is known of its video.

    Args:
        feeds: of ``read_feeds``.

    Raises:
        BadData: a column is missing, a value is no whole number, a label is not 0 or 1, or a video is not known.
    """
    for frame in read_pieces(path, columns=ACTION_COLUMNS):
        found = {column: whole_numbers(frame, column, path) for column in ACTION_COLUMNS if column not in LABELS}
        found |= {label: yes_or_no(frame, label, path) for label in LABELS}
        place = feeds.index.get_indexer(pd.Index(found["feedid"]))
        gone = place < 0
        refuse(gone, frame, path, f"{FEEDS} has no feedid {found['feedid'][int(np.argmax(gone))]}")
        yield pd.DataFrame(
            {**found, **{column: feeds[column].to_numpy()[place] for column in feeds.columns}}, index=frame.index
        )


def write_sample(folder: str | Path, rows: int = 6000, days: int = 14, seed: int = 0) -> Path:
    """Made-up user_action.csv and feed_info.csv in the format of the data set; returns the folder.

    All four actions depend on the user and the author; comments are read far more often than videos are forwarded.
    """
    random = np.random.default_rng(seed)
    feeds = np.arange(400)
    info = pd.DataFrame(
        {
            "feedid": feeds + 1000,
            "authorid": feeds % 40,
            "videoplayseconds": random.integers(5, 60, len(feeds)),
            "description": "12 7",
            "bgm_song_id": np.where(feeds % 5, (feeds % 9).astype(float).astype(str), ""),
            "bgm_singer_id": np.where(feeds % 5, (feeds % 4).astype(float).astype(str), ""),
        }
    )
    users, authors = random.normal(size=(80, 4)), random.normal(size=(40, 4))
    user, feed = random.integers(80, size=rows), random.integers(len(feeds), size=rows)
    odds = 1.5 * users[user] + 1.5 * authors[feed % 40] - np.array([4.0, 3.5, 3.0, 1.5])
    actions = random.random((rows, 4)) < 1 / (1 + np.exp(-odds))
    table = pd.DataFrame(
        {
            "userid": user,
            "feedid": feed + 1000,
            "date_": np.sort(random.integers(1, days + 1, rows)),
            "device": user % 2 + 1,
            **{label: actions[:, place].astype(int) for place, label in enumerate(LABELS)},
            "play": random.integers(60_000, size=rows),
        }
    )
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    info.to_csv(path / FEEDS, index=False)
    table.to_csv(path / ACTIONS, index=False)
    return path
