"""A bare tensor of two numbers as the shared parameter: no module anywhere."""

import torch
from _keep import keep

x = torch.tensor([-8.5, 7.5], requires_grad=True)
optimizer = torch.optim.Adam([x], lr=1e-3)
keep(x=x, optimizer=optimizer)
for step in range(12):
    c1, c2 = torch.tanh(x[1] / 2).clamp(min=0), torch.tanh(-x[1] / 2).clamp(min=0)
    f1 = torch.log(torch.clamp((0.5 * (-x[0] - 7) - torch.tanh(-x[1])).abs(), min=5e-6)) + 6
    f2 = torch.log(torch.clamp((0.5 * (-x[0] + 3) + torch.tanh(-x[1]) + 2).abs(), min=5e-6)) + 6
    q1 = ((-x[0] + 7).square() + 0.1 * (-x[1] - 8).square()) / 10 - 20
    q2 = ((-x[0] - 7).square() + 0.1 * (-x[1] - 8).square()) / 10 - 20
    first = 0.1 * (c1 * f1 + c2 * q1)
    second = c1 * f2 + c2 * q2
    loss = first + second
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, x.tolist(), loss.item())
