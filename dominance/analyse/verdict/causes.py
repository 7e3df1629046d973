"""Why a task is louder than others: by its weight, the size of its gradient, how often it takes part, or noise.

The squared updates that a task contributes come apart into four factors. For a task d and the others o, with n the
number of steps at which a task takes part, w the weight of its loss, w² s the squared expected gradient then, and w² ν
the squared noise of a batch, of which momentum lets the part a through::

    n_d w_d² (s_d + a ν_d)      n_d     w_d²    s_d     1 + a ν_d / s_d
    ----------------------  =   --- ·   ---- ·  --- ·   ---------------
    n_o w_o² (s_o + a ν_o)      n_o     w_o²    s_o     1 + a ν_o / s_o

                             frequency weight  scale        noise

Where a layer's rows are seen by one task f times as often as by others (embeddings, labels that are missing), the
expected gradient of a mean over the batch shrinks by f for these: f² is taken out of scale, and counted as frequency.

Weights that make up for a scale are no cause: of weight and scale together, the weights are as much as they are in the
same direction, and scale is the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dominance.analyse.kernels.certainty import jackknife_error, probability_above
from dominance.analyse.verdict.loudness import Loudness
from dominance.analyse.verdict.rules import CAUSE, FEWER, LEAST_WINDOWS, SEEN, STRETCHES

Floats = NDArray[np.float64]

WEIGHT_OF = "weight of "
"""How the evidence of a weight names each task's own."""


@dataclass(frozen=True)
class Cause:
    """One of the factors that make a task's squared updates larger than the others'.

    Attributes:
        name: "weight", "scale", "frequency" or "noise"; of groups of examples also "examples" or "learned".
        factor: by how much.
        probability: that the factor is at least ``rules.CAUSE``.
        evidence: the numbers behind it.
    """

    name: str
    factor: float
    probability: float
    evidence: dict[str, float] = field(default_factory=dict)


def own_weights(cause: Cause) -> dict[str, float]:
    """Task -> its weight, of the cause "weight"; empty where they change over the run."""
    if not cause.evidence["constant"]:
        return {}
    return {key.removeprefix(WEIGHT_OF): value for key, value in cause.evidence.items() if key.startswith(WEIGHT_OF)}


def causes(loud: Loudness, task: int, layers: Sequence[str], *, quiet: bool = False) -> list[Cause]:
    """What makes a task louder than the mean of the others in these layers, the largest factor first.

    Args:
        task: its index.
        quiet: the other way round: what makes it quieter.
    """
    others = [k for k in range(len(loud.present)) if k != task]
    louder, softer = (others, [task]) if quiet else ([task], others)
    fewer, where = _rows_seen(loud, louder, softer)
    known = _log_weights(loud, louder, softer)
    signal, noise = _squares(loud, [loud.layers.index(name) for name in layers])

    def parts(windows: NDArray[np.int64]) -> Floats:
        """Logarithms of the factors of weight, of scale, and of noise as far as it is surely noise: (3,)."""
        s, v = signal[windows], noise[windows]
        scale, noisy = _scale_and_noise(s, v, loud, windows, louder, softer, 2 * math.log(fewer))
        mine, theirs = _noise_shares(s, v, loud.through, louder, softer)
        weighed = min(max(known, 0.0), max(scale, 0.0))
        noisy = min(noisy, math.log((1 - theirs) / (1 - mine)) if mine < 1 else noisy)
        return np.array([weighed, scale - weighed, noisy])

    every = _clearest(signal[:, louder], noise[:, louder], loud.steps[:, louder])
    found = parts(every)
    stretches = np.array_split(every, min(STRETCHES, len(every)))
    apart = np.array([parts(np.setdiff1d(every, part)) for part in stretches])
    present = loud.present[louder].mean(), loud.present[softer].mean()
    frequency = math.log(max(present[0], 1e-12) / max(present[1], 1e-12)) + 2 * math.log(fewer)
    weight, scale, noisy = (_cause(apart[:, i], float(found[i]), len(stretches)) for i in range(3))
    theirs = _noise_shares(signal[every], noise[every], loud.through, louder, softer)[1]
    mine = max(0.0, 1 - (1 - theirs) / noisy[0])  # what the factor says, whichever bound it comes from
    weights = {
        "gradient_ratio": math.exp((found[0] + found[1]) / 2),
        "weight_ratio": math.exp(known / 2),
        "constant": float(loud.constant),
        **{f"{WEIGHT_OF}{name}": float(w) for name, w in zip(loud.tasks, loud.weight, strict=True)},
    }
    numbers = [
        *([Cause("weight", *weight, weights)] if known > 0 else []),
        Cause("scale", *scale, {"gradient_ratio": math.exp(found[1] / 2), "weight_ratio": math.exp(found[0] / 2)}),
        Cause("noise", *noisy, {"noise_share": mine, "others": theirs}),
        Cause(
            "frequency",
            math.exp(frequency),
            float(frequency >= math.log(CAUSE)),
            {
                "present": float(present[0]),
                "others": float(present[1]),
                "rows_ratio": fewer,
                **({"touched": float(loud.touched[where, louder].mean())} if fewer > 1 else {}),
            },
        ),
    ]
    return sorted(numbers, key=lambda cause: -cause.factor)


def _squares(loud: Loudness, inside: list[int]) -> tuple[Floats, Floats]:
    """(window, task) squares of signal and noise in these layers, times the steps that a window holds of the task."""
    known = (loud.steps > 1)[:, None] & np.isfinite(loud.signal) & np.isfinite(loud.noise)
    signal, noise = (
        np.where(known, values, 0)[:, inside].sum(axis=1) * loud.steps for values in (loud.signal, loud.noise)
    )
    if loud.own_scale:
        total = signal.sum(axis=0) + noise.sum(axis=0)
        return signal / total, noise / total
    return signal, noise


def _clearest(signal: Floats, noise: Floats, steps: NDArray[Any]) -> NDArray[np.int64]:
    """Windows from the first on, all or the first half or quarter, in which a signal stands out most from its error.

    A task that has learned quickly goes to and fro about what it has learned: that is no noise of the batch, but looks
    like it, and is most of a long run.
    """
    best, most = len(signal), -np.inf
    for part in (1, 2, 4):
        count = -(-len(signal) // part)
        if part > 1 and count < LEAST_WINDOWS:
            break
        error = float(np.sqrt((_error(signal[:count], noise[:count], steps[:count]) ** 2).sum()))
        clear = float(signal[:count].sum()) / error if error > 0 else np.inf
        if clear > most:
            best, most = count, clear
    return np.arange(best)


def _error(signal: Floats, noise: Floats, steps: NDArray[Any]) -> Floats:
    """Standard error of the sum of the signals over the windows, (task,).

    The error of one window goes with the noise in it. By how much, the change of signal / noise from one window to the
    next says: its median, which neither a trend nor a few leaps disturb (0.954 of it is the standard deviation). It is
    no more than if the noise had one direction only: n gradients with noise ν then leave sqrt(2 / (n (n - 1))) ν of it,
    and 2 sqrt(s ν / n) of what it does beside the signal s.

    Args:
        signal, noise: (window, task), times the number of gradients; steps: that number.
    """
    n = np.maximum(steps, 2)
    widest = noise * np.sqrt(2 / (n * (n - 1))) + 2 * np.sqrt(np.maximum(signal, 0) * noise / n)
    most = np.sqrt((widest**2).sum(axis=0))
    if len(signal) < 3:
        return np.asarray(most)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(noise > 0, signal / noise, 0)
    spread = np.median(np.abs(np.diff(ratio, axis=0)), axis=0) / 0.954
    return np.asarray(np.minimum(spread * np.sqrt((noise**2).sum(axis=0)), most))


def _scale_and_noise(
    signal: Floats,
    noise: Floats,
    loud: Loudness,
    windows: NDArray[np.int64],
    louder: list[int],
    softer: list[int],
    taken: float,
) -> Floats:
    """Signals are compared where the softer ones have theirs, and squares of updates over all windows.

    A task that has learned has no signal left, whatever its scale: a window counts as much for scale as the softer
    ones' signal in it. Of the louder one's signal counts what is surely there, the rest of its gradient is noise.
    """
    count = np.where(loud.steps[windows] > 1, loud.steps[windows], 0)
    steps = count.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.maximum(signal.sum(axis=0) / steps, 0) + loud.through * noise.sum(axis=0) / steps
        yet = np.maximum(np.nan_to_num(signal / count)[:, softer].mean(axis=1, keepdims=True), 0)
        yet = yet if yet.any() else np.ones_like(yet)
        weight = (yet * count).sum(axis=0)
        s, error = (yet * signal).sum(axis=0) / weight, _error(yet * signal, yet * noise, count) / weight
        seen = np.where(s > 0, s * np.maximum(0, 1 - (SEEN * error / s) ** 2), 0)
        both = float(np.log(total[louder].mean() / total[softer].mean())) - taken
        scale = float(np.log(seen[louder].mean() / np.maximum(s, error)[softer].mean())) - taken
    known = _log_weights(loud, louder, softer)
    rest = both - known  # beyond the weights of the losses, which are known exactly
    if not seen[louder + softer].any():  # all are noise alike: then it is their size that differs
        return np.array([both, 0.0])
    scale = known + (min(max(scale - known, 0.0), rest) if rest > 0 else rest)
    return np.array([scale, both - scale])


def _log_weights(loud: Loudness, louder: list[int], softer: list[int]) -> float:
    """Logarithm of the ratio of the squared weights."""
    return float(np.log((loud.weight[louder] ** 2).mean() / (loud.weight[softer] ** 2).mean()))


def _noise_shares(
    signal: Floats, noise: Floats, through: float, louder: list[int], softer: list[int]
) -> tuple[float, float]:
    """What share of the squared updates of either is noise, taking the signal for what it was measured to be.

    ``_scale_and_noise`` counts as signal what is surely some, and the rest as noise. Where the gradients are few that
    makes noise of a signal: noise is a cause as far as both say so.
    """
    unseen = through * noise.sum(axis=0)
    with np.errstate(invalid="ignore"):
        share = unseen / (np.maximum(signal.sum(axis=0), 0) + unseen)
    share = np.nan_to_num(share)  # neither signal nor noise: a task that was not there
    return float(share[louder].mean()), float(min(share[softer].mean(), 1 - 1e-12))


def _cause(apart: Floats, found: float, count: int) -> tuple[float, float]:
    """Factor and probability; 1 where the gradients are too few for one."""
    if not math.isfinite(found):
        return 1.0, math.nan
    return math.exp(found), probability_above(found, jackknife_error(apart), math.log(CAUSE), count)


def _rows_seen(loud: Loudness, louder: list[int], softer: list[int]) -> tuple[float, int]:
    """How many times as many rows of a layer the louder ones see as the others, where that is most, and in which."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = loud.touched[:, louder].mean(axis=1) / loud.touched[:, softer].mean(axis=1)
    ratio = np.nan_to_num(ratio, nan=1.0, posinf=1.0)
    best = int(ratio.argmax())
    return (float(ratio[best]), best) if ratio[best] >= FEWER else (1.0, best)
