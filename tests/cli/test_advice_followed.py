"""What the verdict on a recorded script says to try is typed as it is printed, and helps the task that suffers."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from forks import Forks

from dominance import open_run, verdict
from dominance_cli.main import main

SCRIPT = Path(__file__).parents[1] / "planted_script.py"
WEAK = "stars_loss"


def run(forks: Forks, folder: Path, *words: str) -> str:
    done = forks.python(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def advised(forks: Forks, folder: Path, *options: str) -> str:
    """Records the script with default options, and gives what the summary says to try, on one line."""
    shutil.copy(SCRIPT, folder / "train.py")
    run(forks, folder, "-m", "dominance", "record", "-q", "-o", "run", "train.py", *options)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as left:
        main(["summary", str(folder / "run")])
    assert left.value.code == 0
    return re.sub(r"\s+", " ", said.getvalue())


def printed(forks: Forks, folder: Path, *options: str) -> dict[str, float]:
    """The R² of each task, which the script prints."""
    found: dict[str, float] = ast.literal_eval(run(forks, folder, "train.py", *options))
    return found


@pytest.mark.parametrize(
    ("options", "methods"),
    [
        ("--cause scale --steps 400", ["weights", "adatask"]),
        ("--cause weight --steps 400", ["weights", "adatask"]),
        ("--cause noise --steps 400", ["weights", "uw"]),
        ("--cause scale --steps 700 --optimizer momentum --lr 0.001", ["weights", "cagrad"]),
    ],
)
def test_the_command_runs_and_every_method_in_it_helps(
    forks: Forks, tmp_path: Path, options: str, methods: list[str]
) -> None:
    said = advised(forks, tmp_path, *options.split())
    command = re.search(r"`(dominance try --methods [^`]+)`", said)
    assert command is not None, said
    _, _, *rest = shlex.split(command[1])
    table = run(forks, tmp_path, "-m", "dominance", "try", "--seeds", "1", "-q", *rest)
    head, *lines = [re.split(r"\s{2,}", line) for line in table.split("\n\n")[0].splitlines()]
    column = next(i for i, title in enumerate(head) if title.startswith(f"{WEAK} r2"))
    scores = {line[0].partition(":")[0]: float(line[column]) for line in lines}
    assert list(scores) == ["as it is", *methods]
    assert all(scores[method] > scores["as it is"] for method in methods), scores


SUMMED = """
import torch
from torch import nn
torch.manual_seed(0)
trunk, price, stars = nn.Sequential(nn.Linear(8, 16), nn.Tanh()), nn.Linear(16, 1), nn.Linear(16, 1)
optimizer = torch.optim.Adam([*trunk.parameters(), *price.parameters(), *stars.parameters()], lr=3e-3)
generator = torch.Generator().manual_seed(1)
def losses(n):
    x = torch.randn(n, 8, generator=generator)
    z = trunk(x)
    target = torch.stack([30 * torch.sin(x[:, :4].sum(1)), torch.sin(x[:, 4:].sum(1))], 1)
    return tuple((head(z) - target[:, k : k + 1]).square().mean() for k, head in enumerate((price, stars)))
def train():
    for step in range(400):
        price_loss, stars_loss = losses(64)
        LOSS
        optimizer.zero_grad()
        BACK
        optimizer.step()
train()
with torch.no_grad():
    price_loss, stars_loss = losses(2000)
print({"price_loss": price_loss.item(), "stars_loss": stars_loss.item()})
"""


@pytest.mark.parametrize(
    ("loss", "back"),
    [
        ("loss = 0.5 * (price_loss + stars_loss * 2)  # 2 × stars", "loss.backward()"),
        ("\u00fcber = 1", "(price_loss + stars_loss).backward()"),
    ],
)
def test_the_diff_applies_to_the_script_and_does_what_the_command_does(
    forks: Forks, tmp_path: Path, loss: str, back: str
) -> None:
    script = tmp_path / "train.py"
    script.write_text(SUMMED.replace("LOSS", loss).replace("BACK", back), encoding="utf-8")
    run(forks, tmp_path, "-m", "dominance", "record", "-q", "-o", "run", "train.py")
    (finding,) = verdict(open_run(tmp_path / "run")).of("dominance")
    methods = re.search(r"--methods weights:price_loss=([\d.]+):stars_loss=1,", " ".join(finding.advice))
    assert methods is not None, finding.advice
    head, to, place, before, after = finding.patch.splitlines()
    line = script.read_text("utf-8").splitlines().index(before[1:]) + 1
    assert (head, to, place) == ("--- train.py", "+++ train.py", f"@@ -{line} +{line} @@")
    assert after[1:] == before[1:].replace("price_loss", f"{methods[1]} * price_loss")
    assert textwrap.indent(finding.patch, "    ") in str(verdict(open_run(tmp_path / "run")))
    plain = ast.literal_eval(run(forks, tmp_path, "train.py"))
    given = f"price_loss={methods[1]}"
    recorded = ("-m", "dominance", "record", "-q", "-o", "weighted", "--method", "weights", "--method-option", given)
    by_method = ast.literal_eval(run(forks, tmp_path, *recorded, "train.py"))
    done = subprocess.run(["patch", "-p0"], cwd=tmp_path, input=finding.patch + "\n", text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    patched = ast.literal_eval(run(forks, tmp_path, "train.py"))
    assert patched[WEAK] < 0.9 * plain[WEAK]
    assert patched == pytest.approx(by_method, rel=0.05)


MADE = '{"price_loss": price_loss, "stars_loss": stars_loss}'


@pytest.mark.parametrize(
    ("loss", "added"),
    [
        (
            "loss = (\n            price_loss +\n            args * stars_loss\n        )",
            "            {} * price_loss +",
        ),
        (
            f"held = {MADE}\n        loss = sum(held.values())",
            '        loss = sum([{{"price_loss": {}}}.get(name, 1) *',
        ),
        (
            f"held = {MADE}\n        loss = 0\n        for name, each in held.items():\n            loss += each",
            '            loss += {{"price_loss": {}}}.get(name, 1) * each',
        ),
    ],
)
def test_the_diff_of_a_sum_in_another_form(forks: Forks, tmp_path: Path, loss: str, added: str) -> None:
    text = (
        SUMMED.replace("LOSS", loss)
        .replace("BACK", "loss.backward()")
        .replace("def train():", "args = 1.0\ndef train():")
    )
    (tmp_path / "train.py").write_text(text)
    run(forks, tmp_path, "-m", "dominance", "record", "-q", "-o", "run", "train.py")
    (finding,) = verdict(open_run(tmp_path / "run")).of("dominance")
    weight = re.search(r"weights:price_loss=([\d.]+):", " ".join(finding.advice))
    assert weight is not None
    assert finding.patch.splitlines()[-1].startswith("+" + added.format(weight[1]))
    recorded = ("record", "-q", "-o", "weighted", "--method", "weights", "--method-option", f"price_loss={weight[1]}")
    by_method = ast.literal_eval(run(forks, tmp_path, "-m", "dominance", *recorded, "train.py"))
    done = subprocess.run(["patch", "-p0"], cwd=tmp_path, input=finding.patch + "\n", text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert ast.literal_eval(run(forks, tmp_path, "train.py")) == pytest.approx(by_method, rel=0.05)


def test_of_a_run_with_weights_the_advice_is_for_the_script_as_it_is(forks: Forks, tmp_path: Path) -> None:
    """A constant within a loss is read there, too, and the weight that is advised has the given one in it."""
    text = SUMMED.replace("LOSS", "stars_loss = 0.01 * stars_loss").replace(
        "BACK", "(price_loss + stars_loss).backward()"
    )
    (tmp_path / "train.py").write_text(text)
    found = {}
    for given in ("1", "0.5"):
        options = ("-q", "-o", f"by-{given}", "--method", "weights", "--method-option", f"price_loss={given}")
        run(forks, tmp_path, "-m", "dominance", "record", *options, "train.py")
        with open_run(tmp_path / f"by-{given}") as tree:
            assert tree.attrs["loss_constants"] == {"stars_loss": pytest.approx(0.01)}
            (finding,) = verdict(tree).of("dominance")
        assert {cause.name for cause in finding.causes} == {"scale", "weight"}
        weights = re.search(r"weights:price_loss=([\d.]+):stars_loss=([\d.]+),", " ".join(finding.advice))
        assert weights is not None
        found[given] = float(weights[2]) / float(weights[1])
    assert found["0.5"] == pytest.approx(found["1"], rel=0.2)


@pytest.mark.parametrize(
    ("loss", "indent"),
    [("total = 0; total = sum([price_loss, stars_loss], total)", "    "), ("total = price_loss + stars_loss", "\t")],
)
def test_no_diff_where_the_line_is_not_certain(forks: Forks, tmp_path: Path, loss: str, indent: str) -> None:
    """Of a total that begins with another; of lines with tabs, which a run does not keep as they are."""
    text = SUMMED.replace("LOSS", loss).replace("BACK", "total.backward()")
    (tmp_path / "train.py").write_text(text.replace("    ", indent))
    run(forks, tmp_path, "-m", "dominance", "record", "-q", "-o", "run", "train.py")
    (finding,) = verdict(open_run(tmp_path / "run")).of("dominance")
    assert finding.advice
    assert finding.patch == ""


def test_a_rare_task_gets_better_when_it_takes_part_more_often_as_is_said(forks: Forks, tmp_path: Path) -> None:
    said = advised(forks, tmp_path, "--cause", "rare", "--steps", "400")
    assert "Let the others take part more often" in said
    assert "adatask" not in said
    rare, often = (
        printed(forks, tmp_path, "--cause", "rare", "--steps", "400", "--rarity", each)[WEAK] for each in ("20", "4")
    )
    assert often > rare


def test_tasks_in_conflict_get_better_with_copies_of_the_layers_that_are_named(forks: Forks, tmp_path: Path) -> None:
    said = advised(forks, tmp_path, "--cause", "conflict", "--steps", "400")
    assert "--methods" not in said
    layers = re.search(r"a copy each of ([\w., ]+?): branch the network there", said)
    assert layers is not None, said
    names = ",".join(re.split(r", | and ", layers[1]))
    before, after = (
        printed(forks, tmp_path, "--cause", "conflict", "--steps", "400", *more) for more in ([], ["--copies", names])
    )
    assert min(after.values()) > max(before.values()) + 0.5
