"""A character model on three kinds of text that any Python brings: code, prose, and tables of numbers.

One loss, and three sources in every batch, of which the DataLoader says the ``kind``. Watch what each of them makes of
the shared parameters:

    python -m dominance.examples.texts
    dominance record --groups kind -m dominance.examples.texts

``--rare KIND`` keeps one example in twenty of a kind; ``--noisy KIND`` shuffles its characters, so that there is hardly
anything to learn in them.
"""

from __future__ import annotations

import argparse
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


def examples(generator: torch.Generator, *, rare: str | None, noisy: str | None) -> list[dict[str, Tensor | str]]:
    """Stretches of text, and which kind each is of."""
    library = Path(sysconfig.get_path("stdlib"))
    code = "".join((library / name).read_text("utf-8") for name in ("argparse.py", "ast.py", "dataclasses.py"))
    numbers = (torch.rand(6000, 4, generator=generator) * 1000).tolist()
    tables = "\n".join(",".join(f"{number:.1f}" for number in row) for row in numbers)
    found: list[dict[str, Tensor | str]] = []
    for kind, text in zip(KINDS, (code, "\n".join(pydoc_data.topics.topics.values()), tables), strict=True):
        codes = torch.tensor([min(ord(character), CHARACTERS - 1) for character in text[: EACH * (LENGTH + 1)]])
        for stretch in torch.split(codes, LENGTH + 1)[: EACH // RARE if kind == rare else EACH]:
            mixed = stretch[torch.randperm(len(stretch), generator=generator)] if kind == noisy else stretch
            if len(mixed) > LENGTH:
                found.append({"text": mixed, "kind": kind})
    return found


def main() -> None:
    """Train it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rare", choices=KINDS)
    parser.add_argument("--noisy", choices=KINDS)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(args.seed)
    data = examples(generator, rare=args.rare, noisy=args.noisy)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for epoch in range(args.epochs):
        for batch in DataLoader(data, batch_size=32, shuffle=True, generator=generator):  # type: ignore[arg-type]
            scores = model(batch["text"][:, :-1])
            loss = F.cross_entropy(scores.flatten(0, 1), batch["text"][:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        print(f"epoch {epoch}: loss {loss.item():.2f}")


if __name__ == "__main__":
    main()
