"""A policy with two rewards: which of them trains it?

In each of many states a policy chooses how to drive and which way, four of each, and gets a reward for speed by the
first choice and one for safety by the second. It is trained by policy gradient on the sum of their advantages, which is
one loss. The line with ``observe`` says what the advantage is the sum of; it does nothing when nobody
records:

    python -m dominance.examples.bandit
    dominance record -m dominance.examples.bandit

``--loud N`` gives N times as much for speed, ``--noisy N`` adds noise of that size to it; with ``--opposed`` what is
fast is unsafe.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn

from dominance import by_part, observe

STATE, ACTIONS, BATCH = 8, 4, 64


def train(
    *, loud: float = 1.0, noisy: float = 0.0, opposed: bool = False, steps: int = 600, seed: int = 0
) -> tuple[float, float]:
    """Train, and return the mean rewards for speed and for safety of the last hundred steps, without noise."""
    torch.manual_seed(seed)
    value = torch.randn(2, STATE, ACTIONS) / STATE**0.5
    policy = nn.Sequential(nn.Linear(STATE, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 2 * ACTIONS))
    optimizer = torch.optim.Adam(policy.parameters(), lr=3e-3)
    got: list[Tensor] = []
    for _ in range(steps):
        state = torch.randn(BATCH, STATE)
        chosen = torch.distributions.Categorical(logits=policy(state).unflatten(1, (2, ACTIONS)))
        action = chosen.sample()  # type: ignore[no-untyped-call]
        speed, safety = (state @ value).gather(2, action.T[..., None])[..., 0]
        safety = safety - 0.9 * speed if opposed else safety
        got.append(torch.stack([speed.mean(), safety.mean()]))
        speed = loud * speed + noisy * torch.randn(BATCH)
        parts = {"speed": speed - speed.mean(), "safety": safety - safety.mean()}
        likely = chosen.log_prob(action).sum(1)  # type: ignore[no-untyped-call]
        observe(at=likely, shares=by_part(**parts))
        loss = -(likely * (parts["speed"] + parts["safety"])).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    first, second = torch.stack(got[-100:]).mean(0).tolist()
    return first, second


def main() -> None:
    """Train it, and say what the policy gets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loud", type=float, default=1.0)
    parser.add_argument("--noisy", type=float, default=0.0)
    parser.add_argument("--opposed", action="store_true")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    speed, safety = train(**vars(args))
    print(f"speed {speed:.2f}, safety {safety:.2f}")


if __name__ == "__main__":
    main()
