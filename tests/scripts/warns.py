"""Python's and torch's warnings on stderr; then warnings as errors: nothing around the script may warn in its place."""

import logging
import sys
import warnings

import torch
from _keep import keep
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
torch.manual_seed(44)
trunk, one, two = nn.Linear(5, 8), nn.Linear(8, 1), nn.Linear(8, 1)
optimizer = torch.optim.SGD([*trunk.parameters(), *one.parameters(), *two.parameters()], lr=0.05)
scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
scheduler.step()
keep(trunk=trunk, one=one, two=two, optimizer=optimizer)
for step in range(12):
    if step == 2:
        warnings.simplefilter("error")
        logging.getLogger().setLevel(logging.DEBUG)
    x = torch.randn(8, 5)
    h = trunk(x).relu()
    if step < 2:
        warnings.warn(f"step {step}", stacklevel=1)
        one_loss = nn.functional.mse_loss(one(h), x.sum(1))
    else:
        one_loss = nn.functional.mse_loss(one(h)[:, 0], x.sum(1))
    two_loss = nn.functional.mse_loss(two(h)[:, 0], x.prod(1))
    optimizer.zero_grad()
    (one_loss + two_loss).backward()
    optimizer.step()
    logging.info("step %d", step)
    print(step, one_loss.item(), two_loss.item())
print("done", file=sys.stderr)
