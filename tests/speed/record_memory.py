"""What a recorded step needs of memory above a plain one: every tensor that the allocator has given out, at the peak.

    python tests/speed/record_memory.py [--nets ...] [--tasks 2 4 8] [--optimizers Adam SGD] [--table FILE]

The allocator tells of each block that it gives out and takes back, also of those within operators; the peak of a step
is from its begin to the begin of the next. Both steps start from the model, the optimizer's state and its gradients of
the step before. It is exact, on the CPU, where numbers do not depend on the machine; what numpy holds is not counted,
which is the row of the step: its size is told beside. Of recorded steps it is the largest of those after the first two,
with and without a pass for each task. Asked for ``--light``: K + 1 gradients of the largest parameter, and the row.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import sys
import tempfile
from pathlib import Path

import torch
from record_cost import WARM, losses, net, optimizer_of
from torch import nn

from dominance import Recorder, open_run

sys.path.insert(0, str(Path(__file__).parents[1]))
from allocated import mark, peaks

NETS = ("MLP 6x1024", "transformer")
STEPS = 11
"""The first two have a pass for each task, and then one in eight: the third of these is among them."""
TABLE, TABLE_ENDS = "<!-- memory -->", "<!-- end of memory -->"
"""What the table stands between in the file."""


def train(kind: str, tasks: int, optimizer: str, run: Path | None, *, light: bool) -> None:
    model, x = net(kind, tasks)
    by = optimizer_of(model, optimizer)
    within = contextlib.nullcontext() if run is None else Recorder(run, model, by, every=1, light=light)
    with within:
        for _ in range(STEPS + 1):
            mark()
            by.zero_grad()
            sum(losses(model, x)).backward()
            by.step()


def row_size(run: Path) -> int:
    """Bytes of all that is kept of one step."""
    tree = open_run(run)
    nodes = [node.dataset for node in tree.subtree]
    return sum(each.nbytes // each.sizes["step"] for node in nodes for each in node.values() if "step" in each.dims)


def largest(model: nn.Module) -> int:
    return max(p.numel() * p.element_size() for p in model.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=NETS)
    parser.add_argument("--tasks", nargs="+", type=int, default=(2, 4, 8))
    parser.add_argument("--optimizers", nargs="+", default=("Adam", "SGD"))
    parser.add_argument("--table", type=Path, help="a file with the marks that the table is to stand between")
    given = parser.parse_args()
    torch.set_num_threads(1)
    head = ["net", "K", "optimizer", "parameters", "largest", "plain step", "in full, above it", "in gradients"]
    head += ["`--light`, above it", "in gradients", "asked"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    print(*lines, sep="\n")
    for kind in given.nets:
        for tasks in given.tasks:
            for optimizer in given.optimizers:
                lines.append(f"| {' | '.join(cells(kind, tasks, optimizer))} |")
                print(lines[-1], flush=True)
    if given.table:
        text = given.table.read_text()
        start, end = text.index(TABLE) + len(TABLE), text.index(TABLE_ENDS)
        given.table.write_text(f"{text[:start]}\n" + "\n".join(lines) + f"\n{text[end:]}")


def cells(kind: str, tasks: int, optimizer: str) -> list[str]:
    """One line of the table, in MB of a million bytes."""
    model, _ = net(kind, tasks)
    whole, layer = sum(p.numel() * p.element_size() for p in model.parameters()), largest(model)
    plain = max(peaks(functools.partial(train, kind, tasks, optimizer, None, light=False))[WARM:STEPS])
    above, row = [], 0
    with tempfile.TemporaryDirectory() as folder:
        for light in (False, True):
            run = Path(folder) / str(light)
            recorded = functools.partial(train, kind, tasks, optimizer, run, light=light)
            above.append(max(peaks(recorded)[WARM:STEPS]) - plain)
            row = row_size(run)
    found = [kind, str(tasks), optimizer, *(f"{size / 1e6:.1f}" for size in (whole, layer, plain))]
    for size in above:
        found += [f"{size / 1e6:.1f}", f"{size / whole:.1f}"]
    return [*found, f"{((tasks + 1) * layer + row) / 1e6:.1f}"]


if __name__ == "__main__":
    main()
