#!/usr/bin/env bash
# heavyball 3.2.1 and pytorch-optimizer 4.1.0 count the steps of bias correction by parameter group, and not by weight as
# torch.optim does. Moments are kept by weight, and start at zero with its first gradient. So a weight that gets its first
# gradient later than others of its group, as the head of a task that joins or a layer that is thawed, has moments of one
# step, which are corrected as those of a thousand: with NAdam, RMSprop and LaProp its first step is 10 to 26 learning
# rates long, and with most others its first hundred are as long as 160 to 590 should be. Nothing is said. A group of its
# own from the start helps nothing; one that is added (add_param_group) when the weight gets its first gradient does.
#
# Seen (torch 2.13.0, defaults but lr 1e-3 and no weight decay; gradients of 1 with noise 0.5; of 1000 weights the mean
# first step and the way of the first 100, in learning rates, where the first gradient comes at step 1 and at step 1001):
#                                 first step      way of 100
#   first gradient at step           1   1001        1   1001
#   torch.optim AdamW              1.0    1.0     89.8   89.7
#   heavyball AdamW                1.0    1.0     89.7  145.2
#   heavyball NAdam                1.0   26.0     86.8  399.9
#   heavyball RMSprop              1.0    9.6     89.7  182.6
#   pytorch_optimizer AdamP        1.0    2.4     89.8  336.5
#   pytorch_optimizer Yogi         1.0    2.3     88.6  331.5
#   pytorch_optimizer LaProp       1.0   24.2     89.9  527.1
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 opt-einsum==3.4.0
"$folder/venv/bin/pip" install --quiet --no-deps heavyball==3.2.1 pytorch-optimizer==4.1.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import heavyball
import pytorch_optimizer
import torch

heavyball.utils.compile_mode = None


def way(optimizer, joins):
    """The mean first step of 1000 weights, and the way of their first 100 steps, in learning rates."""
    torch.manual_seed(0)
    first, late = (torch.nn.Parameter(torch.zeros(1000)) for _ in range(2))
    stepper = optimizer([first, late], lr=1e-3, weight_decay=0.0)
    at = []
    for step in range(joins + 100):
        stepper.zero_grad()
        first.grad = 1 + 0.5 * torch.randn(1000)
        if step >= joins:
            late.grad = 1 + 0.5 * torch.randn(1000)
        stepper.step()
        if step >= joins:
            at.append(-late.mean().item() / 1e-3)
    return at[0], at[-1]


found = {}
for package, kind in (
    (torch.optim, "AdamW"),
    (heavyball, "AdamW"),
    (heavyball, "NAdam"),
    (heavyball, "RMSprop"),
    (pytorch_optimizer, "AdamP"),
    (pytorch_optimizer, "Yogi"),
    (pytorch_optimizer, "LaProp"),
):
    soon, later = (way(getattr(package, kind), joins) for joins in (0, 1000))
    name = f"{package.__name__} {kind}"
    print(f"{name:30} first step {soon[0]:5.1f} {later[0]:5.1f}   way of 100 {soon[1]:6.1f} {later[1]:6.1f}")
    found[name] = later[0] / soon[0], later[1] / soon[1]
assert all(abs(ratio - 1) < 0.05 for ratio in found["torch.optim AdamW"])
assert found["heavyball NAdam"][0] > 8
assert found["heavyball RMSprop"][0] > 8
assert found["pytorch_optimizer LaProp"][0] > 8
assert min(found["heavyball AdamW"][1], found["pytorch_optimizer AdamP"][1], found["pytorch_optimizer Yogi"][1]) > 1.3
PY
