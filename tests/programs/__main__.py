"""``python -m programs``: judge training programs by number; see --help."""

from __future__ import annotations

import argparse
import collections
import json
import os
import pickle
import shutil
import sys
import tempfile
import time
from pathlib import Path

from programs.compose import AXES, Program, program, shown
from programs.judge import VERDICTS, Verdict, judge
from programs.run import get_ready, trial, write
from programs.sample import SAMPLE
from programs.shrink import PLAIN, alone, hard, shrink


def main() -> int:
    """Judge the programs asked for; exit code 1 if one of them is silently wrong or disturbed."""
    parser = argparse.ArgumentParser(prog="python -m programs", description=__doc__)
    parser.add_argument(
        "numbers",
        nargs="*",
        default=["0:2000"],
        help="17, 0:2000 [default], sample, or alone: each value by itself",
    )
    parser.add_argument("--show", action="store_true", help="print the source, run nothing")
    parser.add_argument("--by-hand", action="store_true", help="with --show: also the lines that make the truth")
    parser.add_argument("--write", metavar="DIR", type=Path, help="write the source into DIR, run nothing")
    parser.add_argument("--said", action="store_true", help="list also what was said, and poor names")
    parser.add_argument("--out", metavar="FILE", type=Path, help="all verdicts, a line of JSON each")
    parser.add_argument("--only", metavar="AXIS=VALUE", action="append", default=[], help="only programs of this value")
    parser.add_argument(
        "--with", dest="given", metavar="AXIS=VALUE", action="append", default=[], help="change a value"
    )
    parser.add_argument("--plain", action="store_true", help="the plain value of every axis instead of the drawn one")
    parser.add_argument("--shrink", action="store_true", help="for each that fails, the plainest that still does")
    parser.add_argument(
        "--trial", metavar="FILE", type=Path, help="keep what the three runs of one program left behind"
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes [default: 1]")
    options = parser.parse_args()
    options.said |= len(options.numbers) < 20 and not any(":" in text for text in options.numbers)
    made = (
        alone()
        if options.numbers == ["alone"]
        else [_made(n, options.given, plain=options.plain) for n in _numbers(options.numbers)]
    )
    chosen = [each for each in made if _wanted(each, options.only)]
    if options.show or options.write:
        for each in chosen:
            if options.write:
                write(each, options.write)
            else:
                print(each.text if options.by_hand else shown(each))
        return 0
    get_ready(program(1))
    if options.trial:
        options.trial.write_bytes(pickle.dumps(trial(chosen[0])))
        return 0
    started = time.monotonic()
    verdicts = _judged(chosen, options)
    if options.out:
        options.out.write_text("".join(json.dumps(_record(v)) + "\n" for v in verdicts))
    if len(verdicts) >= 20:
        _table(verdicts)
    print(f"{len(verdicts)} programs in {time.monotonic() - started:.0f} s")
    return int(any(v.verdict in ("WRONG", "HARM", "FAULT") for v in verdicts))


def _judged(chosen: list[Program], options: argparse.Namespace) -> list[Verdict]:
    """Judge them, in as many processes as asked for; in the order of their numbers."""
    jobs = max(1, min(options.jobs, len(chosen)))
    if jobs == 1:
        return [_one(each, options) for each in chosen]
    folder = Path(tempfile.mkdtemp(prefix="programs-"))
    children = []
    for job in range(jobs):
        children.append(os.fork())
        if children[-1] == 0:
            mine = [_one(each, options) for each in chosen[job::jobs]]
            (folder / str(job)).write_bytes(pickle.dumps(mine))
            os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    parts = [pickle.loads((folder / str(job)).read_bytes()) for job in range(jobs)]
    shutil.rmtree(folder)
    return sorted((v for part in parts for v in part), key=lambda v: v.program.number)


def _one(each: Program, options: argparse.Namespace) -> Verdict:
    verdict = judge(each, trial(each))
    if options.shrink and verdict.verdict not in ("RIGHT", "FAULT"):
        verdict = shrink(verdict)
    _told(verdict, everything=options.said)
    return verdict


def _numbers(texts: list[str]) -> list[int]:
    numbers: list[int] = []
    for text in texts:
        if text == "sample":
            numbers += SAMPLE
            continue
        first, colon, last = text.partition(":")
        numbers += range(int(first), int(last)) if colon else [int(first)]
    return numbers


def _made(number: int, given: list[str], *, plain: bool) -> Program:
    if not given and not plain:
        return program(number)
    changes = dict(text.split("=", 1) for text in given)
    return program(number, {**(PLAIN if plain else program(number).axes), **changes})


def _wanted(each: Program, only: list[str]) -> bool:
    return all(each.axes[axis] in value.split(",") for axis, _, value in (text.partition("=") for text in only))


def again(v: Verdict) -> str:
    """What reruns it alone; it holds also when the axes have got more values."""
    given = [f"--with {axis}={value}" for axis, value in v.program.axes.items() if value != PLAIN[axis]]
    return " ".join([str(v.program.number), "--plain", *given])


def _record(v: Verdict) -> dict[str, object]:
    what = {
        "number": v.program.number,
        "verdict": v.verdict,
        "again": again(v),
        "hard": hard(v),
        "axes": v.program.axes,
    }
    return {**what, "failings": v.failings, "said": v.said, "tasks": v.tasks}


def _told(v: Verdict, everything: bool) -> None:
    if v.verdict in ("WRONG", "HARM", "FAULT") or (everything and v.verdict != "RIGHT"):
        print(f"{v.verdict:5} {v.program.number}: {v.line}")
        print(f"      {' '.join(f'{a}={x}' for a, x in v.program.axes.items() if x not in ('none', 'float32'))}")
        for line in v.said[:4]:
            print(f"      {line[:240]}")
        print(f"      again: make programs NUMBERS={again(v)!r}", flush=True)
    elif everything:
        print(f"{v.verdict:5} {v.program.number}", flush=True)


def _table(verdicts: list[Verdict]) -> None:
    """Counts by each value of each axis."""
    for axis, values in AXES.items():
        print(f"\n{axis:24}" + "".join(f"{name:>7}" for name in VERDICTS))
        for value in values:
            counts = collections.Counter(v.verdict for v in verdicts if v.program.axes[axis] == value)
            if counts:
                print(f"  {value:22}" + "".join(f"{counts[name] or '.':>7}" for name in VERDICTS))
    counts = collections.Counter(v.verdict for v in verdicts)
    print(f"\n{'all':24}" + "".join(f"{counts[name]:>7}" for name in VERDICTS))


if __name__ == "__main__":
    sys.exit(main())
