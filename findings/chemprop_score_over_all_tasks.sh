#!/usr/bin/env bash
# chemprop 2.3.1, metrics of a model with several tasks: ROC, PRC, R2, accuracy and F1 are computed over all tasks'
# cells thrown together, not by task and then averaged. A model that has learned nothing but each task's base rate (or
# mean) tells the tasks apart, and that is counted as skill: a validation score near 1 where no molecule is told from
# another. It is what training logs, and what early stopping and the best checkpoint go by when they are given one of
# these. Tox21 and MoleculeNet, where such scores come from, average over tasks; so does chemprop's own MCC.
#
# Seen (chemprop 2.3.1, torch 2.13.0; 20,000 rows, labels that do not depend on the row, predictions that are base rate
# or mean plus noise):
#   two tasks with 5 % and 95 % positives:  AUROC 0.48 and 0.49, both 0.95
#   two tasks with means 100 and 0:         R2 0.00 and 0.00, both 1.00
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 lightning==2.6.6 chemprop==2.3.1
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from chemprop.nn.metrics import BinaryAUROC, R2Score

torch.manual_seed(0)
ROWS = 20_000


def score(kind, predictions, targets, tasks):
    metric = kind()
    mask = torch.ones(ROWS, len(tasks), dtype=torch.bool)
    metric.update(predictions[:, tasks], targets[:, tasks], mask)
    return float(metric.compute())


rates, means = torch.tensor([0.05, 0.95]), torch.tensor([100.0, 0.0])
labels = (torch.rand(ROWS, 2) < rates).float()
guesses = rates + 0.001 * torch.randn(ROWS, 2)
values = means + torch.randn(ROWS, 2)
constants = means.expand(ROWS, 2)
for kind, predictions, targets, nothing_learned in (
    (BinaryAUROC, guesses, labels, 0.5),
    (R2Score, constants, values, 0.0),
):
    first, second, both = (score(kind, predictions, targets, tasks) for tasks in ([0], [1], [0, 1]))
    print(f"{kind.__name__:12} task by task {first:.2f} and {second:.2f}; as one model's score {both:.2f}")
    assert abs(first - nothing_learned) < 0.05 and abs(second - nothing_learned) < 0.05
    assert both > 0.9
PY
