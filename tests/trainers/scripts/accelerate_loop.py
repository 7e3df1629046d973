"""accelerate: prepare, accumulate, backward, clip_grad_norm_, a scheduler."""

import warnings

import _by_hand
import torch
from _data import Net, rows
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
_by_hand.clip_norm = 1.0
set_seed(0)
accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
x, kind, value, _ = rows()
net = Net()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-2)
scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, 20)
loader = DataLoader(TensorDataset(x, kind, value), batch_size=8, shuffle=True)
model, optimizer, loader, scheduler = accelerator.prepare(net, optimizer, loader, scheduler)
for _epoch in range(2):
    for x, kind, value in loader:
        with accelerator.accumulate(model):
            logits, predicted = model(x)
            kind_loss = F.cross_entropy(logits, kind)
            value_loss = F.mse_loss(predicted, value)
            loss = kind_loss + value_loss
            if _by_hand.on:
                _by_hand.tasks(net, kind_loss=kind_loss / 2, value_loss=value_loss / 2)
            accelerator.backward(loss)
            if accelerator.sync_gradients:
                accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
    accelerator.print(kind_loss.item(), value_loss.item())
_by_hand.finish(net)
