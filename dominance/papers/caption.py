"""What was run, in words: data, seeds, steps, optimizer, versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from dominance.papers.item import Item
from dominance.papers.material import Material


def caption(item: Item, material: Material) -> str:
    """A paragraph for under the figure: everything that a reader needs to make it again."""
    with_what = versions(material)
    return f"{item.title}. {ran(item, material)}" + (f" Versions: {with_what}." if with_what else "")


def ran(item: Item, material: Material) -> str:
    """What was trained or timed, and on what."""
    told = [item.stands_for, *(_timed(each) for each in material.timings)]
    told += [_trained(material)] if material.runs else []
    return " ".join(part for part in told if part)


def versions(material: Material) -> str:
    """Of Python and of packages."""
    return _several(_versions(each) for each in (*material.timings, *(run.attrs for run in material.runs)))


def _trained(material: Material) -> str:
    runs = [run.attrs for run in material.runs]
    trained = [attrs.get("training", {}) for attrs in runs]
    parts = [
        f"Data: {_several(map(_benchmark, runs))}",
        f"methods: {_several(attrs.get('method', 'unknown') for attrs in runs)}",
        f"architecture: {_several(attrs.get('architecture', 'unknown') for attrs in runs)}",
        f"seeds: {_several(one.get('seed', 'unknown') for one in trained)}",
        f"epochs: {_several(one.get('epochs', 'unknown') for one in trained)}",
        f"steps: {_several(attrs.get('steps_taken', 'unknown') for attrs in runs)}",
        f"batch size: {_several(one.get('batch_size', 'unknown') for one in trained)}",
        f"optimizer: {_several(one.get('optimizer', 'unknown') for one in trained)}",
        f"learning rate: {_several(one.get('lr', 'unknown') for one in trained)}",
    ]
    return "; ".join(parts) + "."


def _timed(timing: dict[str, Any]) -> str:
    where = f"{timing['benchmark']} with {timing['architecture']}{_settings(timing['settings'])}"
    made_up = f", on made-up pictures of {timing['sample']}" if timing["sample"] else ""
    return (
        f"Timed: {where}{made_up}; batch size {timing['batch_size']}, {timing['optimizer']}; in turns, {timing['laps']}"
        f" laps of {timing['steps']} steps each; {timing['threads']} thread(s) on {timing['device']}."
    )


def _benchmark(attrs: Any) -> str:
    """With the settings that are not its own; where its data lies is no matter."""
    given = attrs.get("training", {}).get("settings", {})
    return f"{attrs.get('benchmark', 'unknown')}{_settings(given)}"


def _settings(given: Any) -> str:
    words = ", ".join(f"{key}={value}" for key, value in given.items() if key != "data")
    return f" ({words})" if words else ""


def _several(values: Iterable[Any]) -> str:
    """The different values, in order; numbers that are many as a range."""
    found = list(dict.fromkeys(values))
    if len(found) > 6 and all(isinstance(value, int) for value in found):
        return f"{min(found)} to {max(found)}"
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in found)


def _versions(attrs: Any) -> str:
    return " ".join(f"{name} {version}" for name, version in attrs.get("versions", {}).items())
