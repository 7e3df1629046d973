#!/usr/bin/env bash
# torch-rechub 0.9.0, MTLTrainer(adaptive_params={"method": "uwl"}): uncertainty weighting whose log-variances die. Each
# w starts at 0 and is used as clamp(w, min=0). A task whose loss is below 0.5 pulls its w below 0 with the first steps
# (that is where it should go: w = log(2 L)), from where the clamp passes no gradient: the weight stays exp(0) for good,
# whatever the loss does later. With weight_decay=0 the parameter never moves again. The method's weight follows the loss.
#
# Seen (torch 2.13.0; two classification tasks; task 0 is learned, then its labels are turned round, so that its loss
# rises to 5.1, where log(2 L) = 2.3): w of task 0 is -0.0976 when learned, and the same to the bit 200 steps later.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torch-rechub==0.9.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> "$folder/progress" <<'PY'
import contextlib
import io

import numpy as np
import torch
from torch_rechub.basic.features import DenseFeature
from torch_rechub.models.multi_task import SharedBottom
from torch_rechub.trainers import MTLTrainer
from torch_rechub.utils.data import DataGenerator

torch.manual_seed(0)
x = np.random.default_rng(0).normal(size=(640, 2)).astype("float32")


def loader(turned):
    easy = (x[:, 0] > 0) != turned
    y = np.stack([easy, x[:, 1] > 0], 1).astype(float)
    columns = {"a": x[:, 0], "b": x[:, 1]}
    return DataGenerator(columns, y).generate_dataloader(
        x_val=columns, y_val=y, x_test=columns, y_test=y, batch_size=64
    )[0]


kinds = ["classification", "classification"]
towers = [{"dims": [8]}, {"dims": [8]}]
model = SharedBottom([DenseFeature("a"), DenseFeature("b")], kinds, {"dims": [16]}, towers)
trainer = MTLTrainer(
    model, kinds, optimizer_params={"lr": 1e-2, "weight_decay": 0}, adaptive_params={"method": "uwl"}
)
before, after = loader(turned=False), loader(turned=True)
with contextlib.redirect_stdout(io.StringIO()):
    for _ in range(30):
        trainer.train_one_epoch(before)
    w = trainer.loss_weight[0].item()
    first = trainer.train_one_epoch(after)
    later = trainer.loss_weight[0].item()
    for _ in range(19):
        trainer.train_one_epoch(after)
print(f"w of task 0: {w:.4f} when learned; its loss then rose to {first[0]:.2f} (log(2 L) = {np.log(2 * first[0]):.2f})")
print(f"w of task 0 after 10 and 200 more steps: {later:.4f}, {trainer.loss_weight[0].item():.4f}")
assert w < 0 and first[0] > 0.6
assert later == w == trainer.loss_weight[0].item()
PY
