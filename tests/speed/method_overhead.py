"""What a method costs on an unmodified script beside the same method written by hand, in CPU time, interleaved.

    python tests/speed/method_overhead.py [--rounds N] [--methods A,B] [--widths N,N] [--between]

It prints medians and ratios, and asserts nothing. Steps "between" are those that are not recorded, which most are;
"by default" is a run of 400 steps, as ``dominance record --method`` makes it, against 400 by hand. Equal weights are
the script as it is, and by hand a combiner that adds the gradients up.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from record_cost import losses, mlp
from torch import nn

from dominance.benchmarks.train.methods import build, method
from dominance.config import RecordOptions
from dominance.cure.applied import Applied
from dominance.cure.choice import Choice, choose
from dominance.record.script.session import ScriptSession

METHODS = "equal-weight,uw,pcgrad,cagrad,adatask,pub"
TASKS = ("first_loss", "second_loss")
BATCH, RUN, TIMED = 256, 400, 150


def cpu(step: Callable[[], None], count: int) -> float:
    """Seconds of so many steps."""
    start = time.process_time()
    for _ in range(count):
        step()
    return time.process_time() - start


def net(width: int, depth: int) -> nn.ModuleDict:
    heads = nn.ModuleList(nn.Linear(width, 1) for _ in TASKS)
    return nn.ModuleDict({"trunk": mlp(width, depth), "heads": heads})


def by_hand(name: str, width: int, depth: int, x: torch.Tensor) -> Callable[[], None]:
    model = net(width, depth)
    stepping = build(method(name), model, TASKS, optimizer="adam", lr=1e-4)

    def step() -> None:
        first_loss, second_loss = losses(model, x)
        stepping.step({"first_loss": first_loss, "second_loss": second_loss})

    return step


def script(width: int, depth: int, x: torch.Tensor) -> Callable[[], None]:
    model = net(width, depth)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)

    def step() -> None:
        first_loss, second_loss = losses(model, x)
        loss = first_loss + second_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def session_of(choice: Choice, path: Path, **recording: Any) -> ScriptSession:
    def apply(watch: Any) -> Applied:
        applied = Applied(choice, watch, say=print, error=print)
        applied.start()
        return applied

    options = RecordOptions(quiet=True, **recording)
    session = ScriptSession(
        path,
        options,
        script="train.py",
        argv=["train.py"],
        force=False,
        resume=False,
        beside=None if choice.as_it_is else apply,
    )
    session.check_output()
    session.start()
    return session


def measure(name: str, width: int, depth: int, rounds: int, *, whole: bool) -> None:
    """Both take turns; medians over the rounds of the ratio within a round."""
    x = torch.randn(BATCH, width)
    hand: list[float] = []
    between: list[float] = []
    recorded: list[float] = []
    with TemporaryDirectory() as folder:
        for turn in range(rounds):
            step = by_hand(name, width, depth, x)
            cpu(step, 3)
            hand.append(cpu(step, TIMED))
            session = session_of(choose(name), Path(folder) / f"{turn}", every=10**6, burst=1)
            step = script(width, depth, x)
            cpu(step, 5)
            between.append(cpu(step, TIMED) / hand[-1])
            session.finish("complete")
        for turn in range(max(1, rounds // 4) if whole else 0):
            step = by_hand(name, width, depth, x)
            cpu(step, 3)
            reference = cpu(step, RUN)
            session = session_of(choose(name), Path(folder) / f"whole-{turn}")
            start = time.process_time()
            cpu(script(width, depth, x), RUN)
            session.finish("complete")
            recorded.append((time.process_time() - start) / reference)
    line = f"{name:12} width {width:4}: by hand {median(hand) / TIMED * 1e3:6.2f} ms a step; "
    line += f"between {median(between):.2f}"
    print(line + (f", by default {median(recorded):.2f} times that" if recorded else " times that"), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=METHODS.split(","))
    parser.add_argument("--widths", type=lambda text: tuple(map(int, text.split(","))), default=(64, 512))
    parser.add_argument("--between", action="store_true", help="leave out the whole runs")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for size in given.widths:
        for chosen in given.methods:
            measure(chosen, size, 4, given.rounds, whole=not given.between)
