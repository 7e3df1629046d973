"""torchmtl: MTLModel built from task and layer descriptions, its losses weighted and summed by the loop."""

import _by_hand
import _data
import torch
from torch import nn
from torchmtl import MTLModel

torch.manual_seed(0)
x, kind, value, _ = _data.rows()
trunk = {"name": "Trunk", "layers": nn.Sequential(nn.Linear(10, 16), nn.ELU())}
first = {
    "name": "Kind",
    "layers": nn.Linear(16, 3),
    "loss": nn.CrossEntropyLoss(),
    "loss_weight": torch.tensor(1.0),
    "anchor_layer": "Trunk",
}
second = {
    "name": "Value",
    "layers": nn.Linear(16, 1),
    "loss": nn.MSELoss(),
    "loss_weight": torch.tensor(0.5),
    "anchor_layer": "Trunk",
}
model = MTLModel([trunk, first, second], output_tasks=["Kind", "Value"])
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
for i in range(20):
    rows = torch.arange(32) + 32 * (i % 10)
    y_hat, l_funcs, l_weights = model(x[rows])
    kind_loss = l_weights[0] * l_funcs[0](y_hat[0], kind[rows])
    value_loss = l_weights[1] * l_funcs[1](y_hat[1][:, 0], value[rows])
    if _by_hand.on:
        _by_hand.tasks(model, kind_loss=kind_loss, value_loss=value_loss)
    loss = kind_loss + value_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if i % 10 == 9:
        print(loss.item())
_by_hand.finish(model)
