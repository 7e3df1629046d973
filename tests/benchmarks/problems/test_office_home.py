"""Office-Home on made-up pictures: what is read, each task's own batches, and files that are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dominance.benchmarks.problems.office_home import (
    DEVIATION,
    DOMAINS,
    MEAN,
    OfficeHome,
    find_pictures,
    read_picture,
    write_sample,
)
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.errors import BadData, BadOption, MissingData

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sample(tmp_path_factory.mktemp("office"), classes=3, each=5, size=64)


@pytest.fixture
def copy(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "office"))


def loaded(data: Path, **settings: Any) -> OfficeHome:
    problem = OfficeHome(**{"data": str(data), "classes": 3, "width": 4, **settings})
    problem.load(0)
    return problem


def test_a_picture_is_read_as_it_is(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(colours).save(tmp_path / "x.png")
    found = read_picture(tmp_path / "x.png", 64).permute(1, 2, 0).numpy() * DEVIATION + MEAN
    np.testing.assert_allclose(found * 255, colours, atol=1e-3)
    Image.fromarray(colours[..., 0]).resize((100, 30)).save(tmp_path / "grey.jpg")
    assert read_picture(tmp_path / "grey.jpg", 80).shape == (3, 80, 80)


def test_splits(copy: Path) -> None:
    (copy / "Art" / ".DS_Store").write_bytes(b"x")
    (copy / "Art" / "Thing_01" / ".hidden").write_bytes(b"x")
    (copy / "Real World").rename(copy / "Real_World")
    problem = loaded(copy)
    for domain in DOMAINS:
        parts = {split: problem.splits[split][domain] for split in problem.splits}
        assert [len(files) for files, _ in parts.values()] == [9, 3, 3]
        files = [path for part, _ in parts.values() for path in part]
        assert len(set(files)) == 15
        assert {path.parent.parent.name for path in files} == {domain}
        for part, labels in parts.values():
            assert [f"Thing_{label:02d}" for label in labels] == [path.parent.name for path in part]


def test_batches(written: Path, copy: Path) -> None:
    for path in sorted((copy / "Clipart").glob("*/*.jpg"))[:10]:
        if path.name != "00001.jpg":
            path.unlink()
    problem = loaded(copy)
    sizes = {domain: len(files) for domain, (files, _) in problem.splits["train"].items()}
    assert sizes["Clipart"] < sizes["Art"] == 9
    shuffled = list(problem.batches("train", 4, torch.Generator().manual_seed(0)))
    assert [set(batch.targets) for batch in shuffled] == [set(DOMAINS)] * 3
    ordered = list(problem.batches("train", 4))
    assert "Clipart" not in ordered[-1].targets
    labels = torch.cat([batch.targets["Art"] for batch in ordered])
    assert labels.tolist() == problem.splits["train"]["Art"][1].tolist()
    first = problem.splits["train"]["Product"][0][0]
    assert torch.equal(ordered[0].inputs["Product"][0], read_picture(first, 64))


@pytest.mark.parametrize("architecture", OfficeHome.architectures)
def test_a_step_in_every_architecture(written: Path, architecture: str) -> None:
    problem = loaded(written, width=2)
    batch = next(problem.batches("train", 1))
    outputs = problem.outputs(problem.model(architecture, tuple(DOMAINS)), batch)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == dict.fromkeys(DOMAINS, (1, 3))
    losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in DOMAINS]
    sum(losses, torch.zeros(())).backward()


def test_a_whole_training(written: Path, tmp_path: Path) -> None:
    settings = {"data": str(written), "classes": "3", "width": "2"}
    options = TrainOptions("office-home", "equal-weight", epochs=1, batch_size=8, settings=settings)
    done = train(options, tmp_path / "run")
    assert {task: set(metrics) for task, metrics in done.scores.items()} == {task: {"accuracy"} for task in DOMAINS}


def harmed(path: str, content: bytes | None) -> Callable[[Path], None]:
    def do(root: Path) -> None:
        if content is None:
            (root / path).unlink()
        else:
            (root / path).write_bytes(content)

    return do


@pytest.mark.parametrize(
    ("harm", "error", "message"),
    [
        (lambda root: shutil.rmtree(root / "Product"), MissingData, "Product is no folder"),
        (lambda root: shutil.rmtree(root / "Product" / "Thing_01"), BadData, r"Art.Thing_01: there is no .*Product"),
        (lambda root: (root / "Product" / "New").mkdir(), BadData, r"Product.New: there is no .*Art.New"),
        (lambda root: [p.unlink() for p in (root / "Art/Thing_02").iterdir()], MissingData, "Thing_02 has no picture"),
        (harmed("Art/Thing_00/00002.jpg", b"no picture"), BadData, r"Art.Thing_00.00002\.jpg: is no picture"),
        (harmed("Art/Thing_00/00002.jpg", b""), BadData, r"00002\.jpg: is no picture"),
        (harmed("Art/Thing_00/notes.txt", b"hello"), BadData, r"notes\.txt: is no \.jpg"),
    ],
)
def test_what_is_refused(copy: Path, harm: Callable[[Path], object], error: type[Exception], message: str) -> None:
    harm(copy)
    with pytest.raises(error, match=message):
        find_pictures(copy, 3)


def test_a_file_that_ends_too_early(copy: Path) -> None:
    path = copy / "Art" / "Thing_00" / "00001.jpg"
    path.write_bytes(path.read_bytes()[:900])
    find_pictures(copy, 3)
    with pytest.raises(BadData, match=r"Art.Thing_00.00001\.jpg: cannot be read"):
        read_picture(path, 64)


def test_what_cannot_be(written: Path) -> None:
    with pytest.raises(MissingData, match=r"data is not set; .*data=PATH.*write_sample"):
        OfficeHome().load(0)
    with pytest.raises(BadData, match="Art: has 3 classes, 65 are meant; or set classes=3"):
        loaded(written, classes=65)
    with pytest.raises(BadOption, match="size=32 is too small"):
        OfficeHome(size=32)
