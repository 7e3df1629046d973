"""An actor-critic after each episode: policy and value losses of all its steps, stacked and summed."""

import _by_hand
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine = nn.Linear(4, 16)
        self.action_head = nn.Linear(16, 2)
        self.value_head = nn.Linear(16, 1)

    def forward(self, x):
        x = F.relu(self.affine(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = torch.optim.Adam(model.parameters(), lr=3e-2)
for episode in range(20):
    state, saved, rewards = torch.randn(4), [], []
    for _ in range(10):
        probabilities, state_value = model(state)
        chosen = torch.distributions.Categorical(probabilities)
        action = chosen.sample()
        saved.append((chosen.log_prob(action), state_value))
        rewards.append(float(action.item() == (state.sum() > 0)))
        state = torch.randn(4)
    returns, R = [], 0.0
    for r in reversed(rewards):
        R = r + 0.9 * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + 1e-6)
    policy_losses, value_losses = [], []
    for (log_prob, value), R in zip(saved, returns, strict=True):
        advantage = R - value.item()
        policy_losses.append(-log_prob * advantage)
        value_losses.append(F.smooth_l1_loss(value, R.reshape(1)))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    if _by_hand.on:
        _by_hand.tasks(model, policy_losses=sum(policy_losses), value_losses=sum(value_losses))
    loss.backward()
    optimizer.step()
    if episode % 5 == 4:
        print(episode, loss.item(), sum(rewards))
_by_hand.finish(model)
