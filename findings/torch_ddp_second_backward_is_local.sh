#!/usr/bin/env bash
# torch, DistributedDataParallel, two backward() after one forward: where the first one reaches every parameter, the
# gradients of the second are those of each process alone. They are added to the averaged ones, nothing is raised, and
# the processes' weights drift apart from the first step on, with find_unused_parameters too. Where the first one leaves
# a parameter out, the same style raises ("Expected to mark a variable ready only once"): the error that is known of
# it comes of the harmless order only.
#
# Seen (torch 2.13.0, gloo, CPU, 2 processes, Python 3.11), 5 steps of SGD, by what backward() is called on:
#   la + lb                         largest difference between the processes' weights 0
#   la + lb, then 0.1 * la          0.033
#   the same, find_unused           0.033
#   la, then lb                     RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.3.5
cat > "$folder/train.py" <<'PY'
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 1), nn.Linear(4, 1)

    def forward(self, x):
        z = self.trunk(x).tanh()
        return self.a(z), self.b(z)


def differ(calls, unused):
    """How far the weights of the two processes are apart after five steps."""
    torch.manual_seed(0)
    net = DistributedDataParallel(Net(), find_unused_parameters=unused)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    own = torch.Generator().manual_seed(dist.get_rank())
    for _ in range(5):
        x = torch.randn(8, 4, generator=own)
        a, b = net(x)
        la, lb = (a - x[:, :1]).square().mean(), (b - x[:, 1:2]).square().mean()
        optimizer.zero_grad()
        for loss in calls(la, lb):
            loss.backward(retain_graph=True)
        optimizer.step()
    weights = torch.cat([p.detach().flatten() for p in net.parameters()])
    each = [torch.empty_like(weights) for _ in range(2)]
    dist.all_gather(each, weights)
    return float((each[0] - each[1]).abs().max())


dist.init_process_group("gloo")
found = [
    differ(lambda la, lb: [la + lb], False),
    differ(lambda la, lb: [la + lb, 0.1 * la], False),
    differ(lambda la, lb: [la + lb, 0.1 * la], True),
]
try:
    differ(lambda la, lb: [la, lb], False)
    raised = ""
except RuntimeError as error:
    raised = str(error)
if dist.get_rank() == 0:
    print("one backward(), two, two with find_unused:", found, "| la, then lb:", raised[:48])
sys.exit(not (found[0] == 0 and found[1] > 0.01 and found[2] > 0.01 and "ready only once" in raised))
PY
OMP_NUM_THREADS=1 "$folder/venv/bin/torchrun" --nproc-per-node 2 "$folder/train.py"
