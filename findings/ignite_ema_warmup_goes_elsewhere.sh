#!/usr/bin/env bash
# pytorch-ignite 0.5.5, EMAHandler with momentum_warmup: the warm-up writes engine.state.ema_momentum, whatever name
# the handler was attached under. Under another name, which attach() asks for when a trainer has two averages, the
# momentum that the average uses never warms up: it is the final one from the first step on, and the average stays near
# the untrained weights for 1/momentum steps. Beside a second handler that has the usual name, it is that one whose
# momentum is driven. Nothing is said: engine.state has both, and nobody looks at the wrong one.
#
# Seen (pytorch-ignite 0.5.5, torch 2.13.0; momentum from 0.5 to 0.01 in 20 steps, a weight that grows by 1 a step):
#   attached as "ema_momentum":      momentum 0.5 ... 0.01, average after 20 steps 12.93
#   attached as "teacher_momentum":  momentum 0.01 throughout, average 1.97
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 pytorch-ignite==0.5.5
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PY'
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EMAHandler

STEPS = 20


def run(name):
    """Momentum at the first and last step, and the average at the end, of a weight that goes 1, 2, ... 20."""
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(model.weight)
    trainer = Engine(lambda engine, batch: torch.nn.init.constant_(model.weight, engine.state.iteration))
    handler = EMAHandler(model, momentum=0.01, momentum_warmup=0.5, warmup_iters=STEPS)
    handler.attach(trainer, name=name)
    used = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: used.append(getattr(engine.state, name)))
    trainer.run(range(STEPS))
    return round(used[0], 4), round(used[-1], 4), round(handler.ema_model.weight.item(), 2)


found = {name: run(name) for name in ("ema_momentum", "teacher_momentum")}
for name, (first, last, average) in found.items():
    print(f"{name:18} momentum {first} at the first step, {last} at the last; average {average} of a weight at {STEPS}")
assert found == {"ema_momentum": (0.5, 0.01, 12.93), "teacher_momentum": (0.01, 0.01, 1.97)}
PY
