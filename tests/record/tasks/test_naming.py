"""Names of tensors: the variables around a call, and the lines that made them."""

from __future__ import annotations

import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dominance.record.tasks.graph import edge_of
from dominance.record.tasks.naming import Names, caller_frames, names_around
from dominance.record.tasks.sources import source_of

X = torch.ones(3, 2, requires_grad=True)
T = torch.zeros(3, 2)


def look() -> Names:
    """What a call of backward() from the caller's place would see; this function's own frame holds no tensor."""
    return names_around(caller_frames())


def scalar(factor: float = 1.0) -> Tensor:
    return (X * factor).sum()


# Variables


def test_variables_of_the_frames() -> None:
    outer = scalar()

    def inner() -> Names:
        depth, seg = scalar(), scalar()
        per_sample = (X * 2).sum(1)
        constant = T.sum()
        found = look()
        assert found.value(edge_of(depth)) == depth.detach()
        assert constant is not None
        assert sorted(found.variables.values()) == ["depth", "outer", "seg"]
        assert found.vectors == {edge_of(per_sample): "per_sample"}
        assert found.variables[edge_of(seg)] == "seg"
        assert outer is not None
        return found

    assert inner().place[0] == __file__


def test_the_innermost_name_of_a_tensor_wins() -> None:
    depth = scalar()

    def inner(passed: Tensor) -> Names:
        return look()

    assert inner(depth).variables[edge_of(depth)] == "passed"


def test_the_script_names_before_an_installed_package(tmp_path: Path) -> None:
    kind_loss = scalar()
    path = tmp_path / "site-packages" / "trainer.py"
    space: dict[str, Any] = {}
    exec(compile("def step(closure_result, look):\n    return look()\n", str(path), "exec"), space)
    assert list(space["step"](kind_loss, look).variables.values()) == ["kind_loss"]


def test_another_name_goes_before_one_that_says_nothing() -> None:
    loss = scalar()
    albedo_loss = loss
    assert list(look().variables.values()) == ["albedo_loss"]
    assert albedo_loss is loss


def test_an_underscore_is_no_name() -> None:
    _ = scalar()
    assert look().variables == {}


def test_containers_name_their_items_better_than_a_loop_variable() -> None:
    losses = {"depth": scalar(), "seg": scalar()}
    for loss in losses.values():
        names = look()
        assert names.choose([edge_of(v) for v in losses.values()]) == [("depth", False), ("seg", False)]
        assert names.choose([edge_of(loss)])[0][0] in losses, "also where the batch holds one of them alone"
    assert set(names.sizes.values()) == {2}


def test_items_of_sequences_are_positions() -> None:
    parts = (scalar(), scalar())
    names = look()
    assert names.choose([edge_of(p) for p in parts]) == [("parts[0]", True), ("parts[1]", True)]


def test_an_item_with_a_variable_of_its_own() -> None:
    history, depth = [scalar()], scalar()
    history.append(depth)
    assert look().choose([edge_of(depth)]) == [("depth", False)]


def test_names_on_self() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.depth = scalar()
            self.losses = {"seg": scalar()}
            self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
            self.scaler.scale(self.depth)  # makes the scale

        def step(self) -> Names:
            return look()

    trainer = Trainer()
    names = trainer.step()
    assert names.variables[edge_of(trainer.depth)] == "depth"
    assert names.items[edge_of(trainer.losses["seg"])][1:] == ("seg", False)
    assert names.loss_scale == 8


def test_lists_of_task_names() -> None:
    task_names, words, tasks = ["depth", "seg"], ["a", "b"], ["same", "same"]
    assert look().task_lists == [("depth", "seg")]
    assert (words, tasks, task_names) is not None


def test_what_says_nothing() -> None:
    empty = look()
    edge = edge_of(scalar())
    assert empty.choose([edge]) == [(None, False)]
    assert empty.value(edge) is None
    assert not empty.is_known(edge)
    assert empty.loss_scale == 1


def test_a_view_that_was_changed_in_place() -> None:
    base = X.clone()
    with torch.no_grad():
        view = base[0]
        view.add_(1)
    assert edge_of(base) not in look().items


# Harm


def test_a_tensor_that_the_script_drops_is_freed() -> None:
    loss = scalar()
    cell = scalar()

    def inner() -> weakref.ref[Tensor]:
        mine = cell * 2  # noqa: F821  deleted below, later
        look()
        return weakref.ref(mine)

    assert inner()() is None
    there, captured = weakref.ref(loss), weakref.ref(cell)
    look()
    del loss
    assert there() is None
    del cell
    assert captured() is None


def test_the_result_of_locals_belongs_to_the_script() -> None:
    def script(rate: float) -> dict[str, Any]:
        options = locals()
        look()
        return options

    assert script(0.1)["rate"] == 0.1


class Proxy:
    """Must not be asked what it is."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:  # type: ignore[override]
        raise AssertionError("woken up")


class Loading(dict[str, Any]):
    """Loads things when it is looked through."""

    def _load(self, *args: Any) -> Any:
        raise AssertionError("loaded")

    items = keys = values = __iter__ = __len__ = __getitem__ = _load


class Counting(list[Any]):
    def _count(self, *args: Any) -> Any:
        raise AssertionError("counted")

    __iter__ = __len__ = __getitem__ = _count


def test_nothing_of_the_script_runs() -> None:
    proxy, inside = Proxy(), [Proxy()]
    loading, counting = Loading(depth=scalar()), Counting([scalar()])
    names = look()
    assert {item[1] for item in names.items.values()} == {"depth", "counting[0]"}
    del proxy, inside, loading, counting


@pytest.mark.parametrize("kind", [OrderedDict, defaultdict])
def test_other_dicts(kind: Callable[..., Any]) -> None:
    losses = kind(None, depth=scalar()) if kind is defaultdict else kind(depth=scalar())
    assert look().items[edge_of(losses["depth"])][1] == "depth"


# Lines


@pytest.fixture(autouse=True)
def _lines() -> Iterator[None]:
    """Autograd keeps the source line of every node."""
    torch.autograd.set_detect_anomaly(True, check_nan=False)
    yield
    torch.autograd.set_detect_anomaly(False)


def mse() -> Tensor:
    return F.mse_loss(X, T)


def priced() -> Tensor:
    price = F.mse_loss(X, T)
    return price * 1


def in_steps() -> Tensor:
    return mse()


class Criterion(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.mse_loss(x, T)


def assigned() -> Tensor:
    depth = F.mse_loss(X, T)
    return depth * 1


def annotated() -> Tensor:
    depth: Tensor = F.mse_loss(X, T)
    return depth * 1


def over_lines() -> Tensor:
    depth = (
        1  #
        * F.mse_loss(X, T)
    )
    return depth * 1


def generic() -> Tensor:
    loss = F.mse_loss(X, T)
    return loss * 1


def through_a_function() -> Tensor:
    depth = mse()
    return depth * 1


def through_two_functions() -> Tensor:
    depth = in_steps()
    return depth * 1


def generic_through_a_function() -> Tensor:
    loss = in_steps()
    return loss * 1


def named_in_the_function() -> Tensor:
    loss = priced()
    return loss * 1


def of_a_module() -> Tensor:
    depth = Criterion()(X)
    return depth * 1


def generic_of_a_module() -> Tensor:
    loss = Criterion()(X)
    return loss * 1


def a_key() -> Tensor:
    losses = {}
    losses["depth"] = F.mse_loss(X, T)
    return losses["depth"] * 1


def a_position() -> Tensor:
    parts: list[Any] = [None]
    parts[0] = F.mse_loss(X, T)
    return parts[0] * 1


def an_attribute() -> Tensor:
    holder = nn.Module()
    holder.depth = F.mse_loss(X, T)
    return holder.depth * 1


def a_comprehension() -> Tensor:
    parts = [F.mse_loss(x, T[0]) for x in X]
    return parts[0] * 1


def added_up() -> Tensor:
    total = torch.zeros(())
    total = total + 2 * F.mse_loss(X, T)
    return total * 1


def unpacked() -> Tensor:
    first, _ = mse(), None
    return first * 1


def used_up_in_a_function() -> Tensor:
    kept = []

    def train() -> str:
        kept.append(F.mse_loss(X, T))
        return "model"

    model = train()
    return kept[0] * len(model)


def yielded() -> Tensor:
    def losses() -> Iterator[Tensor]:
        yield F.mse_loss(X, T)

    depth = next(losses())
    return depth * 1


def two_in_a_line() -> Tensor:
    return (F.mse_loss(X, T) + F.huber_loss(X, T)) * 1


@pytest.mark.parametrize(
    ("make", "name", "is_assigned"),
    [
        (assigned, "depth", True),
        (annotated, "depth", True),
        (over_lines, "depth", True),
        (generic, "mse_loss", False),
        (through_a_function, "depth", True),
        (through_two_functions, "depth", True),
        (generic_through_a_function, "mse", False),
        (named_in_the_function, "price", True),
        (of_a_module, "depth", True),
        (generic_of_a_module, "mse_loss", False),
        (a_key, "depth", True),
        (a_position, "parts[0]", True),
        (an_attribute, "depth", True),
        (a_comprehension, "parts", True),
        (added_up, "mse_loss", False),
        (unpacked, "mse", False),
        (used_up_in_a_function, "mse_loss", False),
        (yielded, "depth", True),
    ],
)
def test_the_name_that_a_line_suggests(make: Callable[[], Tensor], name: str, is_assigned: bool) -> None:
    loss = make()
    node = loss.grad_fn
    while node.name() != "MseLossBackward0":
        node = next(child for child, _ in node.next_functions if child is not None)
    source = source_of(node)
    assert source is not None
    assert (source.name, source.assigned) == (name, is_assigned)


def test_two_losses_in_one_line_are_told_apart() -> None:
    loss = two_in_a_line()
    first, second = (child for child, _ in loss.grad_fn.next_functions[0][0].next_functions)
    assert source_of(first).name == source_of(second).name == "two_in_a_line"


def test_a_line_of_a_script(tmp_path: Path) -> None:
    """The place within the line tells the two apart, though autograd knows no node of either."""
    text = "import torch.nn.functional as F\nloss = F.l1_loss(X, T) + F.poisson_nll_loss(X, T)\n"
    path = tmp_path / "train.py"
    path.write_text(text)
    space: dict[str, Any] = {"X": X, "T": T, "__name__": "__main__"}
    exec(compile(text, str(path), "exec"), space)
    first = space["loss"].grad_fn.next_functions[0][0]
    assert source_of(first).name == "l1_loss"


def test_a_node_of_unknown_origin() -> None:
    torch.autograd.set_detect_anomaly(False)
    assert source_of(assigned().grad_fn) is None
