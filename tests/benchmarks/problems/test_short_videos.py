"""TikTok and WeChat from made-up files: read as they are meant, split as published, and bad rows are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
import torch

from dominance.benchmarks.problems import tiktok, wechat
from dominance.benchmarks.problems.tiktok import TikTok
from dominance.benchmarks.problems.wechat import WeChat
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.errors import BadData, MissingData

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiktok.write_sample(tmp_path_factory.mktemp("tiktok"), rows=1000)


@pytest.fixture(scope="module")
def feeds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wechat.write_sample(tmp_path_factory.mktemp("wechat"), rows=1400)


def clip_rows(clips: Path) -> pd.DataFrame:
    return pd.read_csv(clips / tiktok.FILE, sep="\t", names=list(tiktok.COLUMNS))


def codes_tell_values(codes: torch.Tensor, values: pd.Series[Any], least: int, train: int) -> None:
    """Rows with the same code have the same value, and only values that are rare have code 0."""
    counts = values.iloc[:train].value_counts()
    for code, group in values.groupby(codes.numpy()):
        assert (group.nunique() == 1) if code else (group.map(counts).fillna(0) < least).all()


def test_tiktok(clips: Path) -> None:
    problem = TikTok(data=str(clips), least=3)
    problem.load(0)
    assert {split: len(batch.inputs) for split, batch in problem.splits.items()} == {
        "train": 800,
        "val": 100,
        "test": 100,
    }
    frame = clip_rows(clips)
    for label in ("like", "finish"):
        total = sum(float(batch.targets[label].sum()) for batch in problem.splits.values())
        assert 0 < total == frame[label].sum() < 800
    again = TikTok(data=str(clips / tiktok.FILE), least=3)
    again.load(1)
    assert not torch.equal(problem.splits["test"].inputs, again.splits["test"].inputs)


def test_tiktok_codes(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a split in the order of the file, rows can be compared with it."""
    rows = {"train": torch.arange(800), "val": torch.arange(800, 900), "test": torch.arange(900, 1000)}
    monkeypatch.setattr(tiktok, "split_rows", lambda *_: rows)
    problem = TikTok(data=str(clips), least=5)
    problem.load(0)
    frame = clip_rows(clips)
    codes = torch.cat([problem.splits[split].inputs for split in rows])
    assert set(tiktok.COLUMNS) - set(tiktok.CATEGORIES) == {"like", "finish", "time"}
    for place, column in enumerate(tiktok.CATEGORIES):
        codes_tell_values(codes[:, place], frame[column], 5, 800)
        assert problem.sizes[place] == (frame[column][:800].value_counts() >= 5).sum() + 1
    assert problem.splits["test"].targets["like"].tolist() == frame["like"].iloc[900:].tolist()


def test_tiktok_with_spaces(clips: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.txt"
    path.write_text((clips / tiktok.FILE).read_text().replace("\t", " "))
    (piece,) = tiktok.read_log(path, 50)
    pd.testing.assert_frame_equal(piece.reset_index(drop=True)[list(tiktok.COLUMNS)], clip_rows(clips)[:50])


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (7, "like", "2", "row 7: like is neither 0 nor 1"),
        (7, "finish", "-1", "row 7: finish is neither 0 nor 1"),
        (7, "uid", "somebody", "row 7: uid is 'somebody', no number"),
        (7, "music_id", "1.5", r"row 7: music_id is 1\.5, no whole number"),
        (7, "channel", "", "row 7: channel is missing"),
        (7, "duration_time", "-3", "row 7: duration_time is below 0"),
        (7, "duration_time", "3\t4", "row 7: 13 columns, expected 12"),
        (7, "duration_time", "nan", "row 7: duration_time is 'nan', no number"),
        (1, "duration_time", "3\t4", "row 1: is not twelve columns"),
    ],
)
def test_bad_clips(clips: Path, tmp_path: Path, row: int, column: str, value: str, message: str) -> None:
    lines = (clips / tiktok.FILE).read_text().splitlines()
    parts = lines[row - 1].split("\t")
    parts[tiktok.COLUMNS.index(column)] = value
    lines[row - 1] = "\t".join(parts)
    (tmp_path / tiktok.FILE).write_text("\n".join(lines) + "\n")
    with pytest.raises(BadData, match=message):
        TikTok(data=str(tmp_path)).load(0)


def test_wechat(feeds: Path) -> None:
    problem = WeChat(data=str(feeds), least=4)
    problem.load(0)
    table = pd.read_csv(feeds / wechat.ACTIONS).merge(pd.read_csv(feeds / wechat.FEEDS), on="feedid", how="left")
    sizes = [len(batch.targets["like"]) for batch in problem.splits.values()]
    assert sizes == [(table["date_"] <= 12).sum(), (table["date_"] == 13).sum(), (table["date_"] == 14).sum()]
    codes, seconds = (torch.cat([problem.splits[split].inputs[i] for split in problem.splits]) for i in (0, 1))
    for place, column in enumerate(wechat.CATEGORIES):  # the file is in the order of its days, and so are the splits
        codes_tell_values(codes[:, place], table[column].astype(object).where(table[column].notna(), ""), 4, sizes[0])
    own = table["videoplayseconds"]
    np.testing.assert_allclose(
        seconds.squeeze(1), (own - own[: sizes[0]].mean()) / own[: sizes[0]].std(ddof=0), rtol=1e-4, atol=1e-5
    )
    for task, label in wechat.TASKS.items():
        assert problem.splits["test"].targets[task].tolist() == table[label][table["date_"] == 14].tolist()


@pytest.mark.parametrize(
    ("file", "row", "column", "value", "message"),
    [
        (wechat.ACTIONS, 5, "forward", 3, r"user_action\.csv: row 5: forward is neither 0 nor 1"),
        (wechat.ACTIONS, 5, "read_comment", "", r"row 5: read_comment is missing"),
        (wechat.ACTIONS, 5, "feedid", 77, r"user_action\.csv: row 5: feed_info\.csv has no feedid 77"),
        (wechat.ACTIONS, 5, "date_", "x", r"row 5: date_ is 'x', no number"),
        (wechat.FEEDS, 5, "feedid", 1000, r"feed_info\.csv: row 5: feedid 1000 is there before"),
        (wechat.FEEDS, 5, "videoplayseconds", -2, r"row 5: videoplayseconds is below 0"),
        (wechat.FEEDS, 5, "videoplayseconds", "inf", r"row 5: videoplayseconds is inf, no number"),
        (wechat.FEEDS, 5, "authorid", "", r"row 5: authorid is missing"),
    ],
)
def test_bad_feeds(feeds: Path, tmp_path: Path, file: str, row: int, column: str, value: Any, message: str) -> None:
    for name in (wechat.ACTIONS, wechat.FEEDS):
        frame = pd.read_csv(feeds / name, dtype=str, keep_default_na=False)
        if name == file:
            frame.loc[row - 2, column] = str(value)
        frame.to_csv(tmp_path / name, index=False)
    with pytest.raises(BadData, match=message):
        WeChat(data=str(tmp_path)).load(0)


def test_too_few_days_and_a_missing_column(feeds: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="date_ has 2 days; give three or more"):
        WeChat(data=str(wechat.write_sample(tmp_path, rows=20, days=2))).load(0)
    pd.read_csv(feeds / wechat.ACTIONS).drop(columns="like").to_csv(tmp_path / wechat.ACTIONS, index=False)
    with pytest.raises(BadData, match="there is no column like"):
        WeChat(data=str(tmp_path)).load(0)


def test_missing(tmp_path: Path) -> None:
    for problem in (TikTok(), WeChat()):
        with pytest.raises(MissingData, match=r"data is not set; .*data=PATH.*write_sample"):
            problem.load(0)
    with pytest.raises(MissingData, match=r"final_track2_train\.txt is no file"):
        TikTok(data=str(tmp_path)).load(0)
    with pytest.raises(MissingData, match=r"user_action\.csv is no file"):
        WeChat(data=str(tmp_path)).load(0)


def test_the_published_towers(clips: Path) -> None:
    problem = TikTok(data=str(clips))
    problem.load(0)
    shapes = [tuple(p.shape) for p in problem.head("like").parameters() if p.dim() == 2]
    assert shapes == [(128, 128), (64, 128), (32, 64), (1, 32)]
    assert problem.settings.optimizer == "rmsprop"
    assert all(table.embedding_dim == 10 for table in cast(Any, problem.encoder())[0][0].tables)


@pytest.mark.parametrize("name", ["tiktok", "wechat"])
def test_a_whole_training(clips: Path, feeds: Path, tmp_path: Path, name: str) -> None:
    data = {"tiktok": clips, "wechat": feeds}[name]
    settings = {"data": str(data), "width": "16", "least": "1"}
    options = TrainOptions(name, "equal-weight", epochs=2, batch_size=200, lr=0.01, settings=settings)
    done = train(options, tmp_path / "run")
    tasks = tiktok.LABELS if name == "tiktok" else tuple(wechat.TASKS)
    assert {task: set(metrics) for task, metrics in done.scores.items()} == {task: {"auc"} for task in tasks}
