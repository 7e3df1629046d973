#!/usr/bin/env bash
# poutyne 1.19.0, ClipNorm with batches_per_step: what is clipped is not what is stepped along. With accumulation the
# gradient is a SUM over samples until just before the step, when it is divided by the number of samples; the callback
# clips before that division, and after every micro-batch anew. ClipNorm(p, 1.0) therefore lets through a gradient of
# norm 1/samples at most: the larger the effective batch, the smaller the step.
#
# Seen (torch 2.13.0; SGD, lr 1, micro-batches of 16, max_norm 1, a loss whose mean gradient has norm 3):
#   norm of the first step: 1.0 with batches_per_step=1, 0.0625/batches_per_step otherwise (2: 0.03125, 4: 0.015625)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 poutyne==1.19.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from poutyne import ClipNorm, Model
from torch.utils.data import DataLoader, TensorDataset


def first_step(batches_per_step):
    """Norm of the step that one effective batch leads to; the loss is -3 w, its gradient -3 for every sample."""
    net = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(net.weight)
    model = Model(net, torch.optim.SGD(net.parameters(), lr=1.0), lambda out, y: -3 * out.mean())
    rows = torch.ones(16 * batches_per_step, 1)
    clip = ClipNorm(net.parameters(), 1.0)
    model.fit_generator(
        DataLoader(TensorDataset(rows, rows), batch_size=16),
        epochs=1,
        batches_per_step=batches_per_step,
        callbacks=[clip],
        verbose=False,
    )
    return abs(net.weight.item())


steps = {k: first_step(k) for k in (1, 2, 4)}
for k, step in steps.items():
    print(f"batches_per_step={k}: a mean gradient of norm 3, clipped to 1, makes a step of {step:.6f}")
assert abs(steps[1] - 1) < 1e-4
assert abs(steps[2] - 1 / 32) < 1e-4 and abs(steps[4] - 1 / 64) < 1e-4
PY
