"""Optuna looks for a learning rate and a weight; each trial is a training of its own.

dominance record -o trials/search optuna_search.py
dominance study trials
"""

import optuna
import torch
from torch import nn

x = torch.randn(256, 8, generator=torch.Generator().manual_seed(0))
price, stars = x[:, :1] * 2, (x[:, 1:2] > 0).float()


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-3, 1e-1, log=True)
    weight = trial.suggest_categorical("weight", [0.1, 1.0])
    torch.manual_seed(0)
    trunk, heads = nn.Sequential(nn.Linear(8, 16), nn.ReLU()), nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*trunk.parameters(), *heads.parameters()], lr=lr)
    for _ in range(20):
        outputs = heads(trunk(x))
        price_loss = nn.functional.mse_loss(outputs[:, :1], price)
        stars_loss = nn.functional.binary_cross_entropy_with_logits(outputs[:, 1:], stars)
        loss = price_loss + weight * stars_loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(price_loss + stars_loss)


if __name__ == "__main__":
    study = optuna.create_study(study_name="rates", sampler=optuna.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=20)
    print("best:", study.best_params)
