"""NYUv2 and CityScapes on made-up pictures: splits, batches, every architecture, and whole trainings."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from same import differences
from small_benchmark import state

from dominance.benchmarks.data.scene_augmentation import augmented
from dominance.benchmarks.models.backbones import resnet
from dominance.benchmarks.problems import cityscapes, nyuv2
from dominance.benchmarks.problems.cityscapes import CityScapes
from dominance.benchmarks.problems.nyuv2 import NYUv2
from dominance.benchmarks.train.evaluation import evaluate
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import resume, train
from dominance.benchmarks.train.training import Interrupted
from dominance.errors import BadData, BadOption, MissingData
from dominance.store.reader import open_run

torch.set_num_threads(1)
TASKS = ("segmentation", "depth", "normal")


@pytest.fixture(scope="module")
def indoor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nyuv2.write_sample(tmp_path_factory.mktemp("nyuv2"), train=5, val=2)


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cityscapes.write_sample(tmp_path_factory.mktemp("cityscapes"), train=4, val=2, size=(16, 32))


def loaded(data: Path, **settings: Any) -> NYUv2:
    problem = NYUv2(**{"data": str(data), "width": 4, "head": 4, **settings})
    problem.load(0)
    return problem


def test_batches(indoor: Path) -> None:
    problem = loaded(indoor)
    first, second, third = problem.batches("train", 2)
    assert len(third.inputs) == 1
    assert first.inputs.shape == (2, 3, 32, 64)
    assert {task: tuple(target.shape) for task, target in first.targets.items()} == {
        "segmentation": (2, 32, 64),
        "depth": (2, 1, 32, 64),
        "normal": (2, 3, 32, 64),
    }
    raw = {part: np.load(indoor / "train" / part / "2.npy") for part in ("image", "label", "depth", "normal")}
    np.testing.assert_array_equal(second.inputs[0].permute(1, 2, 0), raw["image"])
    np.testing.assert_array_equal(second.targets["segmentation"][0], raw["label"])
    np.testing.assert_array_equal(second.targets["depth"][0, 0].nan_to_num(), raw["depth"][..., 0])
    np.testing.assert_allclose(second.targets["normal"][0].permute(1, 2, 0).nan_to_num(), raw["normal"], atol=1e-6)


def test_splits(indoor: Path, tmp_path: Path) -> None:
    assert {split: len(files.numbers) for split, files in loaded(indoor).files.items()} == {
        "train": 5,
        "val": 0,
        "test": 2,
    }
    held = loaded(indoor, held_out=0.4)
    assert [len(held.files[split].numbers) for split in ("train", "val", "test")] == [3, 2, 2]
    assert set(held.files["train"].numbers) | set(held.files["val"].numbers) == set(range(5))
    shutil.copytree(indoor, tmp_path, dirs_exist_ok=True)
    (tmp_path / "val").rename(tmp_path / "test")
    shutil.copytree(indoor / "train", tmp_path / "val")
    apart = loaded(tmp_path)
    assert [len(apart.files[split].numbers) for split in ("train", "val", "test")] == [5, 5, 2]


@pytest.mark.parametrize("architecture", NYUv2.architectures)
def test_a_step_in_every_architecture(indoor: Path, architecture: str) -> None:
    problem = loaded(indoor, width=2, check=False)
    batch = next(problem.batches("train", 1))  # batch norm must bear a last batch of one picture
    model = problem.model(architecture, TASKS)
    outputs = problem.outputs(model, batch)
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {
        "segmentation": (1, 13, 32, 64),
        "depth": (1, 1, 32, 64),
        "normal": (1, 3, 32, 64),
    }
    losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in TASKS]
    sum(losses, torch.zeros(())).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_segnet(indoor: Path) -> None:
    problem = loaded(indoor, backbone="segnet", width=2, check=False)
    batch = next(problem.batches("train", 2))
    for architecture in ("hps", "mtan"):
        outputs = problem.outputs(problem.model(architecture, ("depth",)), batch)
        assert outputs["depth"].shape == (2, 1, 32, 64)


def test_it_learns(indoor: Path) -> None:
    problem = loaded(indoor, width=8, head=8, check=False)
    torch.manual_seed(0)
    model = problem.model("hps", TASKS)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    batch = next(problem.batches("train", 2))
    history = []
    for _ in range(10):
        outputs = problem.outputs(model, batch)
        losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in TASKS]
        history.append([float(loss.detach()) for loss in losses])
        optimizer.zero_grad()
        sum(losses, torch.zeros(())).backward()
        optimizer.step()
    assert all(last < 0.8 * first for first, last in zip(history[0], history[-1], strict=True))


@pytest.mark.parametrize("name", ["nyuv2", "cityscapes"])
def test_a_whole_training(indoor: Path, street: Path, tmp_path: Path, name: str) -> None:
    data = {"nyuv2": indoor, "cityscapes": street}[name]
    settings = {"data": str(data), "width": "4", "head": "4", "augment": "true"}
    options = TrainOptions(name, "equal-weight", epochs=1, batch_size=4, settings=settings)
    done = train(options, tmp_path / "run")
    expected = {"segmentation": {"miou", "pixel_accuracy"}, "depth": {"abs_err", "rel_err"}}
    if name == "nyuv2":
        expected["normal"] = {"mean_angle", "median_angle", "within_11", "within_22", "within_30"}
    assert {task: set(metrics) for task, metrics in done.scores.items()} == expected
    assert open_run(tmp_path / "run").attrs["metrics"]["segmentation"]["miou"] == "higher"


def test_scores_of_a_split_are_those_of_its_pixels(indoor: Path) -> None:
    """However it is cut into batches."""
    problem = loaded(indoor, check=False)
    model = problem.model("hps", TASKS)
    one, two = (evaluate(problem, model, "test", tasks=TASKS, batch_size=size) for size in (1, 2))
    assert {task: pytest.approx(scores, abs=2e-3) for task, scores in one.items()} == two


def test_folders_of_labels(street: Path, tmp_path: Path) -> None:
    shutil.copytree(street, tmp_path, dirs_exist_ok=True)
    for split in ("train", "val"):
        (tmp_path / split / "label").rename(tmp_path / split / "label_7")
    problem = CityScapes(data=str(tmp_path))
    problem.load(0)
    assert problem.files["train"].parts["label"] == "label_7"
    with pytest.raises(MissingData, match=r"label is no folder"):
        CityScapes(data=str(tmp_path), classes=19).load(0)


def test_augmentation_moves_labels_with_their_pixels() -> None:
    """Every pixel tells its place in the image and in all labels: they must still say the same."""
    height, width = 24, 36
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = (rows * width + columns).float()
    images = torch.stack([rows, columns, rows]).float().expand(24, -1, -1, -1).clone()
    normal = torch.stack([place + 1, place + 1, rows.float()]).expand(24, -1, -1, -1)
    targets = {
        "segmentation": (rows * width + columns).expand(24, -1, -1),
        "depth": (place + 1).expand(24, 1, -1, -1),
        "normal": normal,
    }
    found, moved = augmented(images, targets, torch.Generator().manual_seed(0))
    label = moved["segmentation"]
    assert ((found[:, 0] - label // width).abs() < 1.01).all()
    assert ((found[:, 1] - label % width).abs() < 1.01).all()
    ratio = ((label + 1) / moved["depth"][:, 0]).flatten(1)
    assert {round(float(scale), 3) for scale in ratio.flatten()} == {1.0, 1.2, 1.5}
    mirrored = found[:, 1, 0, 0] > found[:, 1, 0, -1]
    assert 4 < mirrored.sum() < 20
    assert torch.equal(moved["normal"][:, 0, 0, 0] < 0, mirrored)
    assert torch.equal(moved["normal"][:, 0].abs(), (label + 1).float())
    assert torch.equal(moved["normal"][:, 1], (label + 1).float())


def test_weights(indoor: Path, tmp_path: Path) -> None:
    """A state dict in torchvision's names: no stem, and a last layer that is not used."""
    source = resnet("small", 4, dilated=False)
    names = {name.removeprefix("stem."): value for name, value in source.state_dict().items()}
    torch.save({**names, "fc.weight": torch.zeros(2, 32)}, tmp_path / "weights.pth")
    problem = loaded(indoor, weights=str(tmp_path / "weights.pth"), check=False)
    for name, value in problem.encoder().state_dict().items():
        assert torch.equal(value, source.state_dict()[name])
    assert {"conv1.weight", "layer1.0.bn1.bias", "layer2.0.downsample.0.weight"} < set(names)
    other = loaded(indoor, weights=str(tmp_path / "weights.pth"), width=8, check=False)
    with pytest.raises(BadData, match=r"conv1\.weight has the shape \(4, 3, 7, 7\), \(8, 3, 7, 7\) is meant"):
        other.encoder()
    del names["layer2.0.bn1.bias"]
    torch.save(names, tmp_path / "weights.pth")
    with pytest.raises(BadData, match=r"layer2\.0\.bn1\.bias is not there"):
        loaded(indoor, weights=str(tmp_path / "weights.pth"), check=False).encoder()
    (tmp_path / "weights.pth").write_bytes(b"nothing of the kind")
    with pytest.raises(BadData, match="is no state dict"):
        loaded(indoor, weights=str(tmp_path / "weights.pth"), check=False)
    with pytest.raises(MissingData, match=r"no\.pth is no file"):
        loaded(indoor, weights=str(tmp_path / "no.pth"), check=False)


def test_what_cannot_be(indoor: Path, street: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match=r"data is not set; .*data=PATH.*write_sample"):
        NYUv2().load(0)
    with pytest.raises(MissingData, match="is no folder"):
        loaded(tmp_path)
    with pytest.raises(BadOption, match="segnet takes no weights"):
        NYUv2(backbone="segnet", weights="x")
    with pytest.raises(BadOption, match=r"held_out=1\.0 is no share"):
        NYUv2(held_out=1.0)
    with pytest.raises(BadOption, match="16x32; bring them to multiples of 32"):
        CityScapes(data=str(street), backbone="segnet").load(0)
    shutil.copytree(indoor / "train", tmp_path / "train")
    shutil.copytree(nyuv2.write_sample(tmp_path / "other", 1, 1, (16, 16)) / "val", tmp_path / "val")
    with pytest.raises(BadData, match="its pictures are 16x16, those to train on 32x64"):
        loaded(tmp_path)


def test_early_stopping_needs_a_validation_set(street: Path, tmp_path: Path) -> None:
    settings = {"data": str(street), "width": "2", "check": "no"}
    options = TrainOptions("cityscapes", "equal-weight", epochs=1, patience=2, settings=settings)
    with pytest.raises(BadOption, match="has no validation set here, and --patience needs one"):
        train(options, tmp_path / "run", record=None)


def test_a_bad_file_is_found_before_the_training(indoor: Path, tmp_path: Path) -> None:
    shutil.copytree(indoor, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "val" / "label" / "1.npy"
    label = np.load(path)
    label[4, 7] = 40
    np.save(path, label)
    loaded(tmp_path, check=False)
    with pytest.raises(BadData, match=r"val.label.1\.npy: row 4, column 7: 40 is no class"):
        loaded(tmp_path)


def test_an_interrupted_training_ends_as_a_whole_one(street: Path, tmp_path: Path) -> None:
    """Windows and mirrors are drawn with the order of the pictures: what was drawn before the kill is drawn again."""
    settings = {"data": str(street), "width": "2", "head": "2", "augment": "yes", "check": "no"}
    options = TrainOptions("cityscapes", "equal-weight", epochs=1, batch_size=1, settings=settings)
    train(options, tmp_path / "whole", record=None)
    steps = itertools.count(1)
    with pytest.raises(Interrupted):
        train(options, tmp_path / "parts", record=None, stop=lambda: next(steps) == 2)
    resume(tmp_path / "parts")
    assert not list(differences(state(tmp_path / "parts"), state(tmp_path / "whole")))
