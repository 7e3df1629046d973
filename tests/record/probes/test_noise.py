"""Noise goes where it is sent, as much as it should be, and is gone afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dominance.errors import BadOption, ProbeFailed
from dominance.record.probes import NoiseProbe


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


class Awkward(nn.Module):
    """Parameters that do not lie in memory as they are indexed, in several precisions, one of them a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.turned = nn.Parameter(torch.arange(6.0).reshape(2, 3).t())
        self.last = nn.Parameter(torch.zeros(1, 2, 3, 2).to(memory_format=torch.channels_last))
        self.coarse = nn.Parameter(torch.full((5,), 256.0, dtype=torch.bfloat16))
        self.fine = nn.Parameter(torch.zeros(3, dtype=torch.float64))
        self.scalar = nn.Parameter(torch.tensor(2.0))


def values(probe: NoiseProbe, seen: list[dict[str, torch.Tensor]], *arguments: Any) -> dict[str, torch.Tensor]:
    probe.change(*arguments)
    return seen.pop()


@pytest.fixture
def seeing() -> tuple[Awkward, NoiseProbe, list[dict[str, torch.Tensor]]]:
    model, seen = Awkward(), []

    def look(model: Awkward) -> dict[str, dict[str, float]]:
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return {"a": {"nothing": 0.0}}

    return model, NoiseProbe(model, look), seen


@pytest.mark.parametrize("name", ["turned", "last", "fine", "scalar"])
def test_noise_is_added_to_the_flat_indices(name: str, seeing: Any) -> None:
    model, probe, seen = seeing
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    parameter = before[name]
    chosen = np.arange(parameter.numel())[::-2][::-1]  # every other one, the last among them
    found = values(probe, seen, {name: chosen}, 0.5, 3)
    expected = parameter.numpy().ravel().copy()  # row-major
    expected[chosen] += (0.5 * np.random.default_rng(3).standard_normal(len(chosen))).astype(expected.dtype)
    np.testing.assert_array_equal(found[name].numpy().ravel(), expected)
    assert all(torch.equal(found[key], before[key]) for key in before if key != name)
    assert all(torch.equal(p, before[key]) for key, p in model.named_parameters())


def test_half_precision_is_rounded_once(seeing: Any) -> None:
    _, probe, seen = seeing
    found = values(probe, seen, {"coarse": np.arange(5)}, 3.0, 0)["coarse"]
    exact = 256 + torch.from_numpy(3 * np.random.default_rng(0).standard_normal(5)).float()
    assert torch.equal(found, exact.bfloat16())
    assert (found != 256).any()


def test_the_same_seed_gives_other_entries_the_same_noise_and_other_deviations_its_multiple(seeing: Any) -> None:
    _, probe, seen = seeing
    one = values(probe, seen, {"fine": np.array([0, 1])}, 0.1, 7)["fine"]
    two = values(probe, seen, {"fine": np.array([1, 2])}, 0.1, 7)["fine"]
    ten = values(probe, seen, {"fine": np.array([0, 1])}, 1.0, 7)["fine"]
    other = values(probe, seen, {"fine": np.array([0, 1])}, 0.1, 8)["fine"]
    assert torch.equal(one[:2], two[1:])
    torch.testing.assert_close(10 * one, ten)
    assert not torch.equal(one, other)


def test_tied_parameters_are_one() -> None:
    trunk = nn.Linear(2, 2, bias=False)
    model = nn.Sequential(trunk, nn.Linear(2, 2, bias=False))
    model[1].weight = trunk.weight
    probe = NoiseProbe(model, lambda model: {"a": {"x": model[1].weight[0, 0].item()}})
    base = probe.baseline()["a"]["x"]
    noise = 0.1 * np.random.default_rng(0).standard_normal(1)[0]
    assert probe.change({"0.weight": np.array([0])}, 0.1, 0)["a"]["x"] == pytest.approx(base + noise, rel=1e-6)


def test_every_evaluation_starts_from_the_same_random_numbers() -> None:
    probe = NoiseProbe(nn.Linear(1, 1), lambda model: {"a": {"drawn": torch.rand(()).item()}})
    state = torch.get_rng_state()
    first, second = probe.baseline(), probe.baseline()
    assert first == second
    assert torch.equal(state, torch.get_rng_state())
    torch.rand(1)
    assert probe.baseline() != first


def test_bad_questions(seeing: Any) -> None:
    _, probe, _ = seeing
    with pytest.raises(BadOption, match="no parameter 'trunk'"):
        probe.change({"trunk": np.array([0])}, 0.1, 0)
    with pytest.raises(BadOption, match="fine has 3 entries, not 4"):
        probe.change({"fine": np.array([3])}, 0.1, 0)
    model = nn.Module()
    model.wave = nn.Parameter(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(BadOption, match="complex"):
        NoiseProbe(model, lambda model: {}).change({"wave": np.array([0])}, 0.1, 0)


@pytest.mark.parametrize(
    "found", [None, {}, 0.5, {"a": 0.5}, {"a": {}}, {"a": {"auc": "high"}}, {"a": {"auc": torch.zeros(2)}}]
)
def test_what_is_no_evaluation(found: Any) -> None:
    with pytest.raises(ProbeFailed, match="returned"):
        NoiseProbe(nn.Linear(1, 1), lambda model: found).baseline()


@pytest.mark.parametrize("error", [ValueError("no data"), SystemExit(3)])
def test_an_error_inside_is_told_with_its_cause_and_the_model_is_as_before(error: BaseException) -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()

    def fails(model: nn.Module) -> Any:
        raise error

    with pytest.raises(ProbeFailed, match=type(error).__name__) as told:
        NoiseProbe(model, fails).change({"weight": np.array([0, 1])}, 1.0, 0)
    assert told.value.__cause__ is error
    assert torch.equal(model.weight, before)


def norms(model: nn.Module) -> dict[str, dict[str, float]]:
    return {"a": {"weight": sum(float(p.detach().double().sum()) for p in model.parameters())}}


@pytest.mark.parametrize("form", ["dict", "file", "inside a checkpoint", "wrapped"])
def test_a_saved_model_is_probed_in_place_of_the_live_one(form: str, tmp_path: Path) -> None:
    model, other = (nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(2))
    state: Any = other.state_dict()
    if form == "wrapped":
        state = nn.DataParallel(other).state_dict()
        assert "module.0.weight" in state
    if form in ("file", "inside a checkpoint"):
        torch.save(state if form == "file" else {"epoch": 3, "model": state}, tmp_path / "model.pt")
        state = tmp_path / "model.pt"
    probe = NoiseProbe(nn.DataParallel(model) if form == "dict" else model, norms, state_dict=state)
    live = norms(model)
    assert probe.baseline() == norms(other) != live
    assert probe.change({"0.weight": np.array([0])}, 1.0, 0) != norms(other)
    assert norms(model) == live


def test_a_state_dict_that_does_not_fit(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    state = model.state_dict()
    with pytest.raises(BadOption, match=r"state_dict has no 1\.weight"):
        NoiseProbe(model, norms, state_dict={key: value for key, value in state.items() if key[0] == "0"})
    with pytest.raises(BadOption, match=r"the model has no 2\.weight"):
        NoiseProbe(model, norms, state_dict={**state, "2.weight": torch.zeros(1)})
    with pytest.raises(BadOption, match=r"1\.bias has the shape \(7,\), the model's \(1,\)"):
        NoiseProbe(model, norms, state_dict={**state, "1.bias": torch.zeros(7)})
    (tmp_path / "text").write_text("no model")
    for path in ("text", "nothing"):
        with pytest.raises(BadOption, match="cannot be loaded"):
            NoiseProbe(model, norms, state_dict=tmp_path / path)
    with pytest.raises(BadOption, match="holds no state_dict"):
        NoiseProbe(model, norms, state_dict={"epoch": 3})
