#!/usr/bin/env bash
# lightning 2.6.6, EMAWeightAveraging(update_starting_at_step=N): until step N the average holds the weights that the
# model had before training, and those are what the callback gives to validation, to checkpoints and, when training
# ends, to the model. A training shorter than N is lost without a word; val losses before N are those of step 0, so
# early stopping and "save the best" act on them. One would expect the trained weights until there is an average.
#
# Seen (lightning 2.6.6, torch 2.13.0; a weight that descends from 0 to 1, 10 steps an epoch, N = 30):
#   validated with, by epoch: [0.0, 0.0, 0.0, 0.9998, 1.0]
#   the model after 50 steps of N = 100: 0.0; the same without the callback: 1.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 lightning==2.6.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import logging

import lightning
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Descent(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.validated_with = []

    def training_step(self, batch, index):
        return (self.weight - 1).square().sum()

    def validation_step(self, batch, index):
        if index == 0 and not self.trainer.sanity_checking:
            self.validated_with.append(round(self.weight.item(), 4))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(*callbacks):
    module = Descent()
    loader = torch.utils.data.DataLoader(torch.zeros(10, 1))
    off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", callbacks=list(callbacks), **off)
    trainer.fit(module, loader, loader)
    return module


late = fit(EMAWeightAveraging(decay=0.5, update_starting_at_step=30))
lost = fit(EMAWeightAveraging(decay=0.5, update_starting_at_step=100))
plain = fit()
print("validated with, by epoch:", late.validated_with)
print("without the callback:    ", plain.validated_with)
print("after 50 steps, average to start at 100:", lost.weight.item(), "| without the callback:", plain.weight.item())
assert late.validated_with[:3] == [0.0, 0.0, 0.0] and late.validated_with[3] > 0.99
assert lost.weight.item() == 0.0 and plain.weight.item() > 0.99
PY
