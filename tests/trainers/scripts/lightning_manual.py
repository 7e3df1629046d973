"""Lightning, manual optimisation: two manual_backward, the gradient clipped by the trainer, one step."""

import logging
import warnings

import _by_hand
import lightning
import torch
from _data import Net, rows
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
_by_hand.clip_norm = 1.0


class MultiTask(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        x, kind, value = batch
        logits, predicted = self.net(x)
        kind_loss = F.cross_entropy(logits, kind)
        value_loss = F.mse_loss(predicted, value)
        optimizer.zero_grad()
        if _by_hand.on:
            _by_hand.tasks(self.net, kind_loss=kind_loss)
        self.manual_backward(kind_loss, retain_graph=True)
        if _by_hand.on:
            _by_hand.tasks(self.net, value_loss=value_loss)
        self.manual_backward(value_loss)
        self.clip_gradients(optimizer, gradient_clip_val=1.0, gradient_clip_algorithm="norm")
        optimizer.step()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


lightning.seed_everything(0, verbose=False)
x, kind, value, _ = rows()
module = MultiTask()
trainer = lightning.Trainer(
    max_epochs=2,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, DataLoader(TensorDataset(x, kind, value), batch_size=16, shuffle=True))
_by_hand.finish(module.net)
