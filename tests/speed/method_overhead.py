"""What a method costs on an unmodified script beside the same method written by hand, in CPU time, interleaved.

Run it by itself: python tests/speed/method_overhead.py [rounds]. It prints medians and ratios, and asserts nothing.
Steps "between" are those that are not recorded, which most are; "by default" is a run of 400 steps, as ``dominance
record --method`` makes it, against 400 by hand.
"""

from __future__ import annotations

import sys
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

TASKS = ("first_loss", "second_loss")
BATCH, RUN, TIMED = 256, 400, 30


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
        path, options, script="train.py", argv=["train.py"], force=False, resume=False, beside=apply
    )
    session.check_output()
    session.start()
    return session


def measure(name: str, width: int, depth: int, rounds: int) -> None:
    x = torch.randn(BATCH, width)
    hand: list[float] = []
    between: list[float] = []
    whole: list[float] = []

    with TemporaryDirectory() as folder:
        for turn in range(rounds):
            step = by_hand(name, width, depth, x)
            step()
            hand.append(cpu(step, TIMED) / TIMED)
            session = session_of(choose(name), Path(folder) / f"{turn}", every=10**6, burst=1)
            step = script(width, depth, x)
            cpu(step, 3)
            between.append(cpu(step, TIMED) / TIMED)
            session.finish("complete")
        for turn in range(max(1, rounds // 4)):
            step = by_hand(name, width, depth, x)
            reference = cpu(step, RUN)
            path = Path(folder) / f"whole-{turn}"
            session = session_of(choose(name), path)
            taken = cpu(script(width, depth, x), RUN)
            start = time.process_time()
            session.finish("complete")
            taken += time.process_time() - start
            whole.append(taken / reference)
    base = median(hand)
    print(f"{name:10} width {width:4}: by hand {base * 1e3:6.2f} ms a step; ", end="")
    print(f"between {median(between) / base:.2f}, by default {median(whole):.2f} times that", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    turns = int(sys.argv[1]) if len(sys.argv) > 1 else 8
    for size in ((64, 4), (512, 4)):
        for chosen in ("uw", "pcgrad", "cagrad", "adatask"):
            measure(chosen, *size, rounds=turns)
