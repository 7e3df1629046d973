"""Light recording: coordinates as in a full one, inner products of gradients exact, norms of updates estimated."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn

import dominance
from dominance import Recorder, by_group, open_run
from dominance.config import RecordOptions
from dominance.errors import BadOption, NothingRecorded
from dominance.record.split import in_passing, one_pass, row_products
from dominance.record.split.group_rules import OutputRows
from dominance.record.split.row_products import RowFactors

torch.set_num_threads(1)

NAMES, WORDS, LENGTH, WIDE, STEPS = ("de", "fr", "ja"), 90, 5, 96, 6


class Transformer(nn.Module):
    """With the words' embedding as its output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, 64), nn.Embedding(LENGTH, 64)
        self.layer = nn.TransformerEncoderLayer(64, 2, 96, dropout=0.0, batch_first=True)
        self.head = nn.Linear(64, WORDS, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.layer(self.words(x) + self.places(torch.arange(x.shape[1]))))
        return out


class Twice(nn.Module):
    """A layer that is used twice, and one whose matrix lies the other way round, beside BatchNorm or not."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.inner, self.turned = nn.Linear(WIDE, WIDE), nn.Parameter(torch.randn(WIDE, 80) / 10)
        self.norm = nn.BatchNorm1d(WIDE) if norm else nn.Identity()
        self.head = nn.Linear(80, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.inner(torch.tanh(self.norm(self.inner(x)))))
        out: Tensor = self.head(torch.tanh(x @ self.turned))
        return out


class Untied(nn.Module):
    """Words looked up, and the same for the output; no embedding of positions."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(WORDS, 64), nn.Linear(64, WORDS, bias=False)
        self.inner = nn.Linear(64, 64)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(torch.tanh(self.inner(self.words(x))))
        return out


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 48, 3), nn.GroupNorm(4, 48), nn.ReLU(), nn.Conv2d(48, 48, 3), nn.Flatten(), nn.Linear(48, 3)
    )


@dataclass(frozen=True)
class Kind:
    model: Callable[[], nn.Module]
    inputs: Callable[[torch.Generator], Tensor]
    batch: int = 12


def numbers(*shape: int) -> Callable[[torch.Generator], Tensor]:
    return lambda generator: torch.randn(*shape, generator=generator, dtype=torch.float64)


def words(generator: torch.Generator) -> Tensor:
    return torch.randint(0, WORDS, (12, LENGTH), generator=generator)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDE, WIDE), nn.ReLU(), nn.Linear(WIDE, WIDE), nn.Tanh(), nn.Linear(WIDE, 3))


KINDS = {
    "few rows": Kind(mlp, numbers(12, WIDE)),
    "many rows": Kind(mlp, numbers(240, WIDE), 240),
    "used twice": Kind(Twice, numbers(12, WIDE)),
    "BatchNorm": Kind(lambda: Twice(True), numbers(12, WIDE)),
    "images": Kind(convolutional, numbers(12, 3, 5, 5)),
    "transformer": Kind(Transformer, words),
    "looked up": Kind(lambda: Untied(tied=False), words),
    "looked up, tied": Kind(lambda: Untied(tied=True), words),
}
OF_WORDS = ("transformer", "looked up", "looked up, tied")
APART = set(KINDS) - {"BatchNorm"}
"""Kinds that keep examples apart: all but the first two steps need no pass of ours."""
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "descent": lambda p: torch.optim.SGD(p, lr=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
}


def batches(kind: str, step: int, parts: int = 1) -> list[tuple[Tensor, Tensor, list[str]]]:
    """Inputs, targets and groups; each step has groups of its own."""
    found = []
    for part in range(parts):
        generator = torch.Generator().manual_seed(100 * step + part)
        x = KINDS[kind].inputs(generator)
        y = torch.randint(0, WORDS if kind in OF_WORDS else 3, x.shape[: x.dim() - 1 if kind != "images" else 1],
                          generator=generator)  # fmt: skip
        y = x.roll(1, 1) if kind in OF_WORDS else y
        drawn = torch.randint(0, len(NAMES), (len(x),), generator=generator).tolist()
        found.append((x, y, [*NAMES, *(NAMES[i] for i in drawn[3:])]))
    return found


def loss_of(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.flatten(0, -2), y.flatten())


def train(
    path: Path | None, kind: str, *, light: bool = False, optimizer: str = "adam", parts: int = 1, clip: float = 0.0,
    truth: list[np.ndarray] | None = None, params: str = "*",
    quiet: bool = True, budget: str = "2MB",
) -> nn.Module:  # fmt: skip
    """Some steps; ``truth`` gets of each the gradients of each group, by a mask and a pass a group."""
    torch.manual_seed(0)
    net = KINDS[kind].model().double()
    stepped = OPTIMIZERS[optimizer](list(net.parameters()))

    def steps() -> None:
        for step in range(STEPS):
            stepped.zero_grad()
            for x, y, ids in batches(kind, step, parts):
                out = net(x)
                dominance.observe(at=out, shares=by_group(ids))
                loss_of(out, y).backward()
            if clip:
                nn.utils.clip_grad_norm_(net.parameters(), clip)
            stepped.step()

    if truth is not None:
        taken = by_hand(net, stepped, kind, parts)
        truth.extend(taken)
    elif path is None:
        steps()
    else:
        with Recorder(path, net, stepped, budget=budget, light=light, exact=True, params=params, quiet=quiet):
            steps()
    return net


def by_hand(net: nn.Module, optimizer: torch.optim.Optimizer, kind: str, parts: int) -> list[np.ndarray]:
    found = []
    for step in range(STEPS):
        rows = []
        for name in NAMES:
            net.zero_grad()
            buffers = {key: value.clone() for key, value in net.named_buffers()}
            for x, y, ids in batches(kind, step, parts):
                out = net(x)
                mask = torch.tensor([each == name for each in ids]).reshape(-1, *[1] * (out.dim() - 1))
                loss_of(torch.where(mask, out, out.detach()), y).backward()
            for key, value in net.named_buffers():
                value.copy_(buffers[key])
            rows.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
        found.append(torch.stack(rows).numpy())
        optimizer.zero_grad()
        for x, y, _ in batches(kind, step, parts):
            loss_of(net(x), y).backward()
        optimizer.step()
    return found


def close(found: np.ndarray, want: np.ndarray, off: float = 1e-6) -> None:
    np.testing.assert_allclose(found, want, atol=off * np.abs(want).max(), rtol=off)


def columns(run: xr.DataTree, net: nn.Module) -> np.ndarray:
    """Where each kept coordinate lies among all of the parameters laid flat, one after the other."""
    starts = dict(zip([n for n, _ in net.named_parameters()],
                      np.cumsum([0, *(p.numel() for p in net.parameters())]).tolist(), strict=False))  # fmt: skip
    names = run["gradient"].coords["parameter"].values
    return np.array([starts[str(n)] for n in names]) + run["gradient"].coords["index"].values


@pytest.mark.parametrize("kind", KINDS)
def test_as_by_a_mask_and_a_pass_a_group(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a step of every kind: the first, those whose rows are looked at, and those whose graph is known by then."""
    captured = []
    begin = in_passing.RowsCapture.__init__
    monkeypatch.setattr(in_passing.RowsCapture, "__init__", lambda *given: (captured.append(1), begin(*given))[1])
    truth: list[np.ndarray] = []
    train(None, kind, truth=truth)
    net = train(tmp_path / "run", kind, light=True)
    assert len(captured) == (STEPS - 2 if kind in APART else 0)
    run = open_run(tmp_path / "run")
    at = columns(run, net)
    assert len(at) < sum(p.numel() for p in net.parameters()) / 2
    for step, want in enumerate(truth):
        close(run["gradient/gradient"].values[step], want[:, at])
        close(run["layer/gram"].values[step].sum(0), want @ want.T)
        close(run["layer/gradient_sq"].values[step].sum(0), np.square(want).sum(1))
        close(run["layer/total_gradient_sq"].values[step].sum(), np.square(want.sum(0)).sum())
    assert (run["closure"].values < 1e-5).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_all_that_is_kept_is_as_in_a_full_recording(optimizer: str, clip: float, tmp_path: Path) -> None:
    """But for norms of parts of the step, and inner products of gradients with the step, which are estimates."""
    for light in (False, True):
        train(tmp_path / str(light), "few rows", light=light, optimizer=optimizer, clip=clip)
    full, found = open_run(tmp_path / "False"), open_run(tmp_path / "True")
    estimated = {"update_sq", "gradient_dot_update", "residual_sq", "unattributed_sq", "decay_sq"}
    seen = 0
    for group in ("gradient", "update", "layer", "loss"):
        for name, each in full[group].data_vars.items():
            if group == "layer" and name in estimated:
                continue
            want = each.values.astype(np.float64)
            if not np.isfinite(want).all():
                continue
            close(found[group][name].values, want, 2e-6)
            seen += 1
    assert seen > 15


@pytest.mark.parametrize("kind", KINDS)
def test_the_training_is_the_same_to_the_bit(kind: str, tmp_path: Path) -> None:
    plain, net = train(None, kind), train(tmp_path / "run", kind, light=True)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))


def test_hooks_of_the_script_run_as_often_as_without(tmp_path: Path) -> None:
    """On parameters, and on what is between: also while rows are looked at in the script's own pass."""

    def called(path: Path | None) -> list[str]:
        torch.manual_seed(0)
        net = Transformer().double()
        calls: list[str] = []
        for name, p in net.named_parameters():
            p.register_hook(lambda _, name=name: calls.append(name))  # type: ignore[misc]
        net.places.register_forward_hook(
            lambda *given: given[2].register_hook(lambda _: calls.append("places")) and None
        )
        optimizer = torch.optim.Adam(net.parameters())
        around = nullcontext() if path is None else Recorder(path, net, optimizer, budget="2MB", light=True, quiet=True)
        with around:
            for step in range(STEPS):
                ((x, y, ids),) = batches("transformer", step)
                out = net(x)
                dominance.observe(at=out, shares=by_group(ids))
                optimizer.zero_grad()
                loss_of(out, y).backward()
                optimizer.step()
        return calls

    plain = called(None)
    assert called(tmp_path / "run") == plain
    assert plain.count("places") == STEPS
    assert open_run(tmp_path / "run").sizes["step"] == STEPS


def test_several_micro_batches(tmp_path: Path) -> None:
    """Coordinates are exact; inner products across the batches are not known, and estimated from these."""
    truth: list[np.ndarray] = []
    train(None, "few rows", parts=2, truth=truth)
    net = train(tmp_path / "run", "few rows", light=True, parts=2)
    run = open_run(tmp_path / "run")
    at, found = columns(run, net), run["layer/gradient_sq"].values
    for step, want in enumerate(truth):
        close(run["gradient/gradient"].values[step], want[:, at])
        np.testing.assert_allclose(found[step].sum(0), np.square(want).sum(1), rtol=0.5)
    first = found[0].sum(0)
    close(first, np.square(truth[0]).sum(1))


def test_norms_of_updates_are_estimated_from_the_kept_coordinates(tmp_path: Path) -> None:
    net = train(tmp_path / "run", "few rows", light=True, optimizer="descent", params="[02].weight", budget="32MB")
    run = open_run(tmp_path / "run")
    parameter, update = run["update"].coords["parameter"].values, run["update/update"].values[1:].astype(np.float64)
    for layer in (0, 2):
        here = parameter == f"{layer}.weight"
        weight = net.get_parameter(f"{layer}.weight").numel() / here.sum()
        found = run["layer/update_sq"].values[1:, layer // 2]
        np.testing.assert_allclose(found, weight * np.square(update[:, :, here]).sum(2), rtol=1e-6)
        # Of plain descent they are known: the gradients' times the rate.
        known = run["layer/gradient_sq"].values[1:, layer // 2] * 0.1**2
        np.testing.assert_allclose(found.sum(), known.sum(), rtol=0.3)


def test_terms_of_a_loss(tmp_path: Path) -> None:
    """Their gradients are taken by a pass each, and let go but for what is kept."""
    found = {}
    for light in (False, True):
        torch.manual_seed(0)
        trunk, a, b = nn.Linear(WIDE, WIDE).double(), nn.Linear(WIDE, 1).double(), nn.Linear(WIDE, 1).double()
        model = nn.ModuleDict({"trunk": trunk, "a": a, "b": b})
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        x = numbers(8, WIDE)(torch.Generator().manual_seed(1))
        with Recorder(tmp_path / str(light), model, optimizer, budget="2MB", light=light, exact=True, quiet=True):
            for _ in range(4):
                z = trunk(x).tanh()
                loss_a, loss_b = a(z).square().mean(), (b(z) - 1).square().mean()
                optimizer.zero_grad()
                (loss_a + loss_b).backward()
                optimizer.step()
        found[light] = open_run(tmp_path / str(light))
    for name in ("gradient/gradient", "update/update", "update/total", "layer/gram", "layer/total_update_sq"):
        close(found[True][name].values, found[False][name].values, 2e-6)


def test_a_fault_in_passing_is_said_and_the_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """From then on a pass of our own is made."""

    def breaks(*_: object) -> None:
        raise RuntimeError("no rows")

    plain = train(None, "few rows")
    monkeypatch.setattr(one_pass.Apart, "_part", staticmethod(breaks))
    net = train(tmp_path / "run", "few rows", light=True, quiet=False)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), net.parameters(), strict=True))
    said = capfd.readouterr().err
    assert "step 2 is not recorded: the groups' gradients could not be taken from the script's own backward()" in said
    assert "(RuntimeError: no rows)" in said
    run = open_run(tmp_path / "run")
    assert run["step"].values.tolist() == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("options", [{"attribution": "both"}, {"averages": True}, {"probe": ("noise",)}])
def test_what_needs_every_coordinate_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadOption, match=r"needs (the updates of )?every coordinate|needs the updates"):
        RecordOptions(light=True, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["pairs", "formed"])
def test_both_ways_to_inner_products(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against gradients that are formed one by one; lines of the matrix do not fill the last tile."""
    monkeypatch.setattr(row_products, "TILE", 7 * 20)
    left, right = torch.randn(30, 33, dtype=torch.float64), torch.randn(30, 20, dtype=torch.float64)
    codes = torch.randint(-1, 4, (30,))
    index = torch.randperm(33 * 20)[:50].sort().values
    want = torch.stack([left[codes == k].T @ right[codes == k] for k in range(4)]).flatten(1)
    rows = RowFactors(left, right, codes, 4)
    kept, gram = (rows._at(index), rows._by_pairs()) if way == "pairs" else rows._formed(index)
    torch.testing.assert_close(kept, want[:, index])
    np.testing.assert_allclose(gram, (want @ want.T).numpy(), rtol=1e-10, atol=1e-10)
    assert OutputRows([left], [codes], 4).groups == 4


def test_how_far_estimates_may_be_off(tmp_path: Path) -> None:
    """Of plain descent the truth is known: as many of them lie within two standard errors as there should."""
    train(tmp_path / "run", "few rows", light=True, optimizer="descent", params="[02].weight", budget="32MB")
    run = open_run(tmp_path / "run")
    found = dominance.estimated_norms(run).isel(step=slice(1, None))
    known = run["layer/gradient_sq"].values[1:] * 0.1**2
    off = np.abs(found["update_sq"].values - known) / found["update_sq_se"].values
    assert (off < 2).mean() > 0.75
    assert off.max() > 0.1
    train(tmp_path / "full", "few rows")
    with pytest.raises(NothingRecorded, match="not estimated"):
        dominance.estimated_norms(open_run(tmp_path / "full"))
