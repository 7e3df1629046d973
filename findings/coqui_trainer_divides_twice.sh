#!/usr/bin/env bash
# coqui-tts-trainer 0.4.0, use_accelerate=True with grad_accum_steps=k: the loss is divided by k twice, once by the
# trainer and once by accelerate, which was told k as well. The gradient that is stepped along is 1/k of the mean over
# the batch: the same configuration takes steps of 1/k the size as soon as accelerate is switched on, and clipping
# bites k times later. (Adam hides most of it; eps, clipping and weight decay do not.) Nothing is said.
#
# Seen (coqui-tts-trainer 0.4.0, accelerate 1.15.0, torch 2.13.0; 8 rows of gradient -1, SGD, lr 1, one step):
#   grad_accum_steps       1     2      4
#   plain                  1.0   1.0    1.0
#   use_accelerate=True    1.0   0.5    0.25
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 accelerate==1.15.0 coqui-tts-trainer==0.4.0
cd "$folder"
cat > program.py <<'PY'
import tempfile
from dataclasses import dataclass

import torch
from trainer import Trainer, TrainerArgs, TrainerConfig, TrainerModel


@dataclass
class Config(TrainerConfig):
    epochs: int = 1
    lr: float = 1.0
    optimizer: str = "SGD"
    run_eval: bool = False
    test_delay_epochs: int = 100


class Model(TrainerModel):
    """One weight; every row has the gradient -1."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.weight * x

    def train_step(self, batch, criterion):
        return {"model_outputs": batch["x"]}, {"loss": -self(batch["x"]).mean()}

    def eval_step(self, batch, criterion):
        return self.train_step(batch, criterion)

    @staticmethod
    def get_criterion():
        return torch.nn.L1Loss()

    def get_data_loader(self, config, *, is_eval=False, samples=None, verbose=True):
        return torch.utils.data.DataLoader([{"x": torch.ones(1)} for _ in range(8)], batch_size=config.batch_size)


def step(accumulation, accelerate):
    model = Model()
    arguments = TrainerArgs(use_accelerate=accelerate, grad_accum_steps=accumulation)
    Trainer(arguments, Config(batch_size=8 // accumulation), tempfile.mkdtemp(dir="."), model=model).fit()
    return round(model.weight.item(), 4)


found = {accelerate: [step(k, accelerate) for k in (1, 2, 4)] for accelerate in (False, True)}
print("RESULT 8 rows, in 1, 2 and 4 batches: plain", found[False], "with accelerate", found[True])
assert found == {False: [1.0, 1.0, 1.0], True: [1.0, 0.5, 0.25]}
PY
CUDA_VISIBLE_DEVICES="" "$folder/venv/bin/python" -W ignore program.py > log 2>&1 || { tail -n 5 log; exit 1; }
grep RESULT log
