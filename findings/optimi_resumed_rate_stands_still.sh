#!/usr/bin/env bash
# torch-optimi 0.3.3, gradient_release=True: after load_state_dict() the learning rate of the checkpoint is the one for
# the rest of the training, whatever a scheduler or the user sets. Each weight's state holds its parameter group, so
# that a weight can be stepped from within backward(); it is saved with the state, and what is loaded is a copy of the
# group as it was. param_groups, which the scheduler writes and loggers read, show another rate; nobody looks there.
# Weight decay and betas are those of the checkpoint too. The package calls gradient release a drop-in replacement that
# works with existing schedulers; before the checkpoint, and without gradient release, it does.
#
# Seen (torch-optimi 0.3.3, torch 2.13.0; AdamW, lr 0.01, times 0.1 every 5 steps, a checkpoint after the 3rd), what a
# weight moves by in steps 4 to 9, and the rate that param_groups show at the end:
#   uninterrupted                          0.01 0.01 0.001 0.001 0.001 0.001    0.001
#   resumed, without gradient release      0.01 0.01 0.001 0.001 0.001 0.001    0.001
#   resumed, gradient release              0.01 0.01 0.01  0.01  0.01  0.01     0.001
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 packaging==26.4 torch-optimi==0.3.3
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from optimi import AdamW, prepare_for_gradient_release


def make(release):
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = AdamW(model.parameters(), lr=0.01, weight_decay=0, gradient_release=release)
    if release:
        prepare_for_gradient_release(model, optimizer)
    return model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5, 0.1)


def ways(model, optimizer, scheduler, steps):
    """How far the weight moves in each step, of a gradient of 1; the loop is the one of the package's documentation."""
    moved = []
    for _ in range(steps):
        before = model.weight.item()
        model(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        moved.append(round(abs(model.weight.item() - before), 5))
    return moved


expected = [0.01] * 2 + [0.001] * 4
for release in (False, True):
    trained = make(release)
    ways(*trained, 3)
    torch.save([part.state_dict() for part in trained], "checkpoint.pt")
    uninterrupted = ways(*trained, 6)
    resumed = make(release)
    for part, state in zip(resumed, torch.load("checkpoint.pt", weights_only=False)):
        part.load_state_dict(state)
    after, shown = ways(*resumed, 6), resumed[1].param_groups[0]["lr"]
    print(f"gradient_release={release}: uninterrupted {uninterrupted}, resumed {after}, param_groups show {shown:g}")
    assert uninterrupted == expected and abs(shown - 0.001) < 1e-9
    assert after == ([0.01] * 6 if release else expected)
PY
