#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, SRMM: the first step multiplies every weight by 0.71, whatever the gradient and the learning
# rate. The weights are replaced by a moving average that begins at zero and has weight (step + 1)^-beta for the new
# ones; that is 1 at step 0, which would set it, but the count is raised before it is used: the first step has number 1
# and weight 2^-0.5. Nothing takes the factor back. A pretrained model is not what it was after one step at lr 0.
#
# Seen (pytorch_optimizer 4.1.0, torch 2.13.0; lr 0 and gradient 0): a weight of 1 is 0.7071 after 1 step and after 99
#   with beta 1: 0.5
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from pytorch_optimizer import SRMM


def weight_after(steps, **options):
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = SRMM([weight], lr=0.0, **options)
    for _ in range(steps):
        weight.grad = torch.zeros(1)
        optimizer.step()
    return round(weight.item(), 4)


found = {steps: weight_after(steps) for steps in (1, 2, 99)}
faster = weight_after(1, beta=1.0)
print("a weight of 1 at lr 0 and gradient 0, by the number of steps:", found, "with beta=1, after one:", faster)
assert set(found.values()) == {0.7071}
assert faster == 0.5
PY
