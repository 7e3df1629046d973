"""What is told of values without gradients, and that nothing else is changed by looking."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as of_all
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from dominance.record.guest import torch_internals as internals
from dominance.record.guest.without_grad import WithoutGrad


class Told:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.wants, self.values, self.calls, self.batches = True, list[float](), list[str](), list[bool]()

    def listens(self) -> bool:
        return self.wants

    def has_parameters(self, module: nn.Module) -> bool:
        return any(True for _ in module.parameters())

    def called(self, module: nn.Module, args: Sequence[Any], output: Any) -> bool:
        self.calls.append(type(module).__name__)
        return True

    def computed(self, function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> None:
        self.values.append(float(result))

    def fetched(self, iterator: Any, batch: Any, *, over: bool) -> None:
        self.batches.append(over)


@pytest.fixture
def told() -> Iterator[Told]:
    told = Told()
    before = [vars(torch.no_grad)["__enter__"], vars(torch.set_grad_enabled)["__init__"]]
    seen = WithoutGrad(told)
    seen.start()
    yield told
    seen.stop()
    assert not internals.function_modes()
    assert not of_all._global_forward_hooks
    assert not of_all._global_forward_pre_hooks
    assert [vars(torch.no_grad)["__enter__"], vars(torch.set_grad_enabled)["__init__"]] == before


MODEL = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
X, Y = torch.ones(5, 3), torch.zeros(5, 2)


def mse() -> float:
    return float(F.mse_loss(MODEL(X), Y))


def off(how: str, body: Any) -> None:
    if how == "decorated":
        torch.no_grad()(body)()
    elif how == "function":
        torch.set_grad_enabled(False)
        body()
        torch.set_grad_enabled(True)
    elif how == "generator":

        @torch.no_grad()
        def each() -> Iterator[None]:
            body()
            yield
            body()

        for _ in each():
            assert torch.is_grad_enabled()
    else:
        switch = {"no_grad": torch.no_grad, "inference": torch.inference_mode}.get(how)
        with torch.set_grad_enabled(False) if switch is None else switch():
            body()


@pytest.mark.parametrize("how", ["no_grad", "inference", "decorated", "generator"])
def test_values_after_a_model_are_told_however_gradients_are_off(how: str, told: Told) -> None:
    values = []

    def body() -> None:
        F.mse_loss(Y, X[:, :2])
        values.append(F.mse_loss(MODEL(X), Y))
        values.append(nn.L1Loss()(Y, Y + 2))

    off(how, body)
    F.mse_loss(MODEL(X), Y)
    assert told.values == [float(value) for value in values]
    assert told.calls == ["Sequential"] * (len(values) // 2)


@pytest.mark.parametrize("how", ["set", "function"])
def test_a_switch_by_its_value(how: str, told: Told) -> None:
    off(how, mse)
    assert len(told.values) == 1


def test_a_mode_of_the_script_is_left_as_it_is(told: Told) -> None:
    """Ours lies below one that is entered later, and is not there beside one that is in force."""
    names: list[str] = []

    class Names(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            names.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with torch.no_grad():
        out = MODEL(X)
        with Names():
            F.mse_loss(out, Y)
            assert told.values == [float(F.mse_loss(out, Y))] * 2
            MODEL(X)
            F.l1_loss(out, Y)
        assert not internals.function_modes()
    assert names[0] == "mse_loss"
    assert "l1_loss" in names
    assert len(told.values) == 2
    with Names(), torch.no_grad():
        mse()
    assert len(told.values) == 2


def test_a_default_device_stays_the_lowest_mode(told: Told) -> None:
    torch.set_default_device("cpu")
    try:
        with torch.no_grad():
            value = mse()
            with torch.device("meta"):
                assert torch.zeros(2).device.type == "meta"
            assert torch.zeros(2).device.type == "cpu"
    finally:
        torch.set_default_device(None)
    assert told.values == [value]


def test_a_fused_layer_runs_as_without_us(told: Told) -> None:
    """With a mode in force in it, this layer takes another way, whose last digits differ."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    x = torch.randn(4, 7, 16)

    def ways() -> tuple[str, Tensor]:
        with torch.no_grad(), torch.profiler.profile() as profile:
            out = layer(layer(x))
        return " ".join(event.name for event in profile.events()), out

    told.wants = False
    plain, expected = ways()
    told.wants = True
    names, out = ways()
    assert "_transformer_encoder_layer_fwd" in plain
    assert "_transformer_encoder_layer_fwd" in names
    assert torch.equal(out, expected)
    assert told.calls == ["TransformerEncoderLayer"] * 2


def test_gradients_within_a_model_do_not_open_it(told: Told) -> None:
    class Tuned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.enable_grad():
                self.inner(x).sum().backward()
            return self.inner(x) * self.inner(x).mean()

    with torch.no_grad():
        out = Tuned()(X)
        value = out.mean()
    assert told.calls == ["Tuned"]
    assert told.values == [float(value)]


def test_an_error_in_a_model_ends_it_until_the_next_training_step() -> None:
    told = Told()
    seen = WithoutGrad(told)
    seen.start()
    try:
        with torch.no_grad():
            with pytest.raises(RuntimeError):
                MODEL(torch.ones(5, 7))
            mse()
        assert told.values == []
        seen.reset()
        with torch.no_grad():
            mse()
        assert len(told.values) == 1
    finally:
        seen.stop()


def test_another_thread_is_left_alone(told: Told) -> None:
    def evaluate() -> None:
        with torch.no_grad():
            mse()

    with torch.no_grad():
        thread = threading.Thread(target=evaluate)
        thread.start()
        thread.join()
        assert told.calls == []
        mse()
    assert len(told.values) == 1


def test_what_a_data_set_computes_is_not_told(told: Told) -> None:
    class Means(TensorDataset):
        def __getitem__(self, index: int) -> Any:
            return super().__getitem__(index)[0].mean()

    with torch.no_grad():
        for _ in DataLoader(Means(X)):
            mse()
    assert len(told.values) == 5
    assert told.batches == [False] * 5 + [True]


def test_a_compiled_function_does_not_know_of_it(told: Told) -> None:
    @torch.compile(backend="eager", fullgraph=True)
    def both(x: Tensor) -> Tensor:
        with torch.no_grad():
            value = F.mse_loss(MODEL(x), Y)
        return value + MODEL(x).mean()

    torch.testing.assert_close(both(X), F.mse_loss(MODEL(X), Y) + MODEL(X).mean())
    assert internals.compiles()
    torch._dynamo.reset()
    assert not internals.compiles()


def test_a_checkpoint_that_computes_again_within_a_backward_pass_is_no_evaluation(told: Told) -> None:
    """It switches gradients on in a pass that has them off, and off again; after the pass they are on unheard."""
    for _ in range(2):
        out = checkpoint(MODEL, X.clone().requires_grad_(), use_reentrant=False)
        F.mse_loss(out, Y).backward()
        assert not of_all._global_forward_hooks
        assert not internals.function_modes()
    assert not told.calls
    assert not told.values


def test_gradients_that_are_switched_on_without_a_switch(told: Told) -> None:
    with torch.no_grad():
        MODEL(X)
        torch._C._set_grad_enabled(True)
        assert MODEL(X).requires_grad
        assert not of_all._global_forward_hooks
        assert not internals.function_modes()
        F.mse_loss(MODEL(X), Y)
        torch._C._set_grad_enabled(False)
    assert told.calls == ["Sequential"]
    assert not told.values
