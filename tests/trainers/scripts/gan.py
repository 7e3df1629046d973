"""A GAN as tutorials train it: two backward() for the discriminator, then one for the generator, two optimizers."""

import _by_hand
import torch
from torch import nn

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))
discriminator = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1), nn.Sigmoid())
criterion = nn.BCELoss()
for_d = torch.optim.Adam(discriminator.parameters(), lr=2e-3, betas=(0.5, 0.999))
for_g = torch.optim.Adam(generator.parameters(), lr=2e-3, betas=(0.5, 0.999))
named = [(f"d.{n}", p) for n, p in discriminator.named_parameters()]
for_generator = [(f"g.{n}", p) for n, p in generator.named_parameters()]
for i in range(30):
    discriminator.zero_grad()
    real = torch.randn(16, 2) + 3
    label = torch.full((16,), 1.0)
    err_real = criterion(discriminator(real).view(-1), label)
    if _by_hand.on:
        _by_hand.tasks(named, err_real=err_real)
    err_real.backward()
    fake = generator(torch.randn(16, 4))
    label.fill_(0.0)
    err_fake = criterion(discriminator(fake.detach()).view(-1), label)
    if _by_hand.on:
        _by_hand.tasks(named, err_fake=err_fake)
    err_fake.backward()
    for_d.step()
    generator.zero_grad()
    label.fill_(1.0)
    err_generator = criterion(discriminator(fake).view(-1), label)
    if _by_hand.on:
        _by_hand.tasks(for_generator, err_generator=err_generator)
    err_generator.backward()
    for_g.step()
    if i % 10 == 9:
        print(err_real.item(), err_fake.item(), err_generator.item())
_by_hand.finish([*named, *for_generator])
