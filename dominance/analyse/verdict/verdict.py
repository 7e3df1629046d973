"""The verdict on a run: which task owns what and why, who is in whose way, whether it hurts, and what to try."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from dominance.analyse.books import books
from dominance.analyse.runs import only_run
from dominance.analyse.steps import UsableSteps, totals_finite
from dominance.analyse.study.single import Single
from dominance.analyse.summary import Overview, overview, percent
from dominance.analyse.verdict import harm
from dominance.analyse.verdict.conflicts import conflicts
from dominance.analyse.verdict.conflicts import findings as conflict_findings
from dominance.analyse.verdict.doubts import CLAUSES, diverged, doubts, remarks, taken_back
from dominance.analyse.verdict.finding import KINDS, Finding, Verdict
from dominance.analyse.verdict.groups import groups, of_groups
from dominance.analyse.verdict.holdings import holdings
from dominance.analyse.verdict.owners import Owners
from dominance.analyse.verdict.rules import LEAST_STEPS, LIKELY, OWNED, SURE
from dominance.analyse.verdict.scope import of_the_start, only_the_start
from dominance.deltas import Directions


def verdict(
    run: xr.DataTree,
    *,
    single: Single | None = None,
    split: str | None = None,
    higher_is_better: Directions | None = None,
    seen: Overview | None = None,
) -> Verdict:
    """What a run shows, in findings that a person can act on.

    - **dominance**: which task owns which layers, since when (rAU and the share of the squared updates), and why: by
      the weight of its loss, by the scale of its gradient beside that, by how often it takes part or touches the
      parameters, or by noise (``verdict.causes`` has the equation). With three tasks or more also the
      opposite, a task that is hardly heard.
    - **conflict**: which tasks' gradients point against each other, where (mean GCD; MoCoGrad, Eq. 4). That one task
      owns the trunk, and that two are in conflict, are independent facts.
    - **what does not add up** (``verdict.doubts``): a gradient that is nobody's, parts of the updates that are not what
      the parameters did, what happens outside the optimizer's step, steps that are missing, a training that diverged.
      Told first; what is said of gradients and updates beside it says that it cannot be trusted.
    - **harm**: against single-task runs if they are given (TCI); else from the course of the losses, which is weaker
      evidence; else it is said that this run cannot tell. A large share of the gradient is no harm by itself.

    Only harm, and conflict between tasks that do not both learn, are an alarm. How sure a finding is comes from means
    over stretches of steps, because steps that follow each other are not independent. Every threshold, with its reason,
    is in ``verdict.rules``.

    Args:
        run: a run, from ``open_run``.
        single: single-task runs to compare with, as in ``tci``.
        split: of the metrics that are compared; default the first of final, test, val, train that was logged.
        higher_is_better: direction of metrics that the runs do not declare.
        seen: :func:`dominance.analyse.summary.overview` of the run, if it is known already.

    Raises:
        BadOption: several runs, or as ``tci``.
        NothingRecorded: no usable step, no shared parameter; or as ``tci``.

    >>> from dominance import verdict
    >>> found = verdict(run)
    >>> found.findings[0].kind, found.alarm
    ('too short', False)
    >>> print(found.findings[0].text)
    2 steps are too few to judge by; at least 20 are needed. So far a owns 100 % of the shared parameters (rAU > 80 %).
    """
    run = only_run(run)
    seen = seen or overview(run)
    steps = seen.run.usable(str(seen.trunk.attrs["attribution"]))
    rows = steps.rows()
    held, pairs = holdings(run, seen, rows), conflicts(seen)
    compared = [] if single is None else harm.against_single(
        run, single, split=split, higher_is_better=higher_is_better
    )  # fmt: skip
    kept = books(run)
    ended, doubted, said = diverged(run, kept), doubts(run, kept, rows), remarks(kept)
    if len(rows) < LEAST_STEPS:
        short = _too_short(run, len(rows), held, trusted=not doubted)
        found = [replace(short, advice=(), patch="", method_patch="") if ended else short, *compared]
    else:
        found = _judged(run, rows, seen, held, pairs, compared, known=single is not None, done=not said)
    only = "" if ended else only_the_start(run, kept, rows)
    if only:
        found = [of_the_start(one, only) for one in found]
    if ended or doubted:
        found = [_cannot_say(doubted) if one.kind == "balanced" else taken_back(one, doubted) for one in found]
        found = [one for one in found if not (doubted and one.kind == "harm unknown")]  # of suspects that may be none
    found += [replace(one, text=f"{one.text} All that follows is said of the steps before.") for one in ended]
    found += doubted
    order = list(KINDS)
    found.sort(key=lambda finding: order.index(finding.kind))
    data = xr.merge([held, pairs.drop_vars("steps")], compat="equals")
    return Verdict(tuple(found), tuple(_notes(run, seen, steps)), data, kept, tuple(said))


def _judged(
    run: xr.DataTree,
    rows: NDArray[np.int64],
    seen: Overview,
    held: xr.Dataset,
    pairs: xr.Dataset,
    compared: list[Finding],
    *,
    known: bool,
    done: bool,
) -> list[Finding]:
    found = Owners(run, rows, held, seen.groups, groups(seen.run, rows)).findings()
    found += conflict_findings(run, pairs, harm.learning(run, rows), of_groups(run))
    suspects = _suspects(run, found)
    if known:
        names = [str(task) for task in run["task"].to_numpy()]
        found = [*(harm.spared(finding, names, compared) for finding in found), *compared]
    elif suspects:
        hurt = harm.from_losses(run, rows, suspects)
        found += hurt or [harm.unknown(run, suspects)]
    if not any(finding.kind in ("dominance", "unheard", "noisy", "conflict") or finding.alarm for finding in found):
        found.append(_balanced(seen, held, done=done))
    return found


def _suspects(run: xr.DataTree, found: list[Finding]) -> list[str]:
    """Tasks that may be harmed by what was found."""
    names: list[str] = []
    for finding in found:
        if finding.kind == "dominance" and finding.probability >= LIKELY:
            names += [str(task) for task in run["task"].to_numpy() if str(task) not in finding.tasks]
        elif finding.kind in ("unheard", "conflict"):
            names += finding.tasks
    return list(dict.fromkeys(names))


def _balanced(seen: Overview, held: xr.Dataset, *, done: bool) -> Finding:
    """``done``: there is nothing to say of the recording either."""
    effective, count = float(seen.trunk.effective_tasks[-1, 0]), held.sizes["task"]
    if float(seen.trunk.untouched[-1, 0]) == 1:
        return Finding("balanced", "No task has moved a shared parameter.")
    return Finding(
        "balanced",
        f"Balanced: no task owns the shared parameters and no two are in conflict; {effective:.1f} of {count} tasks"
        f" share the average parameter.{' Nothing to do.' if done else ''}",
        strength=effective,
        meaning="effective number of tasks",
    )


def _cannot_say(doubted: list[Finding]) -> Finding:
    """In the place of "balanced", in a run that diverged or whose books do not add up."""
    if not doubted:
        return Finding("cannot say", "Until then no task owned the shared parameters and no two were in conflict.")
    text = "Whether a task owns the shared parameters, or two are in conflict, this run cannot say."
    return Finding("cannot say", text, meaning="; ".join(CLAUSES[doubt.kind] for doubt in doubted))


def _too_short(run: xr.DataTree, used: int, held: xr.Dataset, *, trusted: bool) -> Finding:
    recorded = run.sizes["step"]
    of = "" if used == recorded else f" of {recorded} recorded ones that can be used"
    text = f"{used} {'step' if used == 1 else 'steps'}{of} {'is' if used == 1 else 'are'} too few to judge by;"
    text += f" at least {LEAST_STEPS} are needed."
    owned = np.nan_to_num(held.owned_last.to_numpy()[-1])
    best = int(owned.argmax())
    if owned[best] > OWNED and trusted:
        share = percent(float(owned[best]))
        text += f" So far {held.task.to_numpy()[best]} owns {share} of the shared parameters (rAU > 80 %)."
    return Finding(
        "too short",
        text,
        strength=float(used),
        meaning="usable steps",
        probability=SURE,
        advice=("Train longer, or record more of it (`--every 1`); a few hundred steps say most.",),
    )


def _notes(run: xr.DataTree, seen: Overview, steps: UsableSteps) -> list[str]:
    trunk, lines = seen.trunk, []
    if trunk.attrs["attribution"] == "solo":
        lines.append("updates are solo updates: the step the optimizer would take from one task's gradient alone")
    untouched = float(trunk.untouched[-1, 0])
    if 0.005 <= untouched < 1:
        still = f"{percent(untouched)} of the shared parameters have not been moved by any task"
        lines.append(f"{still}; shares are of the others")
    if trunk.attrs["coords_sampled"] < trunk.attrs["coords_shared"]:
        error = 100 * float(trunk.share_se[-1].max())
        lines.append(
            f"shares come from {trunk.attrs['coords_sampled']:,} of {trunk.attrs['coords_shared']:,} shared parameters"
            f" (standard error at most {error:.2g} points)"
        )
    reasons = {reason: number for reason, number in steps.left_out.items() if number}
    if reasons:
        said = ", ".join(f"{number} {reason.replace('_', '-')}" for reason, number in reasons.items())
        lines.append(f"{sum(reasons.values())} of {len(steps.used)} recorded steps are left out: {said}")
        if reasons.get("unattributed"):
            lines[-1] += " (much of the step there is momentum of gradients that nobody saw)"
        if reasons.get("non_finite") and totals_finite(run).all():
            lines[-1] += " (the training itself is finite there: how its steps split into tasks is not known)"
    return lines
