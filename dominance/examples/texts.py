"""A character model on three kinds of text that any Python brings: code, prose, and tables of numbers.

One loss, and three sources in every batch, of which the DataLoader says the ``kind``. Watch what each of them makes of
the shared parameters:

    python -m dominance.examples.texts
    dominance record --groups kind -m dominance.examples.texts

``--rare KIND`` keeps one example in twenty of a kind; ``--noisy KIND`` draws its characters at random from those that
it has, so that there is next to nothing to learn in them.
"""

from __future__ import annotations

import argparse
import math
import pydoc_data.topics
import sysconfig
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

LENGTH = 64
CHARACTERS = 128
EACH = 1500
RARE = 20
KINDS = ("code", "prose", "tables")


class Model(nn.Module):
    """Each character from those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(CHARACTERS, 32)
        self.memory = nn.GRU(32, 96, batch_first=True)
        self.head = nn.Linear(96, CHARACTERS)

    def forward(self, text: Tensor) -> Tensor:
        scores: Tensor = self.head(self.memory(self.embed(text))[0])
        return scores


def readings(hours: int, generator: torch.Generator) -> str:
    """A table of temperatures, hour by hour: warmer by day, and a little chance."""
    chance = torch.randn(hours, generator=generator).tolist()
    lines = []
    for hour, noise in enumerate(chance):
        value = 15 + 6 * math.sin(2 * math.pi * (hour % 24) / 24) + noise
        lines.append(f"2024-{hour // 720 + 1:02}-{hour // 24 % 30 + 1:02},{hour % 24:02}:00,{value:.1f}")
    return "\n".join(lines)


def examples(generator: torch.Generator, *, rare: str | None, noisy: str | None) -> list[dict[str, Tensor | str]]:
    """Stretches of text, and which kind each is of."""
    library = Path(sysconfig.get_path("stdlib"))
    code = "".join((library / name).read_text("utf-8") for name in ("argparse.py", "ast.py", "dataclasses.py"))
    tables = readings(6000, generator)
    found: list[dict[str, Tensor | str]] = []
    for kind, text in zip(KINDS, (code, "\n".join(pydoc_data.topics.topics.values()), tables), strict=True):
        codes = torch.tensor([min(ord(character), CHARACTERS - 1) for character in text[: EACH * (LENGTH + 1)]])
        if kind == noisy:
            alphabet = torch.tensor(sorted(set(codes.tolist())))
            codes = alphabet[torch.randint(len(alphabet), codes.shape, generator=generator)]
        for stretch in torch.split(codes, LENGTH + 1)[: EACH // RARE if kind == rare else EACH]:
            if len(stretch) > LENGTH:
                found.append({"text": stretch, "kind": kind})
    return found


def train(*, rare: str | None = None, noisy: str | None = None, epochs: int = 3, seed: int = 0) -> list[float]:
    """Train, and return the last loss of each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    data = examples(generator, rare=rare, noisy=noisy)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    losses = []
    for _ in range(epochs):
        for batch in DataLoader(data, batch_size=32, shuffle=True, generator=generator):  # type: ignore[arg-type]
            scores = model(batch["text"][:, :-1])
            loss = F.cross_entropy(scores.flatten(0, 1), batch["text"][:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        losses.append(loss.item())
    return losses


def main() -> None:
    """Train it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rare", choices=KINDS)
    parser.add_argument("--noisy", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for epoch, loss in enumerate(train(**vars(args))):
        print(f"epoch {epoch}: loss {loss:.2f}")


if __name__ == "__main__":
    main()
