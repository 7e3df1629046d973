"""skorch: a NeuralNet whose get_loss sums two losses; gradient clipping as a callback."""

import _by_hand
import numpy as np
import torch
from _data import Net, rows
from skorch import NeuralNet
from skorch.callbacks import GradientNormClipping
from torch.nn import functional as F

_by_hand.clip_norm = 1.0


class MultiTask(NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        logits, predicted = y_pred
        kind_loss = F.cross_entropy(logits, y_true[:, 0].long())
        value_loss = F.mse_loss(predicted, y_true[:, 1])
        if _by_hand.on and training:
            _by_hand.tasks(self.module_, kind_loss=kind_loss, value_loss=value_loss)
        return kind_loss + value_loss


torch.manual_seed(0)
x, kind, value, _ = rows()
target = np.stack([kind.numpy().astype("float32"), value.numpy()], 1)
net = MultiTask(
    Net,
    criterion=torch.nn.MSELoss,
    optimizer=torch.optim.Adam,
    lr=1e-2,
    max_epochs=3,
    batch_size=32,
    verbose=0,
    callbacks=[GradientNormClipping(1.0)],
)
net.fit(x.numpy(), target)
print(net.history[:, "train_loss"])
_by_hand.finish(net.module_)
