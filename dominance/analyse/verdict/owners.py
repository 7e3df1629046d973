"""Which task owns what, since when and why, and which is hardly heard: as findings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.groups import ALL_SHARED
from dominance.analyse.summary import percent
from dominance.analyse.verdict import advice, words
from dominance.analyse.verdict.causes import Cause, Loudness, causes, loudness
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.holdings import minor
from dominance.analyse.verdict.rules import CAUSE, LIKELY, MAIN, OWNED


class Owners:
    """Who owns what, and why: the gradients are looked at once, and only if somebody does."""

    def __init__(
        self, run: xr.DataTree, rows: NDArray[np.int64], held: xr.Dataset, shares: pd.DataFrame | None
    ) -> None:
        self.run, self.rows, self.held = run, rows, held
        self.tasks = [str(task) for task in held.task.to_numpy()]
        # A loss of a net beside them, a generator's say, cannot be heard there.
        shared = [p["tasks"] for p in run.attrs["parameters"] if len(p["tasks"]) > 1]
        self.sharing = {task for tasks in shared for task in tasks}
        self.layers = [str(layer) for layer in held.layer.to_numpy()[:-1]]
        both = np.stack([held.owned_probability.to_numpy(), held.held_probability.to_numpy()])
        self.probability = np.nan_to_num(both).max(axis=0)  # (layer, task), "all shared" last
        self._loud: Loudness | None = None
        self.shares = shares

    def findings(self) -> list[Finding]:
        by_layer = [self._owner(i) for i in range(len(self.layers))]
        trunk = self._owner(len(self.layers))
        found = []
        for owner in dict.fromkeys([trunk, *by_layer]):
            if owner is not None:
                mine = [layer for layer, one in zip(self.layers, by_layer, strict=True) if one == owner]
                if owner == trunk or not minor(self.run, mine):
                    found.append(self._owns(owner, mine, whole=owner == trunk))
        if trunk is None:
            quiet = np.nan_to_num(self.held.unheard_probability.to_numpy()[-1])
            owners = {owner for owner in by_layer if owner is not None}
            if len(self.sharing) > 2:
                mute = [k for k, name in enumerate(self.tasks) if name in self.sharing and k not in owners]
                unheard = [k for k in mute if quiet[k] >= LIKELY]
                found += [self._unheard(k, float(quiet[k])) for k in unheard]
            if not found:
                found += self._maybe()
        return found

    def _owner(self, layer: int) -> int | None:
        best = int(self.probability[layer].argmax())
        return best if self.probability[layer, best] >= LIKELY else None

    def _owns(self, owner: int, mine: list[str], *, whole: bool) -> Finding:
        name = self.tasks[owner]
        where = [ALL_SHARED] if whole and (len(mine) == len(self.layers) or not mine) else mine
        at = [len(self.layers)] if whole else [self.layers.index(layer) for layer in mine]
        share, held = (float(self.held[value].to_numpy()[at, owner].mean()) for value in ("owned_last", "held"))
        by_rau = share > OWNED
        what = "the shared parameters" if whole else words.place(where)
        if by_rau:
            text = f"{name} owns {percent(share)} of {what}: there nearly all movement is {name}'s (rAU > 80 %)"
        else:
            text = f"{name} holds {percent(held)} of the squared updates of {what}"
        since = int(self.held.since.to_numpy()[at, owner].max())
        text += f", since step {since:,}" if since >= 0 else ""
        if whole and mine and len(mine) < len(self.layers):
            text += f"; most of it in {words.listed(mine)}"
        why = self._causes(owner, mine or self.layers)
        return Finding(
            "dominance",
            text + ".",
            tasks=(name,),
            where=tuple(where),
            since=since if since >= 0 else None,
            strength=share if by_rau else held,
            meaning="share of the parameters with rAU over 80 %" if by_rau else "share of the squared updates",
            probability=float(self.probability[at, owner].min()),
            causes=tuple(why),
            why=self._why(why, name),
            evidence={"owned": share, "held": held},
            advice=advice.against_dominance(self.run, name, why),
        )

    def _unheard(self, task: int, probability: float) -> Finding:
        name, share = self.tasks[task], float(self.held.held[-1, task])
        why = self._causes(task, self.layers, quiet=True)
        return Finding(
            "unheard",
            f"{name} hardly moves the shared parameters: {percent(share)} of the squared updates are {name}'s, where an"
            f" even share would be {percent(1 / len(self.tasks))}.",
            tasks=(name,),
            where=(ALL_SHARED,),
            strength=share,
            meaning="share of the squared updates",
            probability=probability,
            causes=tuple(why),
            why=self._why(why, name, quiet=True),
            evidence={"held": share},
            advice=advice.for_unheard(self.run, name, why),
        )

    def _maybe(self) -> list[Finding]:
        """A task that looks like an owner at the last step, though this may be chance."""
        share = np.nan_to_num(self.held.owned_last.to_numpy()[-1])
        best = int(share.argmax())
        probability = float(self.probability[-1, best])
        if share[best] <= OWNED or probability < 0.5:
            return []
        name = self.tasks[best]
        return [
            Finding(
                "dominance",
                f"{name} owns {percent(float(share[best]))} of the shared parameters at the last step (rAU > 80 %),"
                " which may be chance.",
                tasks=(name,),
                where=(ALL_SHARED,),
                strength=float(share[best]),
                meaning="share of the parameters with rAU over 80 %",
                probability=probability,
                evidence={"owned": float(share[best]), "held": float(self.held.held[-1, best])},
                advice=("Record more steps.",),
            )
        ]

    def _causes(self, task: int, layers: Sequence[str], *, quiet: bool = False) -> list[Cause]:
        if self._loud is None:
            self._loud = loudness(self.run, self.rows)
        found = causes(self._loud, task, layers, quiet=quiet) if self._loud is not None else []
        return [cause for cause in found if cause.factor >= CAUSE] or [c for c in found[:1] if c.factor >= MAIN]

    def _why(self, found: list[Cause], name: str, *, quiet: bool = False) -> str:
        if self._loud is None:
            return "cannot be told: no two gradients of a task were recorded near each other; record with --burst."
        said = words.why(found, name, quiet=quiet)
        if self.shares is None or not np.isfinite(self.shares.examples[name]):
            return said
        scale = next((cause.evidence["gradient_ratio"] for cause in found if cause.name == "scale"), None)
        return f"{said} {words.of_examples(self.shares, name, scale, quiet=quiet)}"
