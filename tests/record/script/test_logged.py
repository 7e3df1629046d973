"""Scalars that a script hands to its own logger are metrics of the run, as those of ``dominance.log`` in its place.

The loggers are stand-ins of the same names and signatures; where the real ones are installed, those are tried, too.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from forks import Forks

from dominance import open_run
from dominance.record.tasks.scalar_names import may_count, meaning

TENSORBOARD = """
class SummaryWriter:
    def add_scalar(self, tag, scalar_value, global_step=None, walltime=None):
        return told("add_scalar", tag, scalar_value)
    def add_scalars(self, main_tag, tag_scalar_dict, global_step=None, walltime=None):
        for name, value in tag_scalar_dict.items():
            self.add_scalar(main_tag + "/" + name, value)
        return "all"
"""
TOLD = """
heard = []
def told(*what):
    heard.append([str(each) for each in what])
    if what[-1] == "refused":
        raise RuntimeError("refused")
    return len(heard)
"""
WANDB = """
class Run:
    def log(self, data, step=None, commit=None):
        return told("log", *data.items())
class Disabled(Run):
    def log(self, data, *args, **kwargs):
        return told("nothing", *data.items())
def log(data, step=None):
    raise RuntimeError("call wandb.init() first")
def init(mode="offline"):
    global log
    run = Disabled() if mode == "disabled" else Run()
    log = run.log
    return run
"""
MLFLOW = """
def log_metric(key, value, step=None):
    return told(key, value)
def log_metrics(metrics, step=None):
    for key, value in metrics.items():
        log_metric(key, value)
    return "all"
"""
LIGHTNING = """
def _call_callback_hooks(trainer, hook_name, *args, **kwargs):
    return told(hook_name)
"""
STANDS_IN = {
    "tensorboardX/__init__.py": TOLD + "import torch" + TENSORBOARD,
    "wandb/__init__.py": TOLD + WANDB,
    "mlflow/__init__.py": TOLD + MLFLOW,
    "lightning/__init__.py": "",
    "lightning/pytorch/__init__.py": "from lightning.pytorch.trainer import call",
    "lightning/pytorch/trainer/__init__.py": "",
    "lightning/pytorch/trainer/call.py": TOLD + LIGHTNING,
}
# Each: what is imported, before torch; and how the script hands a, b (a tensor) and the training loss on.
LOGGERS = {
    "dominance": (
        "import dominance",
        'dominance.log(task="loss_a", split="val", auc=a); dominance.log(task="loss_b", split="val", rmse=b)',
    ),
    "tensorboardX": (
        "from tensorboardX import SummaryWriter; import tensorboardX as package; writer = SummaryWriter()",
        'add = writer.add_scalar; add("val/a_auc", a, step); add(scalar_value=b, tag="val/rmse/loss_b"); add("l", c)',
    ),
    "tensorboardX, several": (
        "from tensorboardX import SummaryWriter; import tensorboardX as package; writer = SummaryWriter()",
        'writer.add_scalars("val_auc", {"a": a}); assert writer.add_scalars("rmse", {"val/b": b, "c": c}) == "all"',
    ),
    "wandb": (
        "import wandb; import wandb as package; run = wandb.init()",
        'assert wandb.log({"val/a_auc": a, "val": {"b": {"rmse": b}}, "train/a_auc": c, "b_rmse": c}, step) > 0',
    ),
    "wandb, run": (
        "import wandb; import wandb as package; run = wandb.init()",
        'run.log({"a_valid_auc": a, "validation.loss_b.rmse": b})',
    ),
    "wandb, disabled": (
        'import wandb; import wandb as package; run = wandb.init("disabled")',
        'run.log(data={"eval/a_auc": a, "eval/b_rmse": b})',
    ),
    "mlflow": (
        "from mlflow import log_metric, log_metrics; import mlflow as package",
        'log_metric("val_auc_a", a, step=step); log_metrics({"val_b_rmse": b, "val_rmse": c, "val_a_b_rmse": c})',
    ),
    "lightning": (
        "import lightning.pytorch as pl; from types import SimpleNamespace; package = pl.trainer.call",
        "metrics = {'val_a_auc': a, 'val_b_rmse': b, 'a_loss': c}; "
        "found = SimpleNamespace(sanity_checking=False, callback_metrics=metrics); "
        "package._call_callback_hooks(found, 'on_train_batch_end'); "
        "package._call_callback_hooks(found, hook_name='on_validation_end'); found.sanity_checking = True; "
        "package._call_callback_hooks(found, 'on_validation_end')",
    ),
}
REAL = {
    "torch.utils.tensorboard": (
        "from torch.utils.tensorboard import SummaryWriter; writer = SummaryWriter('logs'); package = None",
        'writer.add_scalar("val/a_auc", a, step); writer.add_scalar("val/b_rmse", b, step); writer.add_scalar("l", c)',
    ),
    "tensorboard": (
        "from torch.utils.tensorboard import SummaryWriter; writer = SummaryWriter('logs'); package = None",
        'writer.add_scalars("val/auc", {"a": a}, step); writer.add_scalars("val/rmse", {"b": b, "c": c}, step)',
    ),
}
SCRIPT = """
import sys
IMPORT
import torch
from torch import nn
torch.manual_seed(0)
trunk, a_head, b_head = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)
opt = torch.optim.Adam([*trunk.parameters(), *a_head.parameters(), *b_head.parameters()], lr=0.1)
for step in range(4):
    a, b = step / 4, trunk.weight.detach().norm()
    c = torch.tensor([0.5])
    if step != 2:
        LOG
    z = trunk(torch.randn(8, 3)).tanh()
    loss_a, loss_b = a_head(z).square().mean(), (b_head(z) - 1).square().mean()
    opt.zero_grad()
    (loss_a + loss_b).backward()
    opt.step()
torch.save([trunk.weight, a_head.weight, torch.rand(3)], "end.pt")
"""
HEARD = """
import json
open("heard.json", "w").write(json.dumps(package.heard))
"""


def record(forks: Forks, folder: Path, script: str, *, plain: bool = False) -> str:
    """Run the script in the folder, under ``record`` or without; what it says."""
    for name, text in STANDS_IN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "train.py").write_text(script)
    ours = [] if plain else ["-m", "dominance", "record", "--every", "1", "-o", "run"]
    done = forks.python(*ours, "train.py", cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stderr


def of(logger: str) -> str:
    begin, log = (LOGGERS | REAL)[logger]
    hears = "" if "package = None" in begin or logger == "dominance" else HEARD
    return SCRIPT.replace("IMPORT", begin).replace("LOG", log) + hears


def events(folder: Path) -> list[tuple[Any, ...]]:
    metric = open_run(folder / "run")["metric"]
    columns = ("event_step", "event_epoch", "event_task", "split", "metric", "value")
    return sorted(zip(*(metric[name].values.tolist() for name in columns), strict=True))


def same_end(one: Path, other: Path) -> bool:
    ends = [torch.load(folder / "end.pt", weights_only=False) for folder in (one, other)]
    return all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.fixture(scope="module")
def by_hand(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that says the same by dominance.log."""
    folder = tmp_path_factory.mktemp("by_hand")
    record(forks, folder, of("dominance"))
    return folder


@pytest.mark.parametrize("logger", [name for name in LOGGERS if name != "dominance"])
def test_what_a_logger_is_told_is_kept_as_by_hand(logger: str, by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    said = record(forks, tmp_path, of(logger))
    record(forks, tmp_path / "plain", of(logger), plain=True)
    kept = events(tmp_path)
    assert len(kept) == 6
    assert kept == events(by_hand)
    assert f"metrics of the run: 6 scalars that the script logged to {called(logger)}\n" in said
    assert same_end(tmp_path, tmp_path / "plain")
    assert same_end(tmp_path, by_hand)
    heard = (tmp_path / "heard.json").read_text()
    assert heard == (tmp_path / "plain" / "heard.json").read_text()
    assert len(json.loads(heard)) >= 3


def called(logger: str) -> str:
    return {"lightning": "Lightning"}.get(logger, logger.partition(",")[0])


@pytest.mark.parametrize("logger", REAL)
@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_the_real_tensorboard(logger: str, by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    said = record(forks, tmp_path, of(logger))
    kept = events(tmp_path)
    assert [each[:-1] for each in kept] == [each[:-1] for each in events(by_hand)]
    assert [each[-1] for each in kept] == [each[-1] for each in events(by_hand)]
    assert "6 scalars that the script logged to TensorBoard" in said
    assert same_end(tmp_path, by_hand)


TRAINER = """
import lightning.pytorch as pl
import torch
from torch import nn
class Two(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.trunk, self.a, self.b = nn.Linear(3, 4), nn.Linear(4, 1), nn.Linear(4, 1)
    def losses(self, x):
        z = self.trunk(x).tanh()
        return self.a(z).square().mean(), (self.b(z) - 1).square().mean()
    def training_step(self, batch, i):
        price_loss, stars_loss = self.losses(batch)
        self.log("train_price", price_loss)
        return price_loss + stars_loss
    def validation_step(self, batch, i):
        price, stars = self.losses(batch)
        self.log("val_price_mse", price)
        self.log_dict({"val_stars_mse": stars})
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.1)
    def on_validation_end(self):
        if not self.trainer.sanity_checking:
            found.append([float(self.trainer.callback_metrics[f"val_{name}_mse"]) for name in ("price", "stars")])
found = []
torch.manual_seed(0)
x, model = torch.randn(32, 3), Two()
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = pl.Trainer(max_epochs=2, accelerator="cpu", **quiet)
trainer.fit(model, torch.utils.data.DataLoader(x, 8), torch.utils.data.DataLoader(x, 8))
torch.save([*model.parameters(), torch.tensor(found, dtype=torch.float64)], "end.pt")
"""


@pytest.mark.skipif(find_spec("lightning") is None, reason="Lightning is not installed")
def test_the_real_lightning(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    for folder, ours in ((tmp_path, ("-m", "dominance", "record", "-o", "run")), (tmp_path / "plain", ())):
        (folder / "train.py").write_text(TRAINER)
        done = subprocess.run([sys.executable, *ours, "train.py"], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert same_end(tmp_path, tmp_path / "plain")
    found = torch.load(tmp_path / "end.pt", weights_only=False)[-1]
    kept: dict[tuple[str, str, str], list[float]] = {}
    for *_, task, split, name, value in events(tmp_path):
        kept.setdefault((task, split, name), []).append(value)
    assert kept == {
        ("price_loss", "val", "mse"): found[:, 0].tolist(),
        ("stars_loss", "val", "mse"): found[:, 1].tolist(),
    }


def test_what_the_script_says_itself_goes_before(by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    logs = 'wandb.log({"val/a_auc": -1.0, "val/b_rmse": -1.0}); ' + LOGGERS["dominance"][1]
    script = SCRIPT.replace("IMPORT", "import wandb, dominance; wandb.init()").replace("LOG", logs)
    assert "metrics of the run" not in record(forks, tmp_path, script)
    assert events(tmp_path) == events(by_hand)


def test_of_two_loggers_that_are_told_the_same_one_counts(by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    begin = "import mlflow, wandb; wandb.init()"
    logs = 'numbers = {"val/a_auc": a, "val/b_rmse": b}; mlflow.log_metrics(numbers); wandb.log(numbers)'
    said = record(forks, tmp_path, SCRIPT.replace("IMPORT", begin).replace("LOG", logs))
    assert "6 scalars that the script logged to mlflow" in said
    assert events(tmp_path) == events(by_hand)


REFUSED = """
import atexit, math, traceback
import mlflow
from mlflow import log_metric
def refused(*what):
    try:
        log_metric(*what)
    except (RuntimeError, TypeError) as error:
        return str(error)
def left():
    names = [one.__code__.co_filename for one in (mlflow.log_metric, mlflow.log_metrics)]
    open("left", "w").write(" ".join(names))
    log_metric("val/a_auc", 7.0)
atexit.register(left)
assert refused("val/a_auc", "refused") == "refused"
assert refused().endswith("log_metric() missing 2 required positional arguments: 'key' and 'value'")
assert log_metric.__name__ == "log_metric" and log_metric.__module__ == "mlflow"
"""


def test_what_the_logger_refuses_is_the_scripts_and_no_metric(by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    logs = """refused("val/b_auc", "refused"), log_metric("val/a_auc", math.nan), log_metric("val/a_acc", "high")"""
    said = record(forks, tmp_path, SCRIPT.replace("IMPORT", REFUSED).replace("LOG", logs))
    assert "3 scalars that the script logged to mlflow" in said
    kept = events(tmp_path)
    assert [each[0] for each in kept] == [each[0] for each in events(by_hand) if each[-2] == "auc"]
    assert all(task == "loss_a" and name == "auc" and math.isnan(value) for *_, task, _, name, value in kept)
    assert (tmp_path / "left").read_text().count("mlflow/__init__.py") == 2


def test_an_error_is_shown_as_without_us(forks: Forks, tmp_path: Path) -> None:
    errors = []
    for ours in ([], ["-m", "dominance", "record", "-o", "run"]):
        for name, text in STANDS_IN.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "train.py").write_text('import torch, mlflow\nmlflow.log_metric("val/a_auc", "refused")\n')
        done = forks.python(*ours, "train.py", cwd=tmp_path)
        assert done.returncode == 1
        errors.append(done.stderr[done.stderr.index("Traceback") :].split("dominance:")[0])
    assert errors[0] == errors[1]
    assert "RuntimeError: refused" in errors[0]


def test_a_fault_of_ours_is_said_and_leaves_the_logger_alone(forks: Forks, tmp_path: Path) -> None:
    begin = """import mlflow
class Odd(float):
    def __float__(self): raise ValueError("odd")
"""
    logs = 'mlflow.log_metric("val/a_auc", Odd(1)); mlflow.log_metric("val/b_rmse", 1.0)'
    said = record(forks, tmp_path, SCRIPT.replace("IMPORT", begin).replace("LOG", logs))
    assert said.count("scalars that the script logs are no metrics of the run from here on: ValueError: odd") == 1
    assert "stopped" not in said
    assert len(open_run(tmp_path / "run")["step"]) == 4


def test_what_our_own_sinks_send_is_not_fed_back(by_hand: Path, forks: Forks, tmp_path: Path) -> None:
    begin = """import mlflow
def sends(of, a, b):
    told = "mlflow.log_metrics({'val/a_auc': a, 'val/b_rmse': b})"
    exec(told, {"__name__": of, "mlflow": mlflow, "a": a, "b": b})
"""
    script = SCRIPT.replace("IMPORT", begin)
    (tmp_path / "ours").mkdir()
    said = record(forks, tmp_path / "ours", script.replace("LOG", 'sends("dominance.sinks.mlflow", a, b)'))
    assert "metrics of the run" not in said
    assert "metric" not in open_run(tmp_path / "ours" / "run").children
    record(forks, tmp_path, script.replace("LOG", 'sends("helpers", a, b)'))
    assert events(tmp_path) == events(by_hand)


TASKS = ("loss_a", "price_loss", "age", "age_group", "click")


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        ("val/a_auc", ("loss_a", "val", "auc")),
        ("VALID AUC/A", ("loss_a", "val", "AUC")),
        ("eval.loss_a", ("loss_a", "val", "loss")),
        ("test_loss/price", ("price_loss", "test", "loss")),
        ("validation:age_group:f1@0.5", ("age_group", "val", "f1@0.5")),
        ("age/val", ("age", "val", "value")),
        ("val/click-log-loss", ("click", "val", "log_loss")),
        ("train/a_auc", None),
        ("a_auc", None),
        ("val/auc", None),
        ("val/a_click", None),
        ("val/train/a_auc", None),
        ("val/clicks", None),
        ("evaluate/a", None),
    ],
)
def test_what_a_name_says(tag: str, found: tuple[str, str, str] | None) -> None:
    assert meaning(tag, TASKS) == found
    assert found is None or may_count(tag)


def test_a_task_of_the_whole_name_goes_before_one_of_a_part() -> None:
    assert meaning("val/a/auc", ("loss_a", "a")) == ("a", "val", "auc")
    assert meaning("val/loss_a/auc", ("loss_a", "a")) == ("loss_a", "val", "auc")
    assert meaning("val/a/auc", ("loss_a", "a_loss")) is None
