#!/usr/bin/env bash
# pytorch-widedeep 1.7.0, losses of several targets, what a target weighs:
#  * MultiTargetClassificationLoss(weights=...): the weights are used only where one of the targets has more than two
#    classes. Among binary targets alone they are taken, their number is checked, and nothing is multiplied: a target of
#    weight 0 is trained as before.
#  * reduction="sum" of MultiTargetRegressionLoss is documented as a sum over the targets of each one's loss, and "NOT
#    the same" as the reduction of MSELoss. It is that one, a sum over rows too: the gradient, the step under SGD and
#    when clipping bites go with the size of the batch. The same word in MultiTargetClassificationLoss does what is
#    said.
#
# Seen (pytorch-widedeep 1.7.0, torch 2.13.0):
#   two binary targets, weights 1 and 0: norms of the gradients equal; with a target of three classes beside them, 0
#   reduction="sum", 2 targets, error 1: loss 8 for 4 rows, 800 for 400
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
from pytorch_widedeep.losses_multitarget import (  # noqa: E402
    MultiTargetClassificationLoss,
    MultiTargetRegressionLoss,
)


def gradients(columns, **options):
    """Norm of the gradient of each output, all 0, for labels that are 1 throughout."""
    outputs = torch.zeros(8, columns, requires_grad=True)
    MultiTargetClassificationLoss(**options)(outputs, torch.ones(8, 3)).backward()
    return [round(norm, 4) for norm in outputs.grad.norm(dim=0).tolist()]


plain, weighed = gradients(2, binary_config=[0, 1]), gradients(2, binary_config=[0, 1], weights=[1.0, 0.0])
beside = gradients(5, binary_config=[0, 1], multiclass_config=[(2, 3)], weights=[1.0, 0.0, 1.0])
print("two binary targets:", plain, "with weights 1 and 0:", weighed, "and a target of three classes:", beside)
assert weighed == plain and plain[0] == plain[1] > 0
assert beside[1] == 0 < beside[0]

summed = [MultiTargetRegressionLoss(reduction="sum")(torch.ones(n, 2), torch.zeros(n, 2)).item() for n in (4, 400)]
binary = MultiTargetClassificationLoss(binary_config=[0, 1], reduction="sum")
stays = [round(binary(torch.zeros(n, 2), torch.ones(n, 2)).item(), 4) for n in (4, 400)]
print('reduction="sum" for 4 and 400 rows: regression', summed, "classification", stays)
assert summed == [8, 800]
assert stays[0] == stays[1]
PY
