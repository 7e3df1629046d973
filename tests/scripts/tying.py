"""Weight tying: the embedding is the output layer too, and a layer is used twice in one forward."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(14)


class LanguageModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(15, 8)
        self.mix = nn.Linear(8, 8)
        self.decode = nn.Linear(8, 15, bias=False)
        self.decode.weight = self.embed.weight
        self.sentiment = nn.Linear(8, 2)

    def forward(self, words):
        hidden = self.mix(torch.tanh(self.mix(self.embed(words))))
        return self.decode(hidden), self.sentiment(hidden.mean(1))


model = LanguageModel()
optimizer = torch.optim.RAdam(model.parameters(), lr=1e-2)
keep(model=model, optimizer=optimizer)
for step in range(12):
    words = torch.randint(15, (6, 9))
    logits, mood = model(words)
    lm = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), words[:, 1:].flatten())
    sentiment = nn.functional.cross_entropy(mood, words[:, 0] % 2)
    loss = lm + sentiment
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, lm.item(), sentiment.item())
