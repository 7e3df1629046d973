#!/usr/bin/env bash
# ema-pytorch 0.8.3, PostHocEMA(update_every=k): the decay is that of one step, but it is applied once in k steps, so
# an average of relative width sigma_rel is another one: its profile t^gamma becomes about t^(gamma/k). The averages
# that are kept reach back k times as far, and synthesize_ema_model(), which solves for the profiles that gamma
# promises, mixes them with weights for others. The package's own example has update_every=10 ("to save on compute").
# One would expect what a coarser sampling of the same average gives: nearly the same weights.
#
# Seen (ema-pytorch 0.8.3, torch 2.13.0; a weight that goes from 0 to 1 in 2,000 equal steps, so that an average's
# value is the mean time it looks at, (gamma + 1)/(gamma + 2) by definition):
#   sigma_rel           0.05    0.28    0.15 (synthesized)
#   by definition       0.947   0.539   0.820
#   update_every=1      0.948   0.539   0.820
#   update_every=10     0.641   0.104   0.240
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 ema-pytorch==0.8.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import tempfile

import torch
from ema_pytorch import PostHocEMA
from ema_pytorch.post_hoc_ema import sigma_rel_to_gamma

KEPT, WANTED, STEPS = (0.05, 0.28), 0.15, 2000


def averages(update_every):
    model = torch.nn.Linear(1, 1, bias=False)
    ema = PostHocEMA(
        model,
        sigma_rels=KEPT,
        update_every=update_every,
        checkpoint_every_num_steps=100,
        checkpoint_folder=tempfile.mkdtemp(dir="."),
        checkpoint_dtype=torch.float32,
    )
    for step in range(1, STEPS + 1):
        torch.nn.init.constant_(model.weight, step / STEPS)
        ema.update()
    models = [*ema.ema_models, ema.synthesize_ema_model(sigma_rel=WANTED)]
    return [m.ema_model.weight.item() for m in models]


defined = [(g + 1) / (g + 2) for g in map(sigma_rel_to_gamma, (*KEPT, WANTED))]
found = {k: averages(k) for k in (1, 10)}
print("sigma_rel           ", *KEPT, f"{WANTED} (synthesized)")
print("by definition       ", [round(x, 3) for x in defined])
for k, values in found.items():
    print(f"update_every={k:<8}", [round(x, 3) for x in values])
assert all(abs(a - b) < 2e-3 for a, b in zip(found[1], defined))
assert all(a < b - 0.25 for a, b in zip(found[10], defined))
PY
