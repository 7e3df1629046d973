"""The diff that writes the advised method into a script applies, and the script then takes the method's own steps."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from forks import Forks

from dominance import open_run, verdict
from dominance.analyse.verdict.patch import by_method
from dominance.schema import TRAINING_LINES

HEAD = """
import math

import numpy as np
import torch
from torch import nn
torch.manual_seed(0)
generator = torch.Generator().manual_seed(1)
model = nn.ModuleDict(
    {"trunk": nn.Sequential(nn.Linear(8, 16), nn.Tanh()), "price": nn.Linear(16, 1), "stars": nn.Linear(16, 1)}
)
def losses_of(n=64, noise=0.0):
    x = torch.randn(n, 8, generator=generator)
    z = model["trunk"](x)
    target = torch.stack([30 * torch.sin(x[:, :4].sum(1)), torch.sin(x[:, 4:].sum(1))], 1)
    target[:, 0] += noise * torch.randn(n, generator=generator)
    return tuple((model[name](z) - target[:, k : k + 1]).square().mean() for k, name in enumerate(("price", "stars")))
"""
TAIL = """
torch.save([p.detach() for p in model.parameters()], "weights.pt")
"""

PLAIN = """
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)  # of all
for step in range(60):
    price_loss, stars_loss = losses_of()
    loss = price_loss + 0.5 * stars_loss
    optimizer.zero_grad()
    loss.backward()  # both
    torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
"""
IN_A_FUNCTION = """
from torch.optim import AdamW
def make():
    return AdamW(
        [{"params": model["trunk"].parameters(), "lr": 1e-3}, {"params": [*model["price"].parameters()]}],
        betas=(0.8, 0.99),
    )
class Trainer:
    def fit(self, optimizer):
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=60)
        for step in range(60):
            with torch.autocast("cpu", enabled=False):
                self.price, self.stars = losses_of()
                (0.5 * (self.price + self.stars * 2)).backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=False)
"""
IN_A_FUNCTION = IN_A_FUNCTION.replace(
    """                self.price, self.stars = losses_of()
                (0.5 * (self.price + self.stars * 2)).backward()
""",
    """                self.price, self.stars = losses_of()
                loss = 0.5 * (self.price + self.stars * 2)
            loss.backward()
""",
)
IN_A_FUNCTION += "Trainer().fit(make())\n"
IN_LINES = """
def train():
    rms = torch.optim.RMSprop(model.parameters(), 1e-3, alpha=0.9, weight_decay=0.1)
    for step in range(60):
        losses = dict(zip(("price_loss", "stars_loss"), losses_of()))
        total = sum(losses.values())
        rms.zero_grad()
        total.backward()
        rms.step()
train()
"""
ADDED_UP = """
optimizer = torch.optim.Adagrad(model.parameters(), lr=1e-2)
for step in range(60):
    losses = dict(zip(("price_loss", "stars_loss"), losses_of()))
    loss = 0
    for name, value in losses.items():
        loss += value
    optimizer.zero_grad(); loss.backward()
    optimizer.step()
"""
GRADIENTS = """
optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
def train():
    for step in range(60):
        price_loss, stars_loss = losses_of()
        model.zero_grad()
        (
            price_loss + stars_loss
        ).backward() if False else (price_loss + stars_loss).backward()
        optimizer.step()
train()
"""
GRADIENTS = GRADIENTS.replace(
    """        (
            price_loss + stars_loss
        ).backward() if False else (price_loss + stars_loss).backward()
""",
    """        (price_loss + stars_loss).backward()
""",
)
NOISY = PLAIN.replace("losses_of()", "losses_of(noise=300.0)")


def recorded(forks: Forks, folder: Path, text: str, *options: str, out: str = "run") -> None:
    (folder / "train.py").write_text(text, "utf-8")
    done = forks.python("-m", "dominance", "record", "-q", "-o", out, *options, "train.py", cwd=folder)
    assert done.returncode == 0, done.stderr


def weights(folder: Path) -> list[torch.Tensor]:
    found: list[torch.Tensor] = torch.load(folder / "weights.pt")
    return found


@pytest.mark.parametrize(
    ("loop", "method"),
    [
        (PLAIN, "adatask"),
        (IN_A_FUNCTION, "adatask"),
        (IN_LINES, "adatask"),
        (ADDED_UP, "adatask"),
        (GRADIENTS, "imtl-g"),
        (PLAIN, "uw"),
        (PLAIN.replace("0.5 *", "weights['stars'] *").replace("for", "weights = {'stars': 0.5}\nfor", 1), "adatask"),
        (PLAIN, "pcgrad"),
        (GRADIENTS, "cagrad"),
        (IN_LINES, "mocograd"),
    ],
)
def test_the_patched_script_takes_the_steps_of_the_method_to_the_bit(
    forks: Forks, tmp_path: Path, loop: str, method: str
) -> None:
    text = HEAD + loop + TAIL
    recorded(forks, tmp_path, text)
    plain = weights(tmp_path)
    with open_run(tmp_path / "run") as run:
        diff = by_method(run, method)
    recorded(forks, tmp_path, text, "--method", method, out="method")
    expected = weights(tmp_path)
    assert not all(map(torch.equal, plain, expected))
    done = subprocess.run(["patch", "-p0"], cwd=tmp_path, input=diff + "\n", text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + diff
    done_again = forks.python("train.py", cwd=tmp_path)
    assert done_again.returncode == 0, done_again.stderr
    assert all(map(torch.equal, weights(tmp_path), expected)), diff
    changed = (tmp_path / "train.py").read_text("utf-8").splitlines()
    at = changed.index("import dominance.optim")
    assert changed[at + 1] == "import numpy as np"
    assert sum(line not in text.splitlines() for line in changed) <= 4


UNKNOWN = {
    "a total that is another one in other steps": (
        "    loss = price_loss + 0.5 * stars_loss\n",
        "    loss = price_loss + 0.5 * stars_loss\n    if step % 20:\n        loss = price_loss\n",
    ),
    "a regulariser beside them": (
        "0.5 * stars_loss\n",
        "0.5 * stars_loss + 0.01 * penalty\n",
    ),
    "a loss that is another one by then": (
        "    optimizer.zero_grad()\n",
        "    optimizer.zero_grad()\n    if step > 30: price_loss = None\n",
    ),
    "gradients of several passes": ("    optimizer.step()\n", "    if step % 2:\n        optimizer.step()\n"),
    "an argument that AdaTask has not": ("lr=3e-3)", "lr=3e-3, maximize=False)"),
    "a weight that is a tensor": ("0.5 * stars_loss", "scale * stars_loss"),
    "an optimizer of one's own": ("torch.optim.Adam(", "Mine("),
    "an optimizer that is made in two places": ("for step", "if not model: torch.optim.Adam([])\nfor step"),
    "a backward() with arguments": ("loss.backward()", "loss.backward(retain_graph=False)"),
}


@pytest.mark.parametrize("why", UNKNOWN)
def test_no_diff_where_what_would_have_to_be_changed_is_not_certain(forks: Forks, tmp_path: Path, why: str) -> None:
    before, after = UNKNOWN[why]
    assert before in PLAIN
    loop = PLAIN.replace(before, after).replace(
        "    loss =", "    penalty, scale = losses_of()[0].sqrt(), torch.tensor(0.5)\n    loss =", 1
    )
    loop = "class Mine(torch.optim.Adam):\n    pass\n" + loop
    if "penalty" in after:
        loop = loop.replace("losses_of()[0].sqrt()", "sum(p.square().sum() for p in model.parameters())")
    recorded(forks, tmp_path, HEAD + loop + TAIL)
    with open_run(tmp_path / "run") as run:
        assert run["task"].values.tolist()[:2] == ["price_loss", "stars_loss"]
        assert by_method(run, "adatask") == ""
        # Of an argument that only one of the two has, the lines are known, and another method can be written there.
        assert (TRAINING_LINES in run.attrs) == (by_method(run, "pcgrad") != "") == ("AdaTask" in why)


@pytest.mark.parametrize(
    ("size", "noise", "method", "line"),
    [("30", 0.0, "adatask", "optimizer.backward({"), ("1", 12.0, "uw", "combiner.backward({")],
)
def test_a_verdict_says_the_diff_of_the_method_that_it_advises(
    forks: Forks, tmp_path: Path, size: str, noise: float, method: str, line: str
) -> None:
    loop = PLAIN.replace("losses_of()", f"losses_of(noise={noise})").replace("range(60)", "range(300)")
    recorded(forks, tmp_path, (HEAD + loop + TAIL).replace("30 *", f"{size} *"))
    with open_run(tmp_path / "run") as run:
        found = verdict(run)
        (finding,) = found.of("dominance")
        assert f",{method} train.py`" in finding.advice[-1]
        assert finding.method_patch == by_method(run, method) != ""
    assert line in finding.method_patch
    said = found.text()
    assert said.index("The weight in the script's own lines:") < said.index("The method in the script's own lines:")
    assert finding.method_patch.splitlines()[-1] in said
