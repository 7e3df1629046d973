"""Lightning, automatic optimisation: training_step returns the sum. ARGS: precision, accumulation, clipping."""

import argparse
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
parser = argparse.ArgumentParser()
parser.add_argument("--precision", default="32-true")
parser.add_argument("--accumulate", type=int, default=1)
parser.add_argument("--clip", type=float)
args = parser.parse_args()
_by_hand.clip_norm = args.clip


class MultiTask(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = Net()

    def training_step(self, batch, batch_idx):
        x, kind, value = batch
        logits, predicted = self.net(x)
        kind_loss = F.cross_entropy(logits, kind)
        value_loss = F.mse_loss(predicted, value)
        if _by_hand.on:
            share = 1 / args.accumulate
            _by_hand.tasks(self.net, kind_loss=kind_loss * share, value_loss=0.5 * value_loss * share)
        loss = kind_loss + 0.5 * value_loss
        self.log_dict({"kind": kind_loss, "value": value_loss})
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)}


lightning.seed_everything(0, verbose=False)
x, kind, value, _ = rows()
module = MultiTask()
trainer = lightning.Trainer(
    max_epochs=2,
    accelerator="cpu",
    precision=args.precision,
    accumulate_grad_batches=args.accumulate,
    gradient_clip_val=args.clip,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(module, DataLoader(TensorDataset(x, kind, value), batch_size=16, shuffle=True))
print({name: round(float(metric), 6) for name, metric in trainer.callback_metrics.items()})
_by_hand.finish(module.net)
