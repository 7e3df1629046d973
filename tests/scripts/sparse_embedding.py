"""A sparse embedding under SparseAdam and dense heads under Adam: two optimizers, sparse gradients."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(4)
embedding = nn.EmbeddingBag(30, 8, mode="mean", sparse=True)
tower = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
click_head, buy_head = nn.Linear(8, 1), nn.Linear(8, 1)
sparse = torch.optim.SparseAdam(embedding.parameters(), lr=1e-2)
dense = torch.optim.Adam([*tower.parameters(), *click_head.parameters(), *buy_head.parameters()], lr=1e-2)
keep(embedding=embedding, tower=tower, click_head=click_head, buy_head=buy_head, sparse=sparse, dense=dense)

for step in range(12):
    items = torch.randint(30, (16, 3))
    clicked, bought = (items.sum(1) % 2).float(), (items.sum(1) % 3 == 0).float()
    hidden = tower(embedding(items))
    click = nn.functional.binary_cross_entropy_with_logits(click_head(hidden)[:, 0], clicked)
    buy = nn.functional.binary_cross_entropy_with_logits(buy_head(hidden)[:, 0], bought)
    loss = click + buy
    sparse.zero_grad()
    dense.zero_grad()
    loss.backward()
    sparse.step()
    dense.step()
    print(step, loss.item(), embedding.weight.grad.is_sparse)
