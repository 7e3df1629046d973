#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, Lookahead(pullback_momentum="reset" or "pullback"): around Adam and its kin it does nothing.
# What is reset is the state entry "momentum_buffer", which SGD has and Adam (exp_avg) has not; the entry is made, and
# nobody reads it. Around SGD the three settings train differently; around AdamW they are the same to the bit, and no
# word is said.
#
# Seen (pytorch_optimizer 4.1.0, torch 2.13.0; 20 steps on a quadratic, k = 2): weights after "none", "reset",
# "pullback"
#   SGD with momentum: three results     AdamW, Adam, NAdam, RAdam: one, to the bit
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" -W error - <<'PY'
import torch
from pytorch_optimizer import Lookahead
from torch.optim import SGD, Adam, AdamW, NAdam, RAdam

SETTINGS = ("none", "reset", "pullback")


def train(kind, setting, **options):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = Lookahead(kind([weight], lr=0.05, **options), k=2, pullback_momentum=setting)
    for _ in range(20):
        optimizer.zero_grad()
        (weight - torch.tensor([3.0, -2.0, 5.0])).square().sum().backward()
        optimizer.step()
    return tuple(weight.tolist())


results = {kind.__name__: {train(kind, s) for s in SETTINGS} for kind in (AdamW, Adam, NAdam, RAdam)}
results["SGD"] = {train(SGD, s, momentum=0.9) for s in SETTINGS}
print("different results of", SETTINGS, {name: len(found) for name, found in results.items()})
assert len(results.pop("SGD")) == 3
assert all(len(found) == 1 for found in results.values())
PY
