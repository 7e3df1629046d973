"""The synthetic pair of regressions: Eq. 1 entry by entry, its statistics, and what is drawn when."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dominance.benchmarks.problems.adatask_synthetic import AdaTaskSynthetic
from dominance.errors import BadOption

torch.set_num_threads(1)


def loaded(seed: int = 0, **settings: Any) -> AdaTaskSynthetic:
    problem = AdaTaskSynthetic(**settings)
    problem.load(seed)
    return problem


def test_targets_follow_equation_1() -> None:
    problem = loaded(inputs=3, outputs=2, test_samples=8, noise=0.0)
    w1 = {"A": problem._own[:3, :2].T, "B": problem._own[:3, 2:].T}
    w2 = {"A": problem._own[3:, :2].T, "B": problem._own[3:, 2:].T}
    w3 = problem._cubic.T
    batch = next(problem.batches("test", 8))
    for task in "AB":
        for x, y in zip(batch.inputs, batch.targets[task], strict=True):
            expected = w1[task] @ x + w2[task] @ x.pow(2) + w3 @ x.pow(3)
            torch.testing.assert_close(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("spread", "std"), [("std", 10.0), ("variance", 10.0**0.5)])
def test_matrices_have_the_moments_of_the_text(spread: str, std: float) -> None:
    problem = loaded(spread=spread)
    blocks = {
        "W1_A": (problem._own[:250, :100], 1.0, 1.0),
        "W2_A": (problem._own[250:, :100], 1.0, 1.0),
        "W1_B": (problem._own[:250, 100:], 10.0, std),
        "W2_B": (problem._own[250:, 100:], 10.0, std),
        "W3": (problem._cubic, 10.0, std),
    }
    for matrix, mean, deviation in blocks.values():
        assert matrix.shape == (250, 100)
        assert matrix.mean().item() == pytest.approx(mean, abs=5 * deviation / 158)
        assert matrix.std().item() == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize(("x", "mean", "std"), [("normal", 0.0, 0.2), ("uniform", 0.1, 0.2 / 12**0.5)])
def test_inputs_and_noise(x: str, mean: float, std: float) -> None:
    noisy, clean = loaded(x=x, x_scale=0.2, noise=0.5), loaded(x=x, x_scale=0.2, noise=0.0)
    a, b = next(noisy.batches("test", 4096)), next(clean.batches("test", 4096))
    assert a.inputs.mean().item() == pytest.approx(mean, abs=1e-3)
    assert a.inputs.std().item() == pytest.approx(std, rel=0.01)
    torch.testing.assert_close(a.inputs, b.inputs)
    assert (a.targets["A"] - b.targets["A"]).std().item() == pytest.approx(0.5, rel=0.01)


def test_task_b_has_about_ten_times_the_targets() -> None:
    batch = next(loaded(test_samples=400).batches("test", 400))
    assert 5 < (batch.targets["B"].std() / batch.targets["A"].std()).item() < 20


def test_fresh_samples_are_new_in_every_step_and_epoch() -> None:
    problem = loaded(test_samples=8, steps=3)
    generator = torch.Generator().manual_seed(0)
    drawn = [batch.inputs for _ in range(2) for batch in problem.batches("train", 4, generator)]
    assert len(drawn) == 6
    assert len({x.sum().item() for x in drawn}) == 6


def test_training_draws_nothing_that_was_drawn_before() -> None:
    problem = loaded(seed=0)
    generator = torch.Generator().manual_seed(0)  # the seed that load was given
    train = torch.cat([batch.inputs for batch in problem.batches("train", 256, generator)])
    test = next(problem.batches("test", 4096)).inputs
    assert not set(train[:, 0].tolist()) & set(test[:50, 0].tolist())


def test_without_a_generator_every_epoch_is_the_same() -> None:
    problem = loaded(test_samples=8, steps=2)
    first = [batch.inputs for batch in problem.batches("train", 4)]
    again = [batch.inputs for batch in problem.batches("train", 4)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])


def test_a_fixed_training_set_is_shuffled_and_complete() -> None:
    problem = loaded(test_samples=8, train_samples=10)
    batches = list(problem.batches("train", 4, torch.Generator().manual_seed(0)))
    assert [len(batch.inputs) for batch in batches] == [4, 4, 2]
    whole = problem.splits["train"].inputs
    seen = torch.cat([batch.inputs for batch in batches])
    assert not torch.equal(seen, whole)
    assert torch.equal(seen[seen[:, 0].argsort()], whole[whole[:, 0].argsort()])


def test_the_data_depend_on_the_seed_or_on_their_own() -> None:
    def target(seed: int, data_seed: int | None) -> float:
        return next(loaded(seed, test_samples=4, data_seed=data_seed).batches("test", 4)).targets["A"].sum().item()

    assert target(0, None) == target(0, None) != target(1, None)
    assert target(0, 7) == target(1, 7) != target(0, None)


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    list(loaded(test_samples=4, steps=2).batches("train", 4))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("architecture", AdaTaskSynthetic.architectures)
def test_a_step_in_every_architecture(architecture: str) -> None:
    problem = loaded(inputs=5, outputs=3, width=4, test_samples=4, steps=1)
    model = problem.model(architecture, ("A", "B"))
    batch = next(problem.batches("train", 6))
    outputs = problem.outputs(model, batch)
    losses = {task: problem.loss(task, outputs[task], batch.targets[task]) for task in batch.targets}
    sum(losses.values(), torch.zeros(())).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert losses["A"].item() == pytest.approx((outputs["A"] - batch.targets["A"]).square().mean().item())


def test_the_trunk_is_that_of_the_paper() -> None:
    trunk = AdaTaskSynthetic().encoder()
    assert [type(part).__name__ for part in trunk.children()] == ["Linear", "ELU"] * 4
    assert [tuple(p.shape) for p in trunk.parameters() if p.ndim == 2] == [(100, 250)] + [(100, 100)] * 3


def test_single_task() -> None:
    problem = loaded(inputs=5, outputs=3, width=4, test_samples=4)
    batch = next(problem.batches("test", 4))
    assert set(problem.outputs(problem.model("hps", ("B",)), batch)) == {"B"}


def test_scores() -> None:
    problem = AdaTaskSynthetic(normaliser="none")
    output, target = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 4.0]])
    assert problem.score("A", output, target) == {
        "normalised_rmse": pytest.approx(2**0.5),
        "rmse": pytest.approx(2**0.5),
    }
    assert AdaTaskSynthetic().score("A", output, target)["normalised_rmse"] == pytest.approx(2**0.5 / 1.5)


@pytest.mark.parametrize("settings", [{"x": "cauchy"}, {"spread": "iqr"}, {"normaliser": "max"}, {"width": 0}])
def test_bad_settings(settings: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match=next(iter(settings))):
        AdaTaskSynthetic(**settings)
