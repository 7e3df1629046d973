#!/usr/bin/env bash
# pytorch-scheduler 0.2.2, ChebyshevScheduler: documented as non-monotonic ("rather than monotonically decaying ... the
# oscillating pattern"), it is cosine annealing. The nodes cos(pi (2j + 1) / 2n) are used in the order of j, in which
# they fall; they are half a step of a cosine each. What Chebyshev step sizes are known for, the inverse of nodes on
# [mu, L] in an order that alternates large and small, is not there: who compares "chebyshev" with "cosine" compares
# one with itself.
#
# Seen (pytorch-scheduler 0.2.2, torch 2.13.0; 20 steps, lr 1): falls at every step; the mean of CosineAnnealingLR
# before and after each step, within 0.004
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch-scheduler==0.2.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_scheduler import ChebyshevScheduler
from torch.optim.lr_scheduler import CosineAnnealingLR

STEPS = 20


def rates(make, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler, found = make(optimizer), []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


chebyshev = rates(lambda o: ChebyshevScheduler(o, total_steps=STEPS), STEPS)
cosine = rates(lambda o: CosineAnnealingLR(o, STEPS), STEPS + 1)
between = [(a + b) / 2 for a, b in zip(cosine, cosine[1:])]
off = max(abs(a - b) for a, b in zip(chebyshev, between))
print("Chebyshev:", [round(x, 3) for x in chebyshev])
print("cosine:   ", [round(x, 3) for x in cosine])
print(f"from the middle of two values of the cosine: {off:.4f} at most")
assert all(later < earlier for earlier, later in zip(chebyshev, chebyshev[1:]))
assert off < 0.004
PY
