"""poutyne: Model.fit with a loss function over two outputs."""

import _by_hand
import torch
from _data import Net, rows
from poutyne import Model
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, kind, value, _ = rows()
net = Net()


def criterion(output, target):
    kind_loss = F.cross_entropy(output[0], target[:, 0].long())
    value_loss = F.l1_loss(output[1], target[:, 1])
    if _by_hand.on:
        _by_hand.tasks(net, kind_loss=kind_loss, value_loss=value_loss)
    return kind_loss + value_loss


model = Model(net, torch.optim.Adam(net.parameters(), lr=1e-2), criterion, batch_metrics=[], epoch_metrics=[])
loader = DataLoader(TensorDataset(x, torch.stack([kind.float(), value], 1)), batch_size=16)
history = model.fit_generator(loader, epochs=2, verbose=False)
print([epoch["loss"] for epoch in history])
_by_hand.finish(net)
