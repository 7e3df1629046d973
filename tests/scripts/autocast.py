"""Automatic mixed precision in bfloat16 on the CPU."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(9)
model = nn.ModuleDict({"trunk": nn.Sequential(nn.Linear(12, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU())})
model["colour"], model["shape"] = nn.Linear(24, 5), nn.Linear(24, 3)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
x = torch.randn(32, 12)
for step in range(12):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = model["trunk"](x)
        colour_logits, shape_logits = model["colour"](features), model["shape"](features)
        colour = nn.functional.cross_entropy(colour_logits, x[:, :5].argmax(1))
        shape = nn.functional.cross_entropy(shape_logits, x[:, :3].argmax(1))
        loss = colour + shape
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, colour_logits.dtype, loss.dtype, loss.item())
