"""A small language model that is tuned by several rewards, or by several losses: which of them trains it?

It writes six tokens after a prompt. ``--mode grpo``: of each prompt it writes eight answers, and is trained by the
advantages of each within the group (Shao et al. 2024), of two rewards: one for every token that repeats the prompt
(``accuracy``), one for an answer that ends early (``brevity``); a third loss, ``kl``, holds it near where it began. The
advantage is the sum of the rewards' own, which the line with ``observe`` says; it does nothing when nobody records.
``--mode dpo``: of pairs of a better and a worse answer (Rafailov et al. 2023), beside supervised fine-tuning on the
better one.

    python -m dominance.examples.policy
    dominance record -m dominance.examples.policy
    dominance record -m dominance.examples.policy --mode dpo

``--brevity N`` counts that reward N times, ``--flat`` makes it the same for every answer, ``--kl N`` and ``--sft N``
weigh these losses.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dominance import by_part, observe


@dataclass(frozen=True)
class PolicyConfig:
    """Sizes, as a configuration file would have them: token 0 ends an answer."""

    vocabulary: int = 12
    width: int = 32
    prompt: int = 3
    length: int = 6
    prompts: int = 8
    group: int = 8


class Policy(nn.Module):
    """Each token from those before it."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.embed = nn.Embedding(config.vocabulary, config.width)
        self.memory = nn.GRU(config.width, config.width, batch_first=True)
        self.head = nn.Linear(config.width, config.vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) to logits of the tokens that follow, (batch, length, vocabulary)."""
        logits: Tensor = self.head(self.memory(self.embed(tokens))[0])
        return logits

    def log_likelihood(self, prompt: Tensor, answer: Tensor) -> Tensor:
        """(batch, length) of each token of the answer."""
        whole = torch.cat([prompt, answer], dim=1)
        logits = self(whole[:, :-1])[:, prompt.shape[1] - 1 :]
        return F.log_softmax(logits, dim=-1).gather(2, answer[..., None])[..., 0]

    @torch.no_grad()
    def write(self, prompt: Tensor, length: int) -> Tensor:
        """(batch, length) tokens, each drawn from what the policy says."""
        answer = prompt[:, :0]
        for _ in range(length):
            chance = self(torch.cat([prompt, answer], dim=1))[:, -1].softmax(-1)
            answer = torch.cat([answer, torch.multinomial(chance, 1)], dim=1)
        return answer


def rewards(prompt: Tensor, answer: Tensor) -> tuple[Tensor, Tensor]:
    """(batch,) the part of the tokens that repeat one of the prompt, and the part of them that end the answer."""
    repeats = (answer[..., None] == prompt[:, None]).any(-1).float().mean(1)
    return repeats, (answer == 0).float().mean(1)


def advantage(reward: Tensor, group: int) -> Tensor:
    """Each answer's reward against those of its group, in units of their spread."""
    each = reward.view(-1, group)
    return ((each - each.mean(1, keepdim=True)) / (each.std(1, keepdim=True) + 1e-4)).flatten()


def train(
    *,
    mode: str = "grpo",
    brevity: float = 1.0,
    flat: bool = False,
    kl: float = 0.05,
    sft: float = 1.0,
    steps: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Train, and return the mean rewards for accuracy and for brevity of what the policy then writes."""
    torch.manual_seed(seed)
    config = PolicyConfig()
    policy = Policy(config)
    start = copy.deepcopy(policy).requires_grad_(False)
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    for _ in range(steps):
        prompt = torch.randint(1, config.vocabulary, (config.prompts, config.prompt))
        optimizer.zero_grad()
        if mode == "grpo":
            loss = _grpo(policy, start, prompt.repeat_interleave(config.group, 0), config, brevity, kl, flat=flat)
        else:
            loss = _dpo(policy, start, prompt, config, sft)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    prompt = torch.randint(1, config.vocabulary, (256, config.prompt))
    first, second = (float(reward.mean()) for reward in rewards(prompt, policy.write(prompt, config.length)))
    return first, second


def _grpo(
    policy: Policy, start: Policy, prompt: Tensor, config: PolicyConfig, brevity: float, weight: float, *, flat: bool
) -> Tensor:
    answer = policy.write(prompt, config.length)
    accurate, brief = rewards(prompt, answer)
    brief = torch.zeros_like(brief) if flat else brief
    parts = {"accuracy": advantage(accurate, config.group), "brevity": brevity * advantage(brief, config.group)}
    each = policy.log_likelihood(prompt, answer)
    likely = each.sum(1)
    observe(at=likely, shares=by_part(**parts))
    reward = -(likely * (parts["accuracy"] + parts["brevity"])).mean()
    apart = start.log_likelihood(prompt, answer) - each
    kl = (apart.exp() - apart - 1).mean()  # never negative, and 0 on average where they are the same
    return reward + weight * kl


def _dpo(policy: Policy, start: Policy, prompt: Tensor, config: PolicyConfig, weight: float) -> Tensor:
    better = prompt.repeat(1, config.length // config.prompt)  # says the prompt again
    worse = torch.randint_like(better, 1, config.vocabulary)
    likely = policy.log_likelihood(prompt, better).sum(1)
    gain = likely - start.log_likelihood(prompt, better).sum(1)
    loss = policy.log_likelihood(prompt, worse).sum(1) - start.log_likelihood(prompt, worse).sum(1)
    dpo = -F.logsigmoid(0.1 * (gain - loss)).mean()
    sft = -likely.mean()
    return dpo + weight * sft


def main() -> None:
    """Train it, and say what the policy gets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("grpo", "dpo"), default="grpo")
    parser.add_argument("--brevity", type=float, default=1.0)
    parser.add_argument("--flat", action="store_true")
    parser.add_argument("--kl", type=float, default=0.05)
    parser.add_argument("--sft", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    accurate, brief = train(**vars(args))
    print(f"accuracy {accurate:.2f}, brevity {brief:.2f}")


if __name__ == "__main__":
    main()
