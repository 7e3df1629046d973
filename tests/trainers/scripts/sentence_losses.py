"""sentence-transformers: two of its losses over one encoder in a plain loop."""

import os
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import _by_hand
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.losses import CosineSimilarityLoss, MultipleNegativesRankingLoss
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(0)


class Bag(nn.Module):
    """An encoder of word counts, in the form that the package takes."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 16), nn.Tanh(), nn.Linear(16, 8))

    def forward(self, features, **_):
        return {**features, "sentence_embedding": self.net(features["counts"])}

    def tokenize(self, texts, **_):
        return {"counts": torch.tensor([[float(t.count(chr(97 + i))) for i in range(20)] for t in texts])}


model = SentenceTransformer(modules=[Bag()], device="cpu")
similar, ranking = CosineSimilarityLoss(model), MultipleNegativesRankingLoss(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
for step in range(20):
    a, b, c = (torch.rand(8, 20) for _ in range(3))
    similarity_loss = similar([{"counts": a}, {"counts": b}], torch.rand(8))
    ranking_loss = ranking([{"counts": a}, {"counts": a + 0.1 * c}], None)
    loss = similarity_loss + ranking_loss
    if _by_hand.on:
        _by_hand.tasks(model, similarity_loss=similarity_loss, ranking_loss=ranking_loss)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step % 10 == 9:
        print(similarity_loss.item(), ranking_loss.item())
_by_hand.finish(model)
