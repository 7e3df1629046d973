"""How often the verdict names the planted cause, and how often it cries wolf: python tests/planted_study.py

Prints what was found against what was planted, for a stream of cases. Thresholds were set on the streams of seed 1000
with the sizes "seen"; any other seed with the sizes "unseen" is a fair trial.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from planted import Case, run_of
from planted_cases import harmless_case, planted_case

from dominance import verdict
from dominance.analyse.verdict.finding import Verdict
from dominance.analyse.verdict.rules import LIKELY


@dataclass(frozen=True)
class Outcome:
    """What the verdict said of a case.

    Attributes:
        causes: the strongest cause of each finding of dominance or of being unheard, then "conflict", without repeats;
            findings that are weak do not count. "?" where no cause was named at all.
        alarm: it claimed harm or conflict.
        silent: it found nothing to report.
    """

    case: Case
    causes: tuple[str, ...]
    extra: tuple[str, ...]
    alarm: bool
    silent: bool

    @property
    def right(self) -> bool:
        """One planted cause: named first. Two: both named, and nothing else before them."""
        return set(self.causes[: len(self.case.truth)]) == self.case.truth

    @property
    def exact(self) -> bool:
        """Right, and no further cause was named."""
        return {*self.causes, *self.extra} == self.case.truth


def outcome(case: Case) -> Outcome:
    """Train the case and ask for the verdict."""
    return outcome_of(case, verdict(run_of(case)))


def outcome_of(case: Case, found: Verdict) -> Outcome:
    said = [f for f in (*found.of("dominance"), *found.of("unheard")) if f.probability >= LIKELY]
    first = [finding.causes[0].name for finding in said if finding.causes]
    first += ["conflict"] * bool(found.of("conflict"))
    first += ["?"] * (bool(said) and not first)
    extra = [cause.name for finding in said for cause in finding.causes[1:]]
    silent = not first and not found.alarm
    return Outcome(case, tuple(dict.fromkeys(first)), tuple(dict.fromkeys(extra)), found.alarm, silent)


def report(outcomes: Iterable[Outcome]) -> str:
    """The confusion matrix, and the rates."""
    outcomes = list(outcomes)
    table = Counter((o.case.kind, " + ".join(o.causes) or "nothing") for o in outcomes)
    lines = [f"{kind:20}  {found:28} {number:4}" for (kind, found), number in sorted(table.items())]
    planted = [o for o in outcomes if o.case.truth]
    harmless = [o for o in outcomes if not o.case.truth]
    if planted:
        right, exact = sum(o.right for o in planted), sum(o.exact for o in planted)
        lines.append(f"planted cause named: {right} of {len(planted)}; and no other cause: {exact}")
    if harmless:
        alarms, silent = sum(o.alarm for o in harmless), sum(o.silent for o in harmless)
        lines.append(f"harmless, no alarm: {len(harmless) - alarms} of {len(harmless)}; nothing reported: {silent}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--planted", type=int, default=200)
    parser.add_argument("--harmless", type=int, default=100)
    parser.add_argument("--seed", type=int, default=4000)
    parser.add_argument("--sizes", choices=["seen", "unseen"], default="unseen")
    parser.add_argument("--missed", action="store_true", help="say which cases went wrong")
    options = parser.parse_args()
    cases = [planted_case(i, options.seed, options.sizes) for i in range(options.planted)]
    cases += [harmless_case(i, options.seed, options.sizes) for i in range(options.harmless)]
    outcomes = [outcome(case) for case in cases]
    print(report(outcomes))
    for o in outcomes if options.missed else ():
        if (o.case.truth and not o.right) or (not o.case.truth and o.alarm):
            print(f"\n{o.case}\n  {o.causes} {o.extra} alarm={o.alarm}")


if __name__ == "__main__":
    main()
