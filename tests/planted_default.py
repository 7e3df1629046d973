"""How often the verdict names the cause that a script has: python tests/planted_default.py

Every cause of ``planted_script``, trainings of several lengths and seeds, recorded with default options, or all their
steps with ``--every 1``. Rules were thought out on seeds from 0; trials with ``--first 100`` are fair.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import planted_script
import torch
from planted import Case
from planted_study import Outcome, outcome_of

import dominance
from dominance.analyse.verdict.finding import Verdict
from dominance.config import RecordOptions
from dominance.record.script.session import ScriptSession

STEPS = (100, 132, 200, 300, 500, 700)


def verdict_of(cause: str, seed: int, steps: int, every: int | None = None) -> Verdict:
    """Of the script, as ``dominance record`` leaves it without an option, or with ``--every``."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        session = ScriptSession(
            path,
            RecordOptions(quiet=True, every=every),
            script="train.py",
            argv=["train.py"],
            force=False,
            resume=False,
        )
        session.check_output()
        session.start()
        try:
            planted_script.train(cause, seed, steps)
        finally:
            session.finish("complete")
        with dominance.open_run(path) as run:
            return dominance.verdict(run)


def tried(cause: str, seed: int, steps: int, every: int | None = None) -> tuple[Outcome, Verdict]:
    truth = planted_script.CAUSES[cause]
    found = verdict_of(cause, seed, steps, every)
    return outcome_of(Case(seed=seed, kind=cause, truth=frozenset([truth] if truth else [])), found), found


def is_right(outcome: Outcome) -> bool:
    """The cause is named first; where there is none, nothing is reported."""
    return outcome.right if outcome.case.truth else outcome.silent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--steps", type=lambda text: tuple(map(int, text.split(","))), default=STEPS)
    parser.add_argument("--causes", type=lambda text: text.split(","), default=list(planted_script.CAUSES))
    parser.add_argument("--every", type=int, help="record one step in so many; none: the default schedule")
    parser.add_argument("--missed", action="store_true", help="print the verdicts that are wrong")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'planted':10}", *(f"{steps:>5}" for steps in options.steps), "  named")
    right = asked = 0
    wrong = []
    for cause in options.causes:
        row, said = [], Counter[str]()
        for steps in options.steps:
            outcomes = [tried(cause, options.first + seed, steps, options.every) for seed in range(options.seeds)]
            good = [is_right(outcome) for outcome, _ in outcomes]
            said.update(" + ".join(outcome.causes) or "nothing" for outcome, _ in outcomes)
            missed = [each for each, ok in zip(outcomes, good, strict=True) if not ok]
            wrong += [(cause, outcome.case.seed, steps, text) for outcome, text in missed]
            row.append(sum(good))
        right, asked = right + sum(row), asked + options.seeds * len(row)
        named = ", ".join(f"{name} {count}" for name, count in said.most_common())
        print(f"{cause:10}", *(f"{count:>5}" for count in row), f"  {named}", flush=True)
    print(f"right: {right} of {asked} ({right / asked:.1%})")
    for cause, seed, steps, text in wrong if options.missed else ():
        print(f"\n{cause}, seed {seed}, {steps} steps\n{text}")


if __name__ == "__main__":
    main()
