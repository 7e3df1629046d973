"""A LightningModule with two heads: which digit it is, and how much ink it took. Nothing in it knows of us."""

import argparse
import logging
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

warnings.simplefilter("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class TwoHeads(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU())
        self.digit = nn.Linear(48, 10)
        self.ink = nn.Linear(48, 1)

    def training_step(self, batch, batch_idx):
        x, digit, ink = batch
        z = self.trunk(x)
        digit_loss = F.cross_entropy(self.digit(z), digit)
        ink_loss = F.mse_loss(self.ink(z)[:, 0], ink)
        self.log_dict({"digit": digit_loss, "ink": ink_loss})
        return digit_loss + ink_loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=2e-3)


parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
args = parser.parse_args()
lightning.seed_everything(0, verbose=False)
pixels, digits = load_digits(return_X_y=True)
x = torch.tensor(pixels / 16, dtype=torch.float32)
data = TensorDataset(x, torch.tensor(digits), x.sum(1))  # the ink in pixels: 10 to 30
trainer = lightning.Trainer(
    max_epochs=args.epochs,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(TwoHeads(), DataLoader(data, batch_size=64, shuffle=True))
print({name: round(float(value), 4) for name, value in trainer.callback_metrics.items()})
