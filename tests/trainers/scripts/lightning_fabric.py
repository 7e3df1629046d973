"""Lightning Fabric: a loop of one's own, backward() and clipping by Fabric."""

import warnings

import _by_hand
import torch
from _data import Net, rows
from lightning import Fabric, seed_everything
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
_by_hand.clip_norm = 2.0
seed_everything(0, verbose=False)
fabric = Fabric(accelerator="cpu", devices=1)
fabric.launch()
x, kind, value, _ = rows()
net = Net()
model, optimizer = fabric.setup(net, torch.optim.Adam(net.parameters(), lr=1e-2))
loader = fabric.setup_dataloaders(DataLoader(TensorDataset(x, kind, value), batch_size=16, shuffle=True))
for _epoch in range(2):
    for x, kind, value in loader:
        optimizer.zero_grad()
        logits, predicted = model(x)
        kind_loss = F.cross_entropy(logits, kind)
        value_loss = F.mse_loss(predicted, value)
        if _by_hand.on:
            _by_hand.tasks(net, kind_loss=kind_loss, value_loss=value_loss)
        fabric.backward(kind_loss + value_loss)
        fabric.clip_gradients(model, optimizer, max_norm=2.0)
        optimizer.step()
    print(kind_loss.item(), value_loss.item())
_by_hand.finish(net)
