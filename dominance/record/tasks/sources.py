"""Where an autograd node was made: the calls that led there, and what the script did with the value."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

import torch

from dominance.record.tasks.fates import (
    Fate,
    fate_in_bytecode,
    fate_in_source,
    filled_vector,
    in_one_statement,
    is_all_returned,
    is_named,
    joined_list,
    sets_entry,
    spelled_call,
    statement_fate,
)
from dominance.record.tasks.graph import COPY_SLICES, Node
from dominance.record.tasks.installed import is_installed
from dominance.record.tasks.positions import MODULES, Stack
from dominance.record.tasks.questions import question

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OURS = _PACKAGE + "record" + os.sep
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
# Functions of torch that make a loss: what one call of them returns is one value. What other Python of torch makes (an
# operator, the scaling of a GradScaler), its caller has made.
_FUNCTIONS = tuple(
    _TORCH + os.path.join(*each) for each in (("nn", "functional.py"), ("nn", "modules", ""), ("distributions", ""))
)

# Names that say "the sum of everything", or nothing, and not "this task".
GENERIC = {
    "loss", "losses", "total", "total_loss", "loss_total", "l", "cost", "objective", "result", "res", "out", "ret",
    "value", "val", "x", "y", "output", "tmp", "term", "terms",
}  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One frame of the stack that a node was made under."""

    path: str
    scope: str
    """The function's own name."""
    line: int
    code: CodeType | None = None
    """None where only the source line is known."""
    instruction: int = -1
    span: tuple[int, int, int, int] | None = None
    """First line, last line, first column, column after the last of the expression that was going on."""
    module: str | None = None
    """The class of the module whose forward this is; None for torch's own."""

    @property
    def in_torch(self) -> bool:
        return self.path.startswith(_TORCH)

    @property
    def is_installed(self) -> bool:
        return is_installed(self.path)

    def same_frame(self, other: Place) -> bool:
        """Whether both can be the same call of the same function."""
        return (self.path, self.scope) == (other.path, other.scope) and self.code is other.code

    @property
    def fate(self) -> Fate:
        """What became of the value that was being made here."""
        return _fate(self)

    def is_same(self, other: Place) -> bool:
        """Whether both are the same instruction of the same function."""
        return self.code is not None and self.same_frame(other) and self.instruction == other.instruction


@question
def stack_of(node: Node) -> tuple[Place, ...]:
    """The places that led to ``node``, outermost first; empty where autograd did not keep them.

    Left out are our own frames, and those of torch that only hand a call on.
    """
    kept = node.metadata.get("traceback_")
    if not kept:
        return ()
    if isinstance(kept, Stack) and kept.places:
        places = [_place(each[0].co_filename, *each) for each in kept.places]
    else:
        places = _read("".join(kept) if isinstance(kept, list) else str(kept))
    places = [p for p in places if not p.path.startswith((_OURS, "<frozen")) and p.path != MODULES]
    while places and places[-1].in_torch and not places[-1].path.startswith(_FUNCTIONS):
        places.pop()
    return tuple(places)


def place_at(code: CodeType, instruction: int) -> Place:
    """The place of a frame that runs this code, and has come to this instruction."""
    return _place(code.co_filename, code, instruction, None)


@lru_cache(maxsize=4096)
def _place(path: str, code: CodeType, instruction: int, module: str | None) -> Place:
    # By the path too: the same function in two files is equal code.
    line, end, column, end_column = _positions(code)[instruction // 2]
    span = None if None in (line, end, column, end_column) else (line, end, column, end_column)
    first = line or code.co_firstlineno
    return Place(path, code.co_name, first, code, instruction, span, module)  # type: ignore[arg-type]


@lru_cache(maxsize=256)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    return list(code.co_positions())


def _read(text: str) -> list[Place]:
    found = re.finditer(r'File "([^"]+)", line (\d+), in (\S+)', text)
    return [Place(match[1], match[3], int(match[2])) for match in found]


@lru_cache(maxsize=4096)
def _fate(place: Place) -> Fate:
    fate = fate_in_source(place.path, place.line, place.span)
    if fate is None and place.code is not None:
        fate = fate_in_bytecode(place.code, place.instruction)
    return fate or Fate("used")


def common(one: tuple[Place, ...], other: tuple[Place, ...]) -> int:
    """How many of the outermost frames of two stacks are at the very same place."""
    depth = 0
    while depth < min(len(one), len(other)) and one[depth] == other[depth]:
        depth += 1
    return depth


@dataclass(frozen=True)
class Value:
    """A node that is a value of its own where it is used: assigned, or handed over by a function."""

    stack: tuple[Place, ...]
    depth: int
    """Which frame of the stack uses it."""

    @property
    def of_torch(self) -> bool:
        """Whether one call of a function of torch made it, whatever it is made of inside."""
        return self.stack[-1].in_torch

    @property
    def is_density(self) -> bool:
        """Whether an installed package's ``log_prob`` handed it over: what it is a sum of inside is no loss."""
        return any(place.is_installed and place.scope == "log_prob" for place in self.stack[self.depth + 1 :])

    @property
    def is_handed(self) -> bool:
        """Whether a function of an installed package returned it."""
        return len(self.stack) > self.depth + 1 and self.stack[self.depth + 1].is_installed


def value_of(node: Node, above: Node | None) -> Value | None:
    """``node`` as a value of the frame in which ``above`` uses it; None inside one expression, or without lines."""
    stack = stack_of(node)
    if not stack or above is None:
        return None
    outer = stack_of(above)
    if not outer:
        return Value(stack, 0)
    depth = common(stack, outer)
    if depth == len(stack):
        return None  # made by the same call: the sums of sum()
    # The body of a comprehension belongs to the statement that it stands in.
    while depth < len(stack) - 1 and stack[depth].scope.startswith("<") and depth >= len(outer):
        depth += 1
    if depth >= len(outer):
        return Value(stack, depth - 1) if not stack[depth].scope.startswith("<") else None
    here, there = stack[depth], outer[depth]
    if not here.same_frame(there):
        return Value(stack, max(depth - 1, 0))
    inside = in_one_statement(here.path, (here.line, here.span), (there.line, there.span))
    if inside and (is_named(here.path, here.line, here.span) or (above.name() == COPY_SLICES and _sets(here))):
        return Value(stack, depth)
    if inside and len(stack) == depth + 1:
        return None
    if inside and len(outer) > depth + 1 and outer[depth + 1].scope.startswith("<") and len(stack) <= depth + 1:
        return None
    return Value(stack, depth)


def _sets(place: Place) -> bool:
    return sets_entry(place.path, place.line, place.span)


@dataclass(frozen=True)
class Source:
    """Where a node was made: the name its statement suggests, and the places that tell one statement from another."""

    name: str
    trace: tuple[Place, ...]
    called: str | None = None
    """The function that the innermost statement calls, where it is clear which."""
    assigned: bool = False
    """Whether a statement assigns to that name; otherwise it is the function or the line that made the node."""

    @property
    def place(self) -> Place:
        """The innermost place of the script."""
        return next(place for place in reversed(self.trace) if not place.in_torch)


def source_of(node: Node, above: Node | None = None) -> Source | None:
    """Name from the places that made ``node``, known when the forward ran under anomaly mode.

    Args:
        node: the term.
        above: the node that uses it; the frame in which it does is asked for the name first.
    """
    stack = stack_of(node)
    if not any(not place.in_torch for place in stack):
        return None
    value = value_of(node, above)
    called = _function(stack)
    if above is None or not stack_of(above):
        name, scope = _name_outwards(stack), _scope_outwards(stack)
    elif value is None:
        name, scope = None, None
    else:
        name = _name_inwards(stack, value.depth, by_module=True)
        scope = next((place.scope for place in stack[value.depth + 1 :] if _telling(place.scope)), None)
    if name is not None:
        return Source(name, stack, called, assigned=True)
    last = Source("", stack).place
    return Source(scope or called or f"{os.path.basename(last.path)}:{last.line}", stack, called)


def _name_inwards(
    stack: tuple[Place, ...], first: int, *, generic: bool = False, by_module: bool = False
) -> str | None:
    """The name that a statement gives to the value: the frame that uses it is asked first, then those that made it.

    With ``by_module``, a module of an installed package that returns it, and nothing beside it, gives it the name of
    its class: what it is called inside says less.
    """
    for depth in range(first, len(stack)):
        if stack[depth].in_torch:
            break
        place, fate = stack[depth], stack[depth].fate
        of_module = by_module and depth > first and place.module is not None and place.is_installed
        if of_module and is_all_returned(place.path, place.line, place.span):
            return place.module
        name = fate.names[0] if fate.kind in ("stored", "keyed") and fate.names else None
        if fate.kind in ("stored", "unpacked"):
            name = _of_item(fate, _handed_out(stack, depth + 1))
        if name and (generic or name.lower() not in GENERIC):
            return name
    return None


def _handed_out(stack: tuple[Place, ...], first: int) -> Fate | None:
    """What the functions from this depth on return the value in: a tuple or list at a position, a dict by a key."""
    for place in stack[first:]:
        if place.in_torch or (place.fate.kind != "returned" and place.fate.kind != "keyed"):
            return None
        if place.fate.kind == "keyed" or place.fate.position is not None:
            return place.fate
    return None


def _of_item(fate: Fate, item: Fate | None) -> str | None:
    """The name of one value in what a function returned, that was stored or unpacked."""
    if item is None:
        return fate.names[0] if fate.kind == "stored" and fate.names else None
    if item.kind == "keyed":
        return item.names[0]
    position = item.position or 0
    if fate.kind == "stored":
        return f"{fate.names[0]}[{position}]"
    return fate.names[position] if position < len(fate.names) else None


def name_of_value(value: Value) -> str | None:
    """The name that a statement gives to a value, if it says anything."""
    return _name_inwards(value.stack, value.depth)


def name_of_vector(node: Node, above: Node | None) -> str | None:
    """What the script calls the vector that ``node`` made; a word for any losses will do, with a place behind it.

    Args:
        node: what put the losses into one tensor.
        above: the node that uses it; None where backward() is called on it.
    """
    stack = stack_of(node)
    if not stack:
        return None
    if node.name() == COPY_SLICES:
        place = next((place for place in reversed(stack) if not place.in_torch), None)
        return None if place is None else filled_vector(place.path, place.line, place.span)
    value = Value(stack, 0) if above is None else value_of(node, above)
    return None if value is None else _name_inwards(stack, value.depth, generic=True)


def listed_in(node: Node) -> str | None:
    """What the script calls the list whose items, in order, ``node`` made one tensor of."""
    stack = stack_of(node)
    if not stack or stack[-1].in_torch:
        return None
    return joined_list(stack[-1].path, stack[-1].line, stack[-1].span)


def _name_outwards(stack: tuple[Place, ...]) -> str | None:
    """The name that the innermost statement gives to what it makes, or the one that its value is handed to."""
    for place in reversed(stack):
        if place.in_torch:
            continue
        kind, name = statement_fate(place.path, place.line, place.span)
        if name is not None and name.lower() not in GENERIC:
            return name
        # What a statement only uses stays inside: `model = train()` is no name for a loss of train.
        if place.scope == "<module>" or kind == "dropped":
            break
    return None


def _scope_outwards(stack: tuple[Place, ...]) -> str | None:
    """The innermost function that returns the value."""
    for place in reversed(stack):
        if place.in_torch:
            continue
        kind, _ = statement_fate(place.path, place.line, place.span)
        if kind == "returned" and _telling(place.scope):
            return place.scope
        if kind != "returned" and (place.scope == "<module>" or not place.scope.startswith("<")):
            break
    return None


def _telling(scope: str) -> bool:
    return not scope.startswith("<") and scope not in ("forward", "__call__", "backward")


def _function(stack: tuple[Place, ...]) -> str | None:
    """The function of torch that made the value, or the loss function that the innermost line calls."""
    script = max(i for i, place in enumerate(stack) if not place.in_torch)
    inner = [place.scope for place in stack[script + 1 :] if _telling(place.scope)]
    if inner:
        return inner[0]
    return spelled_call(stack[script].path, stack[script].line, stack[script].span)
