"""Which tasks pull against each other, where, and how sure that is."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property
from itertools import combinations

import numpy as np
import xarray as xr

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.input_overlap import LITTLE, input_overlap
from dominance.analyse.kernels.batch_means import batch_means
from dominance.analyse.kernels.certainty import probability_above
from dominance.analyse.summary import Overview, percent
from dominance.analyse.verdict import words
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.holdings import minor
from dominance.analyse.verdict.remedies import against_conflict
from dominance.analyse.verdict.rules import CONFLICT, LEANS, LIKELY


def conflicts(seen: Overview) -> xr.Dataset:
    """Mean GCD of every pair with the probability that it is above 1, whatever the pair and layer looked at.

    The mean and its standard error come from stretches of steps. Many pairs and layers are looked at, and some of them
    are above 1 by chance: the probability of an error is multiplied by their number (Bonferroni).

    Returns:
        Along ``layer`` (the shared ones, "all shared" last) and ``pair`` (with ``pair_task``, ``pair_other``):
        ``mean_gcd``, its standard error ``gcd_se``, ``above`` (the probability), ``steps`` (with a degree).
    """
    tasks = seen.conflict.task.to_numpy().tolist()
    pairs = list(combinations(range(len(tasks)), 2))
    values = np.concatenate([seen.conflict.gcd.to_numpy(), seen.trunk_conflict.gcd.to_numpy()], axis=1)
    degrees = np.stack([values[:, :, i, j] for i, j in pairs], axis=2)  # (step, layer, pair)
    count = np.isfinite(degrees).sum(axis=0)
    mean, error, parts = batch_means(degrees)
    above = np.full(mean.shape, np.nan)
    looked = int((count > 0).sum())
    for place in np.ndindex(*mean.shape):
        wrong = 1 - probability_above(float(mean[place]), float(error[place]), 1.0, int(parts[place]))
        above[place] = 1 - min(1.0, looked * wrong) if np.isfinite(wrong) else np.nan
    dims = ("layer", "pair")
    return xr.Dataset(
        {"mean_gcd": (dims, mean), "gcd_se": (dims, error), "above": (dims, above), "steps": (dims, count)},
        coords={
            "layer": [*seen.conflict.layer.to_numpy().tolist(), ALL_SHARED],
            "pair_task": ("pair", [tasks[i] for i, _ in pairs]),
            "pair_other": ("pair", [tasks[j] for _, j in pairs]),
        },
    )


def findings(
    run: xr.DataTree, pairs: xr.Dataset, learning: Collection[str] = (), groups: Collection[str] = ()
) -> list[Finding]:
    """A finding for each pair whose gradients conflict, and one for all that lean, slightly.

    Args:
        learning: tasks whose losses fall; a conflict between two of them is no alarm.
        groups: tasks that are groups of examples. They share their outputs, too: what raises the score of one class
            lowers another's. Where both learn, such a pair is told of among those that lean.
    """
    found: list[Finding] = []
    meet = _Meeting(run)
    leaning: list[tuple[float, str]] = []
    mean, above = pairs.mean_gcd.to_numpy(), np.nan_to_num(pairs.above.to_numpy())
    layers = [str(layer) for layer in pairs.layer.to_numpy()[:-1]]
    for j, names in enumerate(
        zip(pairs.pair_task.to_numpy().tolist(), pairs.pair_other.to_numpy().tolist(), strict=True)
    ):
        sure = above[:, j] >= LIKELY
        opposed = sure & (mean[:, j] >= CONFLICT)
        there = [layer for layer, is_one in zip(layers, opposed[:-1], strict=True) if is_one]
        whole = bool(opposed[-1])
        benign = set(names) <= set(groups) and set(names) <= set(learning)
        if not benign and (whole or (there and not minor(run, there))):
            at = len(layers) if whole else int(np.where(opposed, mean[:, j], 0).argmax())
            where = [ALL_SHARED] if whole and len(there) in (0, len(layers)) else there
            apart = "" if set(names) <= set(groups) else meet.hardly(*names)
            found.append(_conflict(run, pairs, j, names, at, where, apart, alarm=not set(names) <= set(learning)))
        elif sure.any() and (worst := float(mean[sure, j].max())) >= LEANS:
            layer = layers[i] if (i := int(np.where(sure, mean[:, j], 0).argmax())) < len(layers) else "the whole trunk"
            leaning.append((worst, f"{names[0]} and {names[1]} in {layer} ({worst:.2f})"))
    if leaning:
        leaning.sort(reverse=True)
        said = words.listed([text for _, text in leaning], most=3)
        slightly = ", slightly" if leaning[0][0] < CONFLICT else "; these groups learn all the same"
        text = f"Gradients lean against each other{slightly}: {said}; mean GCD, where 1 is a right angle."
        found.append(Finding("leaning", text, strength=leaning[0][0], meaning="mean GCD", probability=LIKELY))
    return found


class _Meeting:
    """Which tasks look up rows of the model's tables in common; looked at where it is asked for."""

    def __init__(self, run: xr.DataTree) -> None:
        self.run = run
        self.tables = {each["layer"] for each in run.attrs["parameters"] if "Embedding" in each.get("module", "")}

    @cached_property
    def overlap(self) -> xr.DataArray:
        """(layer, task, task_other) of the tables that are shared."""
        found = input_overlap(self.run)["overlap"]
        return found.sel(layer=[layer for layer in found["layer"].values.tolist() if layer in self.tables])

    def hardly(self, one: str, other: str) -> str:
        """That these two look up few rows in common, where there is a table and they do; "" else."""
        if not self.tables:
            return ""
        found = self.overlap.sel(task=one, task_other=other).to_series()
        if not (found < LITTLE).any():
            return ""
        said = f" They hardly share inputs ({percent(found.min())} of the rows of {found.idxmin()} that either looks up"
        return f"{said} are of both): below {percent(LITTLE)} gradients say little of how tasks are related."


def _conflict(
    run: xr.DataTree,
    pairs: xr.Dataset,
    j: int,
    names: tuple[str, str],
    at: int,
    where: list[str],
    apart: str,
    *,
    alarm: bool,
) -> Finding:
    degree, error = float(pairs.mean_gcd[at, j]), float(pairs.gcd_se[at, j])
    layers = [str(layer) for layer in pairs.layer.to_numpy()[:-1]] if where == [ALL_SHARED] else where
    return Finding(
        "conflict",
        f"{names[0]} and {names[1]} pull {words.place(where)} against each other: mean GCD {degree:.2f}, where 1 is a"
        f" right angle and 2 is opposite{'' if alarm else '; both learn all the same'}.{apart}",
        tasks=names,
        where=tuple(where),
        strength=degree,
        meaning="mean GCD, 1 - cosine of the two gradients",
        probability=float(pairs.above[at, j]),
        evidence={"mean_gcd": degree, "standard_error": error},
        advice=against_conflict(run, names, layers),
        alarm=alarm,
    )
