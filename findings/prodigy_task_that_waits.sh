#!/usr/bin/env bash
# prodigyopt 1.1.2, Prodigy, where tasks take turns or a part is frozen for a while: the estimate of the distance, which
# is the learning rate, is a quotient of two sums over all weights. The numerator remembers what every weight gave to
# it; the denominator is made anew at each step, of the weights that have a gradient at this step. Where zero_grad()
# left None, as it does unless told otherwise, a weight that waits is in the one and not in the other: the quotient
# jumps, and since the larger estimate is kept, for good. The paper's sum is over all coordinates, and its estimate
# never passes the distance to the solution. With zeros for None (set_to_none=False) it does not.
#
# Seen (prodigyopt 1.1.2, torch 2.13.0; two tasks with weights of their own, absolute error, every weight 0.1 from where
# it should be; 300 steps in turns), d at the end:
#   loss of the second task, times    1        0.1      0.01     0.001
#   zero_grad(set_to_none=False)      0.0545   0.0659   0.0605   0.0586
#   zero_grad()                       0.0652   0.167    0.295    28.7     (and the weights up to 138 away)
# (pytorch_optimizer 4.1.0's Prodigy comes to the same numbers.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 prodigyopt==1.1.2
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from prodigyopt import Prodigy

FAR = 0.1


def train(scale, **zero):
    """The estimate of the distance after 300 steps, and how far the weights have been from the solution."""
    first, second = torch.nn.Parameter(torch.zeros(1000)), torch.nn.Parameter(torch.zeros(10))
    optimizer, worst = Prodigy([first, second]), 0.0
    for step in range(300):
        optimizer.zero_grad(**zero)
        loss = scale * (second - FAR).abs().mean() if step % 2 else (first - FAR).abs().mean()
        loss.backward()
        optimizer.step()
        worst = max(worst, *(float((weight.detach() - FAR).abs().max()) for weight in (first, second)))
    return optimizer.param_groups[0]["d"], worst


for scale in (1, 0.1, 0.01, 0.001):
    (zeros, near), (nones, away) = train(scale, set_to_none=False), train(scale)
    print(f"loss times {scale}: d {zeros:.4f} with zeros, {nones:.4f} with None; up to {near:.2f}, {away:.2f} away")
    assert zeros <= FAR and near < 0.5
    assert nones > zeros
    assert scale > 0.1 or nones > FAR
assert nones > 100 * FAR and away > 100 * FAR
PY
