"""The root attributes of a run as they stand in its zarr.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from threading import Lock
from typing import Any

from dominance.schema import Layout
from dominance.store import seal

NAMED = ("task", "split", "name")
"""Columns of metric/* that hold codes into the attribute ``metric_names``."""

_OWN = frozenset(
    (
        *("schema_version", "tasks", "task_since", "layers", "attribution", "exact", "budget", "status"),
        *("committed_steps", "committed_events", "refused_steps", "metric_names", seal.NAME),
    )
)


class Attributes:
    """Attributes, each kept as text too: a list of a thousand parameters is not made into JSON at every commit.

    The caller and the writer's thread both update it, and a dictionary that was handed out never changes.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values: dict[str, Any] = {}
        self._texts: dict[str, str] = {}
        self._codes: dict[str, dict[str, int]] = {}
        self._lock = Lock()
        self.size = 0
        self.update(values)
        for part in NAMED:
            self._codes[part] = {name: code for code, name in enumerate(self["metric_names"][part])}

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def growth(self, values: Mapping[str, Any]) -> int:
        """Bytes that ``update`` with values of the user would add.

        Raises:
            ValueError: the writer keeps this attribute itself.
            TypeError: a value that is no JSON.
        """
        if own := _OWN & values.keys():
            raise ValueError(f"the writer itself keeps {', '.join(sorted(own))}")
        texts = self._texts
        return sum(len(_text(name, value)) + 2 - len(texts.get(name, "")) for name, value in values.items())

    def update(self, values: Mapping[str, Any]) -> None:
        texts = {name: _text(name, value) for name, value in values.items()}
        with self._lock:
            self._texts = {**self._texts, **texts}
            self._values = {**self._values, **values}
            self.size = len(seal.FIRST) + sum(len(text) + 2 for text in self._texts.values())

    def code(self, part: str, name: str | None) -> int:
        """Code of a task, split or metric name, made when it is new; -1 for None."""
        if name is None:
            return -1
        codes = self._codes[part]
        if name not in codes:
            codes[name] = len(codes)
            self.update({"metric_names": {part: list(known) for part, known in self._codes.items()}})
        return codes[name]

    def document(self, consolidated: Mapping[str, bytes] | None = None) -> bytes:
        """The root zarr.json; ``consolidated`` holds the zarr.json of all nodes, by key, once the run is closed."""
        document = ", ".join((seal.FIRST, *self._texts.values())) + '}, "zarr_format": 3, "node_type": "group"'
        if consolidated:
            nodes = ", ".join(
                f"{json.dumps(key.removesuffix('/zarr.json'))}: {data.decode()}" for key, data in consolidated.items()
            )
            kind = '"kind": "inline", "must_understand": false'
            document += f', "consolidated_metadata": {{{kind}, "metadata": {{{nodes}}}}}'
        return seal.seal((document + "}").encode())


def _text(name: str, value: Any) -> str:
    return f"{json.dumps(name)}: {json.dumps(value)}"


def first_attributes(layout: Layout, exact: bool, budget: int | None) -> dict[str, Any]:
    """The attributes of a run without rows."""
    return {
        **layout.attrs,
        "schema_version": layout.version,
        "status": "recording",
        "committed_steps": 0,
        "committed_events": 0,
        "refused_steps": 0,
        "tasks": list(layout.tasks),
        "task_since": [0] * len(layout.tasks),
        "layers": list(layout.layers),
        "attribution": layout.attribution,
        "exact": exact,
        "budget": budget,
        "metric_names": {part: [] for part in NAMED},
        "parameters": [parameter.to_json() for parameter in layout.parameters],
    }
