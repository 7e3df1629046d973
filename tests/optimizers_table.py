"""Which optimizers of the packages that are installed are split additively, and how well their parts sum: a table.

    python tests/optimizers_table.py [PACKAGE ...] [--markdown]

Installs nothing: a package that is not there is named at the end. Each class trains a small model of two tasks for some
steps, from its defaults and a few options that it cannot do without; its steps are split as the recorder splits them.
``closure`` is the largest error of the sum of the parts at any parameter and step, over the largest entry of the step,
less what the rounding of the parameters explains. docs/optimizers.md holds what it printed, with the versions.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import importlib.util
import io
import math
import os
import sys
import types
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from dominance.record.split.attribution import Attributor
from dominance.record.split.splits import GradientSplit

STEPS = 12


@dataclass(frozen=True)
class Entry:
    """A class of a package, and how it is made."""

    package: str
    module: str
    name: str
    options: dict[str, Any] = field(default_factory=dict)
    made: Callable[[type, nn.Module], Any] | None = None


def _of(package: str, module: str, names: str, **options: Any) -> list[Entry]:
    return [Entry(package, module, name, options) for name in names.split()]


def _muon(kind: type, model: nn.Module) -> Any:
    matrices = [p for p in model.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if p.dim() != 2]
    return kind([{"params": matrices, "use_muon": True}, {"params": rest, "use_muon": False}])


ENTRIES = [
    *_of("adabelief-pytorch", "adabelief_pytorch", "AdaBelief", print_change_log=False),
    *_of("adabound", "adabound", "AdaBound"),
    Entry("adam-mini", "adam_mini", "Adam_mini", {}, lambda kind, model: kind(
        named_parameters=model.named_parameters(), dim=8, n_heads=2)),
    *_of("adamp", "adamp", "AdamP"), *_of("adamp", "adamp", "SGDP", lr=0.01, momentum=0.9),
    *_of("adan-pytorch", "adan_pytorch", "Adan"),
    *_of("adv_optm", "adv_optm", "AdamW_adv Adopt_adv Prodigy_adv Lion_adv Muon_adv"),
    *_of("came-pytorch", "came_pytorch", "CAME", lr=1e-3),
    *_of("dadaptation", "dadaptation", "DAdaptAdam DAdaptSGD DAdaptAdaGrad DAdaptAdan DAdaptLion"),
    *_of("galore-torch", "galore_torch", "GaLoreAdamW GaLoreAdafactor"),
    *_of("grokadamw", "grokadamw", "GrokAdamW"),
    *_of("heavyball", "heavyball", "AdamW NAdam AdEMAMix ADOPT LaProp RMSprop SFAdamW SGD Muon SOAP PSGDKron"),
    *_of("lion-pytorch", "lion_pytorch", "Lion"),
    *_of("madgrad", "madgrad", "MADGRAD MirrorMADGRAD"),
    Entry("muon-optimizer", "muon", "SingleDeviceMuonWithAuxAdam", {}, _muon),
    *_of("prodigyopt", "prodigyopt", "Prodigy"),
    *_of("pytorch-lamb", "pytorch_lamb", "Lamb"),
    *_of("pytorch_optimizer", "pytorch_optimizer",
         "AdaBelief AdaBound AdaFactor AdEMAMix ADOPT AdaMod Adai Adan AdamP AdamS AggMo CAME "
         "DAdaptAdam DiffGrad FAdam Fromage GrokFastAdamW Grams Kate LaProp LARS Lamb Lion MADGRAD MARS NovoGrad "
         "Nero PID PNM Prodigy QHAdam QHM RAdam Ranger SGDP SGDW SM3 SOAP SRMM ScheduleFreeAdamW ScheduleFreeSGD "
         "ScalableShampoo Shampoo SimplifiedAdEMAMix StableAdamW SWATS Tiger Yogi AdaShift AvaGrad Gravity"),
    Entry("pytorch_optimizer", "pytorch_optimizer", "Ranger21", {"num_iterations": 100}),
    *_of("pytorch-ranger", "pytorch_ranger", "Ranger RangerQH"),
    *_of("qhoptim", "qhoptim.pyt", "QHAdam"), *_of("qhoptim", "qhoptim.pyt", "QHM", lr=0.01, nu=0.7, momentum=0.9),
    *_of("ranger-adabelief", "ranger_adabelief", "RangerAdaBelief"),
    Entry("ranger21", "ranger21", "Ranger21", {"lr": 1e-3, "num_epochs": 2, "num_batches_per_epoch": 10}),
    *_of("schedulefree", "schedulefree", "AdamWScheduleFree SGDScheduleFree RAdamScheduleFree"),
    *(Entry("timm", f"timm.optim.{module}", name, {"lr": 1e-2}) for module, name in (
        ("adan", "Adan"), ("adamp", "AdamP"), ("adamw", "AdamWLegacy"), ("adopt", "Adopt"), ("lamb", "Lamb"),
        ("lars", "Lars"), ("lion", "Lion"), ("madgrad", "MADGRAD"), ("mars", "Mars"), ("nadamw", "NAdamW"),
        ("nvnovograd", "NvNovoGrad"), ("radam", "RAdamLegacy"), ("sgdp", "SGDP"), ("sgdw", "SGDW"),
        ("laprop", "LaProp"), ("adafactor", "Adafactor"), ("adafactor_bv", "AdafactorBigVision"),
        ("adabelief", "AdaBelief"), ("kron", "Kron"), ("rmsprop_tf", "RMSpropTF"), ("muon", "Muon"))),
    *_of("torch", "torch.optim", "Muon"),
    *_of("torch-adopt", "adopt", "ADOPT"),
    *_of("torch-optimi", "optimi", "Adam AdamW Adan RAdam Ranger StableAdamW Lion SGD", lr=1e-3),
    *_of("torch-optimizer", "torch_optimizer",
         "A2GradExp AccSGD AdaBelief AdaBound AdaMod Adafactor AdamP AggMo Apollo DiffGrad LARS Lamb MADGRAD NovoGrad "
         "PID QHAdam QHM RAdam Ranger RangerQH RangerVA SGDP SGDW SWATS Shampoo Yogi", lr=1e-2),
    *_of("transformers", "transformers.optimization", "Adafactor"),
]  # fmt: skip


@dataclass
class Outcome:
    """What came of one class."""

    entry: Entry
    version: str
    how: str
    closure: float = math.nan
    split: str = ""
    note: str = ""


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 4))


def module_of(entry: Entry) -> Any:
    """The module with the class; of timm its optimizers alone, which do not need the torchvision that its rest does."""
    if entry.package == "timm" and "timm" not in sys.modules:
        found = importlib.util.find_spec("timm")
        assert found is not None
        for name, inside in (("timm", ""), ("timm.optim", "optim")):
            sys.modules[name] = types.ModuleType(name)
            sys.modules[name].__path__ = [os.path.join(at, inside) for at in found.submodule_search_locations or []]
    module = importlib.import_module(entry.module)
    if entry.package == "heavyball":
        module.utils.compile_mode = None  # else it tries its kernels out for minutes
    return module


def make(kind: type, entry: Entry, net: nn.Module) -> Any:
    """The optimizer: from its defaults where it has them all, with a learning rate where it asks for one."""
    if entry.made is not None:
        return entry.made(kind, net)
    if entry.name == "Muon" and entry.package == "torch":
        return kind([p for p in net.parameters() if p.dim() == 2])
    try:
        return kind(net.parameters(), **entry.options)
    except TypeError:
        return kind(net.parameters(), **{"lr": 1e-2, **entry.options})


def outcome(entry: Entry, version: str) -> Outcome:
    """Train with one class and split its steps."""
    try:
        kind = getattr(module_of(entry), entry.name)
        net = model()
        optimizer = make(kind, entry, net)
        if hasattr(optimizer, "train"):
            optimizer.train()
    except Exception as error:  # noqa: BLE001  somebody else's code: the table says what it raised
        return Outcome(entry, version, "not made", note=f"{type(error).__name__}: {error}".splitlines()[0][:90])
    attributor = Attributor(optimizer, "both")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    worst, split, steps = 0.0, 0, 0
    solo_nan = False
    for _ in range(STEPS):
        x = torch.randn(16, 6)
        out = net(x)
        losses = {"a": out[:, :2].square().mean() - out[:, 0].mean(), "b": (out[:, 2:] - x[:, :2]).abs().mean()}
        taken = {
            name: torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            for name, loss in losses.items()
        }
        gradients: dict[Tensor, GradientSplit] = {}
        for place, p in enumerate(parameters):
            tasks = {name: g[place] for name, g in taken.items() if g[place] is not None}
            p.grad = torch.stack(list(tasks.values())).sum(0)
            gradients[p] = GradientSplit(tasks, total=p.grad.clone())
        attributor.before_step(parameters)
        try:
            optimizer.step()
        except Exception as error:  # noqa: BLE001  as above
            return Outcome(entry, version, "fails itself", note=f"{type(error).__name__}: {error}".splitlines()[0][:90])
        for _, each in attributor.splits(gradients):
            steps += 1
            split += not math.isnan(each.closure)
            solo_nan |= any(bool(u.isnan().any()) for u in each.solo.values())
            if not math.isnan(each.closure) and math.isfinite(each.closure):
                worst = max(worst, each.closure - each.rounding if math.isfinite(each.rounding) else 0.0)
    how = "additive" if attributor.additive else "solo" if not solo_nan else "NaN"
    note = attributor.note.split(": ", 1)[1] if how != "additive" else ""
    return Outcome(entry, version, how, worst, f"{split}/{steps}", note)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs="*")
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    absent: list[str] = []
    counts: dict[str, int] = {}
    for entry in ENTRIES:
        if asked.packages and entry.package not in asked.packages:
            continue
        try:
            version = importlib.metadata.version(entry.package)
        except importlib.metadata.PackageNotFoundError:
            absent += [] if entry.package in absent else [entry.package]
            continue
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = outcome(entry, version)
        counts[found.how] = counts.get(found.how, 0) + 1
        closure = "" if math.isnan(found.closure) or found.how != "additive" else f"{max(found.closure, 0.0):.1e}"
        cells = [entry.package, version, entry.name, found.how, found.split, closure, found.note]
        print(
            "| " + " | ".join(cells) + " |" if asked.markdown else "  ".join(f"{cell:<18}" for cell in cells),
            flush=True,
        )
    print(", ".join(f"{count} {how}" for how, count in counts.items()), file=sys.stderr)
    if absent:
        print("not installed: " + ", ".join(absent), file=sys.stderr)


if __name__ == "__main__":
    main()
