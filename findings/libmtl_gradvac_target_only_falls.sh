#!/usr/bin/env bash
# LibMTL 1.1.5, GradVac: the target similarity of two tasks only ever falls. Gradient Vaccine keeps a moving average of
# the cosine of each pair of gradients and raises a cosine that is below it, also among tasks that agree: that is what
# it adds to PCGrad. Here the average, which starts at 0, is updated only in the branch where the cosine is below it.
# Tasks that agree never raise it, so nothing is done for them at any time; one conflict lowers it, for good, and later
# conflicts that are milder than that are let through: less is done than in PCGrad, which removes every one.
#
# Seen (LibMTL 1.1.5, torch 2.13.0; beta 0.5; two unit gradients of a given cosine at each step):
#   target after 50 steps at cosine 0.9: 0.0 (the average: 0.9); a step at cosine 0.1 after them: left as it is
#   target after a step at -0.9 and 200 at 0.9: -0.45 (the average: 0.9); a conflict of -0.3 after them: left as it is
# (LibMTL's other parts import a module that torchvision no longer has; only the weighting is loaded here.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 scipy==1.17.1
"$folder/venv/bin/pip" install --quiet --no-deps LibMTL==1.1.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import importlib.util
import math
import sys
import types

import torch

whole = importlib.util.find_spec("LibMTL")
sys.modules["LibMTL"] = package = types.ModuleType("LibMTL")
package.__path__ = list(whole.submodule_search_locations)
from LibMTL.weighting.GradVac import GradVac  # noqa: E402


class Shared(GradVac):
    """What LibMTL's architectures give to a weighting: the shared parameters, and their gradients set to zero."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.task_num, self.device, self.rep_grad = 2, "cpu", False

    def get_share_params(self):
        return [self.weight]

    def zero_grad_share_params(self):
        self.weight.grad.zero_()


def train(cosines, beta=0.5):
    """The target, the true moving average, and how far the last combined gradient is from the plain sum."""
    model, average = Shared(), 0.0
    for cosine in cosines:
        gradients = torch.tensor([[1.0, 0.0], [cosine, math.sqrt(1 - cosine**2)]])
        model.weight.grad = None
        model.backward(gradients @ model.weight, beta=beta)
        average = (1 - beta) * average + beta * cosine
    return model.rho_T[0, 1].item(), average, float((model.weight.grad - gradients.sum(0)).norm())


for what, cosines in {
    "50 steps at 0.9": [0.9] * 50,
    "then one at 0.1": [0.9] * 50 + [0.1],
    "one at -0.9, 200 at 0.9": [-0.9] + [0.9] * 200,
    "then one at -0.3": [-0.9] + [0.9] * 200 + [-0.3],
}.items():
    target, average, moved = train(cosines)
    print(f"{what:24} target {target:5.2f}, moving average {average:5.2f}, last gradient moved by {moved:.3f}")
    assert moved == 0
assert train([0.9] * 50)[0] == 0
assert abs(train([-0.9] + [0.9] * 200 + [-0.3])[0] + 0.45) < 1e-6
assert train([-0.3])[2] > 0.3
PY
