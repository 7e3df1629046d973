"""The benchmarks by name. A name is known without loading anything; its module is imported when it is asked for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_type_hints

from dominance.benchmarks.benchmark import Benchmark
from dominance.errors import BadOption

BENCHMARKS: Mapping[str, str] = {
    "adatask-synthetic": "adatask_synthetic.AdaTaskSynthetic",
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


def settings_of(name: str) -> dict[str, tuple[Any, Any]]:
    """The open settings of a benchmark: name -> (type, default).

    Raises:
        BadOption: there is no such benchmark.
    """
    start = benchmark_class(name).__init__
    hints = get_type_hints(start)
    keywords = (p for p in inspect.signature(start).parameters.values() if p.kind is p.KEYWORD_ONLY)
    return {p.name: (hints[p.name], p.default) for p in keywords}


def benchmark(name: str, **settings: Any) -> Benchmark:
    """A benchmark with these settings; nothing is loaded. Text, as from a command line, becomes the setting's type.

    Raises:
        BadOption: there is no such benchmark, no such setting, or its value cannot be used.

    >>> benchmark("adatask-synthetic", width="200").width
    200
    """
    known = settings_of(name)
    chosen = {}
    for key, value in settings.items():
        if key not in known:
            near = get_close_matches(key, known, n=1)
            fix = f"did you mean {near[0]}?" if near else f"its settings are {', '.join(known) or 'none'}"
            raise BadOption(f"{name} has no setting {key!r}", fix=fix)
        chosen[key] = _typed(key, value, known[key][0]) if isinstance(value, str) else value
    return benchmark_class(name)(**chosen)


def _typed(key: str, text: str, kind: Any) -> Any:
    kinds = getattr(kind, "__args__", (kind,))
    if type(None) in kinds and text.lower() in ("", "none"):
        return None
    wanted = next(k for k in kinds if k is not type(None))
    if wanted is bool:
        if text.lower() in ("1", "true", "yes", "on", "0", "false", "no", "off"):
            return text.lower() in ("1", "true", "yes", "on")
    elif wanted is str:
        return text
    else:
        try:
            return wanted(text)
        except ValueError:
            pass
    raise BadOption(f"{key}={text!r} cannot be used", fix=f"give {_words(kind)}")


def _words(kind: Any) -> str:
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", type(None): "none"}
    return " or ".join(names[k] for k in getattr(kind, "__args__", (kind,)))


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
    lines += ["", "Settings (--set NAME=VALUE)"]
    lines += [f"  {key} = {default}  ({_words(kind)})" for key, (kind, default) in settings_of(name).items()]
    lines += ["", "Published"]
    lines += [f"  {paper}: {what}" for paper, what in defaults.published.items()]
    return "\n".join(lines)
