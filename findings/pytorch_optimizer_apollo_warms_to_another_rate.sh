#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, ApolloDQN: during its warm-up of 500 steps the rate comes from the constructor's lr alone.
# The groups' own rates, and what a scheduler sets, are not looked at; where groups bring their rates and none is given
# outside, the warm-up goes to the default, 0.01. From step 500 on the group's rate counts: a trunk at lr 0 moves for
# 499 steps as far as a head at 1e-2 and then stands still. Nothing is said; param_groups show the rates that were
# asked for.
#
# Seen (pytorch_optimizer 4.1.0, torch 2.13.0; the same random gradients, lr in the group), way of a weight:
#   after 499 steps, lr 1e-2, 1e-4 and 0:  3.64 each, to the bit
#   from there to step 600:                moves at 1e-2, by 0 at 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_optimizer import ApolloDQN


def weights(lr):
    """The weight after 499 and after 600 steps."""
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = ApolloDQN([{"params": [weight], "lr": lr}])
    kept = {}
    for step in range(1, 601):
        weight.grad = torch.randn(4, generator=torch.Generator().manual_seed(step))
        optimizer.step()
        kept[step] = weight.detach().clone()
    return kept[499], kept[600]


found = {lr: weights(lr) for lr in (1e-2, 1e-4, 0.0)}
for lr, (warm, later) in found.items():
    print(f"lr {lr:<6} way after 499 steps {(warm - 1).norm():.2f}; from there to step 600 {(later - warm).norm():.4f}")
assert all(torch.equal(warm, found[0.0][0]) for warm, _ in found.values())
assert (found[0.0][0] - 1).norm() > 1
assert torch.equal(*found[0.0]) and not torch.equal(*found[1e-2])
PY
