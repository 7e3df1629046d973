"""Every method trains by its name; options reach the class that has them."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
import torch
from torch import nn

import dominance.optim
from dominance.benchmarks.train.method_step import MethodStep
from dominance.benchmarks.train.methods import METHODS, OPTIMIZERS, build, described, method
from dominance.errors import BadOption
from dominance.optim.engine.combiner import Combiner

torch.set_num_threads(1)
TASKS = ("a", "b", "c")
NEEDS = {"grid-search": {"weights": "a:0.5,b:1,c:1.5"}}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(4, 6)
        self.heads = nn.ModuleDict({task: nn.Linear(6, 1) for task in TASKS})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = torch.tanh(self.trunk(x))
        return {task: (head(features) - 1).square().mean() for task, head in self.heads.items()}


def made(name: str, model: nn.Module, **more: Any) -> MethodStep:
    chosen = method(name)
    usual = {"optimizer": "adam", "lr": 0.01, "options": NEEDS.get(name)}
    return build(chosen, model, TASKS, **{**usual, **more})


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains(name: str) -> None:
    """Fifty steps on an easy problem bring every loss down."""
    torch.manual_seed(0)
    model = Net()
    method_step = made(name, model)
    x = torch.randn(16, 4)
    before = {task: float(loss.detach()) for task, loss in model(x).items()}
    for _ in range(50):
        method_step.step(model(x))
        method_step.look_back(lambda: model(x))
    method_step.epoch()
    after = {task: float(loss.detach()) for task, loss in model(x).items()}
    assert sum(after.values()) < sum(before.values())
    state = method_step.state_dict()
    again = made(name, model)
    again.load_state_dict(state)
    assert again.state_dict().keys() == state.keys()


def test_every_combiner_has_a_name() -> None:
    """What dominance.optim offers can be trained with, but for what is made of something else."""
    offered = {
        name
        for name in dominance.optim.__all__
        if inspect.isclass(thing := getattr(dominance.optim, name))
        and issubclass(thing, Combiner)
        and thing.__name__ not in ("Combiner", "Weighting", "LossWeighting", "FromTorchJD")
    }
    assert offered == {each.combiner for each in METHODS.values() if each.combiner is not None}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("EqualWeight", "equal-weight"),
        ("equal_weight", "equal-weight"),
        ("LS", "equal-weight"),
        ("AdaTask", "adatask"),
        ("IMTLG", "imtl-g"),
        ("AdaTask+PCGrad", "adatask+pcgrad"),
        ("Nash_MTL", "nash-mtl"),
        ("MGDA-UB", "mgda-ub"),
    ],
)
def test_names(typed: str, meant: str) -> None:
    assert method(typed).name == meant


@pytest.mark.parametrize(
    ("name", "optimizer", "kind"),
    [
        *((name, optimizer, kind.__name__) for name in ("uw",) for optimizer, (kind, _) in OPTIMIZERS.items()),  # type: ignore[attr-defined]
        ("adatask", "adam", "AdaTaskAdam"),
        ("ladatask", "rmsprop", "AdaTaskRMSprop"),
        ("adatask+cagrad", "adagrad", "AdaTaskAdagrad"),
        ("pub", "rmsprop", "PUB"),
        ("clippy", "adam", "Clippy"),
    ],
)
def test_the_optimizer(name: str, optimizer: str, kind: str) -> None:
    model = Net()
    method_step = made(name, model, optimizer=optimizer, lr=0.5, weight_decay=0.25)
    group = method_step.optimizer.param_groups[0]
    assert type(method_step.optimizer).__name__ == kind
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)
    assert group.get("momentum", 0) == (0.9 if optimizer == "momentum" else 0)
    assert len(group["params"]) == len(list(model.parameters()))


def test_what_a_method_learns_is_trained_without_decay() -> None:
    method_step = made("uw", Net(), weight_decay=0.25)
    learnt = method_step.optimizer.param_groups[1]
    assert method_step.combiner is not None
    assert [id(p) for p in learnt["params"]] == [id(p) for p in method_step.combiner.parameters()]
    assert learnt["weight_decay"] == 0
    method_step.set_learning_rate(0.125)
    assert [group["lr"] for group in method_step.optimizer.param_groups] == [0.125, 0.125]


def test_options_find_their_class() -> None:
    """The combiner's come first; the manipulation's and the optimizer's own are taken as well."""
    method_step = made("famo", Net(), options={"lr": "0.5", "betas": "0.5,0.75"})
    assert repr(method_step.combiner).startswith("FAMO(lr=0.5")
    assert method_step.optimizer.param_groups[0]["lr"] == 0.01
    assert method_step.optimizer.param_groups[0]["betas"] == (0.5, 0.75)
    moved = []
    for bound in ("0.5", "0.0"):  # |Δθ| <= bound |θ| + 0.01
        torch.manual_seed(0)
        model = Net()
        before = model.trunk.weight.detach().clone()
        method_step = made("pub+clippy", model, lr=100.0, options={"lambda_rel": bound, "every": "10"})
        method_step.step(model(torch.ones(2, 4)))
        moved.append(float((model.trunk.weight.detach() - before).abs().max()))
    assert moved[1] < moved[0]


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("cagrad", {"cc": "1"}, "cagrad has no cc"),
        ("equal-weight", {"lr": "1"}, "equal-weight has no lr"),
        ("pub+clippy", {"manipulation": "x"}, "has no manipulation"),
        ("pub", {"base": "adagrad"}, "has no base"),
        ("pub", {"solver": "ecos"}, "solver is newton or sequential"),
        ("ladatask", {"granularity": "word"}, "granularity is parameter or layer or module"),
        ("adatask", {"betas": "0.9"}, "betas is a list like 0.5,0.5"),
    ],
)
def test_options_that_are_not_there(name: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(BadOption, match=says):
        made(name, Net(), options=options)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_describes_its_options(name: str) -> None:
    """Each option that is named can be given, with the default that is named: then nothing changes."""
    text = described(name)
    assert text.startswith(f"{name}: ")
    optimizer = re.search(r"\nOptimizers  (\w+)", text)
    assert optimizer is not None
    options = dict(re.findall(r"^  (\w+) = ([\w.-]+)  \(", text, flags=re.MULTILINE))
    made(name, Net(), optimizer=optimizer[1], options={**NEEDS.get(name, {}), **options})


def test_what_a_method_says_of_itself() -> None:
    assert "  granularity = layer  (" in described("ladatask")
    assert described("equal-weight").splitlines()[4:] == [
        "Options (--option NAME=VALUE)",
        "  none",
        "",
        "and those of torch's optimizer, such as betas or momentum",
    ]
