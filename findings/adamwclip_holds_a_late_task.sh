#!/usr/bin/env bash
# AdamWClip 0.1.4 ("AdamW with adaptive gradient clipping"): each gradient is clipped to three times the root of its own
# running second moment, which starts at zero. The steps without clipping that keep this from happening are counted by
# the optimizer, from its first step, not by weight: a weight that gets its first gradient later, as the head of a task
# that joins or a layer that is thawed, is clipped to 1e-10 at once, for a hundred steps and more, and from there may
# grow by less than a percent a step. It all but stands still, and .grad is what was clipped. Nothing is said.
#
# Seen (torch 2.13.0; gradients of 1 with noise 0.5, lr 1e-3, no weight decay, clip_grad_warm_up=10; the way of a weight
# in its first 300 steps, and its .grad at the 100th of them):
#   first gradient at step     AdamW     AdamWClip    .grad
#   1                          0.2688    0.2688       0.99
#   1001                       0.2687    0.0048       1.1e-10
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps AdamWClip==0.1.4
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from AdamWClip import AdamWClip


def way(optimizer, joins, **options):
    """The way of a weight over its first 300 steps, and its gradient after the 100th, beside one always trained."""
    torch.manual_seed(0)
    first, late = (torch.nn.Parameter(torch.zeros(1000)) for _ in range(2))
    stepper = optimizer([first, late], lr=1e-3, weight_decay=0.0, **options)
    for step in range(joins + 300):
        stepper.zero_grad()
        first.grad = 1 + 0.5 * torch.randn(1000)
        if step >= joins:
            late.grad = 1 + 0.5 * torch.randn(1000)
        stepper.step()
        if step == joins + 99:
            gradient = late.grad.mean().item()
    return -late.mean().item(), gradient


found = {}
for joins in (0, 1000):
    plain, clipped = way(torch.optim.AdamW, joins), way(AdamWClip, joins, clip_grad_warm_up=10)
    print(f"from step {joins + 1}: AdamW {plain[0]:.4f}, AdamWClip {clipped[0]:.4f}, .grad {clipped[1]:.2g}")
    found[joins] = plain[0], clipped[0]
assert found[0][1] > 0.9 * found[0][0]
assert found[1000][1] < 0.05 * found[1000][0]
PY
