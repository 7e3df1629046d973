"""pytorch-metric-learning: a miner and its loss beside a classifier's, or its MultipleLosses over one embedding."""

import sys

import _by_hand
import _data
import torch
from pytorch_metric_learning import losses, miners
from torch import nn

torch.manual_seed(0)
x, kind, value, _ = _data.rows()
net = _data.Net()
several = losses.MultipleLosses([losses.ContrastiveLoss(), losses.NTXentLoss(temperature=0.5)], weights=[1.0, 0.2])
metric, miner = losses.TripletMarginLoss(margin=0.2), miners.MultiSimilarityMiner()
optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
for i in range(24):
    rows = torch.arange(32) + 32 * (i % 10)
    embeddings = net.trunk(x[rows])
    optimizer.zero_grad()
    if "multiple" in sys.argv:
        loss = several(embeddings, kind[rows])
        if _by_hand.on:
            one, two = several.losses
            first, second = one(embeddings, kind[rows]), two(embeddings, kind[rows])
            _by_hand.tasks(net, ContrastiveLoss=first, NTXentLoss=0.2 * second)
    else:
        metric_loss = metric(embeddings, kind[rows], miner(embeddings, kind[rows]))
        class_loss = nn.functional.cross_entropy(net.kind(embeddings), kind[rows])
        loss = metric_loss + 0.5 * class_loss
        if _by_hand.on:
            _by_hand.tasks(net, metric_loss=metric_loss, class_loss=0.5 * class_loss)
    loss.backward()
    optimizer.step()
    if i % 8 == 7:
        print(loss.item())
_by_hand.finish(net)
