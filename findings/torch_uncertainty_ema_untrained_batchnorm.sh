#!/usr/bin/env bash
# torch-uncertainty 0.13.0, EMA: the averaged model, which is the one that is evaluated, keeps the running means and
# variances that its BatchNorm layers were made with, 0 and 1. The average is over parameters only; buffers are neither
# copied nor averaged, the averaged model never sees a batch in training mode, and the recomputation that the package's
# own routines run for SWA and SWAG is not there for EMA. A network with BatchNorm is trained well and validated at
# chance, which reads like a failed training; nothing is said. One would expect torch's AveragedModel(use_buffers=True),
# or update_bn.
#
# Seen (torch-uncertainty 0.13.0, torch 2.13.0; two classes by one of four inputs of mean 10, momentum 0.9; accuracy):
#   normalised by   trained model   averaged model   averaged weights with the trained model's statistics
#   LayerNorm       0.83            0.83             -
#   BatchNorm       0.99            0.49             0.98
# (With TUTrainer and ClassificationRoutine it is the same. Only the method is loaded here: the package's other parts
# want torchvision and lightning.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps torch-uncertainty==0.13.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import importlib.util
import sys
import types

whole = importlib.util.find_spec("torch_uncertainty").submodule_search_locations[0]
for name, place in (("torch_uncertainty", whole), ("torch_uncertainty.methods", f"{whole}/methods")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [place]
import torch  # noqa: E402
from torch_uncertainty.methods.ema import EMA  # noqa: E402

torch.manual_seed(0)
rows, held_out = torch.randn(2000, 4) * 3 + 10, torch.randn(1000, 4) * 3 + 10
labels, truth = (rows[:, 0] > 10).long(), (held_out[:, 0] > 10).long()


def accuracy(model):
    model.eval()
    with torch.no_grad():
        return (model(held_out).argmax(1) == truth).double().mean().item()


def train(norm):
    torch.manual_seed(1)
    body = torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)
    model = EMA(torch.nn.Sequential(norm(4), *body), momentum=0.9)
    optimizer = torch.optim.Adam(model.core_model.parameters(), lr=0.01)
    for _ in range(10):
        model.train()
        for batch in torch.randperm(2000).split(32):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(rows[batch]), labels[batch]).backward()
            optimizer.step()
            model.update_wrapper()
    return model


layer, batch = train(torch.nn.LayerNorm), train(torch.nn.BatchNorm1d)
models = {"LayerNorm": layer, "BatchNorm": batch}
found = {name: (accuracy(model.core_model), accuracy(model)) for name, model in models.items()}
kept = batch.ema_model[0].running_mean.tolist(), batch.ema_model[0].num_batches_tracked.item()
batch.ema_model[0].running_mean.copy_(batch.core_model[0].running_mean)
batch.ema_model[0].running_var.copy_(batch.core_model[0].running_var)
mended = accuracy(batch)
for name, (trained, averaged) in found.items():
    print(f"{name}: trained model {trained:.3f}, averaged model {averaged:.3f}")
print(f"running mean of the averaged model {kept[0]} after {kept[1]} batches; with the trained one's: {mended:.3f}")
assert kept == ([0.0] * 4, 0)
assert abs(found["LayerNorm"][0] - found["LayerNorm"][1]) < 0.03
assert found["BatchNorm"][0] > 0.95 and found["BatchNorm"][1] < 0.6 and mended > 0.95
PY
