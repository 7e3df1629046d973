"""Two overlaid digits: what is where in the picture, which digits a split sees, and the three losses."""

from __future__ import annotations

import builtins
import importlib.util
from typing import Any

import pytest
import torch

from dominance.benchmarks.problems.bases.digit_pairs import overlay
from dominance.benchmarks.problems.digits import Digits
from dominance.errors import BadOption, MissingData

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def problem() -> Digits:
    made = Digits(pairs=70)
    made.load(0)
    return made


def test_a_picture_is_the_brighter_of_two_shifted_digits() -> None:
    generator = torch.Generator().manual_seed(0)
    digits = torch.stack([torch.full((3, 3), 0.25), torch.full((3, 3), 0.75)])
    batch = overlay(digits, torch.tensor([4, 8]), pairs=200, canvas=5, shift=1, generator=generator)
    seen = set()
    for picture, left, right in zip(batch.inputs, batch.targets["left"], batch.targets["right"], strict=True):
        value = {4: 0.25, 8: 0.75}
        matches = []
        for down, across, up, back in [(a, b, c, d) for a in (0, 1) for b in (0, 1) for c in (0, 1) for d in (0, 1)]:
            first, second = torch.zeros(2, 5, 5)
            first[down : down + 3, across : across + 3] = value[int(left)]
            second[2 - up : 5 - up, 2 - back : 5 - back] = value[int(right)]
            if torch.equal(torch.maximum(first, second), picture[0]):
                matches.append((down, across, up, back))
        assert matches
        seen.update(matches)
    assert len(seen) == 16
    assert batch.targets["reconstruction"] is batch.inputs


def test_splits_share_no_digit(problem: Digits) -> None:
    assert {split: len(batch.inputs) for split, batch in problem.splits.items()} == {"train": 70, "val": 10, "test": 20}

    class Named(Digits):
        """200 digits, each of one grey value, which tells it from the others."""

        def digits(self) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.arange(1, 201).float().view(-1, 1, 1).expand(-1, 8, 8) / 200, torch.arange(200) % 10

    named = Named(pairs=700)
    named.load(0)
    seen: dict[str, set[int]] = {split: set() for split in named.splits}
    for split, batch in named.splits.items():
        for picture, left, right in zip(batch.inputs[:, 0], batch.targets["left"], batch.targets["right"], strict=True):
            first, second = (round(picture[i, i].item() * 200) - 1 for i in (1, -2))  # seen whatever the shift
            assert (first % 10, second % 10) == (int(left), int(right))
            seen[split] |= {first, second}
    assert {split: len(found) for split, found in seen.items()} == {"train": 140, "val": 20, "test": 40}
    assert not seen["train"] & seen["test"]
    assert not (seen["train"] | seen["test"]) & seen["val"]


def test_losses_and_scores(problem: Digits) -> None:
    logits = torch.tensor([[0.0, 5.0], [3.0, 0.0]])
    labels = torch.tensor([1, 1])
    expected = torch.nn.functional.cross_entropy(logits, labels)
    assert problem.loss("left", logits, labels).item() == pytest.approx(expected.item())
    assert problem.score("right", logits, labels) == {"accuracy": 0.5}
    picture = torch.zeros(2, 1, 12, 12)
    picture[0, 0, 0, :3] = 2.0
    assert problem.loss("reconstruction", picture, torch.zeros_like(picture)).item() == 6.0
    assert problem.score("reconstruction", picture, torch.zeros_like(picture)) == {"squared_error": 6.0}


@pytest.mark.parametrize("architecture", Digits.architectures)
def test_a_step_in_every_architecture(problem: Digits, architecture: str) -> None:
    model = problem.model(architecture, ("left", "right", "reconstruction"))
    batch = next(problem.batches("train", 5, torch.Generator().manual_seed(0)))
    outputs = problem.outputs(model, batch)
    losses = [problem.loss(task, outputs[task], batch.targets[task]) for task in batch.targets]
    sum(losses, torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert outputs["reconstruction"].shape == batch.targets["reconstruction"].shape


def test_seed(problem: Digits) -> None:
    again, other = Digits(pairs=70), Digits(pairs=70)
    again.load(0)
    other.load(1)
    assert torch.equal(again.splits["val"].inputs, problem.splits["val"].inputs)
    assert not torch.equal(other.splits["val"].inputs, problem.splits["val"].inputs)


def test_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def gone(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("sklearn"):
            raise ModuleNotFoundError(name)
        return found(name, *rest, **more)

    assert importlib.util.find_spec("sklearn") is not None
    monkeypatch.setattr(builtins, "__import__", gone)
    with pytest.raises(MissingData, match="pip install scikit-learn"):
        Digits().load(0)


def test_bad_settings() -> None:
    with pytest.raises(BadOption, match="pairs=3"):
        Digits(pairs=3)
