#!/usr/bin/env bash
# grokfast-pytorch 0.0.11, GrokFastAdamW with a learning rate by group: weight decay is multiplied by the group's lr
# over the constructor's, and that one is its default / 3 (normalize_lr) where it is not given. So the usual list of
# groups, each with its lr and none outside, decays a weight by 300 * weight_decay at lr 1e-2: with weight_decay 0.01 a
# weight of 1 is -2 after one step of gradient 0, and training diverges, in silence. The /3 itself is not applied to
# the groups' own rates: the same number means a step three times as large there.
#
# Seen (grokfast-pytorch 0.0.11, torch 2.13.0; one step of gradient 0 on a weight of 1, weight_decay 0.01):
#   lr outside, 1e-4, 1e-3 or 1e-2: 0.99 each time   lr in the group, 1e-4: 0.97, 1e-3: 0.70, 1e-2: -2.00
#   first step of gradient 1, no decay, lr 1e-3: 0.00033 with the rate outside, 0.00100 with the same rate in the group
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 grokfast-pytorch==0.0.11
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import torch
from grokfast_pytorch import GrokFastAdamW


def weight_after(gradient, decay, outside=None, inside=None):
    weight = torch.nn.Parameter(torch.ones(1))
    group = {"params": [weight]} if inside is None else {"params": [weight], "lr": inside}
    rate = {} if outside is None else {"lr": outside}
    optimizer = GrokFastAdamW([group], weight_decay=decay, **rate)
    weight.grad = torch.full_like(weight, gradient)
    optimizer.step()
    return weight.item()


rates = (1e-4, 1e-3, 1e-2)
outside = [weight_after(0, 0.01, outside=lr) for lr in rates]
inside = [weight_after(0, 0.01, inside=lr) for lr in rates]
steps = [1 - weight_after(1, 0, outside=1e-3), 1 - weight_after(1, 0, inside=1e-3)]
print("one step of gradient 0, lr", rates, "outside:", outside, "in the group:", inside)
print("first step of gradient 1, lr 1e-3, outside and in the group:", steps)
assert all(abs(w - 0.99) < 1e-5 for w in outside)
assert all(abs(w - expected) < 1e-4 for w, expected in zip(inside, (0.97, 0.7, -2.0)))
assert abs(steps[1] / steps[0] - 3) < 1e-2
PY
