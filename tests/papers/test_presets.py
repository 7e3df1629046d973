"""Presets, against a table of what the papers' texts say, read off them by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from dominance.benchmarks.models import parted
from dominance.benchmarks.train.plan import TrainOptions, plan
from dominance.papers.presets import EXPERTS, MMOE_LOGS, PRESETS, SEARCHED, SELDOM, Preset

torch.set_num_threads(1)

TEXT: dict[tuple[str, str], dict[str, Any]] = {
    ("AdaTask", "adatask-synthetic"): {"optimizer": "rmsprop", "seeds": 3},
    ("AdaTask", "cityscapes"): {
        "architecture": "mtan", "optimizer": "adam", "lr": 1e-4, "epochs": 200, "milestones": "0.5", "decay": 2,
        "batch_size": 8, "last": 10, "seeds": 3,
    },
    ("AdaTask", "tiktok"): {
        "architecture": "hps", "optimizer": "rmsprop", "lr": 1e-3, "batch_size": 4096, "embedding": 10, "least": 10,
        "patience": 5, "seeds": 3,
    },
    ("AdaTask", "wechat"): {
        "architecture": "hps", "optimizer": "rmsprop", "lr": 1e-3, "batch_size": 4096, "embedding": 10, "least": 10,
        "patience": 5, "seeds": 3,
    },
    ("MoCoGrad", "aliexpress"): {"architecture": "hps", "layers": 2, "optimizer": "adam", "lr": 1e-4, "seeds": 10},
    ("MoCoGrad", "movielens"): {
        "architecture": "hps", "trunk": "bst", "optimizer": "adam", "lr": 1e-4, "seeds": 10, "tasks": 9,
    },
    ("MoCoGrad", "qm9"): {
        "architecture": "hps", "trunk": "graph", "optimizer": "adam", "lr": 3e-3, "own_batches": "true", "seeds": 10,
        "tasks": 11,
    },
    ("MoCoGrad", "nyuv2"): {
        "architecture": "hps", "backbone": "resnet50", "head": 2048, "optimizer": "adam", "lr": 1e-4, "seeds": 10,
    },
    ("MoCoGrad", "cityscapes"): {
        "architecture": "hps", "backbone": "resnet50", "head": 2048, "optimizer": "adam", "lr": 1e-4, "seeds": 10,
    },
    ("MoCoGrad", "office-home"): {
        "architecture": "hps", "backbone": "resnet18", "optimizer": "adam", "lr": 1e-4, "seeds": 10, "tasks": 4,
    },
    ("PUB", "aliexpress"): {
        "layers": 1, "optimizer": "adam", "lr": 1e-3, "weight_decay": 1e-6, "batch_size": 4096, "seeds": 5,
    },
    ("PUB", "nyuv2"): {
        "architecture": "mtan", "backbone": "segnet", "optimizer": "adam", "lr": 1e-4, "epochs": 300, "batch_size": 4,
        "warmup": 300 * 199 // 10, "seeds": 3, "tasks": 3,
    },
    ("PUB", "toy-2d"): {"optimizer": "adam"},
}  # fmt: skip
"""(paper, data) -> what the text says."""


def says(preset: Preset) -> dict[str, Any]:
    how = dict(preset.how)
    return {"seeds": preset.seeds, "tasks": preset.tasks, **how.pop("settings", {}), **how}


def test_they_are_what_the_texts_say():
    assert PRESETS.keys() == TEXT.keys()
    for key, text in TEXT.items():
        assert {name: says(PRESETS[key]).get(name) for name in text} == text, key


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: f"{preset.paper} {preset.benchmark}")
def test_what_is_set_has_a_line_of_the_text_or_is_said_to_be_left_open(preset):
    """And the line has the number, where it is one."""
    assert {"seeds"} <= preset.text.keys() or preset.seeds == 1
    for name in says(preset):
        assert name in preset.text or name == "tasks" or preset.left_open, name


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: f"{preset.paper} {preset.benchmark}")
def test_each_can_be_planned_and_has_as_many_tasks_as_it_says(preset):
    how = dict(preset.how)
    settings = {name: str(value) for name, value in how.pop("settings", {}).items()}
    if preset.benchmark not in ("adatask-synthetic", "toy-2d"):
        settings["data"] = "/data"
    if "milestones" in how:
        how["milestones"] = tuple(float(each) for each in how["milestones"].split(","))
    made = plan(TrainOptions(preset.benchmark, "equal-weight", settings=settings, **how))
    assert len(made.tasks) == preset.tasks


def test_counts_of_experts_and_how_often_weights_are_searched():
    """PUB, VI-A2: two levels of eight experts; with PLE eight of all tasks and eight of each; V: s in {10, 100}."""
    assert parted(EXPERTS["mmoe"]) == ("mmoe", {"experts": 8, "levels": 2})
    assert parted(EXPERTS["ple"]) == ("ple", {"levels": 2, "shared": 8, "own": 8})
    assert parted(MMOE_LOGS) == ("mmoe", {"experts": 4})
    assert (SEARCHED, SELDOM) == (10, 100)
