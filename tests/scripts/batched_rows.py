"""The rows of a Jacobian in one call: batched autograd.grad, torch.func, vmap."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(58)
net = nn.ModuleDict({"trunk": nn.Linear(6, 8), "one": nn.Linear(8, 1), "two": nn.Linear(8, 1)})
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
keep(net=net, optimizer=optimizer)
parameters = list(net.parameters())
for step in range(6):
    x = torch.randn(16, 6)
    z = net["trunk"](x).tanh()
    one_loss = (net["one"](z)[:, 0] - x.sum(1)).square().mean()
    two_loss = (net["two"](z)[:, 0] - x[:, 0]).abs().mean()
    losses = torch.stack([one_loss, two_loss])
    rows = torch.autograd.grad(losses, parameters, torch.eye(2), is_grads_batched=True, allow_unused=True)
    for parameter, row in zip(parameters, rows, strict=True):
        parameter.grad = row.mean(0)
    optimizer.step()
    jacobian = torch.autograd.functional.jacobian(lambda v: v.sin().cumsum(0), x[0], vectorize=True)
    hessian = torch.func.hessian(lambda v: v.sin().prod())(x[0])
    per_sample = torch.func.vmap(torch.func.grad(lambda v: v.square().sum()))(x)
    print(step, losses.tolist(), float(jacobian.sum()), float(hessian.sum()), float(per_sample.sum()))
