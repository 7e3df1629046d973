"""Streams of planted and harmless trainings, drawn at random: what the verdict is tried on."""

from __future__ import annotations

from typing import Any

import numpy as np
from planted import OPTIMIZERS, TASK_WISE, Case


def _common(rng: np.random.Generator, sizes: str) -> dict[str, Any]:
    """How a case is trained and recorded, drawn at random; ``sizes`` "seen" or "unseen" draw from different ones."""
    widths, inputs, batches = ((12, 16), (6, 8), (16, 32)) if sizes == "seen" else ((10, 20, 24), (5, 10), (24, 48))
    optimizer = str(rng.choice(OPTIMIZERS))
    made: dict[str, Any] = {
        "seed": int(rng.integers(2**31)),
        "optimizer": optimizer,
        "width": int(rng.choice(widths)),
        "inputs": int(rng.choice(inputs)),
        "batch": int(rng.choice(batches)),
        "tanh": bool(rng.random() < 0.6),
        "decaying": bool(rng.random() < 0.3),
        "common": float(rng.uniform(0, 0.6)),
        "keep": int(rng.choice([0, 0, 40])),
        "steps": int(rng.integers(120, 260)),
    }
    how = rng.random()
    if how < 0.2:  # one step in three, or stretches of 20 steps where there is momentum
        momentum = optimizer in ("adam", "momentum")
        made |= {"every": 3, "burst": 20 if momentum else 1, "steps": 3 * made["steps"]}
    return made


def _placed(values: list[float], rng: np.random.Generator) -> tuple[tuple[float, ...], int]:
    """The first value moved to a place drawn at random."""
    place = int(rng.integers(len(values)))
    rest = values[1:]
    return (*rest[:place], values[0], *rest[place:]), place


def planted_case(number: int, seed: int, sizes: str = "seen") -> Case:
    """Case ``number`` of a stream; the planted causes take turns."""
    rng = np.random.default_rng([seed, number])
    made, k = _common(rng, sizes), int(rng.choice([2, 2, 3, 4, 5]))
    momentum = made["optimizer"] in ("adam", "momentum")
    turn = number % 10
    few = float(rng.uniform(0.2, 0.5))
    quiet = [few] * k
    if turn in (0, 1):
        factor = float(rng.uniform(6, 20)) * (1 if k < 4 else 1.5)
        scale, _ = _placed([factor] + [1.0] * (k - 1), rng)
        return Case(**made, kind="scale", truth=frozenset(["scale"]), scale=scale, noise=tuple(quiet))
    if turn == 2:
        factor = float(rng.uniform(10, 40)) * (1 if k < 4 else 1.5)
        if rng.random() < 0.3 and k > 2:  # one that is hardly heard, rather than one that is louder than all
            factor = 1 / factor
        weight, _ = _placed([factor] + [1.0] * (k - 1), rng)
        made |= {"weight": weight, "scale": (1.0,) * k, "noise": tuple(quiet)}
        return Case(**made, kind="weight", truth=frozenset(["weight"]))
    if turn in (3, 4):
        made["steps"] = max(made["steps"], 240 * made.get("every", 1))
        often, rare = 1.0, float(rng.uniform(0.015, 0.05))
        shares = [often] + [rare] * (k - 1) if k == 2 or rng.random() < 0.5 else [rare] + [often] * (k - 1)
        present, _ = _placed(shares, rng)
        made |= {"present": present, "scale": (1.0,) * k, "noise": tuple(quiet)}
        return Case(**made, kind="frequency", truth=frozenset(["frequency"]))
    if turn == 5:
        k = min(k, 3)
        labelled, _ = _placed([1.0] + [float(rng.uniform(0.05, 0.15))] * (k - 1), rng)
        name = str(rng.choice(["labelled_ids", "labelled"]))
        made |= {name: labelled, "scale": (1.0,) * k, "noise": (few,) * k, "vocabulary": 60}
        return Case(**made, kind="frequency (rows)", truth=frozenset(["frequency"]))
    if turn in (6, 7):
        spread = float(rng.uniform(8, 14)) * (k - 1) ** 0.5 * (1.5 if momentum else 1)
        noise, _ = _placed([spread] + [few] * (k - 1), rng)
        return Case(**made, kind="noise", truth=frozenset(["noise"]), scale=(1.0,) * k, noise=noise)
    made |= {"opposed": float(rng.uniform(0.7, 1)), "common": float(rng.uniform(0.5, 0.9))}
    if turn == 8:
        k = min(k, 3)
        return Case(**made, kind="conflict", truth=frozenset(["conflict"]), scale=(1.0,) * k, noise=(few,) * k)
    made["free"] = 1  # a third task owns the trunk, while two others are in each other's way
    if rng.random() < 0.5:
        made |= {"scale": (float(rng.uniform(8, 20)), 1.0, 1.0), "noise": (few,) * 3}
        return Case(**made, kind="scale + conflict", truth=frozenset(["scale", "conflict"]))
    spread = float(rng.uniform(10, 16)) * (1.5 if momentum else 1)
    made |= {"scale": (1.0,) * 3, "noise": (spread, few, few)}
    return Case(**made, kind="noise + conflict", truth=frozenset(["noise", "conflict"]))


def harmless_case(number: int, seed: int, sizes: str = "seen") -> Case:
    """Case ``number`` of a stream of trainings with nothing wrong, among them some that look as if."""
    rng = np.random.default_rng([seed, number, 1])
    made, k = _common(rng, sizes), int(rng.choice([2, 2, 3, 4, 5]))
    few = float(rng.uniform(0.1, 0.6))
    made |= {"scale": (1.0,) * k, "noise": (few,) * k}
    turn = number % 10
    if turn < 3:
        return Case(**made, kind="balanced")
    if turn == 3:  # one task holds about half of the gradient's energy
        k = int(rng.integers(3, 7))
        scale, _ = _placed([float(k - 1) ** 0.5] + [1.0] * (k - 1), rng)
        made |= {"scale": scale, "noise": (few,) * k, "common": 0.6}
        return Case(**made, kind="half the gradient")
    if turn == 4:
        scale, _ = _placed([float(rng.uniform(5, 10))] + [1.0] * (k - 1), rng)
        made |= {"scale": scale, "optimizer": str(rng.choice(TASK_WISE))}
        return Case(**made, kind="AdaTask balances")
    if turn == 5:  # too short to say anything, whatever is planted
        made |= {"steps": int(rng.integers(2, 16)), "every": 1, "burst": 1, "scale": (*(1.0,) * (k - 1), 10.0)}
        return Case(**made, kind="short")
    if turn == 6:
        weight = tuple(rng.uniform(0.8, 1.25, k))
        return Case(**made, kind="weights", weight=weight)
    if turn == 7:
        noise = tuple(rng.uniform(0.2, 1.0, k))
        return Case(**(made | {"noise": noise}), kind="some noise")
    if turn == 8:
        if rng.random() < 0.5:
            return Case(**made, kind="takes turns", alternate=True)
        return Case(**made, kind="all at times", present=(float(rng.uniform(0.3, 0.8)),) * k)
    made |= {"common": 0.9, "vocabulary": 60 if rng.random() < 0.5 else 0}
    scale = (1.0, *rng.uniform(0.75, 1.3, k - 1))
    return Case(**(made | {"scale": scale}), kind="alike")
