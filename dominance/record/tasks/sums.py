"""Where a script adds its losses up: the text of that, and where in it a factor of each loss would stand."""

from __future__ import annotations

import ast
import copy
import linecache
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from dominance.record.tasks.fates import Span, node_at, tree_of


@dataclass(frozen=True)
class LossSum:
    """A sum of losses in the script.

    Attributes:
        first: the line in which it begins.
        text: that line, and those after it that it takes.
        statement: what it stands in.
        tasks: name -> the byte of the text where its summand begins; none of a sum over a dict.
        terms: name -> what the loss is in the sum, with the weights in front of it.
        over: the dict whose items are added up; None of a sum of names.
        each: of a sum over a dict, the bytes from and to of the text that a factor of each item takes, and what stands
            before and behind it there.
    """

    first: int
    text: str
    statement: ast.stmt
    tasks: dict[str, int]
    terms: dict[str, ast.expr]
    over: ast.expr | None = None
    each: tuple[int, int, str, str] | None = None
    plain: bool = True
    """Of a sum over a dict: whether the items are added as they are."""
    others: bool = False
    """Of a sum of names: whether there is anything beside the tasks in it."""


def loss_sum(path: str, line: int, span: Span | None, tasks: Collection[str]) -> LossSum | None:
    """The sum at this place; None where it is none, or where it is not known where in it each task's loss stands.

    Added up are the tasks' names with or without weights in front of them, by ``+`` or by ``sum`` of a list that is
    written out, each once; or the items of a dict, by ``sum`` or in a loop.

    >>> loss_sum("train.py", 12, None, ["a", "b"]) is None  # without the place in the line
    True
    """
    node = None if span is None else node_at(path, line, span)
    parents = tree_of(path).parents
    if isinstance(node, ast.AugAssign):
        return _looped(path, node, parents)
    if not isinstance(node, (ast.BinOp, ast.Call)):
        return None
    statement: ast.AST = node
    while not isinstance(statement, ast.stmt):
        statement = parents[statement]
    return _named(path, node, statement, tasks) or _of_items(path, node, statement)


def _named(path: str, node: ast.expr, statement: ast.stmt, tasks: Collection[str]) -> LossSum | None:
    found: dict[str, int] = {}
    terms: dict[str, ast.expr] = {}
    text, others = _Text(path, node), False
    for each, outer in _added(node, []):
        mentioned = [name for inner in ast.walk(each) if (name := _name_in(inner)) in tasks]
        if not mentioned:
            others = True
            continue
        name = _weighed(each, tasks)
        if name is None or len(mentioned) > 1 or name in found:
            return None
        found[name] = text.byte(each.lineno, each.col_offset)
        terms[name] = _within(outer, each)
    if len(found) < 2:
        return None
    return LossSum(text.first, text.text, statement, found, terms, others=others)


class _Text:
    """The lines that a node takes."""

    def __init__(self, path: str, node: ast.expr | ast.stmt) -> None:
        self.first = node.lineno
        lines = [linecache.getline(path, n).rstrip("\n") for n in range(node.lineno, (node.end_lineno or 0) + 1)]
        self.text = "\n".join(lines)
        self._before = [sum(len(line.encode()) + 1 for line in lines[:i]) for i in range(len(lines))]

    def byte(self, line: int, column: int) -> int:
        return self._before[line - self.first] + column


Outer = list[tuple[ast.BinOp, bool]]
"""The operations by a number around a sum, outermost first, and whether the sum is on the left."""


def _added(node: ast.expr, outer: Outer) -> Iterator[tuple[ast.expr, Outer]]:
    """The summands of a sum, also of one that a number multiplies or divides, with these operations."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _added(node.left, outer)
        yield from _added(node.right, outer)
    elif (inner := _scaled(node)) is not None:
        assert isinstance(node, ast.BinOp)
        yield from _added(inner, [*outer, (node, inner is node.left)])
    elif (items := _written_out(node)) is not None:
        for item in items:
            yield from _added(item, outer)
    else:
        yield node, outer


def _scaled(node: ast.expr) -> ast.expr | None:
    """The sum that a number multiplies or divides."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Mult, ast.Div)):
        return None
    sides = [(node.left, node.right)] + ([(node.right, node.left)] if isinstance(node.op, ast.Mult) else [])
    for side, other in sides:
        adds = isinstance(side, ast.BinOp) and isinstance(side.op, ast.Add)
        if (adds or _written_out(side) is not None) and isinstance(other, ast.Constant):
            return side
    return None


def _written_out(node: ast.expr) -> list[ast.expr] | None:
    """The items of ``sum([a, b])`` and of ``torch.stack([a, b]).sum()``."""
    given = _summed(node)
    return given.elts if isinstance(given, (ast.List, ast.Tuple)) else None


def _summed(node: ast.expr) -> ast.expr | None:
    """What ``sum(...)`` or ``torch.stack(...).sum()`` adds up."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    if isinstance(node.func, ast.Name) and node.func.id == "sum" and len(node.args) == 1:
        return node.args[0]
    if not (isinstance(node.func, ast.Attribute) and node.func.attr == "sum" and not node.args):
        return None
    stack = node.func.value
    is_stack = isinstance(stack, ast.Call) and ast.unparse(stack.func) == "torch.stack"
    return stack.args[0] if is_stack and len(stack.args) == 1 and not stack.keywords else None  # type: ignore[attr-defined]


def _weighed(node: ast.expr, tasks: Collection[str]) -> str | None:
    """The one loss in a summand: itself, or a product or a quotient in which it stands above the line."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div)):
        left, right = _weighed(node.left, tasks), _weighed(node.right, tasks)
        return left or (right if isinstance(node.op, ast.Mult) else None)
    name = _name_in(node)
    return name if name in tasks else None


def _within(outer: Outer, summand: ast.expr) -> ast.expr:
    """A summand with the numbers that the sum around it is multiplied and divided by."""
    term = copy.deepcopy(summand)
    for operation, left in reversed(outer):
        sides = (term, operation.right) if left else (operation.left, term)
        term = ast.BinOp(sides[0], operation.op, sides[1])
    return term


def _name_in(node: ast.AST) -> str | None:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    key = node.slice if isinstance(node, ast.Subscript) else None
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


# Sums over a dict


def _of_items(path: str, node: ast.expr, statement: ast.stmt) -> LossSum | None:
    """``sum(losses.values())``, also of a list of them, and stacked."""
    given = _summed(node)
    if isinstance(given, ast.Call) and ast.unparse(given.func) in ("list", "tuple") and len(given.args) == 1:
        given = given.args[0]
    held = _method_of(given, "values")
    if held is None or given is None:
        return None
    text = _Text(path, node)
    start, end = text.byte(given.lineno, given.col_offset), text.byte(given.end_lineno or 0, given.end_col_offset or 0)
    name = ast.unparse(held)
    each = (start, end, "[", f".get(name, 1) * loss for name, loss in {name}.items()]")
    return LossSum(text.first, text.text, statement, {}, {}, held, each)


def _looped(path: str, node: ast.AugAssign, parents: dict[ast.AST, ast.AST]) -> LossSum | None:
    """``for name, loss in losses.items(): total += loss``, also with what the loss is multiplied by."""
    loop = parents.get(node)
    if not isinstance(loop, ast.For) or loop.orelse or not isinstance(node.op, ast.Add):
        return None
    held = _method_of(loop.iter, "items")
    names = [each.id for each in getattr(loop.target, "elts", []) if isinstance(each, ast.Name)]
    if held is None or len(names) != 2 or not isinstance(node.target, ast.Name):
        return None
    key, item = names
    stored = [name for each in loop.body for name in stores(each)]
    others = [each for each in bindings(scope_of(node, parents), node.target.id) if each is not node]
    begins = len(others) == 1 and isinstance(others[0], ast.Assign) and _is_zero(others[0].value)
    value = node.value
    product = isinstance(value, ast.BinOp) and isinstance(value.op, (ast.Mult, ast.Div))
    mentions = [n.id for n in ast.walk(value) if isinstance(n, ast.Name)].count(item)
    if not begins or not (product or isinstance(value, ast.Name)) or mentions != 1:
        return None
    if {key, *(n.id for n in ast.walk(held) if isinstance(n, ast.Name))} & set(stored):
        return None
    text = _Text(path, node)
    at = text.byte(value.lineno, value.col_offset)
    plain = isinstance(value, ast.Name) and item not in stored
    return LossSum(text.first, text.text, node, {}, {}, held, (at, at, "", f".get({key}, 1) * "), plain)


def _is_zero(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value == 0


def stores(node: ast.AST) -> list[str]:
    """The names that a statement, or what stands in it, binds."""
    return [n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def scope_of(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> ast.AST:
    """The function that a node stands in, or the whole file."""
    while (above := parents.get(node)) is not None:
        node = above
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            break
    return node


def bindings(scope: ast.AST, name: str) -> list[ast.stmt]:
    """The statements of a scope that bind a name."""
    every = (node for node in ast.walk(scope) if isinstance(node, ast.stmt))
    inner = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    holding = (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith, ast.If, ast.While, ast.Try, *inner, ast.Module)
    return [node for node in every if name in _bound(node, holding)]


def _bound(node: ast.stmt, holding: tuple[type, ...]) -> list[str]:
    """The names that a statement binds itself, not by those in it."""
    if not isinstance(node, holding):
        return stores(node)
    heads = [getattr(node, "target", None), *(item.optional_vars for item in getattr(node, "items", []))]
    return [name for head in heads if head is not None for name in stores(head)]


def _method_of(node: ast.expr | None, method: str) -> ast.expr | None:
    """What this method without arguments is called on: a name, or an attribute of one."""
    if not isinstance(node, ast.Call) or node.args or node.keywords or not isinstance(node.func, ast.Attribute):
        return None
    held = node.func.value
    is_held = isinstance(held, ast.Name) or (isinstance(held, ast.Attribute) and isinstance(held.value, ast.Name))
    return held if node.func.attr == method and is_held else None
