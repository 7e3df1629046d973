"""Frozen parameters, thawed mid-training and given to the optimizer as a new group; one parameter that nothing uses."""

import torch
from _keep import keep
from torch import nn

torch.manual_seed(15)
backbone = nn.Sequential(nn.Linear(6, 10), nn.ReLU())
neck = nn.Linear(10, 10)
pose, mask = nn.Linear(10, 2), nn.Linear(10, 1)
unused = nn.Linear(3, 3)
backbone.requires_grad_(False)
trained = [*neck.parameters(), *pose.parameters(), *mask.parameters(), *unused.parameters()]
optimizer = torch.optim.SGD(trained, lr=0.05, momentum=0.8, dampening=0.1)
keep(backbone=backbone, neck=neck, pose=pose, mask=mask, unused=unused, optimizer=optimizer)
for step in range(14):
    if step == 5:
        backbone.requires_grad_(True)
        optimizer.add_param_group({"params": backbone.parameters(), "lr": 0.005})
    if step == 10:
        neck.bias.requires_grad_(False)
        neck.bias.grad = None
    x = torch.randn(16, 6)
    features = neck(backbone(x)).tanh()
    pose_loss = (pose(features) - x[:, :2]).square().mean()
    mask_loss = nn.functional.binary_cross_entropy_with_logits(mask(features)[:, 0], (x[:, 2] > 0).float())
    loss = pose_loss + 3 * mask_loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, pose_loss.item(), mask_loss.item())
