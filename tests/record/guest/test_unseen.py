"""What the script looks at its computation with does not see ours, and says what it would have said."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dominance.record.guest.unseen import unheard, unseen, without_anomaly_mode

torch.set_num_threads(1)


class Operators(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


class Functions(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.seen.append(function.__name__)
        return function(*args, **(kwargs or {}))


@pytest.fixture
def on_meta() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def test_modes_see_what_is_before_and_after_alone() -> None:
    with Operators() as operators, Functions() as functions, FlopCounterMode(display=False) as flops:
        x = torch.ones(2, 2).sin()
        with unseen():
            x @ x
            torch.cos(x)
        with pytest.raises(ZeroDivisionError), unseen():
            _ = 1 / 0
        torch.tan(x)
    assert not [name for name in operators.seen + functions.seen if "cos" in name or "mm" in name]
    assert "aten.tan.default" in operators.seen
    assert "tan" in functions.seen
    assert flops.get_total_flops() == 0


@pytest.mark.usefixtures("on_meta")
def test_tensors_are_made_where_the_script_says() -> None:
    with Functions(), unseen():
        assert torch.ones(1).device.type == "meta"
    assert torch.ones(1).device.type == "meta"


def test_a_profiler_does_not_see_ours(capfd: pytest.CaptureFixture[str]) -> None:
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        torch.ones(1).sin()
        with unseen():
            torch.ones(1).cos()
        torch.ones(1).tan()
    capfd.readouterr()
    found = {event.key for event in profiler.key_averages()}
    assert {"aten::sin", "aten::tan"} <= found
    assert "aten::cos" not in found


def test_a_warning_that_comes_once_is_left_for_the_script() -> None:
    def warn() -> None:
        warnings.warn("once", stacklevel=2)
        torch.eye(2).to_sparse_csr()  # torch warns of this layout once in a process

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        before = list(warnings.filters)
        with unheard():
            warn()
        assert warnings.filters == before
        assert caught == []
        for _ in range(2):
            warn()
    assert [str(each.message)[:4] for each in caught] == ["once", "Spar"]


def test_nothing_is_logged_or_printed_on_either_stream(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    import sys

    with unheard():
        logging.getLogger("script").error("lost")
        print("lost")
        print("lost", file=sys.stderr)
    logging.getLogger("script").error("kept")
    assert caplog.messages == ["kept"]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("check_nan", [True, False])
def test_a_pass_is_not_checked_for_nan(check_nan: bool) -> None:
    x = torch.zeros(1, requires_grad=True)
    with torch.autograd.set_detect_anomaly(True, check_nan=check_nan):
        loss = (x.sqrt() * 0).sum()
        with without_anomaly_mode():
            (gradient,) = torch.autograd.grad(loss, [x], retain_graph=True)
        assert gradient.isnan()
        assert torch.is_anomaly_check_nan_enabled() == check_nan
        assert torch.is_anomaly_enabled()


def test_loggers_that_know_by_themselves_what_they_are_enabled_for_are_silent_too() -> None:
    """They keep what they were told in the same place as all others, which forget it when logging is disabled."""

    class Own(logging.Logger):
        _cache: dict[int, bool]

        def isEnabledFor(self, level: int) -> bool:  # noqa: N802  the name that logging gave it
            if level not in self._cache:
                self._cache[level] = level > self.manager.disable
            return self._cache[level]

    manager = logging.root.manager
    kind, before = manager.loggerClass, manager.disable
    try:
        manager.setLoggerClass(Own)
        logger = manager.getLogger("a logger of its own kind")
    finally:
        manager.loggerClass = kind
    kept: list[object] = []
    logger.addFilter(lambda record: bool(kept.append(record.msg)))
    logger.error("one")
    with unheard():
        logger.error("lost")
    logger.error("two")
    assert (kept, manager.disable) == (["one", "two"], before)
