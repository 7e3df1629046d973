#!/usr/bin/env bash
# keras 3.15.1 (torch backend), use_ema with gradient_accumulation_steps=k: the moving average is taken at every batch,
# also at the k - 1 between two steps, where the weights have not moved. Its momentum is ema_momentum^k by step: with
# 0.99 and 8 batches a step it is 0.92, an average over 13 steps where 100 were asked for. The learning rate and the
# decay do wait for the step. At the end of fit() the weights are overwritten with this average.
#
# Seen (keras 3.15.1, torch 2.13.0; a weight that grows by 1 a step, ema_momentum 0.9): after 200 steps the average is
# 9 steps behind without accumulation, as it should be (0.9 / 0.1), and 2.6 with 4 batches a step.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 keras==3.15.1
cd "$folder"
KERAS_BACKEND=torch "$folder/venv/bin/python" -W ignore - <<'PY'
import keras
import numpy as np
import torch

STEPS, MOMENTUM = 200, 0.9


def behind(batches_per_step):
    """By how many steps the average trails a weight that each step, of mean gradient -1 at lr 1, raises by 1."""
    weight = keras.Variable(np.zeros(1, "float32"))
    accumulation = batches_per_step if batches_per_step > 1 else None
    optimizer = keras.optimizers.SGD(
        1.0, use_ema=True, ema_momentum=MOMENTUM, gradient_accumulation_steps=accumulation
    )
    optimizer.build([weight])
    for _ in range(STEPS * batches_per_step):
        optimizer.apply([torch.full((1,), -1.0)], [weight])
    last = float(weight.value.detach())
    assert last == STEPS
    optimizer.finalize_variable_values([weight])
    return last - float(weight.value.detach())


found = {k: behind(k) for k in (1, 2, 4)}
print("batches a step, and how many steps the average is behind:", {k: round(lag, 3) for k, lag in found.items()})
assert abs(found[1] - MOMENTUM / (1 - MOMENTUM)) < 1e-2
assert abs(found[2] - 4.737) < 1e-2 and abs(found[4] - 2.617) < 1e-2
PY
