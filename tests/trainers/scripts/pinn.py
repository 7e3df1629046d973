"""A PINN: residual, boundary and initial condition of the heat equation; Adam first, then L-BFGS with a closure."""

import _by_hand
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
inside = torch.rand(64, 2)
side = torch.cat([torch.zeros(16, 1), torch.ones(16, 1)])
edge = torch.cat([side, torch.rand(32, 1)], 1)
start = torch.cat([torch.rand(32, 1), torch.zeros(32, 1)], 1)


def losses():
    xt = inside.clone().requires_grad_(True)
    u = net(xt)
    (du,) = torch.autograd.grad(u.sum(), xt, create_graph=True)
    u_x, u_t = du[:, 0], du[:, 1]
    u_xx = torch.autograd.grad(u_x.sum(), xt, create_graph=True)[0][:, 0]
    pde_loss = (u_t - 0.1 * u_xx).square().mean()
    boundary_loss = net(edge).square().mean()
    initial_loss = (net(start)[:, 0] - torch.sin(torch.pi * start[:, 0])).square().mean()
    if _by_hand.on:
        _by_hand.tasks(net, pde_loss=pde_loss, boundary_loss=boundary_loss, initial_loss=10 * initial_loss)
    return pde_loss, boundary_loss, initial_loss


adam = torch.optim.Adam(net.parameters(), lr=1e-2)
for _ in range(20):
    adam.zero_grad()
    pde_loss, boundary_loss, initial_loss = losses()
    loss = pde_loss + boundary_loss + 10 * initial_loss
    loss.backward()
    adam.step()
print(loss.item())
_by_hand.first_evaluation_only = True
lbfgs = torch.optim.LBFGS(net.parameters(), lr=1, max_iter=5, line_search_fn="strong_wolfe")


def closure():
    lbfgs.zero_grad()
    pde_loss, boundary_loss, initial_loss = losses()
    loss = pde_loss + boundary_loss + 10 * initial_loss
    loss.backward()
    return loss


for _ in range(8):
    loss = lbfgs.step(closure)
print(loss.item())
_by_hand.finish(net)
