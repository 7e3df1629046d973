"""One training of a Hydra program, or many: a job for each combination.

dominance record -o trials/sweep hydra_train.py --multirun lr=0.1,0.01 model.width=8,16
dominance study trials
"""

import hydra
import torch
from omegaconf import DictConfig
from torch import nn

x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
price, stars = x[:, :1] * 2, (x[:, 1:2] > 0).float()


@hydra.main(version_base=None, config_path=None, config_name="config")
def train(config: DictConfig) -> None:
    torch.manual_seed(config.seed)
    trunk, heads = nn.Sequential(nn.Linear(8, config.model.width), nn.ReLU()), nn.Linear(config.model.width, 2)
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=config.lr)
    for _ in range(20):
        outputs = heads(trunk(x))
        price_loss = nn.functional.mse_loss(outputs[:, :1], price)
        stars_loss = nn.functional.binary_cross_entropy_with_logits(outputs[:, 1:], stars)
        loss = price_loss + stars_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


if __name__ == "__main__":
    from hydra.core.config_store import ConfigStore

    ConfigStore.instance().store(name="config", node={"lr": 0.01, "seed": 0, "model": {"width": 16}})
    train()
