"""Mutated metadata: number N is always the same change of the same run, whose metadata hold everything that may be."""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import xarray as xr
from runs import planted_rows, write_run

from dominance.store.probes import write_probe

OPTIMIZER = {
    "class": "AdamW",
    "groups": [{"lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0.01}],
    "note": "additive",
}
TRAINING = {"benchmark": "digits", "method": "uw", "seed": 3, "lr": 1e-3, "tasks": ["price", "rating"]}

ATTRIBUTES: dict[str, Any] = {
    "recorded_by": "dominance record",
    "script": "train.py",
    "argv": ["train.py", "--lr", "1e-3"],
    "script_path": "train.py",
    "task_weights": {"price": 1.0, "rating": 0.5},
    "residual_terms": ["penalty"],
    "separate_terms": [],
    "schedule": {"every": 1, "burst": 1},
    "sampling": {"kept": 740, "of": 740, "seed": 0},
    "options": {"tasks": None, "every": 1, "params": "*"},
    "optimizers": [OPTIMIZER],
    "versions": {"python": "3.11.7", "torch": "2.13.0"},
    "seed": 0,
    "host": "somewhere",
    "rank": 0,
    "world_size": 1,
    "git_commit": "e50d25c52e7108dc13471824ea46bf01a53dbae5",
    "steps_taken": 12,
    "unrecorded": [{"reason": "a closure was called twice", "steps": 2, "first": 4}],
    "remarks": ["A sentence about this run."],
    "ended": "complete",
    "failure": None,
    "training": {**TRAINING, "settings": {"data": "here"}, "options": {}, "representation": False},
    "benchmark": "digits",
    "method": "uw",
    "architecture": "hps",
    "model_number": 1,
    "model_of": ["run"],
}
"""What the metadata of a run hold beside what its writer keeps."""

VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 3, 255, 10**12, 2**63, -(2**70), 0.5, -1e300, float("nan"), float("inf")),
    *(
        "",
        "x",
        "price",
        "\x1b[31mred\x1b[0m\x07",
        "a\tb\nc\rd",
        "\u202eleft",
        "\ud800",
        "x" * 100_000,
        "../../..",
    ),
    *([], {}, [[]], [None], ["a", "a"], [1, 2, 3], {"a": 1}, [0] * 1000, ["price"], [{"a": []}]),
]


@dataclass(frozen=True)
class Mutation:
    """What was done, in words."""

    number: int
    file: str
    what: str


def base(path: Path) -> Path:
    """The run that is changed."""
    layout, rows = planted_rows(steps=12, layers={"trunk.0": 40, "trunk.1": 30}, attrs=copy.deepcopy(ATTRIBUTES))
    scores = [("val", "price", 0.5), ("final", "rating", 0.7), ("val", None, 0.1)]
    layout.attrs["metrics"] = [
        {"step": number, "epoch": 0, "task": task, "split": split, "name": "mse", "value": value}
        for number, (split, task, value) in enumerate(scores)
    ]
    write_run(path, layout, rows)
    change = xr.DataArray(np.ones((2, 3)), dims=("task", "fraction"), name="change")
    found = xr.Dataset({"change": change}, {"task": ["price", "rating"], "fraction": [0.1, 0.2, 0.3]}, {"seed": 0})
    write_probe(path, "noise", found)
    return path


def mutate(path: Path, number: int) -> Mutation:
    """Change one file of the run at ``path``."""
    rng = Random(number)
    root = path / "data.zarr" / "zarr.json"
    others = sorted(file for file in (path / "data.zarr").rglob("zarr.json") if file != root)
    file = root if rng.random() < 0.6 else rng.choice(others)
    name = file.relative_to(path).as_posix()
    if rng.random() < 0.12:
        return Mutation(number, name, _of_the_file(file, rng))
    document = json.loads(file.read_bytes())
    document.pop("consolidated_metadata", None)
    done = [_of_the_tree(document, rng) for _ in range(rng.choice([1, 1, 1, 2, 4]))]
    file.write_text(json.dumps(document))
    return Mutation(number, name, "; ".join(done))


def _of_the_file(file: Path, rng: Random) -> str:
    data = file.read_bytes()
    place = rng.randrange(len(data))
    kinds: dict[str, Callable[[], Any]] = {
        "cut off": lambda: file.write_bytes(data[:place]),
        "one bit": lambda: file.write_bytes(
            data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        ),
        "ten bytes": lambda: file.write_bytes(data[:place] + rng.randbytes(10) + data[place + 10 :]),
        "empty": lambda: file.write_bytes(b""),
        "nested deeply": lambda: file.write_bytes(b"[" * 100_000),
        "nested": lambda: file.write_bytes(b'{"attributes": {"a":' * 300 + b"1" + b"}}" * 300),
        "a long number": lambda: file.write_bytes(data.replace(b"1", b"1" * 5000, 1)),
        "no UTF-8": lambda: file.write_bytes(b"\xff" + data),
        "a list": lambda: file.write_bytes(b"[" + data + b"]"),
        "a pipe": lambda: (file.unlink(), os.mkfifo(file)),
        "a folder": lambda: (file.unlink(), file.mkdir()),
        "a link to a device": lambda: (file.unlink(), file.symlink_to("/dev/zero")),
        "gone": lambda: shutil.rmtree(file.parent) if file.parent.name != "data.zarr" else file.unlink(),
    }
    what = rng.choice(sorted(kinds))
    kinds[what]()
    return f"the file: {what}"


def _places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inside:
        yield (*at, key)
        yield from _places(item, (*at, key))


def _of_the_tree(document: Any, rng: Random) -> str:
    place = rng.choice(list(_places(document)))
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    key, where = place[-1], ".".join(map(str, place))
    what = rng.choice(["replaced"] * 5 + ["removed", "renamed", "twice", "nested", "made text", "scaled"])
    value = holder[key]
    if what == "removed":
        del holder[key]
    elif what == "renamed" and isinstance(holder, dict):
        holder[rng.choice(["", "x", "\x1b[2J", f"{key} "])] = holder.pop(key)
    elif what == "twice" and isinstance(holder, list):
        holder.insert(int(key), copy.deepcopy(value))
    elif what == "nested":
        holder[key] = [value]
    elif what == "made text":
        holder[key] = str(value)
    elif what == "scaled" and isinstance(value, int | float):
        holder[key] = value * rng.choice([-1, 0, 1000, 10**9])
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
        return f"{where} is {str(holder[key])[:40]!r}"
    return f"{where} {what}"
