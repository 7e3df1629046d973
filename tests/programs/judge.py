"""What a recorded run is worth, beside the truth.

RIGHT   every number right, the names too, nothing disturbed
NAMES   every number right, a task's name is poor
BLANK   what is there is right; a loss, a weight or a part is NaN ("not recorded") without a word
SAID    something is missing or wrong, and record or the run says so
WRONG   something is missing or wrong, silently
HARM    the training is another one under record
FAULT   the program itself does not run, or its truth is none: to be mended here
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from programs import replay
from programs.compose import Program
from programs.run import Ran, Trial

Array = npt.NDArray[np.float64]
Task = dict[str, Array]
VERDICTS = ("RIGHT", "NAMES", "BLANK", "SAID", "WRONG", "HARM", "FAULT")

NOT_UNDERSTOOD = 2
"""In ``skipped``: the step is counted, and all else of it may be NaN."""

SAYS: dict[str, str] = {
    "nothing": r"nothing was recorded: (?!no training step was seen)|not recorded|recording stopped",
    "unseen": r"nothing was recorded",
    "steps": r"not recorded|unrecorded|recording stopped|left out",
    "tasks": r"residual|unattributed|not recorded|unrecorded|recording stopped|needs two or more|no task",
    "gradient": r"residual|belongs to no task|no task's|left out of the task gradients|not recorded",
    "total": r"\.grad|fed",
    "step": r"moved|not recorded|outside",
    "outside": r"outside|moved between|beyond",
    "parts": r"solo|do not add up|closure|parts",
    "solo": r"solo|not split|no rule",
    "loss": r"$^",
    "blank": r"(loss|weight)(es|s)? .*(unknown|not known)",
    "swapped": r"$^",
    "count": r"$^",
    "shared": r"$^",
    "split": r"solo|not split|no rule|residual|belongs to no task|left out of the task gradients",
    "models": r"model|not in the run|not recorded",
    "parameters": r"parameter.* not (recorded|in the run)",
    "reading": r"$^",
}
"""For each kind of failing, what record must have said for it not to be silent."""

_USUAL = re.compile(r"^dominance: (\d+ tasks?(:|;|$)|\d+ steps recorded in )|^dominance report ")


@dataclass
class Verdict:
    """The judgement on one program."""

    program: Program
    verdict: str
    failings: list[tuple[str, str]] = field(default_factory=list)
    """Kind and figures."""
    said: list[str] = field(default_factory=list)
    """What record said beyond the usual."""
    tasks: list[str] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The diagnosis."""
        return "; ".join(f"{kind}: {text}" for kind, text in self.failings)


def judge(program: Program, trial: Trial) -> Verdict:
    """Compare the three runs."""
    plain, truth, recorded = trial.plain, trial.truth, trial.recorded
    if fault := _fault(truth, plain):
        return Verdict(program, "FAULT", [("fault", fault)])
    harm = _harm(plain, recorded)
    said = [line for line in recorded.err.splitlines() if line.startswith("dominance") and not _USUAL.match(line)]
    if harm:
        return Verdict(program, "HARM", [("harm", harm)], said)
    if recorded.fault:
        return Verdict(program, "WRONG", [("reading", recorded.fault.strip().splitlines()[-1])], said)
    failings: list[tuple[str, str]] = []
    names: list[str] = []
    if not recorded.runs:
        failings.append(("nothing" if program.seen else "unseen", f"0 of {len(truth.rows)} steps"))
    for model in range(program.models):
        rows = [row for row in truth.rows if row["model"] == model]
        if model < len(recorded.runs):
            found, poor = _run(program, recorded.runs[model], rows)
            failings += found
            names += poor
        elif recorded.runs:
            failings.append(("models", f"no run of model {model + 1} of {program.models}"))
    tasks = recorded.runs[0]["tasks"] if recorded.runs else []
    if not failings:
        return Verdict(
            program,
            "NAMES" if names else "RIGHT",
            [("names", ", ".join(dict.fromkeys(names)))] if names else [],
            said,
            tasks,
        )
    speech = "\n".join([*said, *(str(run["attrs"].get(key, "")) for run in recorded.runs for key in _SPEAKING)])
    silent = {kind for kind, _ in failings if not re.search(SAYS[kind], speech)}
    verdict = "WRONG" if silent - {"blank"} else "BLANK" if silent else "SAID"
    return Verdict(program, verdict, failings, said, tasks)


_SPEAKING = ("failure", "unrecorded", "remarks", "attribution")
"""Attributes of a run that hold words on what it lacks."""


def _fault(truth: Ran, plain: Ran) -> str:
    for name, ran in (("plain", plain), ("truth", truth)):
        if ran.fault or ran.code or not ran.kept:
            last = (ran.err.strip() or ran.fault.strip() or "?").splitlines()[-1]
            return f"{name} run ends with {ran.code}: {last}"
    if not truth.rows:
        return "no truth"
    weights = [key for key in plain.kept if "weights" in key or "tensor" in key]
    other = [key for key in weights if plain.kept[key] != truth.kept.get(key)]
    return f"taking gradients by hand changes {', '.join(other)}" if other else ""


def _harm(plain: Ran, recorded: Ran) -> str:
    if recorded.code != plain.code:
        own = [line for line in recorded.err.splitlines() if line.strip()]
        return f"exit {plain.code} became {recorded.code}: {own[-1] if own else ''}"
    keys = plain.kept.keys() | recorded.kept.keys()
    changed = sorted(key for key in keys if plain.kept.get(key) != recorded.kept.get(key))
    if changed:
        return f"other {', '.join(changed)}"
    if plain.out != recorded.out:
        pairs = itertools.zip_longest(plain.out.splitlines(), recorded.out.splitlines())
        one, two = next((a, b) for a, b in pairs if a != b)
        return f"output {one!r} became {two!r}"[:300]
    return ""


def _run(program: Program, run: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[list[tuple[str, str]], list[str]]:
    """The failings of one run, and its poor names."""
    failings: list[tuple[str, str]] = []
    steps = [int(step) for step, how in zip(run["step"], run["skipped"], strict=True) if how != NOT_UNDERSTOOD]
    missing = sorted(set(range(len(rows))) - set(steps))
    beyond = sorted(set(steps) - set(range(len(rows))))
    if missing or beyond or len(set(steps)) != len(steps):
        failings.append(
            (
                "steps",
                f"{len(missing)} of {len(rows)} missing {missing[:6]}"
                + (f", {len(beyond)} too many" if beyond else ""),
            )
        )
    places = [(place, int(step)) for place, step in enumerate(run["step"]) if not run["skipped"][place]]
    pairs = [(place, rows[step]) for place, step in places if step < len(rows)]
    taken = run["attrs"].get("steps_taken")
    if program.models == 1 and taken != len(rows):
        failings.append(("count", f"steps_taken is {taken} of {len(rows)}"))
    if not pairs:
        return failings, []
    columns = _columns(run, rows[0])
    if isinstance(columns, str):
        return [*failings, ("reading", columns)], []
    lost = [name for name in rows[0]["before"] if name not in columns and name.split(".")[0] not in program.free]
    if lost:
        failings.append(("parameters", f"not in the run: {', '.join(lost)}"))
    view = _View(program, run, pairs, columns)
    match = view.matched()
    failings += view.fed()
    failings += view.gradients(match)
    failings += view.steps()
    failings += view.parts()
    if len(pairs) == len(rows):
        failings += view.split(match)
        failings += view.shared()
    if program.losses:
        failings += view.losses(match)
    poor = []
    for task, k in match.items():
        name = run["tasks"][k]
        if name not in program.names[task]:
            others = [other for other in match if other != task and name in program.names[other]]
            failings += [("swapped", f"{name} has the gradients of {task}")] if others else []
            if not program.nameless:
                poor.append(f"{name} for {task}")
    return failings, poor


def _columns(run: dict[str, Any], row: dict[str, Any]) -> dict[str, npt.NDArray[np.int64]] | str:
    """For each parameter of the truth its columns in the run, in order; or what is wrong."""
    names = list(dict.fromkeys(run["parameter"]))
    where = {name: np.flatnonzero(run["parameter"] == name) for name in names}
    found: dict[str, npt.NDArray[np.int64]] = {}
    for place, (name, theta) in enumerate(row["before"].items()):
        # Where the optimizer steps copies of the parameters, the copies are what is compared.
        close = [n for n in names if n == f"master.{place}"] or [n for n in names if n == name]
        close = close or [n for n in names if n.endswith("." + name) or name.endswith("." + n)]
        close = close or [n for n in names if n.split(".")[0] == name.split(".")[0] and len(where[n]) == len(theta)]
        if not close and len(names) == len(row["before"]) and not set(names) & set(row["before"]):
            close = [names[place]]
        if len(close) == 1:
            columns = where[close[0]]
            if len(columns) != len(theta):
                return f"{name}: {len(columns)} of {len(theta)} coordinates"
            found[name] = columns[np.argsort(run["index"][columns])]
    return found if found else f"no parameter of {list(row['before'])} among {names}"


class _View:
    """A run beside its truth, parameter by parameter."""

    def __init__(
        self,
        program: Program,
        run: dict[str, Any],
        pairs: list[tuple[int, dict[str, Any]]],
        columns: dict[str, npt.NDArray[np.int64]],
    ) -> None:
        self.program = program
        self.run = run
        self.pairs = pairs
        self.columns = columns
        self.judged = [name for name in columns if name.split(".")[0] not in program.free]
        self.variants = min(len(row["variants"]) for _, row in pairs) + 1
        self.variant = 0

    def truth(self, row: dict[str, Any], task: str, name: str) -> Array:
        """A task's gradient by a parameter, by hand."""
        book = row["tasks"] if self.variant == 0 else row["variants"][self.variant - 1]
        got = book.get(task, {}).get(name)
        return np.zeros(len(self.columns[name])) if got is None else got

    def floor(self, row: dict[str, Any], task: str, name: str) -> float:
        """What an error is measured by at least: where large numbers cancel, their rounding is what is left."""
        largest = max(float(np.abs(self.truth(row, task, n)).max(initial=0)) for n in self.columns)
        if self.program.tolerance > 1e-2:
            return 0.3 * largest
        return max(1e-3 * self.size(row, name), 1e-3 * largest, 1e-9)

    def off_alone(self, row: dict[str, Any], task: str, name: str, got: Array, scale: float) -> float:
        """The error beside what was fed, where one task alone reaches a parameter in half precision.

        The script's own pass rounds otherwise than one of that loss without its weight: where summands cancel, the
        rounding is a good part of what is left.
        """
        others = [t for t in row["tasks"] if t != task and self.truth(row, t, name).any()]
        if self.program.tolerance <= 1e-2 or others or self.variant or np.isnan(got).any():
            return float(np.inf)
        fed = [np.abs(got - each[name]).max(initial=0) / scale for each in row["fed"] if name in each]
        return float(min(fed, default=np.inf))

    def apart(self, row: dict[str, Any], task: str) -> bool:
        """Whether a task shares no parameter with another one in this step: then it need not be one."""
        reach = [{n for n, g in gradients.items() if g.any()} for t, gradients in row["tasks"].items() if t != task]
        mine = {n for n, g in row["tasks"].get(task, {}).items() if g.any()}
        return not any(mine & other for other in reach) and len(row["tasks"]) > 1

    def size(self, row: dict[str, Any], name: str) -> float:
        """The largest entry of what a parameter was fed, and of what the tasks had for it."""
        fed = [float(np.abs(fed[name]).max(initial=0)) for fed in row["fed"] if name in fed]
        own = [float(np.abs(g[name]).max(initial=0)) for g in row["tasks"].values() if name in g]
        return max([*fed, *own, 0.0])

    @property
    def tasks(self) -> list[str]:
        """The tasks that reach anything, in order of appearance."""
        return list(
            dict.fromkeys(
                task for _, row in self.pairs for task, g in row["tasks"].items() if any(v.any() for v in g.values())
            )
        )

    def matched(self) -> dict[str, int]:
        """For each task by hand the recorded one: by name, else by its gradients."""
        recorded = self.run["tasks"]
        best: tuple[float, int, dict[str, int]] = (np.inf, 0, {})
        for variant in range(self.variants):
            self.variant = variant
            costs = {(t, k): self.distance(t, k) for t in self.tasks for k in range(len(recorded))}
            match: dict[str, int] = {}
            for t in self.tasks:
                named = [
                    k for k, name in enumerate(recorded) if name in self.program.names[t] and k not in match.values()
                ]
                if named and costs[t, named[0]] < 0.5:
                    match[t] = named[0]
            for t, k in sorted(costs, key=lambda pair: costs[pair]):
                if t not in match and k not in match.values() and costs[t, k] < 0.9:
                    match[t] = k
            for t in self.tasks:
                named = [
                    k for k, name in enumerate(recorded) if name in self.program.names[t] and k not in match.values()
                ]
                if t not in match and named:
                    match[t] = named[0]
            cost = sum(costs[pair] for pair in match.items()) + 10 * (len(self.tasks) - len(match))
            if cost < best[0]:
                best = (cost, variant, match)
        self.variant = best[1]
        return best[2]

    def distance(self, task: str, k: int) -> float:
        """Relative distance of a recorded task's gradients from those of a task by hand."""
        off = size = 0.0
        for place, row in self.pairs:
            for name in self.judged:
                if name in row["stepped"]:
                    want = self.truth(row, task, name)
                    got = np.nan_to_num(self.run["gradient"][place, k, self.columns[name]].astype(float))
                    off += float(((got - want) ** 2).sum())
                    size += float((want**2).sum())
        return float(np.sqrt(off / size)) if size else float(off > 0)

    def gradients(self, match: dict[str, int]) -> list[tuple[str, str]]:
        """Tasks that are missing, too many, or have other gradients than by hand."""
        recorded, failings = self.run["tasks"], []
        missing = [t for t in self.tasks if t not in match]
        spare = [
            k
            for k in range(len(recorded))
            if k not in match.values() and np.nan_to_num(self.run["gradient"][:, k]).any()
        ]
        if missing or spare:
            failings.append(("tasks", f"{len(recorded)} for {len(self.tasks)}: {', '.join(recorded)}"
                             + (f"; not found: {', '.join(missing)}" if missing else "")
                             + (f"; nobody's: {', '.join(recorded[k] for k in spare)}" if spare else "")))  # fmt: skip
        for task, k in match.items():
            worst = (0.0, "")
            for place, row in self.pairs:
                for name in self.judged:
                    if name not in row["stepped"]:
                        continue
                    want = self.truth(row, task, name)
                    got = self.run["gradient"][place, k, self.columns[name]].astype(float)
                    if (not want.any() or self.apart(row, task)) and np.isnan(got).all():
                        continue  # a task that has not come up yet
                    scale = max(float(np.abs(want).max(initial=0)), self.floor(row, task, name), 1e-9)
                    off = np.inf if np.isnan(got).any() else float(np.abs(got - want).max(initial=0)) / scale
                    off = min(off, self.off_alone(row, task, name, got, scale))
                    if off > worst[0]:
                        worst = (off, f"{task} as {recorded[k]}, {name}, step {int(self.run['step'][place])}")
            if worst[0] > self.program.tolerance:
                failings.append(("gradient", f"{worst[0]:.3g} off ({worst[1]})"))
        return failings

    def fed(self) -> list[tuple[str, str]]:
        """Whether the total is what the optimizer was fed."""
        worst = (0.0, "")
        for place, row in self.pairs:
            largest = max(self.size(row, name) for name in self.columns)
            for name, columns in self.columns.items():
                if name not in row["stepped"]:
                    continue
                got = self.run["total"][place, columns].astype(float)
                offs = []
                for fed in row["fed"]:
                    want = fed.get(name, np.zeros(len(columns)))
                    scale = max(float(np.abs(want).max(initial=0)), 1e-4 * largest, 1e-9)
                    offs.append(np.inf if np.isnan(got).any() else float(np.abs(got - want).max(initial=0)) / scale)
                off = min(offs, default=0.0)
                if off > worst[0]:
                    worst = (off, f"{name}, step {int(self.run['step'][place])}")
        return [("total", f"{worst[0]:.3g} off ({worst[1]})")] if worst[0] > self.program.tolerance else []

    def steps(self) -> list[tuple[str, str]]:
        """Whether the step recorded is the one taken, and what moved the weights outside of it is told.

        A step begins where its first loss is made or where the optimizer begins: a run may mean either.
        """
        return min((self._moved(*ends) for ends in (("before", "next"), ("begin", "next_begin"))), key=len)

    def _moved(self, first: str, last: str) -> list[tuple[str, str]]:
        step, unseen = (0.0, ""), (0.0, "")
        outside = self.run["parts"].get("outside")
        for place, row in self.pairs:
            for name, columns in self.columns.items():
                where = f"{name}, step {int(self.run['step'][place])}"
                got = self.run["parts"]["total"][place, columns].astype(float)
                inside, whole = row["after"][name] - row["before"][name], row[last][name] - row[first][name]
                told = 0.0 if outside is None else np.nan_to_num(outside[place, columns].astype(float))
                spare = 2e-7 * float(np.abs(row["before"][name]).max(initial=0))
                scale = max(float(np.abs(inside).max(initial=0)), float(np.abs(whole - inside).max(initial=0)), 1e-12)
                near = [float(np.abs(each - whole).max(initial=0)) for each in (got, got + told)]
                off = np.inf if np.isnan(got).any() else min(*near, float(np.abs(got - inside).max(initial=0)))
                step = max(step, (max(off - spare, 0.0) / scale, where))
                unseen = max(unseen, (max(min(near) - spare, 0.0) / scale, where))
        if unseen[0] > 2e-3:
            return [("outside", f"{unseen[0]:.3g} of the step unseen ({unseen[1]})")]
        return [("step", f"{step[0]:.3g} off ({step[1]})")] if step[0] > 2e-3 else []

    def parts(self) -> list[tuple[str, str]]:
        """Whether the parts add up to the step, where it is split; and that it is, where it can be."""
        parts = self.run["parts"]
        worst, unsplit, judged = (0.0, ""), 0, 0
        half = self.program.tolerance > 1e-2
        for place, row in self.pairs:
            for name, columns in self.columns.items():
                if name not in row["stepped"]:
                    continue
                judged += 1
                each = self.run["update"][place][:, columns].astype(float)
                if np.isnan(each).all():
                    unsplit += 1
                    continue
                others = ("residual", "unattributed", "decay", "outside")
                rest = [np.nan_to_num(parts[part][place, columns].astype(float)) for part in others if part in parts]
                total = parts["total"][place, columns].astype(float)
                off = np.abs(np.nansum(each, 0) + sum(rest) - total).max(initial=0)
                # A step that was taken and then undone (a clamp) is known to the rounding of its parts.
                largest = float(np.nanmax(np.abs(each), initial=0))
                theta = max(float(np.abs(row["before"][name]).max(initial=0)), largest)
                spacing = theta * (1e-2 if self.program.axes["precision"] == "bfloat16" else 3e-7)
                scale = max(float(np.abs(total).max(initial=0)), 1e-12)
                off = np.inf if np.isnan(off) else max(float(off) - spacing, 0.0) / scale
                if off > worst[0]:
                    worst = (off, f"{name}, step {int(self.run['step'][place])}")
        found = [("parts", f"{worst[0]:.3g} off ({worst[1]})")] if worst[0] > (4e-2 if half else 5e-3) else []
        if unsplit and self.program.additive:
            found.append(("solo", f"{unsplit} of {judged} steps of parameters not split"))
        return found

    def split(self, match: dict[str, int]) -> list[tuple[str, str]]:
        """Whether each task's part of the step is the one that the optimizer's rule makes of its gradients."""
        if self.program.tolerance > 1e-2 or self.program.axes["shape"] == "resumed":
            return []
        worst = (0.0, "")
        rows = [row for _, row in self.pairs]
        match = {task: k for task, k in match.items() if not any(self.apart(row, task) for row in rows)}
        for name in self.judged:
            found = replay.updates(rows, list(match), name, self.truth)
            for (place, row), parts in zip(self.pairs, found, strict=True):
                # Of a gradient that is rounding, the parts are rounding as well.
                fed = np.abs(row["fed"][-1].get(name, np.zeros(1))) if row["fed"] else np.ones(1)
                sound = fed > 1e-5 * max(self.size(row, other) for other in self.columns)
                total = float(np.abs(row["after"][name] - row["before"][name]).max(initial=0))
                for task, want in (parts or {}).items():
                    got = self.run["update"][place, match[task], self.columns[name]].astype(float)
                    if np.isnan(got).all():
                        continue
                    scale = max(float(np.abs(want).max(initial=0)), 1e-2 * total, 1e-12)
                    off = float((np.abs(got - want) * sound).max(initial=0)) / scale
                    off = np.inf if np.isnan(off) else off
                    if off > worst[0]:
                        worst = (off, f"{task}, {name}, step {int(self.run['step'][place])}")
        return [("split", f"{worst[0]:.3g} off ({worst[1]})")] if worst[0] > 1e-2 else []

    def shared(self) -> list[tuple[str, str]]:
        """Whether a parameter is called shared that two tasks reach, and no other."""
        wrong = []
        for name in self.judged:
            reach = [task for task in self.tasks if any(self.truth(row, task, name).any() for _, row in self.pairs)]
            if bool(self.run["shared"][self.columns[name]].any()) != (len(reach) >= 2):
                wrong.append(f"{name} is reached by {len(reach)}")
        return [("shared", ", ".join(wrong[:3]))] if wrong else []

    def losses(self, match: dict[str, int]) -> list[tuple[str, str]]:
        """Whether each task's loss and weight are those by hand."""
        worst: tuple[float, str] = (0.0, "")
        blank = ""
        for place, row in self.pairs:
            for task, (weight, product) in row["losses"].items():
                if task not in match or not weight or self.apart(row, task):
                    continue
                k = match[task]
                held, loss = self.run["weight"][place, k], self.run["loss"][place, k]
                pairs = [("weight", held, weight), ("loss", loss, product / weight)]
                # A loss that is known by the total alone has the rounding of the sum.
                known = sum(abs(each) for _, each in row["losses"].values()) / abs(weight)
                spare = 2**-7 * known if self.program.tolerance > 1e-2 else 0.0
                if self.program.nameless:  # then the loss may as well be what it is with its weight
                    pairs = [("weighted loss", held * loss, product)]
                for what, got, want in pairs:
                    text = f"{task}, step {int(self.run['step'][place])}: {what} {got:.4g} for {want:.4g}"
                    if np.isnan(got):
                        # What a wrapper has changed is no multiple of anything.
                        blank = blank or ("" if np.isnan(held) and self.program.changed else text)
                    elif (off := max(abs(got - want) - spare, 0.0) / max(abs(want), 1e-6)) > worst[0]:
                        worst = (off, text)
        limit = 3e-2 if self.program.tolerance > 1e-2 else 2e-3
        return ([("loss", worst[1])] if worst[0] > limit else []) + ([("blank", blank)] if blank else [])
