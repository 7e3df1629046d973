"""The callback for transformers: tasks, steps, metrics, and a training that is unchanged.

transformers is installed by ``make trainers``, which runs these.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import dominance

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the Trainer's own

DATA = torch.randn(64, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.trunk = nn.Linear(6, 8)
        self.intent, self.tags = nn.Linear(8, 1), nn.Linear(8, 1)

    def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
        hidden = self.trunk(x).tanh()
        intent_loss = functional.mse_loss(self.intent(hidden), labels)
        tag_loss = functional.mse_loss(self.tags(hidden), 2 * labels)
        return {"loss": intent_loss + tag_loss, "logits": self.intent(hidden)}


def train(folder: Path, *callbacks: Any) -> Net:
    net = Net()
    data = [{"x": x, "labels": x[:1]} for x in DATA]
    arguments = transformers.TrainingArguments(
        str(folder / "out"), num_train_epochs=2, per_device_train_batch_size=8, gradient_accumulation_steps=2,
        report_to=[], save_strategy="no", eval_strategy="epoch", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        net, arguments, train_dataset=data, eval_dataset=data, callbacks=list(callbacks),
        compute_metrics=lambda found: {"error": float(((found.predictions - found.label_ids) ** 2).mean())},
    )  # fmt: skip
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()
    return net


def callback(*arguments: Any, **named: Any) -> Any:
    from dominance.integrations.transformers import DominanceCallback

    return DominanceCallback(*arguments, quiet=True, **named)


def test_a_training_is_recorded_and_unchanged(tmp_path: Path) -> None:
    plain = train(tmp_path)
    named = {"eval_error": ("intent_loss", "error")}
    recorded = train(tmp_path, callback(tmp_path / "run", metrics=named))
    for name, tensor in plain.state_dict().items():
        assert torch.equal(tensor, recorded.state_dict()[name]), name
    run = dominance.open_run(tmp_path / "run")
    assert run.attrs["status"] == "complete"
    assert run["task"].values.tolist() == ["intent_loss", "tag_loss"]
    assert run["epoch"].values.tolist() == [0] * 4 + [1] * 4
    assert float(run["closure"].max()) < 1e-5
    table = run["metric"].to_dataset(inherit=False).to_dataframe()
    kept = table[["split", "event_task", "metric"]].values.tolist()
    assert kept == [["val", "", "eval_loss"], ["val", "intent_loss", "error"]] * 2


FAILS = """
import sys; sys.path[:0] = sys.argv[1:2]
import test_transformers as t
from pathlib import Path
class Fails(t.transformers.TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3:
            raise RuntimeError("no more")
t.train(Path(sys.argv[2]), t.callback(Path(sys.argv[2]) / "run"), Fails())
"""


def test_a_training_that_fails_leaves_a_run_that_failed(tmp_path: Path) -> None:
    """The Trainer tells its callbacks nothing of an exception."""
    script = [sys.executable, "-W", "ignore", "-c", FAILS, str(Path(__file__).parent), str(tmp_path)]
    left = subprocess.run(script, capture_output=True, text=True, check=False)
    assert left.returncode == 1
    assert left.stderr.rstrip().endswith("RuntimeError: no more")
    run = dominance.open_run(tmp_path / "run")
    assert (run.attrs["status"], run.attrs["ended"]) == ("interrupted", "failed")
    assert run.sizes["step"] == 3
