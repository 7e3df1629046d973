"""peft: LoRA adapters on a small GPT-2 with two heads, a plain loop."""

import os
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
import _by_hand
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2Model

warnings.simplefilter("ignore")
torch.manual_seed(0)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.lm = GPT2Model(GPT2Config(vocab_size=30, n_positions=8, n_embd=16, n_layer=2, n_head=2))
        self.topic = nn.Linear(16, 3)
        self.score = nn.Linear(16, 1)

    def forward(self, tokens):
        hidden = self.lm(tokens).last_hidden_state[:, -1]
        return self.topic(hidden), self.score(hidden)[:, 0]


lora = LoraConfig(r=4, target_modules=["c_attn"], modules_to_save=["topic", "score"], fan_in_fan_out=True)
model = get_peft_model(TwoHeads(), lora)
optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=5e-3)
for step in range(20):
    tokens = torch.randint(0, 30, (16, 8))
    topic, score = model(tokens)
    topic_loss = F.cross_entropy(topic, tokens.sum(1) % 3)
    score_loss = F.mse_loss(score, tokens.float().mean(1))
    loss = topic_loss + 0.1 * score_loss
    if _by_hand.on:
        _by_hand.tasks(model, topic_loss=topic_loss, score_loss=0.1 * score_loss)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    if step % 10 == 9:
        print(topic_loss.item(), score_loss.item())
_by_hand.finish(model)
