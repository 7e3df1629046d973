"""What a statement does with a value: read from the source, and from the instructions where there is none."""

from __future__ import annotations

import linecache
import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dominance.record.tasks.fates import Fate, builds_on_itself, spelled
from dominance.record.tasks.naming import caller_frames
from dominance.record.tasks.positions import Positions
from dominance.record.tasks.sources import source_of, stack_of

X, T = torch.ones(3, 2, requires_grad=True), torch.zeros(3, 2)
LINES = {
    "price = mse(x, t)": Fate("stored", ("price",)),
    "return mse(x, t)": Fate("returned"),
    "return mse(x, t), 1": Fate("returned", position=0),
    "return 1, mse(x, t)": Fate("returned", position=1),
    "a, b = mse(x, t)": Fate("unpacked", ("a", "b")),
    "mse(x, t)": Fate("dropped"),
    "y = 2 * mse(x, t)": Fate("used"),
    "y = [mse(x, t)]": Fate("stored", ("y[0]",)),
    "y = 1, mse(x, t)": Fate("stored", ("y[1]",)),
    "return [1, mse(x, t)]": Fate("returned", position=1),
    "self.losses = [mse(x, t)]": Fate("stored", ("losses[0]",)),
    "self.price = mse(x, t)": Fate("stored", ("price",)),
    'out["price"] = mse(x, t)': Fate("stored", ("price",)),
    "_ = mse(x, t)": Fate("used"),
}
ONLY_IN_SOURCE = {
    "self.losses = [mse(x, t), mse(x, t)]": Fate("stored", ("losses[0]",)),
    "a, b = 1, mse(x, t)": Fate("stored", ("b",)),
    'return {"price": mse(x, t)}': Fate("keyed", ("price",)),
    "return dict(price=mse(x, t))": Fate("keyed", ("price",)),
    "price = mse(x, t).to(x.dtype)": Fate("stored", ("price",)),
    "return mse(x, t).to(x.dtype).float()": Fate("returned"),
    "y = [*t, mse(x, t)]": Fate("used"),
    "return (price := mse(x, t)) * 2": Fate("stored", ("price",)),
    "price = mse(x, t) if x is not None else None": Fate("stored", ("price",)),
    "a = 1; price = mse(x, t)": Fate("stored", ("price",)),
    "total = 0; total += mse(x, t)": Fate("stored", ("total",)),
}


class Holder:
    """Where attributes go."""


class Losses(list[Any]):
    """Two values in one, so that it can be unpacked."""


def made_by(line: str, path: str) -> Any:
    """The place in ``line``, of a function in the file ``path``, at which its loss was made."""
    seen: list[Any] = []

    def mse(x: Any, t: Any) -> Any:
        loss = F.mse_loss(x, t)
        seen.append(stack_of(loss.grad_fn))
        return Losses([loss, loss]) if line.startswith("a, b = mse") else loss

    text = f"def make(x, t, self, out):\n    {line}\n"
    space: dict[str, Any] = {"mse": mse}
    exec(compile(text, path, "exec"), space)
    if path.endswith("/read.py"):
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    positions = Positions()
    positions.on()
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    try:
        space["make"](X, T, Holder(), {})
    finally:
        torch.autograd.set_detect_anomaly(False)
        positions.off()
        linecache.checkcache()
    return next(place for place in seen[0] if place.path == path)


@pytest.mark.parametrize("line", [*LINES, *ONLY_IN_SOURCE])
def test_read_from_the_source(line: str) -> None:
    path = f"/nowhere/{abs(hash(line))}/read.py"
    place = made_by(line, path)
    text = f"def make(x, t, self, out):\n    {line}\n"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)
    assert place.fate == (LINES | ONLY_IN_SOURCE)[line]


@pytest.mark.parametrize("line", LINES)
def test_read_from_the_instructions(line: str) -> None:
    assert made_by(line, f"/nowhere/{abs(hash(line))}/unread.py").fate == LINES[line]


def test_the_positions_are_kept_only_while_wanted() -> None:
    from torch.fx import traceback as torch_traceback

    before = torch_traceback.format_stack
    positions = Positions()
    positions.on()
    positions.on()
    assert torch_traceback.format_stack is not before
    positions.off()
    assert torch_traceback.format_stack is before
    positions.off()
    assert torch_traceback.format_stack is before


@pytest.mark.parametrize("first", [0, 1])
def test_two_recordings_leave_the_function_of_torch_whichever_ends_first(first: int) -> None:
    from torch.fx import traceback as torch_traceback

    before = torch_traceback.format_stack
    both = [Positions(), Positions()]
    for each in both:
        each.on()
    both[first].off()
    assert getattr(torch_traceback.format_stack(), "places", ())
    both[1 - first].off()
    assert torch_traceback.format_stack is before


def test_what_another_has_put_there_stays_and_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """It calls ours to the end, which hands on what torch gives, without a line of its own."""
    from torch.fx import traceback as torch_traceback

    before = torch_traceback.format_stack
    monkeypatch.setattr(torch_traceback, "format_stack", before)  # put back at the end, whatever is there
    positions = Positions()
    positions.on()
    ours = torch_traceback.format_stack
    torch_traceback.format_stack = theirs = lambda: ours()
    positions.off()
    assert torch_traceback.format_stack is theirs
    assert type(theirs()) is list
    assert theirs()[-1].splitlines()[0].endswith("in <lambda>")
    positions.on()
    assert type(ours()) is list
    assert getattr(torch_traceback.format_stack(), "places", ())
    positions.off()
    assert torch_traceback.format_stack is theirs


def test_a_package_whose_name_begins_with_torch_is_the_script() -> None:
    folder = os.path.dirname(os.path.dirname(torch.__file__))
    space: dict[str, Any] = {"frames": caller_frames}
    path = os.path.join(folder, "torch_zoo", "trainer.py")
    exec(compile("def fit():\n    return frames()\n", path, "exec"), space)
    assert space["fit"]()[0].f_code.co_filename == path


def test_what_a_function_of_torch_makes_is_one_value() -> None:
    """The scaling of a GradScaler is torch's Python too, and none."""
    positions = Positions()
    positions.on()
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    try:
        loss = F.cross_entropy(X, T[:, 0].long(), label_smoothing=0.1)
        scaled = torch.amp.GradScaler("cpu", init_scale=8.0).scale(loss)
    finally:
        torch.autograd.set_detect_anomaly(False)
        positions.off()
    assert stack_of(loss.grad_fn)[-1].scope == "cross_entropy"
    assert not stack_of(scaled.grad_fn)[-1].in_torch
    source = source_of(loss.grad_fn)
    assert source is not None
    assert source.name == "loss" or source.called == "cross_entropy"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("F.mse_loss(out, y)", 2),
        ("mse(out['a'], batch[1])", 2),
        ("mse(input=out, target=y)", 2),
        ("(out - y).abs().mean()", 2),
        ("error.mean()", 1),
        ("loss(batch)", 1),
        ("a + a", 1),
    ],
)
def test_what_is_spelled_with_so_many_variables(line: str, names: int) -> None:
    name = f"<spelled {line}>"
    linecache.cache[name] = (len(line), None, [line + "\n"], name)
    span = (1, 1, 0, len(line))
    assert spelled(name, 1, span, names=names) == line
    assert spelled(name, 1, span, names=names + 1) is None


@pytest.mark.parametrize(
    ("line", "without"),
    [
        ("mse(out['a'], y[chosen])", "mse(out['a'], y)"),
        ("mse(out['a'][:n], y[i:i + 32])", "mse(out['a'], y)"),
        ("mse(f(x[order[i:j]]), y[:, 0])", "mse(f(x), y[:, 0])"),
        ("mse(out[0], y[-1])", "mse(out[0], y[-1])"),
        ("(p[k] - y[k]) ** 2", "(p - y) ** 2"),
    ],
)
def test_which_rows_can_be_left_out(line: str, without: str) -> None:
    name = f"<rows {line}>"
    linecache.cache[name] = (len(line), None, [line + "\n"], name)
    span = (1, 1, 0, len(line))
    assert spelled(name, 1, span, rows=False) == without
    assert spelled(name, 1, span) == line


@pytest.mark.parametrize(
    ("line", "builds"),
    [
        ("loss = mse(x, t)", False),
        ("loss = loss + mse(x, t)", True),
        ("loss += mse(x, t)", True),
        ("a, loss = 1, loss.mean()", True),
        ("self.loss = self.loss / n", True),
        ("self.loss = loss / n", False),
        ("mse(x, loss)", False),
    ],
)
def test_what_builds_on_itself(line: str, builds: bool) -> None:
    name = f"<built {line}>"
    linecache.cache[name] = (len(line), None, [line + "\n"], name)
    assert builds_on_itself(name, 1, None) == builds
