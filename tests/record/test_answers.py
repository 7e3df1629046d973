"""Questions of many tensors at once: what is told, and how often a device is waited for, which the CPU plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import dominance
from dominance.record import answers
from dominance.record.compare import nonzero, same
from dominance.record.write.later import Later

NAN = float("nan")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU is a device that works on its own."""
    monkeypatch.setattr(answers, "AT_HAND", set())


class Waits:
    """Counts what has to wait for a device: everything that makes numbers of Python's, or of numpy's, of a tensor."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.count, self._inside = 0, False
        for name in ("cpu", "numpy", "tolist", "item", "__bool__", "__float__", "__int__", "__index__"):
            patch.setattr(Tensor, name, self._counted(getattr(Tensor, name)))
        patch.setattr(torch, "equal", self._counted(torch.equal))

    def _counted(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            outermost, self._inside = not self._inside, True
            # What a device's tensor is copied to is at hand.
            self.count += outermost and original.__name__ != "numpy"
            try:
                return original(*args, **kwargs)
            finally:
                self._inside = not outermost

        return counted


@pytest.mark.usefixtures("device")
def test_answers_are_those_of_a_look_at_each() -> None:
    one, other, third = torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN]), torch.tensor([1.0, 2.0])
    zero = torch.zeros(2)
    with answers.asking([one]):
        answers.ask([(answers.SAME, one, other), (answers.SAME, one, third), (answers.NONZERO, zero)])
        answers.ask([(answers.NONZERO, one), (answers.NORM, third), (answers.PRODUCTS, third, torch.ones(2))])
        answers.ask([(answers.BEYOND, third, torch.tensor([1.0, 0.0])), (answers.BEYOND, zero, zero)])
        assert answers.of(answers.SAME, other, one) == [1]
        assert answers.of(answers.SAME, one, third) == [0]
        assert same(one, other)
        assert not same(third, one)
        assert (nonzero(zero), nonzero(one)) == (False, True)
        assert answers.norm(third) == pytest.approx(5**0.5)
        assert answers.of(answers.BEYOND, zero, zero) == [0]
    assert answers.of(answers.NONZERO, zero) is None


@pytest.mark.usefixtures("device")
def test_products_are_sums_over_all_entries() -> None:
    one, other = torch.randn(3, 5), torch.randn(3, 5)
    with answers.asking([one]):
        answers.ask([(answers.PRODUCTS, one, other)])
        told = answers.of(answers.PRODUCTS, one, other)
    a, b = one.double().numpy(), other.double().numpy()
    np.testing.assert_allclose(told, [(a * a).sum(), (a * b).sum(), (b * b).sum()], rtol=1e-14)


@pytest.mark.usefixtures("device")
def test_an_answer_ends_when_its_tensor_is_written_to() -> None:
    tensor = torch.zeros(3)
    with answers.asking([tensor]):
        answers.ask([(answers.NONZERO, tensor)])
        assert not nonzero(tensor)
        tensor += 1
        assert answers.of(answers.NONZERO, tensor) is None
        assert nonzero(tensor)


@pytest.mark.usefixtures("device")
def test_what_has_no_answer_is_looked_at() -> None:
    """Of other shapes, sparse, or of inference: nothing is kept of these."""
    short, sparse = torch.ones(2), torch.ones(2).to_sparse()
    with torch.inference_mode():
        made = torch.ones(2)
    with answers.asking([short]):
        answers.ask([(answers.SAME, short, torch.ones(3)), (answers.NONZERO, sparse), (answers.NONZERO, made)])
        assert answers.of(answers.SAME, short, torch.ones(3)) is None
        assert answers.of(answers.NONZERO, sparse) is None
        assert answers.of(answers.NONZERO, made) is None


def test_nothing_is_asked_beforehand_of_what_is_at_hand() -> None:
    def questions() -> Iterator[answers.Asked]:
        raise AssertionError("these were gone through")
        yield

    with answers.asking([torch.ones(2)]):
        answers.ask(questions())


@pytest.mark.usefixtures("device")
def test_what_is_read_soon_is_read_with_the_next() -> None:
    one, other = torch.tensor(2.0), torch.tensor(3.0)
    with answers.asking([one]):
        answers.soon([one])
        assert answers.numbers([other]) == [3]
        assert answers.of(answers.VALUE, one) == [2]


def test_numbers_of_all_formats_are_read_together() -> None:
    """In their shapes; also of one that was expanded, of none, and of a transposed matrix."""
    given = [torch.randn(3), torch.tensor(2.0, dtype=torch.float64).expand(1), torch.tensor([True, False, True])]
    given += [torch.zeros(0, 4), torch.arange(6).reshape(2, 3).T, torch.tensor(7, dtype=torch.int32)]
    given += [torch.tensor(1.5).expand(2, 2)]
    for tensor, numbers in zip(given, answers.read(given), strict=True):
        assert numbers.dtype == tensor.numpy().dtype
        np.testing.assert_array_equal(numbers, tensor.numpy())


@pytest.mark.usefixtures("device")
def test_who_can_wait_is_given_numbers_with_the_next_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = Waits(monkeypatch)
    got: list[list[float]] = []
    first, second = Later(), Later()
    first.add([torch.tensor([1.0, 2.0])], lambda read: got.append(read[0].tolist()))
    second.add([torch.tensor(3, dtype=torch.int64)], lambda read: got.append([float(read[0])]))
    assert answers.numbers([torch.tensor(5.0)]) == [5]
    assert sorted(got) == [[1, 2], [3]]
    assert waits.count == 1
    first.settle()  # nothing is left
    first.add([torch.tensor(4.0)], lambda read: got.append([float(read[0])]))
    first.settle()
    assert got[-1] == [4]
    answers.numbers([torch.tensor(5.0)])
    assert len(got) == 3


# A training


class Net(nn.Module):
    def __init__(self, width: int, depth: int, *, attention: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [module for _ in range(depth) for module in (nn.Linear(width, width), nn.Tanh())]
        if attention:  # the gradients of its keys' biases are rounding alone
            layers = [nn.TransformerEncoderLayer(width, 2, 8, dropout=0.0) for _ in range(depth)]
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(width, 1) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        z = self.trunk(x)
        return [head(z)[:, 0] for head in self.heads]


def _as_is(model: nn.Module) -> None:
    pass


def _clipped(model: nn.Module) -> None:
    nn.utils.clip_grad_norm_(model.parameters(), 0.1)


@torch.no_grad()
def _pulled(model: nn.Module) -> None:
    """After backward(), before the step."""
    for p in model.parameters():
        p.mul_(0.99)


def _now_and_then(model: Any) -> None:
    """Gradients are halved before every second step."""
    model.steps = getattr(model, "steps", 0) + 1
    for p in model.parameters():
        if model.steps % 2 == 0:
            p.grad *= 0.5


def _centred(model: nn.Module) -> None:
    for p in model.parameters():
        if p.grad is not None and p.dim() > 1:
            p.grad -= p.grad.mean(dim=1, keepdim=True)


OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2, weight_decay=0.1),
    "momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9, weight_decay=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-2),
    "lion-like": lambda p: SignDescent(p, {"lr": 1e-3}),
}


class SignDescent(torch.optim.Optimizer):
    """Of no rule that is known, and not linear."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.sub_(p.grad.sign(), alpha=group["lr"])


def train(
    path: Path | None,
    *,
    width: int = 6,
    depth: int = 2,
    steps: int = 4,
    optimizer: str = "adam",
    between: Callable[[nn.Module], None] = _as_is,
    penalty: float = 0.0,
    attention: bool = False,
    dtype: torch.dtype = torch.float32,
    after: Callable[[int], None] = lambda step: None,
) -> dict[str, Tensor]:
    """The weights that come of it; the run lies at the path, and without one it is not recorded."""
    torch.manual_seed(0)
    model, x = Net(width, depth, attention=attention).to(dtype), torch.randn(16, width, dtype=dtype)
    steps_by = OPTIMIZERS[optimizer](model.parameters())
    with nullcontext() if path is None else dominance.Recorder(path, model, steps_by, every=1):
        for step in range(steps):
            steps_by.zero_grad()
            near, far = model(x)
            a, b = near.square().mean(), (far - 3).abs().mean()
            loss = a + b
            if penalty:
                loss = loss + penalty * sum(p.square().sum() for p in model.parameters())
            loss.backward()
            between(model)
            steps_by.step()
            after(step)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


KINDS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw": {"optimizer": "adamw"},
    "momentum": {"optimizer": "momentum"},
    "rmsprop": {"optimizer": "rmsprop"},
    "not linear": {"optimizer": "lion-like"},
    "clipped": {"between": _clipped},
    "centred": {"between": _centred},
    "pulled": {"between": _pulled},
    "now and then": {"between": _now_and_then, "steps": 6},
    "penalty": {"penalty": 0.01},
    "large": {"width": 400, "depth": 1},
    "half": {"dtype": torch.bfloat16},
    "attention": {"attention": True},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_the_same_on_a_device_that_is_waited_for(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = train(tmp_path / "at-hand", **KINDS[kind])
    monkeypatch.setattr(answers, "AT_HAND", set())
    again = train(tmp_path / "waited-for", **KINDS[kind])
    assert all(torch.equal(again[name], value) for name, value in weights.items())
    one, other = (dominance.open_run(tmp_path / name) for name in ("at-hand", "waited-for"))
    assert [node.path for node in one.subtree] == [node.path for node in other.subtree]
    compared = 0
    for node in one.subtree:
        for name, values in node.dataset.data_vars.items():
            if name in ("time", "closure") or values.dtype.kind not in "fiu":
                continue
            mine, theirs = values.to_numpy(), other[node.path.strip("/") or "/"][name].to_numpy()
            size = np.nanmax(np.abs(mine), initial=0)
            np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=2e-6 * size, err_msg=f"{node.path}/{name}")
            compared += mine.size > 0
    assert compared > 10
    np.testing.assert_array_less(other["closure"].fillna(0), one["closure"].fillna(0) + 1e-6)
    assert (other["closure"].isnull() == one["closure"].isnull()).all()


def waits_of(path: Path | None, monkeypatch: pytest.MonkeyPatch, **kind: Any) -> int:
    """In the last step, and in all that is done about it until the next pass."""
    counts: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(answers, "AT_HAND", set())
        waits = Waits(patch)
        train(path, steps=6, after=lambda step: counts.append(waits.count), **kind)
    return counts[-1] - counts[-2]


@pytest.mark.parametrize(
    ("kind", "most"), [("adam", 3), ("momentum", 3), ("clipped", 4), ("large", 3), ("half", 3), ("attention", 3)]
)
def test_waits_do_not_grow_with_the_parameters(
    kind: str, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_recording = []
    for depth in (2, 5):
        net = {**KINDS[kind], "depth": depth}
        of_recording.append(waits_of(tmp_path / str(depth), monkeypatch, **net) - waits_of(None, monkeypatch, **net))
    assert of_recording == [most, most]
