#!/usr/bin/env bash
# rotograd 0.1.6.0: the state_dict() of a RotoGrad model holds the rotations and nothing else. Backbone and heads are
# kept in plain lists, out of torch's sight, although the object is the model that is called, trained (train(), eval(),
# to()) and saved. A checkpoint made of it is loaded with "All keys matched successfully" into a network that stays
# untrained. (parameters() leaves them out too; for optimizers there is model_parameters(), for checkpoints nothing is
# said.)
#
# Seen (rotograd 0.1.6.0, geotorch 0.3.0, torch 2.13.0; 4-3 backbone, two 3-1 heads):
#   state_dict(): "base" and "original" of the two rotations, none of the 23 weights of backbone and heads
#   strict load into a fresh model: all keys matched, predictions differ
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 geotorch==0.3.0
"$folder/venv/bin/pip" install --quiet --no-deps rotograd==0.1.6.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from rotograd import RotoGrad
from torch import nn

torch.manual_seed(0)


def make():
    return RotoGrad(nn.Linear(4, 3), [nn.Linear(3, 1), nn.Linear(3, 1)], 3)


trained, fresh, x = make(), make(), torch.ones(1, 4)
weights = sum(p.numel() for p in trained.model_parameters())
saved = trained.state_dict()
loaded = fresh.load_state_dict(saved, strict=True)
a, b = (torch.cat(model.eval()(x)).detach().flatten() for model in (trained, fresh))
print("state_dict():", {name: tuple(value.shape) for name, value in saved.items()})
print(f"weights of backbone and heads: {weights}; loading: {loaded}")
print("predictions:", a.tolist(), "restored:", b.tolist())
assert weights == 23
assert all("rotation" in name for name in saved)
assert not (loaded.missing_keys or loaded.unexpected_keys)
assert (a - b).abs().min() > 0.1
PY
