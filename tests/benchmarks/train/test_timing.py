"""Steps are timed in turns; what is counted beside them is right. No test depends on a time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from small_benchmark import install

from dominance.benchmarks.train import timing
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.timing import NAME, main, measure
from dominance.errors import BadOption

torch.set_num_threads(1)
SHARED, PRIVATE = 6 * 7 + 7 + 7 * 5 + 5, 5 * 1 + 1 + 5 * 3 + 3  # the trunk of "small", and its heads


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


def test_parameters_and_the_numbers_that_the_optimizers_hold():
    options = TrainOptions("small", "equal-weight", optimizer="rmsprop")
    found = measure(options, ["equal-weight", "adatask", "ladatask", "famo"], laps=2, steps=3)
    assert (found["shared"], found["private"], found["shared_layers"]) == (SHARED, PRIVATE, 2)
    state = {name: each["state"] for name, each in found["methods"].items()}
    assert state["equal-weight"] == SHARED + PRIVATE
    assert state["adatask"] == 2 * SHARED + PRIVATE
    assert state["ladatask"] == SHARED + 2 * 2 + PRIVATE + 2  # of the two heads as well
    assert found["methods"]["equal-weight"]["ratio"] == [1.0, 1.0, 1.0]


def test_ratios_are_medians_over_rounds_of_which_each_method_has_its_turn(monkeypatch):
    """With a clock that every step moves by a number of its own."""
    order, cost = [], {"equal-weight": 1.0, "uw": 3.0}

    def lap(self, batches):
        name = self.plan.method.name
        order.append(name)
        many = len(order) // 2 + 1  # the machine gets slower and slower
        return cost[name] * many, 0.5 * cost[name] * many

    monkeypatch.setattr(timing._Racer, "lap", lap)
    found = measure(TrainOptions("small", "equal-weight"), ["equal-weight", "uw"], laps=4, steps=1)
    assert order[:4] == ["equal-weight", "uw", "uw", "equal-weight"]
    low, middle, high = found["methods"]["uw"]["ratio"]
    assert low <= middle <= high
    assert 2.5 < middle < 3.7


def test_the_command(tmp_path: Path, capsys):
    words = ["small", "--method", "equal-weight", "--method", "nash-mtl:every=2", "--laps", "1", "--steps", "2"]
    assert main([*words, "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / NAME).read_text())
    assert list(found["methods"]) == ["equal-weight", "nash-mtl:every=2"]
    assert found["benchmark"] == "small"
    assert found["sample"] == ""
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main([*words, "-o", str(tmp_path)]) == 2
    assert "is already there" in capsys.readouterr().err
    assert main([*words, "-o", str(tmp_path), "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "pubb"], "no method 'pubb'"),
        (["--method", "uw", "--method", "uw"], "name each once"),
        (["--method", "uw", "--laps", "0"], "measure nothing"),
        (["--method", "nash-mtl:each=2"], "each"),
    ],
)
def test_mistakes_are_said_in_one_line(words, said, tmp_path, capsys):
    assert main(["small", *words, "-o", str(tmp_path / "out")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err
    assert not (tmp_path / "out").exists()


def test_made_up_pictures(tmp_path: Path):
    words = ["cityscapes", "--set", "width=4", "--set", "head=4", "--batch-size", "2", "--laps", "1", "--steps", "1"]
    assert main([*words, "--sample", "32x64", "--method", "equal-weight", "-o", str(tmp_path)]) == 0
    found = json.loads((tmp_path / NAME).read_text())
    assert found["sample"] == "32x64"
    assert found["settings"] == {"width": "4", "head": "4"}
    with pytest.raises(BadOption, match="digits has no made-up data"):
        timing.write_sample("digits", "32x64", tmp_path)
    with pytest.raises(BadOption, match="write it like 64x128"):
        timing.write_sample("cityscapes", "big", tmp_path)
