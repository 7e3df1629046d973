"""The lines of a plain training loop: what a method of ``dominance.optim`` takes the place of, if written by hand.

Plain is a loop that adds its losses up and calls ``backward()`` in one function, steps one optimizer of torch's once
after it, in the same block, and makes that optimizer in one statement of the same file. Of anything else nothing is
known: what would have to be changed is then for its author to say.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from dominance.record.frames import variables_of
from dominance.record.tasks.fates import node_at, tree_of
from dominance.record.tasks.found import Found, FoundTask
from dominance.record.tasks.script_imports import dotted, import_place, imports
from dominance.record.tasks.sources import place_at
from dominance.record.tasks.sums import LossSum, bindings, scope_of, stores
from dominance.visible import visible

_BUILT_IN = ("torch", "torch.optim")


@dataclass(frozen=True)
class _Loop:
    """Where the function trains: the file, its backward(), the block that stands in, and the variables there."""

    path: str
    parents: dict[ast.AST, ast.AST]
    backward: ast.Expr
    block: list[ast.stmt]
    scope: ast.AST
    frame: FrameType
    variables: Mapping[str, Any]

    def value(self, node: ast.expr) -> Any:
        """What an expression of the script's is there, as ``_value`` has it."""
        return _value(node, {**self.frame.f_globals, **self.variables})


def _value(node: ast.expr, variables: Mapping[str, Any]) -> Any:
    """What a variable, an attribute or an item of one holds; None where that is not known without asking it."""
    if isinstance(node, ast.Name):
        return variables.get(node.id)
    if isinstance(node, ast.Attribute):
        return getattr(_value(node.value, variables), "__dict__", {}).get(node.attr)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        held = _value(node.value, variables)
        return held.get(node.slice.value) if type(held) is dict else None
    return None


def items_of(summed: LossSum, found: Found, frames: Sequence[FrameType]) -> list[str] | None:
    """The keys of the dict that a sum is over, where its items are the tasks' losses; None where that is not known."""
    if summed.over is None or not frames:
        return None
    held = _value(summed.over, {**frames[0].f_globals, **variables_of(frames[0])})
    if type(held) is not dict or not all(type(key) is str for key in held):
        return None
    known = all(task.name in held and _is_loss(held[task.name], task.edges) for task in found.tasks)
    return list(held) if known else None


def training_lines(path: str, summed: LossSum, found: Found, frames: Sequence[FrameType]) -> dict[str, Any] | None:
    """What ``TRAINING_LINES`` says of the loop that calls ``backward()`` now; None where it is not plain."""
    if found.beside or found.residual or found.separate or not frames:
        return None
    loop = _loop(path, frames[0])
    if loop is None or not _in_one_go(loop, summed):
        return None
    losses = _losses(loop, summed, found)
    stepped = _stepped(loop)
    if losses is None or stepped is None:
        return None
    variable, optimizer = stepped
    text = ast.unparse(variable)
    made = _made(loop, type(optimizer).__name__)
    place = import_place(path)
    if made is None or place is None:
        return None
    cleared = [_called(each, "zero_grad", bare=False) for each in loop.block]
    zeroed = any(each is not None and ast.unparse(each) == text for each in cleared)
    call = loop.backward
    target, scope = made.pop("target"), made.pop("scope")
    made["in_scope"] = isinstance(variable, ast.Name) and target == text and _sees(loop, scope)
    parameters = made["parameters"]
    if parameters and not _holds(loop, parameters, optimizer):
        made["parameters"] = ""
    numbers = {call.lineno, made["line"], made["end"][0], made["after"]}
    lines = {str(number): linecache.getline(path, number).rstrip("\n") for number in sorted(numbers)}
    if any(visible(line) != line for line in lines.values()):
        return None
    return {
        "lines": lines,
        "import_before": place,
        "optimizer": {"variable": text, "zeroed": zeroed, "class": type(optimizer).__name__, **made},
        "backward": {"line": call.lineno, "from": call.col_offset, "to": call.end_col_offset},
        "losses": losses if isinstance(losses, dict) else {},
        "whole": losses if isinstance(losses, str) else "",
    }


def _loop(path: str, frame: FrameType) -> _Loop | None:
    here = place_at(frame.f_code, frame.f_lasti)
    node = None if here.path != path or here.span is None else node_at(path, here.line, here.span)
    parents = tree_of(path).parents
    statement = parents.get(node) if node is not None else None
    if not isinstance(statement, ast.Expr) or statement.lineno != statement.end_lineno:
        return None
    if _called(statement, "backward") is None:
        return None
    above = parents[statement]
    blocks = [getattr(above, name, None) for name in ("body", "orelse", "finalbody")]
    block = next((each for each in blocks if isinstance(each, list) and statement in each), None)
    if block is None or sum(_method(each) == "backward" for each in parents) != 1:
        return None
    return _Loop(path, parents, statement, block, scope_of(statement, parents), frame, variables_of(frame))


def _method(node: ast.AST) -> str | None:
    """The method that a call calls."""
    return node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else None


def _called(statement: ast.stmt, method: str, *, bare: bool = True) -> ast.expr | None:
    """What a statement that is nothing but a call of this method calls it on.

    Args:
        bare: without arguments only.
    """
    value = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute) or value.func.attr != method:
        return None
    return None if bare and (value.args or value.keywords) else value.func.value


def _in_one_go(loop: _Loop, summed: LossSum) -> bool:
    """Whether backward() is always called on this sum, and its losses are what they were when they were added up."""
    if summed.statement is loop.backward:
        return True
    called = _called(loop.backward, "backward")
    targets = getattr(summed.statement, "targets", [getattr(summed.statement, "target", None)])
    name = targets[0].id if len(targets) == 1 and isinstance(targets[0], ast.Name) else ""
    if not isinstance(called, ast.Name) or called.id != name:
        return False
    looped = isinstance(summed.statement, ast.AugAssign)
    if len(bindings(loop.scope, name)) != (2 if looped else 1):
        return False
    node: ast.AST | None = loop.parents[summed.statement] if looped else summed.statement
    while node not in loop.block:
        node = loop.parents.get(node) if node is not None else None
        if not isinstance(node, ast.With):
            return False
    if loop.backward in loop.block[: loop.block.index(node)]:
        return False
    names = {n.id for term in _expressions(summed) for n in ast.walk(term) if isinstance(n, ast.Name)}
    between = [n for n in ast.walk(loop.scope) if isinstance(n, ast.stmt)]
    last = summed.statement.end_lineno or 0
    later = [n for n in between if last < n.lineno and (n.end_lineno or 0) < loop.backward.lineno]
    return not any(names & set(stores(each)) for each in later)


def _expressions(summed: LossSum) -> list[ast.expr]:
    return [summed.over] if summed.over is not None else list(summed.terms.values())


def _losses(loop: _Loop, summed: LossSum, found: Found) -> dict[str, str] | str | None:
    """Each task's loss as the script would write it, with its weight; or the dict of all of them."""
    names = [task.name for task in found.tasks]
    if summed.over is not None:
        held = loop.value(summed.over)
        plain = type(held) is dict and list(held) == names and summed.plain
        same = plain and all(task.weight == 1 and _is_loss(held[task.name], task.edges) for task in found.tasks)
        return ast.unparse(summed.over) if same else None
    if summed.others or set(summed.terms) != set(names):
        return None
    if not all(_is_weighted(loop, summed.terms[task.name], task) for task in found.tasks):
        return None
    return {name: ast.unparse(ast.fix_missing_locations(summed.terms[name])) for name in names}


def _is_weighted(loop: _Loop, term: ast.expr, task: FoundTask) -> bool:
    """Whether a term is this loss, times and over numbers."""
    if isinstance(term, ast.BinOp):
        sides = [_is_weighted(loop, side, task) for side in (term.left, term.right)]
        other = term.right if sides[0] else term.left
        number = other.value if isinstance(other, ast.Constant) else loop.value(other)
        return sides[0] != sides[1] and type(number) in (int, float)
    return _is_loss(loop.value(term), task.edges)


def _is_loss(value: Any, edges: Sequence[Any]) -> bool:
    return type(value) is Tensor and [(value.grad_fn, value.output_nr)] == [(edge[0], edge[1]) for edge in edges]


def _stepped(loop: _Loop) -> tuple[ast.expr, torch.optim.Optimizer] | None:
    """The one optimizer of torch's that steps in the block after backward(), once in the file."""
    found: list[tuple[ast.expr, torch.optim.Optimizer]] = []
    for each in loop.block[loop.block.index(loop.backward) + 1 :]:
        variable = _called(each, "step")
        value: Any = None if variable is None else loop.value(variable)
        if variable is not None and issubclass(type(value), torch.optim.Optimizer):
            found.append((variable, value))
    if len(found) != 1 or type(found[0][1]).__module__.rpartition(".")[0] not in _BUILT_IN:
        return None
    text = ast.unparse(found[0][0])
    steps = [n for n in loop.parents if _method(n) == "step" and ast.unparse(n.func.value) == text]  # type: ignore[attr-defined]
    return found[0] if len(steps) == 1 else None


def _made(loop: _Loop, kind: str) -> dict[str, Any] | None:
    """The one statement of the file in which an optimizer of this class is made."""
    imported = imports(loop.path)
    calls = [n for n in loop.parents if isinstance(n, ast.Call) and dotted(n.func, imported) == f"torch.optim.{kind}"]
    last = f".{kind}"
    alike = [n for n in loop.parents if isinstance(n, ast.Call) and f".{ast.unparse(n.func)}".endswith(last)]
    if len(calls) != 1 or len(alike) != 1:
        return None
    (call,) = calls
    statement = loop.parents[call]
    if not isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Return)) or statement.value is not call:
        return None
    arguments = [*call.args, *(word.value for word in call.keywords)]
    if any(word.arg is None for word in call.keywords) or any(isinstance(each, ast.Starred) for each in call.args):
        return None
    if not arguments or len(call.args) > 2 or call.func.lineno != call.func.end_lineno:
        return None
    end = max((each.end_lineno or 0, each.end_col_offset or 0) for each in arguments)
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    given = ["params", "lr"][: len(call.args)] + [word.arg for word in call.keywords if word.arg is not None]
    first = [*call.args, *(word.value for word in call.keywords if word.arg == "params")][:1]
    name = _called_on(first[0], "parameters") if first else None
    return {
        "line": call.func.lineno,
        "from": call.func.col_offset,
        "to": call.func.end_col_offset,
        "end": list(end),
        "given": given,
        "after": statement.end_lineno,
        "indent": statement.col_offset,
        "target": ast.unparse(targets[0]) if len(targets) == 1 and targets[0] is not None else "",
        "scope": scope_of(statement, loop.parents),
        "parameters": "" if name is None else f"{name}.parameters()",
    }


def _called_on(node: ast.expr, method: str) -> str | None:
    """The variable of which a call of this method without arguments is."""
    plain = _method(node) == method and not node.args and not node.keywords  # type: ignore[attr-defined]
    held = node.func.value if plain else None  # type: ignore[attr-defined]
    return held.id if isinstance(held, ast.Name) else None


def _holds(loop: _Loop, parameters: str, optimizer: torch.optim.Optimizer) -> bool:
    """Whether the variable is, where backward() is called, the module whose parameters the optimizer has."""
    model = loop.value(ast.Name(parameters.partition(".")[0]))
    held = [id(p) for group in optimizer.param_groups for p in group["params"]]
    return issubclass(type(model), torch.nn.Module) and [id(p) for p in model.parameters()] == held


def _sees(loop: _Loop, scope: ast.AST) -> bool:
    """Whether what is bound in a scope is seen where backward() is called."""
    return scope is loop.scope or isinstance(scope, ast.Module)
