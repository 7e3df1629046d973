#!/usr/bin/env bash
# transformers 5.24.0, Trainer: whether a loss is divided by gradient_accumulation_steps hangs on **kwargs in the
# model's forward(). A forward that has them is taken to divide by the `num_items_in_batch` that it is given wherever
# batches have `labels`; if it does not (a wrapper that ignores or hands on what it does not know, as models with
# several heads do), nobody divides: the gradient, and under SGD the step, is k times as large, and clipping bites k
# times as early. Nothing is said; the logged grad_norm is what tells. The guide to accumulation promises the same
# update as of one large batch; `accepts_loss_kwargs = False` on the model brings that about.
#
# Seen (transformers 5.24.0, accelerate 1.15.0, torch 2.13.0; 8 rows, gradient 1 for each, SGD, lr 1, one step):
#   forward(x, labels)              accumulation 1: step 1.0   4: step 1.0
#   forward(x, labels, **kwargs)    accumulation 1: step 1.0   4: step 4.0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.24.0 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - 2> "$folder/log" <<'PY'
import contextlib
import io

import torch
from transformers import Trainer, TrainingArguments


class Strict(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, labels):
        return {"loss": -(self.weight * x).mean(), "logits": x}


class Open(Strict):
    def forward(self, x, labels, **kwargs):
        return super().forward(x, labels)


rows = [{"x": torch.ones(1), "labels": torch.zeros(1)} for _ in range(8)]


def step(model, accumulation):
    arguments = TrainingArguments(
        "out",
        per_device_train_batch_size=8 // accumulation,
        gradient_accumulation_steps=accumulation,
        max_steps=1,
        learning_rate=1.0,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        Trainer(model, arguments, train_dataset=rows).train()
    return model.weight.item()


found = {kind.__name__: [step(kind(), k) for k in (1, 4)] for kind in (Strict, Open)}
print("step from the same 8 rows, in 1 and in 4 micro-batches:", found)
assert found == {"Strict": [1.0, 1.0], "Open": [1.0, 4.0]}
PY
