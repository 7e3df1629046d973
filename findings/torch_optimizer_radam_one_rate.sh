#!/usr/bin/env bash
# torch-optimizer 0.3.0, RAdam: the learning rates of all groups but the first are ignored. The step size, learning rate
# included, is kept in a small table by step number, and that table is one list for all groups (it comes from the
# constructor's defaults): the first group fills it, the others read it. A trunk at lr 0 or 1e-5 beside a head at 1e-2
# is trained at 1e-2. Nothing is said; param_groups show the rates that were asked for.
#
# Seen (torch-optimizer 0.3.0, torch 2.13.0; 12 steps of the same gradients, first group at lr 1e-2):
#   the second group, at lr 1e-2, 1e-5 and 0, moves as far, to the bit; alone in its optimizer, at lr 0, by 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 torch-optimizer==0.3.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torch_optimizer import RAdam


def moved(*rates):
    """How far the last group's weight went, in 12 steps of the same gradients."""
    weights = [torch.nn.Parameter(torch.ones(4)) for _ in rates]
    optimizer = RAdam([{"params": [w], "lr": lr} for w, lr in zip(weights, rates)])
    for step in range(12):
        gradient = torch.randn(4, generator=torch.Generator().manual_seed(step))
        for weight in weights:
            weight.grad = gradient.clone()
        optimizer.step()
    return float((weights[-1].detach() - 1).norm())


beside = {lr: moved(1e-2, lr) for lr in (1e-2, 1e-5, 0.0)}
alone = {lr: moved(lr) for lr in (1e-2, 1e-5, 0.0)}
print("way of a weight, by its learning rate, as the second group:", beside)
print("alone in its optimizer:                                    ", alone)
assert len(set(beside.values())) == 1
assert alone[0.0] == 0 and alone[1e-5] < alone[1e-2] / 500
PY
