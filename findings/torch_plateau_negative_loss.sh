#!/usr/bin/env bash
# torch 2.13.0, ReduceLROnPlateau on a loss below zero, as uncertainty weighting (exp(-s) L + s), a Gaussian likelihood
# or a negative score gives: the relative threshold (the one it has unless told otherwise) turns round. "Better" is
# below best * (1 - threshold), which lies ABOVE a negative best: a loss that stands still counts as progress at every
# epoch, so the learning rate is never reduced; one that slowly worsens does too, and `best` follows it upwards.
# Nothing is said. One would expect a plateau to be one on either side of zero (threshold_mode="abs" has that).
#
# Seen (torch 2.13.0; factor 0.1, patience 3, lr 1):
#   50 epochs at 10:  lr 1e-08      at -10:  lr 1
#   2,000 epochs, each 0.005 % worse than the last, from 10: best stays 10; from -10: lr 1, "best" -9.05
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau


def after(losses, **how):
    """The learning rate, and what is held for the best loss, after these losses."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = ReduceLROnPlateau(optimizer, factor=0.1, patience=3, **how)
    for loss in losses:
        scheduler.step(loss)
    return optimizer.param_groups[0]["lr"], scheduler.best


flat = {start: after([start] * 50) for start in (10.0, -10.0)}
worse = {s: after([s * (1 + rate) ** n for n in range(2000)]) for s, rate in ((10.0, 5e-5), (-10.0, -5e-5))}
absolute = after([-10.0] * 50, threshold_mode="abs")
for start in (10.0, -10.0):
    (still, _), (rate, best) = flat[start], worse[start]
    print(f"from {start:5}: flat, lr {still:.0e}; worsening, lr {rate:.0e}, best {best:.2f}")
print(f"from -10, flat, threshold_mode='abs': lr {absolute[0]:.0e}")
assert flat[10.0][0] < 1e-7 and absolute[0] < 1e-7 and worse[10.0] == flat[10.0]
assert flat[-10.0][0] == worse[-10.0][0] == 1.0
assert worse[-10.0][1] > -9.1
PY
