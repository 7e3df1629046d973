#!/usr/bin/env bash
# torch 2.13.0, nn.TransformerEncoder in eval() under no_grad, with a padding mask: what it puts out at padded places
# depends on whether a default device is in force, also where that is the device that everything lies on anyway. Without
# one it takes its fast path, and padded places are 0; with one, which is a TorchFunctionMode, `has_torch_function` holds
# for every tensor, the fast path is given up in silence, and padded places are numbers like any others, as in training.
# A head that pools over the places (mean, max) is given other features: the same weights have another score once
# `torch.set_default_device("cpu")` stands somewhere. Any other function mode does the same.
#
# Seen (torch 2.13.0):
#   the same weights and input, largest entry at padded places:  0 without, 2.45 under torch.device("cpu")
#   mean over the places: differs by up to 0.69
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from torch import nn

torch.manual_seed(0)
encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
x = torch.randn(4, 7, 16)
padded = torch.arange(7) >= torch.tensor([[5], [4], [3], [5]])
with torch.no_grad():
    plain = encoder(x, src_key_padding_mask=padded)
    with torch.device("cpu"):
        under = encoder(x, src_key_padding_mask=padded)
print(f"kept places: the same to {(plain - under)[~padded].abs().max():.0e}")
print(f"padded places: at most {plain[padded].abs().max():.3g} without, {under[padded].abs().max():.3g} with")
print(f"mean over the places: differs by up to {(plain.mean(1) - under.mean(1)).abs().max():.2g}")
assert torch.allclose(plain[~padded], under[~padded], atol=1e-5)
assert not plain[padded].any() and under[padded].abs().max() > 1
assert (plain.mean(1) - under.mean(1)).abs().max() > 0.1
PY
