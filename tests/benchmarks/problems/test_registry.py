"""Benchmarks by name: each is there with all that a person must know, and settings become what they are typed as."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from dominance.benchmarks.arguments import arguments, defaults
from dominance.benchmarks.benchmark import Benchmark
from dominance.benchmarks.problems.registry import BENCHMARKS, benchmark, benchmark_class, describe
from dominance.benchmarks.problems.toy_2d import Toy2D
from dominance.errors import BadOption


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_is(name: str) -> None:
    cls = benchmark_class(name)
    made = cls()
    assert isinstance(made, Benchmark)
    assert cls.name == name
    assert cls.title
    assert cls.licence
    assert cls.source
    assert cls.settings.published
    assert cls.settings.architecture in cls.architectures
    assert made.tasks
    assert all(task.metrics for task in made.tasks)
    nn.ModuleDict({task.name: nn.Identity() for task in made.tasks})  # names that torch accepts


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_setting_has_a_type_a_default_and_a_line(name: str) -> None:
    cls = benchmark_class(name)
    text = describe(name)
    assert set(arguments(cls)) == set(defaults(cls))
    for key in arguments(cls):
        assert f"  {key} = " in text
    for task in cls().tasks:
        assert f"  {task.name}: " in text
    assert cls.licence in text


def test_text_becomes_the_settings_type() -> None:
    made = benchmark("toy-2d", start="3", scale="0.5")
    assert isinstance(made, Toy2D)
    assert (made.start, made.scale) == (3, 0.5)
    assert benchmark("qm9", gap="yes").tasks[4].name == "gap"


def test_unknown_names() -> None:
    with pytest.raises(BadOption, match="did you mean digits"):
        benchmark("digit")
    with pytest.raises(BadOption, match="choose from adatask-synthetic, toy-2d"):
        benchmark("zzz")
    with pytest.raises(BadOption, match="did you mean start"):
        benchmark("toy-2d", strat="1")
    with pytest.raises(BadOption, match="whole number"):
        benchmark("toy-2d", start="one")


def test_only_the_asked_for_module_is_imported() -> None:
    code = (
        "import sys; from dominance.benchmarks.problems.registry import benchmark; benchmark('toy-2d'); "
        "print(sorted(m for m in sys.modules if m.startswith(('pandas', 'sklearn', 'dominance.benchmarks.problems.'))))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "['dominance.benchmarks.problems.registry', 'dominance.benchmarks.problems.toy_2d']"
