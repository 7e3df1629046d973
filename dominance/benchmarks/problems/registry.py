"""The benchmarks by name. A name is known without loading anything; its module is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from inspect import getdoc
from textwrap import dedent
from typing import Any

from dominance.benchmarks import arguments
from dominance.benchmarks.benchmark import Benchmark
from dominance.errors import BadOption

BENCHMARKS: Mapping[str, str] = {
    "adatask-synthetic": "adatask_synthetic.AdaTaskSynthetic",
    "toy-2d": "toy_2d.Toy2D",
    "digits": "digits.Digits",
    "mnist-pairs": "mnist_pairs.MnistPairs",
    "census": "census.Census",
    "qm9": "qm9.QM9",
    "movielens": "movielens.MovieLens",
    "aliexpress": "aliexpress.AliExpress",
    "nyuv2": "nyuv2.NYUv2",
    "cityscapes": "cityscapes.CityScapes",
    "office-home": "office_home.OfficeHome",
    "tiktok": "tiktok.TikTok",
    "wechat": "wechat.WeChat",
}
"""Name -> module and class under ``dominance.benchmarks.problems``."""


def benchmark_class(name: str) -> type[Benchmark]:
    """The class of a benchmark.

    Raises:
        BadOption: there is none of this name.
    """
    if name not in BENCHMARKS:
        near = get_close_matches(name, BENCHMARKS, n=3)
        fix = f"did you mean {' or '.join(near)}?" if near else f"choose from {', '.join(BENCHMARKS)}"
        raise BadOption(f"there is no benchmark {name!r}", fix=fix)
    module, _, attribute = BENCHMARKS[name].partition(".")
    found: type[Benchmark] = getattr(import_module(f"dominance.benchmarks.problems.{module}"), attribute)
    return found


def benchmark(name: str, **settings: Any) -> Benchmark:
    """A benchmark with these settings; nothing is loaded. Text, as from a command line, becomes the setting's type.

    Raises:
        BadOption: there is no such benchmark, no such setting, or its value cannot be used.

    >>> benchmark("adatask-synthetic", width="200").width
    200
    """
    cls = benchmark_class(name)
    return cls(**arguments.read(settings, arguments.arguments(cls), "--set", name))


def describe(name: str) -> str:
    """What a person should know before training on it: tasks, metrics, licence, settings, what was published.

    Raises:
        BadOption: there is no such benchmark.
    """
    cls = benchmark_class(name)
    defaults = cls.settings
    lines = [f"{name}: {cls.title}", "", "Tasks"]
    for task in cls().tasks:
        metrics = ", ".join(f"{m.name} ({'higher' if m.higher_is_better else 'lower'} is better)" for m in task.metrics)
        lines.append(f"  {task.name}: {metrics}")
    lines += ["", f"Licence  {cls.licence}", f"Source   {cls.source}", "", "Training"]
    lines.append(
        f"  {defaults.epochs} epochs, batch size {defaults.batch_size}, {defaults.optimizer} with learning rate "
        f"{defaults.lr:g}, architecture {defaults.architecture} (of {', '.join(cls.architectures)})"
    )
    lines += [f"  learning rate / 10 after {part:.0%} of the training" for part in defaults.milestones]
    if defaults.patience is not None:
        lines.append(f"  stops after {defaults.patience} epochs without a better result on the validation set")
    lines.append(
        "  every training step is recorded" if defaults.every == 1 else f"  one step in {defaults.every} is recorded"
    )
    lines += ["", "Settings (--set NAME=VALUE)"]
    usual = arguments.defaults(cls)
    kinds = arguments.arguments(cls).items()
    lines += [f"  {key} = {usual[key]}  ({arguments.describe(kind)})" for key, kind in kinds]
    lines += ["", *("  " + line for line in dedent((getdoc(cls) or "").partition("Args:\n")[2]).splitlines())]
    lines += ["", "Published"]
    lines += [f"  {paper}: {what}" for paper, what in defaults.published.items()]
    return "\n".join(lines)
