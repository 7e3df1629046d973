"""Losses that a script computes without gradients: each kept mean is the one that the script itself writes down."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from forks import Forks

from dominance import open_run
from dominance.record.evaluated import _Known, _Series

HEAD = """
import json, math
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk, self.drop, self.a, self.b = nn.Linear(3, 8), nn.Dropout(0.2), nn.Linear(8, 1), nn.Linear(8, 2)
    def forward(self, x):
        z = self.drop(self.trunk(x).tanh())
        return self.a(z).squeeze(-1), self.b(z)
def data(n):
    x = torch.randn(n, 3)
    return TensorDataset(x, x.sum(1), (x[:, 0] > 0).long())
train_set, val_set, test_set = data(48), data(27), data(20)
train_loader = DataLoader(train_set, 8, shuffle=True)
val_loader, test_loader = DataLoader(val_set, 8), DataLoader(test_set, 8)
model = Net()
opt = torch.optim.Adam(model.parameters(), 0.01)
said = {}
class Mean:
    def __init__(self): self.sum, self.n = 0.0, 0
    def add(self, value, n): self.sum, self.n = self.sum + n * float(value), self.n + n
def say(split, **means):
    for task, mean in means.items():
        said.setdefault(f"{split} {task}", []).append(mean.sum / mean.n)
"""
TAIL = """
json.dump(said, open("said.json", "w"))
torch.save([*model.parameters(), torch.rand(3)], "end.pt")
"""
TRAIN = """
def train():
    model.train()
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        loss_a = F.mse_loss(out_a, a)
        loss_b = F.cross_entropy(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
"""
SCRIPTS = {
    "functions of their own": TRAIN
    + """
def validate():
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    with torch.no_grad():
        for x, a, b in val_loader:
            out_a, out_b = model(x)
            loss_a = F.mse_loss(out_a, a)
            loss_b = F.cross_entropy(out_b, b)
            mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say("val", loss_a=mean_a, loss_b=mean_b)
for epoch in range(2):
    train(), validate()
""",
    "criterion modules, decorated": """
mse, ce = nn.MSELoss(), nn.CrossEntropyLoss()
def train():
    model.train()
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        loss_a, loss_b = mse(out_a, a), 0.5 * ce(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
@torch.no_grad()
def evaluate():
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    for x, a, b in val_loader:
        out_a, out_b = model(x)
        loss_a, loss_b = mse(out_a, a), 0.5 * ce(out_b, b)
        mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say("val", loss_a=mean_a, loss_b=mean_b)
for epoch in range(2):
    train(), evaluate()
""",
    "one function of both": """
def losses(batch):
    x, a, b = batch
    p, q = model(x)
    return ((p - a) ** 2).mean(), F.cross_entropy(q, b)
for epoch in range(2):
    for batch in train_loader:
        price, stars = losses(batch)
        opt.zero_grad()
        (price + 0.1 * stars).backward()
        opt.step()
    one, two = Mean(), Mean()
    for batch in val_loader:
        with torch.inference_mode():
            l, m = losses(batch)
        one.add(l, len(batch[0])), two.add(m, len(batch[0]))
    say("val", price=one, stars=two)
""",
    "phases": """
loaders = {"train": train_loader, "val": val_loader}
for epoch in range(2):
    for phase in ("train", "val"):
        model.train(phase == "train")
        one, two = Mean(), Mean()
        for x, a, b in loaders[phase]:
            opt.zero_grad()
            with torch.set_grad_enabled(phase == "train"):
                out = dict(zip("ab", model(x)))
                loss_a = (out["a"] - a).abs().mean()
                loss_b = F.cross_entropy(out["b"], b)
                if phase == "train":
                    (loss_a + loss_b).backward()
                    opt.step()
            one.add(loss_a, len(x)), two.add(loss_b, len(x))
        if phase == "val":
            say("val", loss_a=one, loss_b=two)
""",
    "a loop over tasks": """
tasks = {"price": nn.L1Loss(), "stars": nn.CrossEntropyLoss()}
def all_losses(x, *targets):
    outputs = model(x)
    losses = {}
    for (task, criterion), output, target in zip(tasks.items(), outputs, targets):
        losses[task] = criterion(output, target)
    return losses
def evaluation():
    means = {task: Mean() for task in tasks}
    model.eval()
    with torch.no_grad():
        for batch in test_loader:
            for task, loss in all_losses(*batch).items():
                means[task].add(loss, len(batch[0]))
    say("test", **means)
for epoch in range(2):
    model.train()
    for batch in train_loader:
        losses = all_losses(*batch)
        opt.zero_grad()
        sum(losses.values()).backward()
        opt.step()
    evaluation()
""",
    "the same text, summed up at once": """
def train():
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        loss_a = F.smooth_l1_loss(out_a, a)
        loss_b = F.cross_entropy(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
def test():
    total_a = total_b = 0.0
    with torch.no_grad():
        for x, a, b in test_loader:
            out_a, out_b = model(x)
            total_a += F.smooth_l1_loss(out_a, a).item() * len(x)
            total_b += F.cross_entropy(out_b, b).item() * len(x)
    for task, total in (("loss_a", total_a), ("loss_b", total_b)):
        said.setdefault(f"test {task}", []).append(total / len(test_set))
for epoch in range(2):
    train(), test()
""",
    "the same text, of other rows": """
x, a, b = train_set.tensors
u, v, w = val_set.tensors
means = {}
for epoch in range(2):
    model.train()
    for start in range(0, 48, 8):
        chosen = torch.randperm(48)[:8]
        out = dict(zip("pq", model(x[chosen])))
        loss_a, loss_b = F.mse_loss(out["p"], a[chosen]), F.cross_entropy(out["q"], b[chosen])
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
    model.eval()
    x, a, b, u, v, w = u, v, w, x, a, b
    means = {"loss_a": Mean(), "loss_b": Mean()}
    with torch.no_grad():
        for i in range(0, 27, 9):
            out = dict(zip("pq", model(x[i : i + 9])))
            means["loss_a"].add(F.mse_loss(out["p"], a[i : i + 9]), 9)
            means["loss_b"].add(F.cross_entropy(out["q"], b[i : i + 9]), 9)
    x, a, b, u, v, w = u, v, w, x, a, b
    say("val", **means)
""",
    "names with a word in front": TRAIN
    + """
def scores():
    p, q = model(test_set.tensors[0])
    val_a_loss, test_loss_b = F.mse_loss(p, test_set.tensors[1]), F.cross_entropy(q, test_set.tensors[2])
    val_a, test_b_error = val_a_loss.sqrt(), (q.argmax(1) != test_set.tensors[2]).float().mean()
    said.setdefault("val loss_a", []).append(val_a_loss.item())
    said.setdefault("test loss_b", []).append(test_loss_b.item())
for epoch in range(2):
    train()
    with torch.inference_mode():
        scores()
""",
    "a function for each": """
def loss_of_price(out, batch):
    return ((out[0] - batch[1]) ** 2).mean()
def loss_of_stars(out, batch):
    return F.cross_entropy(out[1], batch[2])
def train():
    for batch in train_loader:
        out = model(batch[0])
        price, stars = loss_of_price(out, batch), loss_of_stars(out, batch)
        opt.zero_grad()
        (price + stars).backward()
        opt.step()
def validate():
    one, two = Mean(), Mean()
    for batch in val_loader:
        with torch.no_grad():
            out = model(batch[0])
            one.add(loss_of_price(out, batch), len(batch[0])), two.add(loss_of_stars(out, batch), len(batch[0]))
    say("val", price=one, stars=two)
for epoch in range(2):
    train(), validate()
""",
    "other weights at the end": TRAIN
    + """
import copy
first = copy.deepcopy(model.state_dict())
def validate(batches):
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    with torch.no_grad():
        for x, a, b in batches:
            out_a, out_b = model(x)
            loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
            mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say("val", loss_a=mean_a, loss_b=mean_b)
train(), validate(val_loader)
last = copy.deepcopy(model.state_dict())
model.load_state_dict(first), validate(val_loader)
model.load_state_dict(last), train(), validate([val_set.tensors])
model.load_state_dict(first), validate([val_set.tensors])
""",
    "two loaders": TRAIN
    + """
@torch.no_grad()
def evaluate(loader, split):
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    for x, a, b in loader:
        out_a, out_b = model(x)
        loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
        mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say(split, loss_a=mean_a, loss_b=mean_b)
for epoch in range(2):
    train()
    evaluate(val_loader, "val")
    evaluate(test_loader, "test")
""",
    "two loaders of no name": TRAIN
    + """
@torch.no_grad()
def check(number):
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    for x, a, b in (first, second)[number]:
        out_a, out_b = model(x)
        loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
        mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say(("val", "val.2")[number], loss_a=mean_a, loss_b=mean_b)
first, second = val_loader, test_loader
del val_loader, test_loader
for epoch in range(2):
    train(), check(0), check(1)
""",
    "on the training data": TRAIN
    + """
@torch.no_grad()
def check():
    model.eval()
    mean_a, mean_b = Mean(), Mean()
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
        mean_a.add(loss_a, len(x)), mean_b.add(loss_b, len(x))
    say("train", loss_a=mean_a, loss_b=mean_b)
for epoch in range(2):
    train(), check()
""",
    "without a loader": """
x, a, b = train_set.tensors
for step in range(30):
    out_a, out_b = model(x)
    loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
    opt.zero_grad()
    (loss_a + loss_b).backward()
    opt.step()
    if step % 10 == 9:
        model.eval()
        with torch.no_grad():
            out_a, out_b = model(val_set.tensors[0])
            loss_a, loss_b = F.mse_loss(out_a, val_set.tensors[1]), F.cross_entropy(out_b, val_set.tensors[2])
        for task, loss in (("loss_a", loss_a), ("loss_b", loss_b)):
            said.setdefault(f"val {task}", []).append(loss.item())
        model.train()
""",
    "tensors within an epoch": """
for x, a, b in train_loader:
    out_a, out_b = model(x)
    loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
    opt.zero_grad()
    (loss_a + loss_b).backward()
    opt.step()
    model.eval()
    with torch.no_grad():
        out_a, out_b = model(val_set.tensors[0])
        loss_a, loss_b = F.mse_loss(out_a, val_set.tensors[1]), F.cross_entropy(out_b, val_set.tensors[2])
    for task, loss in (("loss_a", loss_a), ("loss_b", loss_b)):
        said.setdefault(f"val {task}", []).append(loss.item())
    model.train()
""",
    "losses in the model": """
class Whole(Net):
    def forward(self, x, a, b):
        p, q = super().forward(x)
        return {"price": F.mse_loss(p, a), "stars": F.cross_entropy(q, b)}
model.__class__ = Whole
def evaluate():
    one, two = Mean(), Mean()
    model.eval()
    with torch.no_grad():
        for batch in val_loader:
            losses = model(*batch)
            one.add(losses["price"], len(batch[0])), two.add(losses["stars"], len(batch[0]))
    say("val", price=one, stars=two)
for epoch in range(2):
    model.train()
    for batch in train_loader:
        losses = model(*batch)
        opt.zero_grad()
        sum(losses.values()).backward()
        opt.step()
    evaluate()
""",
    "sums over a batch": """
def losses(x, a, b):
    p, q = model(x)
    loss_a = F.mse_loss(p, a, reduction="sum")
    loss_b = ((q[:, 1] - b) ** 2).sum()
    return loss_a, loss_b
for epoch in range(2):
    for batch in train_loader:
        loss_a, loss_b = losses(*batch)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
    one, two = Mean(), Mean()
    with torch.no_grad():
        for batch in val_loader:
            loss_a, loss_b = losses(*batch)
            one.add(loss_a, 1), two.add(loss_b, 1)
    say("val", loss_a=one, loss_b=two)
""",
}
IN_A_STEP = """
import copy
teacher = copy.deepcopy(model)
for epoch in range(3):
    for x, a, b in LOADER:
        BEFORE
        out_a, out_b = model(x)
        loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
        AFTER
"""
LOGS = """
        MODE
        with torch.no_grad():
            out_a, out_b = NET(x)
            loss_a, loss_b = F.mse_loss(out_a, a), F.cross_entropy(out_b, b)
        model.train()"""
NOTHING = {
    f"{what} {when}, {where}": IN_A_STEP.replace("LOADER", loader)
    .replace(when, LOGS.replace("NET", net).replace("MODE", mode))
    .replace("BEFORE", "")
    .replace("AFTER", "")
    for when in ("BEFORE", "AFTER")
    for where, loader in (
        ("batches", "train_loader"),
        ("one batch", "DataLoader(train_set, 48)"),
        ("no loader", "[train_set.tensors] * 4"),
    )
    for what, net, mode in (
        ("a teacher", "teacher", "model.eval(), teacher.eval()"),
        ("a log", "model", "model.train()"),
        ("a log in eval()", "model", "model.eval()"),
    )
    if not (where == "no loader" and mode == "model.eval()")
}
NOTHING |= {
    "two that bear the name": SCRIPTS["functions of their own"]
    .replace("            mean_a.add(", "            loss_a, loss_b = OTHER\n            mean_a.add(")
    .replace("OTHER", "F.l1_loss(out_a, a), F.nll_loss(out_b, b)"),
    "running sums": SCRIPTS["the same text, summed up at once"]
    .replace("total_a += F.smooth_l1_loss(out_a, a).item()", "loss_a = loss_a + F.l1_loss(out_a, a)")
    .replace("total_b += F.cross_entropy(out_b, b).item()", "loss_b += F.nll_loss(out_b, b)")
    .replace("total_a = total_b = 0.0", "total_a = total_b = 1.0; loss_a = loss_b = torch.zeros(())")
    .replace(" * len(x)", ""),
    "another network": TRAIN.replace("model.train()", "") + "other = Net().eval()\n"
    + SCRIPTS["functions of their own"].replace(TRAIN, "").replace("= model(x)", "= other(x)"),
    "a function of one task, for another": """
def squared(one, other):
    return ((one - other) ** 2).mean()
for epoch in range(2):
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        loss_a, loss_b = squared(out_a, a), F.cross_entropy(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        for x, a, b in val_loader:
            brier = squared(model(x)[1].softmax(1)[:, 1], b)
    model.train()
""",
    "an error of the same name": """
for epoch in range(2):
    for x, a, b in train_loader:
        out_a, out_b = model(x)
        error = (out_a - a) ** 2
        loss_a, loss_b = error.mean(), F.cross_entropy(out_b, b)
        opt.zero_grad()
        (loss_a + loss_b).backward()
        opt.step()
    model.eval()
    with torch.no_grad():
        for x, a, b in val_loader:
            error = (model(x)[0] - a).abs()
            total = 0.0
            total += error.mean()
    model.train()
""",
    "a constant names one of the tasks": SCRIPTS["a loop over tasks"]
    .replace("    losses = {}\n", "    losses, best = {}, 'price'\n")
    .replace("for (task, criterion), output", "for (_, criterion), output")
    .replace("losses[task] =", "losses['price' if output.dim() == 1 else 'stars'] ="),
}  # fmt: skip


def record(forks: Forks, folder: Path, script: str, *ours: str, plain: bool = False) -> str:
    """Run a script in the folder, under ``record`` or without; what it says."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(HEAD + script + TAIL)
    under = [] if plain else ["-m", "dominance", "record", "-o", "run", *ours]
    done = forks.python(*under, "train.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def kept(folder: Path) -> dict[str, list[float]]:
    """ "split task" -> the values of eval-loss, in order."""
    run = open_run(folder / "run")
    found: dict[str, list[float]] = {}
    if "metric" in run.children:
        columns = (run["metric"][name].values.tolist() for name in ("split", "event_task", "metric", "value"))
        for split, task, metric, value in zip(*columns, strict=True):
            assert metric == "eval-loss"
            found.setdefault(f"{split} {task}", []).append(value)
            assert run.attrs["metrics"][task] == {"eval-loss": "lower"}
    return found


def said(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / "said.json").read_text())
    return found


def same_end(one: Path, other: Path) -> bool:
    ends = [torch.load(folder / "end.pt", weights_only=False) for folder in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*ends, strict=True)) and said(one) == said(other)


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_is_kept_is_what_the_script_says(name: str, forks: Forks, tmp_path: Path) -> None:
    told = record(forks, tmp_path, SCRIPTS[name])
    record(forks, tmp_path / "plain", SCRIPTS[name], plain=True)
    own = said(tmp_path)
    assert {key: pytest.approx(values, rel=1e-9) for key, values in own.items()} == kept(tmp_path)
    assert len(own) in (2, 4)
    assert "metrics of the run: eval-loss of " in told
    assert same_end(tmp_path, tmp_path / "plain")


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_no_evaluation_or_not_certain_is_no_metric(name: str, forks: Forks, tmp_path: Path) -> None:
    told = record(forks, tmp_path, NOTHING[name])
    assert kept(tmp_path) == {}
    assert "eval-loss" not in told
    assert "no metrics" not in told


def test_it_can_be_left_out(forks: Forks, tmp_path: Path) -> None:
    told = record(forks, tmp_path, SCRIPTS["two loaders"], "--training-only")
    assert kept(tmp_path) == {}
    assert "eval-loss" not in told


LIGHTNING = """
import lightning.pytorch as pl
class Two(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net, self.seen = Net(), {}
    def losses(self, batch):
        x, a, b = batch
        p, q = self.net(x)
        return F.mse_loss(p, a), F.cross_entropy(q, b)
    def training_step(self, batch, i):
        price_loss, stars_loss = self.losses(batch)
        return price_loss + stars_loss
    def validation_step(self, batch, i, dataloader_idx=0):
        price, stars = self.losses(batch)
        if not self.trainer.sanity_checking:
            one, two = self.seen.setdefault(dataloader_idx, (Mean(), Mean()))
            one.add(price, len(batch[0])), two.add(stars, len(batch[0]))
    def on_validation_epoch_end(self):
        for index, (one, two) in self.seen.items():
            say(("val", "val.2")[index], price_loss=one, stars_loss=two)
        self.seen = {}
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)
model = Two()
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(max_epochs=3, accelerator="cpu", OPTIONS, **quiet)
trainer.fit(model, train_loader, LOADERS)
"""


@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
@pytest.mark.parametrize(
    ("options", "loaders"),
    [
        ("devices=1", "val_loader"),
        ("devices=1", "[val_loader, test_loader]"),
        ("val_check_interval=2", "val_loader"),
        ("limit_val_batches=2", "val_loader"),
    ],
)
def test_the_real_lightning(options: str, loaders: str, tmp_path: Path) -> None:
    script = HEAD + LIGHTNING.replace("OPTIONS", options).replace("LOADERS", loaders) + TAIL
    for folder, ours in ((tmp_path, ("-m", "dominance", "record", "-o", "run")), (tmp_path / "plain", ())):
        folder.mkdir(exist_ok=True)
        (folder / "train.py").write_text(script)
        done = subprocess.run([sys.executable, *ours, "train.py"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    own = said(tmp_path)
    assert {key: pytest.approx(values, rel=1e-9) for key, values in own.items()} == kept(tmp_path)
    assert len(own) == (4 if "test" in loaders else 2)
    assert same_end(tmp_path, tmp_path / "plain")


def test_values_on_an_accelerator_are_gathered_there() -> None:
    """Copies wait in the order in which they came, with numbers between them; sizes weigh each."""
    series = _Series(_Known(None, None, ()), None)
    numbers = [float(n % 7) for n in range(1000)]
    for n, number in enumerate(numbers):
        series.add(torch.tensor(number) if n % 300 else number, n % 3 + 1)
    sizes = [n % 3 + 1 for n in range(1000)]
    assert series.count == 1000
    assert len(series.values) < 700
    expected = sum(size * number for size, number in zip(sizes, numbers, strict=True)) / sum(sizes)
    assert series.mean() == pytest.approx(expected, rel=1e-12)
    series.add(2.0, None)
    assert series.mean() == pytest.approx((sum(numbers) + 2) / 1001, rel=1e-12)
