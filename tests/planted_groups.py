"""How often the verdict names what was planted in groups of examples: python tests/planted_groups.py

Three trainings of ``dominance.examples``, recorded with default options: a character model on three kinds of text,
digits with a long tail, and a policy with two rewards. Rules were thought out on seeds from 0; ``--first 100`` is a
fair trial.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import dominance
from dominance.analyse.verdict.finding import Finding, Verdict
from dominance.analyse.verdict.rules import LIKELY
from dominance.config import RecordOptions
from dominance.examples import bandit, long_tail, texts
from dominance.record.script.session import ScriptSession


@dataclass(frozen=True)
class Case:
    """A training, and what was planted in it.

    Attributes:
        options: of the example's ``train``.
        groups: of ``record --groups``.
        about: the groups that the finding must be of, all of them; empty where nothing was planted.
        kinds, cause: of the finding; of a conflict there is no cause.
        innocent: of which no such finding may be; it is of nobody where nothing was planted.
    """

    train: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    groups: str | None = None
    about: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    cause: str = ""
    innocent: tuple[str, ...] = ()

    def is_right(self, found: Verdict) -> bool:
        """Whether the verdict says what was planted, of whom, and accuses no other."""
        said = [each for each in found.findings if each.kind in FOUND and each.probability >= LIKELY]
        if any(self._is_it(each) and set(each.tasks) & set(self.innocent) for each in said):
            return False
        if not self.about:
            return not any(each.kind in ("dominance", "conflict", "unheard") or each.alarm for each in said)
        named = {task for each in said if self._is_it(each) for task in each.tasks}
        return set(self.about) <= named

    def _is_it(self, each: Finding) -> bool:
        causes = [cause.name for cause in each.causes][:1]
        return each.kind in self.kinds and (not self.cause or causes == [self.cause])


FOUND = ("dominance", "unheard", "noisy", "conflict", "harm")
QUIET, OWNER = ("unheard", "noisy"), ("dominance",)
RARE: dict[str, Any] = {"kinds": ("unheard",), "cause": "examples"}
NOISY: dict[str, Any] = {"kinds": QUIET, "cause": "noise"}
KINDS = texts.KINDS


def _texts(what: str = "", kind: str = "", told: dict[str, Any] | None = None) -> Case:
    """Three kinds of text, one of them rare, or noisy. Nothing is planted: nobody is either."""
    if told is None:
        return Case(texts.train, groups="kind", innocent=KINDS, kinds=QUIET, cause="noise")
    innocent = tuple(each for each in KINDS if each != kind)
    return Case(texts.train, {what: kind}, "kind", (kind,), innocent=innocent, **told)


CASES = {
    "texts": _texts(),
    **{f"texts, {kind} rare": _texts("rare", kind, RARE) for kind in KINDS},
    **{f"texts, {kind} noisy": _texts("noisy", kind, NOISY) for kind in KINDS},
    "digits, even": Case(
        long_tail.train, {"ratio": 1, "epochs": 12}, "target", innocent=tuple(f"class {k}" for k in range(10)), **RARE
    ),
    "digits, 50 to 1": Case(
        long_tail.train, {}, "target", ("class 9",), innocent=tuple(f"class {k}" for k in range(5)), **RARE
    ),
    "policy": Case(bandit.train),
    "policy, speed loud": Case(bandit.train, {"loud": 10.0}, None, ("speed",), OWNER, "scale", ("safety",)),
    "policy, speed noisy": Case(bandit.train, {"noisy": 10.0}, None, ("speed",), OWNER, "noise", ("safety",)),
    "policy, opposed": Case(bandit.train, {"opposed": True}, None, ("speed", "safety"), ("conflict",)),
}


def verdict_of(case: Case, seed: int) -> Verdict:
    """Of the training, as ``dominance record --groups`` leaves it without another option."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run"
        options = RecordOptions(quiet=True, groups=case.groups)
        session = ScriptSession(path, options, script="train.py", argv=["train.py"], force=False, resume=False)
        session.check_output()
        session.start()
        try:
            case.train(**case.options, seed=seed)
        finally:
            session.finish("complete")
        with dominance.open_run(path) as run:
            return dominance.verdict(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cases", type=lambda text: text.split("|"), default=list(CASES), help="joined by |")
    parser.add_argument("--missed", action="store_true", help="print the verdicts that are wrong")
    options = parser.parse_args()
    torch.set_num_threads(1)
    right = asked = 0
    wrong: list[tuple[str, int, Verdict]] = []
    for name in options.cases:
        found = {seed: verdict_of(CASES[name], seed) for seed in range(options.first, options.first + options.seeds)}
        missed = [seed for seed, said in found.items() if not CASES[name].is_right(said)]
        wrong += [(name, seed, found[seed]) for seed in missed]
        right, asked = right + len(found) - len(missed), asked + len(found)
        print(f"{name:20} {len(found) - len(missed):3} of {len(found)}", flush=True)
    print(f"right: {right} of {asked} ({right / asked:.1%})")
    for name, seed, said in wrong if options.missed else ():
        print(f"\n{name}, seed {seed}\n{said}")


if __name__ == "__main__":
    main()
