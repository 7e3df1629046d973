"""diffusers: a small UNet trained to take noise away, with a loss that preserves a prior beside the instances' loss."""

import _by_hand
import torch
import torch.nn.functional as F
from diffusers import DDPMScheduler, UNet2DModel

torch.manual_seed(0)
unet = UNet2DModel(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(8, 8),
    norm_num_groups=4,
    down_block_types=("DownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "UpBlock2D"),
)
noise_scheduler = DDPMScheduler(num_train_timesteps=50)
optimizer = torch.optim.AdamW(unet.parameters(), lr=1e-3)
for i in range(10):
    latents = torch.randn(8, 1, 8, 8) * 0.1 + 1
    noise = torch.randn_like(latents)
    timesteps = torch.randint(0, 50, (8,))
    noisy_latents = noise_scheduler.add_noise(latents, noise, timesteps)
    model_pred = unet(noisy_latents, timesteps).sample
    model_pred, model_pred_prior = torch.chunk(model_pred, 2, dim=0)
    target, target_prior = torch.chunk(noise, 2, dim=0)
    instance_loss = F.mse_loss(model_pred.float(), target.float(), reduction="mean")
    prior_loss = F.mse_loss(model_pred_prior.float(), target_prior.float(), reduction="mean")
    loss = instance_loss + 0.5 * prior_loss
    if _by_hand.on:
        _by_hand.tasks(unet, instance_loss=instance_loss, prior_loss=0.5 * prior_loss)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(unet.parameters(), 100.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    if i % 5 == 4:
        print(loss.item())
_by_hand.finish(unet)
