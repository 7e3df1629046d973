#!/usr/bin/env bash
# lightning 2.6.6, EMAWeightAveraging(update_starting_at_epoch=E): the average starts with the very first step all the
# same. should_update() asks the step condition first, and that one holds for every step when update_starting_at_step is
# left out; all that the argument changes is one more update at the end of each epoch from E on (so a step there counts
# twice). One would expect, as the name says, no update before epoch E.
#
# Seen (lightning 2.6.6, torch 2.13.0; 5 epochs of 10 steps, E = 3): updates by epoch: [10, 10, 10, 11, 11]
#   expected: [0, 0, 0, 10, 10], or one at the end of each epoch from E on
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


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, index):
        return (self.weight - 1).square().sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Counts(lightning.Callback):
    """How often the average had been updated when each epoch was over."""

    def __init__(self, averaging):
        self.averaging, self.whole = averaging, []

    def on_train_epoch_end(self, trainer, module):
        self.whole.append(int(self.averaging._average_model.n_averaged))


averaging = EMAWeightAveraging(decay=0.9, update_starting_at_epoch=3)
counts = Counts(averaging)
off = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
trainer = lightning.Trainer(max_epochs=5, accelerator="cpu", callbacks=[averaging, counts], **off)
trainer.fit(Module(), torch.utils.data.DataLoader(torch.zeros(10, 1)))
by_epoch = [b - a for a, b in zip([0, *counts.whole], counts.whole)]
print("updates of the average by epoch, to start at epoch 3:", by_epoch)
assert by_epoch == [10, 10, 10, 11, 11]
PY
