"""Dense embeddings with max_norm (renormalised in place during the forward), Adagrad."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(5)
users, items = nn.Embedding(25, 6, max_norm=1.0), nn.Embedding(40, 6)
bias = nn.Parameter(torch.zeros(2))
optimizer = torch.optim.Adagrad([*users.parameters(), *items.parameters(), bias], lr=0.1)
keep(users=users, items=items, bias=bias, optimizer=optimizer)

for step in range(12):
    user, item = torch.randint(25, (32,)), torch.randint(40, (32,))
    product = users(user) * items(item)
    rating = (product.sum(1) + bias[0] - (user + item) % 5).square().mean()
    click = nn.functional.softplus(-(product[:, :3].sum(1) + bias[1]) * (1 - 2.0 * (user % 2))).mean()
    loss = 0.1 * rating + click
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, rating.item(), click.item())
