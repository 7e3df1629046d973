"""ignite: create_supervised_trainer with a loss function of two terms, accumulation over two batches."""

import _by_hand
import torch
from _data import Net, rows
from ignite.engine import create_supervised_trainer
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x, kind, value, _ = rows()
net = Net()


def criterion(output, target):
    logits, predicted = output
    kind_loss = F.cross_entropy(logits, target[:, 0].long())
    value_loss = F.mse_loss(predicted, target[:, 1])
    if _by_hand.on:
        _by_hand.tasks(net, kind_loss=kind_loss / 2, value_loss=0.1 * value_loss / 2)
    return kind_loss + 0.1 * value_loss


optimizer = torch.optim.RMSprop(net.parameters(), lr=1e-3)
trainer = create_supervised_trainer(net, optimizer, criterion, gradient_accumulation_steps=2)
loader = DataLoader(TensorDataset(x, torch.stack([kind.float(), value], 1)), batch_size=16, shuffle=True)
state = trainer.run(loader, max_epochs=2)
print(state.iteration, state.output)
_by_hand.finish(net)
