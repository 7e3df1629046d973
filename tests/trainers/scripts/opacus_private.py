"""opacus: PrivacyEngine makes model, optimizer and loader private; two losses summed."""

import warnings

import _by_hand
import torch
from _data import Net, rows
from opacus import PrivacyEngine
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
torch.manual_seed(0)
x, kind, value, _ = rows()
net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
loader = DataLoader(TensorDataset(x, kind, value), batch_size=32)
model, optimizer, loader = PrivacyEngine().make_private(
    module=net,
    optimizer=optimizer,
    data_loader=loader,
    noise_multiplier=0.5,
    max_grad_norm=1.0,
    noise_generator=torch.Generator().manual_seed(5),
    poisson_sampling=False,
)
for _epoch in range(2):
    for x, kind, value in loader:
        optimizer.zero_grad()
        logits, predicted = model(x)
        kind_loss = F.cross_entropy(logits, kind)
        value_loss = F.mse_loss(predicted, value)
        (kind_loss + value_loss).backward()
        optimizer.step()
    print(kind_loss.item(), value_loss.item())
_by_hand.finish(net)
