#!/usr/bin/env bash
# GradNorm's restoring force in two packages. The paper aims task i's gradient norm at mean(G) * r_i^alpha, where r_i is
# its loss ratio L_i(t)/L_i(0) over the tasks' mean: a task that lags behind is to be given MORE gradient, the more the
# larger alpha is.
#  * gradnorm-pytorch 0.2.3 aims at mean(G) * r_i^-alpha: the laggard is given LESS, the more the larger alpha is.
#  * torch-rechub 0.9.0 (utils.mtl.gradnorm) aims every task at mean(G) * mean(ratio)^alpha, one number: which task lags
#    has no influence at any alpha, and as losses fall (ratios below 1) all weights are pushed down together.
#
# Seen (torch 2.13.0; equal norms, task 0 at its first loss, task 1 at a tenth of it, alpha 1.5; direction in which a
# step of gradient descent moves each weight):
#   the paper          task 0 up, task 1 down
#   gradnorm-pytorch   task 0 down, task 1 up
#   torch-rechub       task 0 down, task 1 down
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 gradnorm-pytorch==0.2.3 torch-rechub==0.9.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from gradnorm_pytorch import GradNormLossWeighter
from torch_rechub.utils.mtl import gradnorm

ALPHA, FIRST = 1.5, torch.tensor([1.0, 10.0])


def losses(shared):
    """Both losses 1 and both gradients of norm 1; task 1 came down from 10, task 0 has not moved."""
    return shared[0] + 1, shared[1] + 1


def by_the_paper():
    shared, weights = torch.zeros(2, requires_grad=True), torch.ones(2, requires_grad=True)
    pairs = list(zip(weights, losses(shared)))
    norms = torch.stack([torch.autograd.grad(w * l, shared, create_graph=True)[0].norm() for w, l in pairs])
    ratio = torch.stack([l.detach() for _, l in pairs]) / FIRST
    target = norms.mean().detach() * (ratio / ratio.mean()) ** ALPHA
    return -torch.autograd.grad((norms - target).abs().sum(), weights)[0]


def in_gradnorm_pytorch():
    shared = torch.nn.Parameter(torch.zeros(2))
    weighter = GradNormLossWeighter(
        num_losses=2, learning_rate=1e-2, restoring_force_alpha=ALPHA, grad_norm_parameters=shared
    )
    weighter.initial_losses.copy_(FIRST)
    weighter.initted.copy_(torch.tensor(True))
    before = weighter.loss_weights.clone()
    weighter.backward(list(losses(shared)))
    return weighter.loss_weights - before


def in_rechub():
    shared = torch.zeros(2, requires_grad=True)
    weights = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    both = [loss.reshape(1) for loss in losses(shared)]
    gradnorm(both, weights, shared, FIRST.tolist(), ALPHA)
    return -torch.cat([w.grad for w in weights])


def words(move):
    return [("down", "stays", "up")[int(x.sign()) + 1] for x in move]


found = {f.__name__: words(f().detach()) for f in (by_the_paper, in_gradnorm_pytorch, in_rechub)}
for name, moves in found.items():
    print(f"{name:20} task 0 (lags behind) {moves[0]}, task 1 (far ahead) {moves[1]}")
assert found["by_the_paper"] == ["up", "down"]
assert found["in_gradnorm_pytorch"] == ["down", "up"]
assert found["in_rechub"] == ["down", "down"]
PY
