#!/usr/bin/env bash
# torch-uncertainty 0.13.0, SWA: the first of the averaged models counts twice. When it is copied the count is set to 1
# and then raised with every update, this one too; the second model is added with a third where a half is due, and so
# on. After n updates the first has weight 2 / (n + 1), the others 1 / (n + 1). It is the worst of them as a rule, and
# num_avgd_models says one more than there are. Stochastic weight averaging, which the class cites, is the plain mean.
#
# Seen (torch-uncertainty 0.13.0, torch 2.13.0; a weight that is 1 at the first update and 0 at the others: its average
# is the weight of the first), after 1, 2, 3, 4 and 9 updates:
#   this package                  1   0.667   0.5     0.4    0.2
#   torch's AveragedModel (1/n)   1   0.5     0.333   0.25   0.111
# (Only the method is loaded here: the package's other parts want torchvision and lightning.)
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
from torch.optim.swa_utils import AveragedModel  # noqa: E402
from torch_uncertainty.methods.swa import SWA  # noqa: E402

net = torch.nn.Linear(1, 1, bias=False)
one = torch.ones(1, 1)
wrapper, reference = SWA(net, cycle_start=0, cycle_length=1).eval(), AveragedModel(net)
found, mean = [], []
for epoch in range(9):
    torch.nn.init.constant_(net.weight, float(epoch == 0))
    wrapper.update_wrapper(epoch)
    reference.update_parameters(net)
    found.append(round(wrapper(one).item(), 3))
    mean.append(round(reference(one).item(), 3))
print("weight of the first model, by the number of updates:", found)
print("torch's AveragedModel:                             ", mean)
print("num_avgd_models after 9:", int(wrapper.num_avgd_models))
assert mean == [round(1 / n, 3) for n in range(1, 10)]
assert found == [1.0] + [round(2 / (n + 1), 3) for n in range(2, 10)]
assert int(wrapper.num_avgd_models) == 10
PY
