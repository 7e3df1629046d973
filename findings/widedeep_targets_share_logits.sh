#!/usr/bin/env bash
# pytorch-widedeep 1.7.0, MultiTargetClassificationLoss: a target of n classes takes the n outputs that begin at the
# target's own number, not those after the outputs of the targets before it. Two targets of 3 and 4 classes, with the 7
# outputs that they need, take outputs 0 to 2 and 1 to 4: two they share, and the last two nobody trains. A binary
# target after another of several classes sits on one of that one's outputs. Nothing is said, also not that it cannot be
# learned; the package's example has one target of several classes, at the end, where it happens to be right.
#
# Seen (pytorch-widedeep 1.7.0, torch 2.13.0; targets of 3 and 4 classes, 12 rows, every pair of classes once, each row
# with outputs of its own, so that all could be learned by heart; 1,000 steps of Adam):
#   outputs with a gradient          0 to 4 of 7, of these 1 and 2 from both targets
#   loss                             0.116, which is log(2) / 6: two of the pairs contradict themselves
#   loss with outputs apart          0.000
# (Only the losses are loaded here: the package's other parts want torchvision and much else.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/pip" install --quiet --no-deps pytorch-widedeep==1.7.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import importlib.util
import math
import sys
import types
import typing

import torch

whole = importlib.util.find_spec("pytorch_widedeep").submodule_search_locations[0]
for name, place in (("pytorch_widedeep", whole), ("pytorch_widedeep.utils", f"{whole}/utils")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [place]
sys.modules["pytorch_widedeep.wdtypes"] = names = types.ModuleType("pytorch_widedeep.wdtypes")
vars(names).update({name: getattr(typing, name) for name in ("List", "Tuple", "Union", "Literal", "Optional")})
names.Tensor = torch.Tensor
from pytorch_widedeep.losses_multitarget import MultiTargetClassificationLoss  # noqa: E402

targets = torch.cartesian_prod(torch.arange(3), torch.arange(4))
cross_entropy = torch.nn.functional.cross_entropy


def together(outputs):
    return MultiTargetClassificationLoss(multiclass_config=[(0, 3), (1, 4)])(outputs, targets)


def apart(outputs):
    return (cross_entropy(outputs[:, :3], targets[:, 0]) + cross_entropy(outputs[:, 3:], targets[:, 1])) / 2


def moved_by(loss):
    """The outputs that have a gradient."""
    outputs = torch.zeros(12, 7, requires_grad=True)
    loss(outputs).backward()
    return outputs.grad.abs().sum(0).nonzero().flatten().tolist()


def learned(loss):
    outputs = torch.zeros(12, 7, requires_grad=True)
    optimizer = torch.optim.Adam([outputs], lr=0.1)
    for _ in range(1000):
        optimizer.zero_grad()
        loss(outputs).backward()
        optimizer.step()
    return loss(outputs).item()


first = moved_by(lambda outputs: MultiTargetClassificationLoss(multiclass_config=[(0, 3)])(outputs, targets))
second = moved_by(lambda outputs: MultiTargetClassificationLoss(multiclass_config=[(1, 4)])(outputs, targets))
print("outputs with a gradient from the first target:", first, "second:", second, "both:", moved_by(together))
print(f"loss after 1,000 steps: {learned(together):.3f}; with outputs apart: {learned(apart):.3f}")
assert first == [0, 1, 2] and second == [1, 2, 3, 4] and moved_by(together) == [0, 1, 2, 3, 4]
assert moved_by(apart) == [0, 1, 2, 3, 4, 5, 6]
assert abs(learned(together) - math.log(2) / 6) < 0.001 and learned(apart) < 0.001

single = MultiTargetClassificationLoss(binary_config=[1], multiclass_config=[(0, 3)])
labels = torch.stack([targets[:, 0], targets[:, 1] % 2], 1)
outputs = torch.zeros(12, 4, requires_grad=True)
single(outputs, labels).backward()
moved = [round(size, 3) for size in outputs.grad.abs().sum(0).tolist()]
print("three classes, then yes or no, four outputs: sizes of the gradients", moved)
assert moved[3] == 0 < min(moved[:3])
PY
