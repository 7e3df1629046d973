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
from dominance.analyse.verdict.causes import Cause, causes
from dominance.analyse.verdict.finding import Finding
from dominance.analyse.verdict.groups import GroupFacts
from dominance.analyse.verdict.groups import words as group_words
from dominance.analyse.verdict.holdings import minor
from dominance.analyse.verdict.loudness import Loudness, loudness
from dominance.analyse.verdict.remedies import by_hand
from dominance.analyse.verdict.rules import CAUSE, LESS, LIKELY, MAIN, OWNED


class Owners:
    """Who owns what, and why: the gradients are looked at once, and only if somebody does."""

    def __init__(
        self,
        run: xr.DataTree,
        rows: NDArray[np.int64],
        held: xr.Dataset,
        shares: pd.DataFrame | None,
        groups: GroupFacts | None = None,
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
        self.shares, self.groups = shares, groups

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
            found += self._rare({task for each in found if each.kind == "unheard" for task in each.tasks})
            if not found:
                found += self._maybe()
        quiet = {task for each in found if each.kind == "unheard" for task in each.tasks}
        return [*found, *self._noisy(quiet)]

    def _owner(self, layer: int) -> int | None:
        best = int(self.probability[layer].argmax())
        return best if self.probability[layer, best] >= LIKELY else None

    def _owns(self, owner: int, mine: list[str], *, whole: bool) -> Finding:
        name = self.tasks[owner]
        where = [ALL_SHARED] if whole and (len(mine) == len(self.layers) or not mine) else mine
        at = [len(self.layers)] if whole else [self.layers.index(layer) for layer in mine]
        share, held = self._together("owned_last", "touched", at, owner), self._together("held", "moved", at, owner)
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
        patch, method_patch = by_hand(self.run, name, why)
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
            why=self._why(why, owner, mine or self.layers),
            evidence={"owned": share, "held": held},
            advice=advice.against_dominance(self.run, name, why),
            patch=patch,
            method_patch=method_patch,
        )

    def _together(self, share: str, of: str, layers: Sequence[int], task: int) -> float:
        """A task's share in several layers together, from its share in each and from how much each holds."""
        weights = self.held[of].to_numpy()[layers]
        return float(self.held[share].to_numpy()[layers, task] @ weights / weights.sum())

    def _unheard(self, task: int, probability: float) -> Finding:
        name, share = self.tasks[task], float(self.held.held[-1, task])
        why = self._causes(task, self.layers, quiet=True)
        of_group = self._of_group(task, self.layers) is not None
        patch, method_patch = ("", "") if of_group else by_hand(self.run, name, why, quiet=True)
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
            why=self._why(why, task, self.layers, quiet=True),
            evidence={"held": share},
            advice=advice.for_group(self.run, [name], why) if of_group else advice.for_unheard(self.run, name, why),
            patch=patch,
            method_patch=method_patch,
        )

    def _rare(self, told: set[str]) -> list[Finding]:
        """Groups with few of the examples, and less than half of the update that the others have: one finding."""
        if self.groups is None:
            return []
        less = np.nan_to_num(self.held.less_probability.to_numpy()[-1])
        names = [name for name in self.groups.names if name not in told and self.groups.rare(name)]
        names = [name for name in names if less[self.tasks.index(name)] >= LIKELY]
        names.sort(key=lambda name: self.groups.share[name] if self.groups is not None else 0.0)
        if not names:
            return []
        at = [self.tasks.index(name) for name in names]
        held, few = float(self.held.held[-1, at].sum()), sum(self.groups.share[name] for name in names)
        why = [self.groups.causes(name, quiet=True) for name in names]
        # The rarest speaks for all of them: they have it in common that they are rare.
        first = [each for each in why[0] if each.name == "examples"]
        one = len(names) == 1
        text = f"{words.listed(names)} {'is' if one else 'are'} rare, and hardly heard: {percent(few)} of the"
        text += f" {self.groups.unit}, {percent(held)} of the squared updates, where even shares would be"
        text += f" {percent(len(names) / len(self.tasks))}."
        return [
            Finding(
                "unheard",
                text,
                tasks=tuple(names),
                where=(ALL_SHARED,),
                strength=held,
                meaning="share of the squared updates",
                probability=float(less[at].min()),
                causes=tuple(first),
                why="; and ".join(group_words(first, names[0], self.groups.unit, quiet=True)) + ".",
                evidence={"held": held, "examples": few},
                advice=advice.for_group(self.run, names, first),
            )
        ]

    def _noisy(self, told: set[str]) -> list[Finding]:
        """Groups that are heard, and learn next to nothing while the others do."""
        found = []
        for name in self.groups.names if self.groups is not None and len(self.groups.names) > 1 else []:
            if name in told or self.groups is None:
                continue
            mine, theirs, probability = self.groups.noisy(name)
            held = float(self.held.held[-1, self.tasks.index(name)])
            if not probability >= LIKELY or held < LESS / len(self.tasks):
                continue
            share = percent(self.groups.share[name])
            text = f"{name} takes {percent(held)} of the squared updates, with {share} of the {self.groups.unit}, and"
            text += f" learns next to nothing: {percent(max(mine, 0.0))} of its loss is gone, and {percent(theirs)} of"
            text += " the others'."
            cause = Cause("noise", theirs / max(mine, 1e-3), probability)
            found.append(
                Finding(
                    "noisy",
                    text,
                    tasks=(name,),
                    where=(ALL_SHARED,),
                    strength=mine,
                    meaning="share of its loss, one for one, that is gone at the end",
                    probability=probability,
                    causes=(cause,),
                    why="noise, or more than this model can tell: its gradients move the parameters, and lead nowhere.",
                    evidence={"gone": mine, "others": theirs, "held": held},
                    advice=advice.for_group(self.run, [name], [cause]),
                )
            )
        return found

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

    def _of_group(self, task: int, layers: Sequence[str]) -> GroupFacts | None:
        """The groups, where a task is one and all that is shared is looked at: they are known as a whole."""
        known = self.groups is not None and self.tasks[task] in self.groups.names
        return self.groups if known and len(layers) == len(self.layers) else None

    def _causes(self, task: int, layers: Sequence[str], *, quiet: bool = False) -> list[Cause]:
        groups = self._of_group(task, layers)
        if groups is not None:
            found = groups.causes(self.tasks[task], quiet=quiet)
        else:
            if self._loud is None:
                self._loud = loudness(self.run, self.rows)
            found = causes(self._loud, task, layers, quiet=quiet) if self._loud is not None else []
        return [cause for cause in found if cause.factor >= CAUSE] or [c for c in found[:1] if c.factor >= MAIN]

    def _why(self, found: list[Cause], task: int, layers: Sequence[str], *, quiet: bool = False) -> str:
        groups, name = self._of_group(task, layers), self.tasks[task]
        if groups is not None and found:
            return "; and ".join(group_words(found, name, groups.unit, quiet=quiet)) + "."
        if groups is None and self._loud is None:
            return "cannot be told: no two gradients of a task were recorded near each other; record with --burst."
        said = words.why(found, name, quiet=quiet)
        if self.shares is None or not np.isfinite(self.shares.examples[name]):
            return said
        scale = next((cause.evidence["gradient_ratio"] for cause in found if cause.name == "scale"), None)
        return f"{said} {words.of_examples(self.shares, name, scale, quiet=quiet)}"
