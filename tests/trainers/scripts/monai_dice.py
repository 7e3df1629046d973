"""MONAI: DiceCELoss, which adds up two losses of its own, over a small UNet."""

import _by_hand
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet

torch.manual_seed(0)
net = UNet(spatial_dims=2, in_channels=1, out_channels=3, channels=(4, 8, 8), strides=(2, 2), norm="instance")
criterion = DiceCELoss(to_onehot_y=True, softmax=True, lambda_dice=1.0, lambda_ce=0.5)
optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3)
for i in range(12):
    images = torch.randn(4, 1, 16, 16)
    labels = (images > 0).long() + (images > 1).long()
    optimizer.zero_grad()
    outputs = net(images)
    loss = criterion(outputs, labels)
    if _by_hand.on:
        dice, ce = criterion.dice(outputs, labels), criterion.ce(outputs, labels)
        _by_hand.tasks(net, dice_loss=dice, ce_loss=0.5 * ce)
    loss.backward()
    optimizer.step()
    if i % 6 == 5:
        print(loss.item())
_by_hand.finish(net)
