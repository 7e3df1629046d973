"""What a recorded step costs: over the floor of K + 1 backward passes, by CPU time, on five nets; K = 2, 4, 8.

    python tests/speed/record_cost.py [--rounds N] [--against CHECKOUT] [--table FILE] [--history FILE]

Each build is a process of its own, and they take turns, as do the floor and the recorded steps in each: what else the
machine does meets all of them. Medians over the rounds of the ratio within a round. It asserts nothing.
Where TorchJD is installed, a step that takes the tasks' Jacobian by it and adds its rows up is measured beside it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import history
import torch
from torch import Tensor, nn

HERE = Path(__file__).resolve()
NETS = ("tiny MLP", "MLP 6x1024", "ResNet", "transformer", "sparse table")
WARM = 2
TABLE, TABLE_ENDS = "<!-- recorded steps -->", "<!-- end of recorded steps -->"
"""What the table stands between in the file."""


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.way(x))


class Transformer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(1)


def net(kind: str, tasks: int) -> tuple[nn.ModuleDict, Tensor]:
    """A trunk with a head for each task, and a batch."""
    torch.manual_seed(0)
    trunk: nn.Module
    if kind == "tiny MLP":
        trunk, out, x = mlp(32, 2), 32, torch.randn(64, 32)
    elif kind == "MLP 6x1024":
        trunk, out, x = mlp(1024, 6), 1024, torch.randn(128, 1024)
    elif kind == "ResNet":
        blocks = [Block(32) for _ in range(4)]
        trunk = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        out, x = 32, torch.randn(32, 3, 16, 16)
    elif kind == "sparse table":
        table = nn.Embedding(1_000_000, 16, sparse=True)
        trunk, out, x = nn.Sequential(table, nn.Flatten(), *mlp(128, 1)), 128, torch.randint(1_000_000, (512, 8))
    else:
        trunk, out, x = Transformer(128), 128, torch.randn(16, 32, 128)
    heads = nn.ModuleList(nn.Linear(out, 1) for _ in range(tasks))
    return nn.ModuleDict({"trunk": trunk, "heads": heads}), x


def mlp(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(module for _ in range(depth) for module in (nn.Linear(width, width), nn.ReLU())))


def losses(model: nn.ModuleDict, x: Tensor) -> list[Tensor]:
    return losses_of(model, model["trunk"](x))


def losses_of(model: nn.ModuleDict, z: Tensor) -> list[Tensor]:
    return [(head(z)[:, 0] - k / 10).square().mean() for k, head in enumerate(model["heads"])]


def optimizer_of(model: nn.Module, name: str) -> torch.optim.Optimizer:
    if any(isinstance(module, nn.Embedding) for module in model.modules()):  # the two that take both kinds of gradients
        return {"Adam": torch.optim.Adagrad, "SGD": torch.optim.SGD}[name](model.parameters(), lr=1e-5)
    if name == "Adam":
        return torch.optim.Adam(model.parameters(), lr=1e-5)
    return torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)


def cpu_seconds(action: Callable[[], object], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        action()
    return (time.process_time() - start) / times


def measure(kind: str, tasks: int, optimizer: str) -> Iterator[dict[str, float]]:
    """CPU seconds of a plain step, of the floor, of a recorded step and of one between bursts; a round each time."""
    from dominance import Recorder

    (model, x), (other, _) = net(kind, tasks), net(kind, tasks)
    mine, others = optimizer_of(model, optimizer), optimizer_of(other, optimizer)

    def step(which: nn.ModuleDict, by: torch.optim.Optimizer) -> None:
        by.zero_grad()
        sum(losses(which, x)).backward()
        by.step()

    def floor() -> None:
        others.zero_grad()
        per_task = losses(other, x)
        for loss in per_task:
            torch.autograd.grad(loss, list(other.parameters()), retain_graph=True, allow_unused=True)
        sum(per_task).backward()
        others.step()

    def peer() -> None:
        others.zero_grad()
        z = other["trunk"](x)
        autojac.mtl_backward(losses_of(other, z), features=z)
        autojac.jac_to_grad(list(other["trunk"].parameters()), aggregation.Sum())
        others.step()

    times = {"tiny MLP": 24, "sparse table": 16}.get(kind, 8)  # one in eight has a pass for each task
    try:
        from torchjd import aggregation, autojac

        peer()
    except (ImportError, RuntimeError):  # it is not there, or takes no sparse gradients
        beside = None
    else:
        beside = peer
    with tempfile.TemporaryDirectory() as folder:
        turn = 0
        while True:
            turn += 1
            here = {"plain": cpu_seconds(lambda: step(other, others), times), "floor": cpu_seconds(floor, times)}
            here["peer"] = math.nan if beside is None else cpu_seconds(beside, times)
            # The first recorded step finds the tasks and lays the run out: it is not counted.
            with Recorder(f"{folder}/{turn}", model, mine, every=1):
                cpu_seconds(lambda: step(model, mine), WARM)
                here["recorded"] = cpu_seconds(lambda: step(model, mine), times)
            with Recorder(f"{folder}/{turn}-rare", model, mine, every=1000, burst=1):
                cpu_seconds(lambda: step(model, mine), WARM)
                here["between"] = cpu_seconds(lambda: step(model, mine), times)
            yield here


def work() -> None:
    """Answer each line, a net, K and an optimizer in JSON, by the figures of one round."""
    torch.set_num_threads(1)
    going: dict[str, Iterator[dict[str, float]]] = {}
    for line in sys.stdin:
        if line not in going:
            going.clear()
            going[line] = measure(*json.loads(line))
        print(json.dumps(next(going[line])), flush=True)


class Build:
    """A checkout, at work in a process of its own."""

    def __init__(self, checkout: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE), "--worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def ask(self, question: str) -> dict[str, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(question + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="another checkout of the project, measured in turn with this one")
    parser.add_argument("--table", type=Path, help="a file with the marks that the table is to stand between")
    parser.add_argument("--history", type=Path, help="a file that gets the ratios, a line of JSON each time")
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--tasks", nargs="+", type=int, default=(2, 4, 8))
    parser.add_argument("--optimizers", nargs="+", default=("Adam", "SGD"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work()
        return
    checkouts = [HERE.parents[2], *([given.against.resolve()] if given.against else [])]
    builds = [Build(checkout) for checkout in checkouts]
    head = ["net", "K", "optimizer", "plain, ms", "floor / plain", "recorded / floor", "between bursts / plain"]
    head += ["TorchJD / floor", *(["other build / floor", "this / other"] if given.against else [])]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    print(*lines, sep="\n")
    ratios: dict[str, dict[str, float]] = {}
    for kind in given.nets:
        for tasks in given.tasks:
            for optimizer in given.optimizers:
                question = json.dumps([kind, tasks, optimizer])
                rounds = [[build.ask(question) for build in builds] for _ in range(given.rounds)]
                own, *others = [ratios_of([each[which] for each in rounds]) for which in range(len(builds))]
                named = "Adagrad" if kind == "sparse table" and optimizer == "Adam" else optimizer
                ratios[f"{kind}, K = {tasks}, {named}"] = {
                    name: value for name, value in own.items() if not math.isnan(value)
                }
                cells = [kind, str(tasks), named, f"{1e3 * median(each[0]['plain'] for each in rounds):.2f}"]
                cells += ["" if math.isnan(value) else f"{value:.2f}" for value in own.values()]
                for other in others:
                    both = median(mine["recorded"] / theirs["recorded"] for mine, theirs in rounds)
                    cells += [f"{other['recorded / floor']:.2f}", f"{both:.2f}"]
                lines.append(f"| {' | '.join(cells)} |")
                print(lines[-1], flush=True)
    if given.table:
        text = given.table.read_text()
        start, end = text.index(TABLE) + len(TABLE), text.index(TABLE_ENDS)
        made = f"Medians over {given.rounds} rounds, torch {torch.__version__}, one thread.\n\n" + "\n".join(lines)
        given.table.write_text(f"{text[:start]}\n{made}\n{text[end:]}")
    if given.history:
        history.append(given.history, ratios, given.rounds)
    for build in builds:
        assert build.process.stdin is not None
        build.process.stdin.close()
        build.process.wait()


def ratios_of(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Medians of the ratio within a round; NaN where there is no peer."""
    pairs = (("floor", "plain"), ("recorded", "floor"), ("between", "plain"), ("peer", "floor"))
    return {f"{one} / {other}": median(each[one] / each[other] for each in rounds) for one, other in pairs}


if __name__ == "__main__":
    main()
