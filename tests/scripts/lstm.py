"""An LSTM with its hidden state carried over, losses in a dict, gradient clipping by norm."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(2)
lstm = nn.LSTM(4, 12, num_layers=2, dropout=0.2, batch_first=True)
heads = nn.ModuleDict({"next": nn.Linear(12, 4), "length": nn.Linear(12, 1)})
parameters = list(lstm.parameters()) + list(heads.parameters())
optimizer = torch.optim.RMSprop(parameters, lr=3e-3, momentum=0.5, centered=True)
keep(lstm=lstm, heads=heads, optimizer=optimizer)

state = None
for step in range(12):
    sequence = torch.randn(5, 7, 4)
    output, state = lstm(sequence, state)
    state = tuple(s.detach() for s in state)
    losses = {
        "next": (heads["next"](output[:, :-1]) - sequence[:, 1:]).square().mean(),
        "length": (heads["length"](output[:, -1]) - sequence.norm(dim=(1, 2))[:, None]).square().mean(),
    }
    optimizer.zero_grad()
    sum(losses.values()).backward()
    norm = nn.utils.clip_grad_norm_(parameters, 0.5)
    optimizer.step()
    print(step, {name: loss.item() for name, loss in losses.items()}, norm.item())
