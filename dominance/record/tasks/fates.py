"""What a script does with the value of an expression: stores it under a name, returns it, or goes on computing."""

from __future__ import annotations

import ast
import copy
import dis
import linecache
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

Span = tuple[int, int, int, int]
"""First line, last line, first column, column after the last."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a value."""

    kind: str
    """stored, keyed (in a dict), unpacked, returned, used (in a larger expression), or dropped."""
    names: tuple[str, ...] = ()
    """The name or the key that it is stored under, or the names that its items are unpacked to."""
    position: int | None = None
    """Which item of a tuple or list it is, of one that is returned."""


@dataclass(frozen=True)
class _Tree:
    """One file: its expressions and statements by the place where they end, and what each stands in."""

    ending: dict[tuple[int, int], list[ast.AST]]
    parents: dict[ast.AST, ast.AST]
    statements: tuple[ast.stmt, ...]


@lru_cache(maxsize=64)
def tree_of(path: str) -> _Tree:
    """The file, as it was when it was first asked for; without anything in it where it cannot be read."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return _Tree({}, {}, ())
    ending: dict[tuple[int, int], list[ast.AST]] = {}
    parents: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            parents[child] = node
        if isinstance(node, (ast.expr, ast.stmt)):
            ending.setdefault((node.end_lineno or 0, node.end_col_offset or 0), []).append(node)
    simple = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.Return, ast.Expr)
    return _Tree(ending, parents, tuple(node for node in ast.walk(tree) if isinstance(node, simple)))


def node_at(path: str, line: int, span: Span | None) -> ast.AST | None:
    """The expression at this place; where only the line is known, the value of its innermost statement."""
    tree = tree_of(path)
    if span is not None:
        first, last, column, end = span
        here = [n for n in tree.ending.get((last, end), ()) if (n.lineno, n.col_offset) <= (first, column)]  # type: ignore[attr-defined]
        # Of several that end here the smallest that holds the place: a call over several lines begins at its method.
        return max(here, key=lambda n: (n.lineno, n.col_offset, not isinstance(n, ast.stmt)), default=None)  # type: ignore[attr-defined]
    here = [s for s in tree.statements if s.lineno <= line <= (s.end_lineno or s.lineno)]
    if not here:
        return None
    value = getattr(here[-1], "value", None)
    return value if isinstance(value, ast.expr) else here[-1]


def fate_in_source(path: str, line: int, span: Span | None) -> Fate | None:
    """The fate of the value made at this place; None where there is no source to read."""
    node = node_at(path, line, span)
    if node is None:
        return None
    parents = tree_of(path).parents
    position: int | None = None
    while True:
        parent = parents.get(node)
        if isinstance(node, ast.AugAssign):
            return _stored([node.target])
        if isinstance(parent, (ast.IfExp, ast.Await)) and node is not getattr(parent, "test", None):
            node = parent
        elif isinstance(parent, ast.NamedExpr):
            return _stored([parent.target])
        elif isinstance(parent, ast.Attribute) and (call := _conversion(parent, parents)) is not None:
            node = call
        elif isinstance(parent, ast.Dict) and node in parent.values:
            key = parent.keys[parent.values.index(node)]
            text = _text(key)
            return Fate("used") if text is None else Fate("keyed", (text,))
        elif isinstance(parent, ast.keyword) and parent.arg is not None and parent.arg not in _ARGUMENTS:
            return Fate("keyed", (parent.arg,))
        elif isinstance(parent, (ast.Tuple, ast.List)) and position is None:
            before = parent.elts[: parent.elts.index(node)]  # type: ignore[arg-type]
            if any(isinstance(each, ast.Starred) for each in before):
                return Fate("used")
            position, node = len(before), parent
        elif isinstance(parent, (ast.ListComp, ast.GeneratorExp, ast.SetComp)) and node is parent.elt and span is None:
            node = parent
        else:
            return _end(parent, position)


_CONVERSIONS = {"to", "float", "double", "half", "bfloat16", "cpu", "cuda", "type", "type_as", "contiguous"}


def _conversion(method: ast.Attribute, parents: dict[ast.AST, ast.AST]) -> ast.Call | None:
    """The call of a method that hands a tensor on as it is where it is what is asked for already."""
    call = parents.get(method)
    converts = isinstance(call, ast.Call) and call.func is method and method.attr in _CONVERSIONS
    return call if converts else None  # type: ignore[return-value]


def is_all_returned(path: str, line: int, span: Span | None) -> bool:
    """Whether the value made at this place is what its function returns, at once or as a variable, and all it does."""
    fate = fate_in_source(path, line, span)
    if fate is None or fate.position is not None:
        return False
    if fate.kind == "returned":
        return True
    node, parents = node_at(path, line, span), tree_of(path).parents
    while node is not None and not isinstance(node, _FUNCTIONS):
        node = parents.get(node)
    if node is None or fate.kind != "stored":
        return False
    own = [each.value for each in _inside(node) if isinstance(each, ast.Return)]
    return bool(own) and all(isinstance(value, ast.Name) and (value.id,) == fate.names for value in own)


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def _inside(function: ast.AST) -> list[ast.AST]:
    """What stands in a function, without the functions in it."""
    found: list[ast.AST] = []
    waiting = list(ast.iter_child_nodes(function))
    while waiting:
        node = waiting.pop()
        found.append(node)
        if not isinstance(node, _FUNCTIONS):
            waiting += ast.iter_child_nodes(node)
    return found


# Keywords under which a value is the input of an operation, and not named.
_ARGUMENTS = {"input", "other", "value", "x", "loss", "target", "tensor", "tensors", "self", "start"}


def _end(parent: ast.AST | None, position: int | None) -> Fate:
    """What the statement that the value stands in does with it."""
    if isinstance(parent, ast.Return):
        return Fate("returned", position=position)
    if isinstance(parent, (ast.Yield, ast.YieldFrom)):
        return Fate("returned", position=position)
    if isinstance(parent, ast.Assign):
        return _stored(parent.targets, position)
    if isinstance(parent, (ast.AnnAssign, ast.AugAssign)):
        return _stored([parent.target], position)
    if isinstance(parent, ast.Expr):
        return Fate("dropped")
    if isinstance(parent, ast.Lambda):
        return Fate("returned", position=position)
    return Fate("used")


def _stored(targets: list[ast.expr], position: int | None = None) -> Fate:
    target = targets[-1]
    if isinstance(target, (ast.Tuple, ast.List)):
        names = tuple(_target(each) or "" for each in target.elts)
        if position is not None:
            return Fate("stored", names[position : position + 1]) if position < len(names) else Fate("used")
        return Fate("unpacked", names)
    name = _target(target)
    if name is None:
        return Fate("used")
    return Fate("stored", (_item(name, position),))


def _item(name: str, position: int | None) -> str:
    return name if position is None else f"{name}[{position}]"


def _target(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return None if target.id == "_" else target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript):
        key = target.slice.value if isinstance(target.slice, ast.Constant) else None
        if isinstance(key, str):
            return key
        if key is not None and isinstance(target.value, ast.Name):
            return f"{target.value.id}[{key!r}]"
    return None


def _text(key: ast.expr | None) -> str | None:
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def in_one_statement(path: str, one: tuple[int, Span | None], other: tuple[int, Span | None]) -> bool:
    """Whether two places of one function stand in the same statement."""
    found = [_statement(path, *place) for place in (one, other)]
    if None not in found:
        return found[0] is found[1]
    return one[0] == other[0]


def statement_fate(path: str, line: int, span: Span | None) -> tuple[str, str | None]:
    """What the whole statement at this place does with its value, and the one name that it stores it under."""
    statement = _statement(path, line, span)
    if isinstance(statement, ast.Return):
        return "returned", None
    if isinstance(statement, ast.Expr):
        return ("used" if isinstance(statement.value, (ast.Yield, ast.YieldFrom)) else "dropped"), None
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    fate = _stored(targets) if len(targets) == 1 else Fate("used")
    return fate.kind, fate.names[0] if fate.kind == "stored" else None


def _statement(path: str, line: int, span: Span | None) -> ast.AST | None:
    node = node_at(path, line, span)
    parents = tree_of(path).parents
    while node is not None and not isinstance(node, ast.stmt):
        node = parents.get(node)
    return node


def builds_on_itself(path: str, line: int, span: Span | None) -> bool:
    """Whether the statement at this place makes what it stores of what stood there before, as a running sum does."""
    statement = _statement(path, line, span)
    if isinstance(statement, ast.AugAssign):
        return True
    if not isinstance(statement, ast.Assign):
        return False
    targets = {ast.unparse(each) for target in statement.targets for each in getattr(target, "elts", [target])}
    read = (node for node in ast.walk(statement.value) if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)))
    return any(ast.unparse(node) in targets for node in read)


def spelled(path: str, line: int, span: Span | None, *, names: int = 0, rows: bool = True) -> str | None:
    """The expression at this place, where it is a call or an operation of its own: spelled in one way.

    Args:
        names: so many variables at least must be in it, beside the function that it calls.
        rows: which rows of what, too: ``y[chosen]``, ``y[i : i + 32]``; else both are ``y``.
    """
    node = None if span is None else node_at(path, line, span)
    if not isinstance(node, (ast.Call, ast.BinOp)):
        return None
    within: list[ast.AST] = [node]
    if isinstance(node, ast.Call):
        within = [*node.args, *node.keywords]
        # What a method is called of, but for a module like F.
        within += [node.func.value] if isinstance(node.func, ast.Attribute) and not within else []
    found = {inner.id for each in within for inner in ast.walk(each) if isinstance(inner, ast.Name)}
    if len(found) < names:
        return None
    return ast.unparse(node if rows else _WithoutRows().visit(copy.deepcopy(node)))


class _WithoutRows(ast.NodeTransformer):
    """Leaves out which rows of something are taken: by a variable or a range. A key or a column is written out."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return node.value if isinstance(node.slice, (ast.Name, ast.Slice, ast.Subscript)) else node


def spelled_call(path: str, line: int, span: Span | None) -> str | None:
    """The function that the expression at this place calls, where it is the only one that could make a loss."""
    node = node_at(path, line, span)
    if node is None:
        return None
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    names = [
        f.attr if isinstance(f, ast.Attribute) else f.id for f in calls if isinstance(f, (ast.Attribute, ast.Name))
    ]
    losses = list(dict.fromkeys(name for name in names if "loss" in name.lower() or "entropy" in name.lower()))
    distinct = losses or list(dict.fromkeys(names))
    return distinct[0] if len(distinct) == 1 and distinct[0] not in _REDUCTIONS else None


_REDUCTIONS = {"sum", "mean", "square", "abs", "norm", "pow", "stack", "cat", "sqrt", "item", "backward", "squeeze"}


# Without source: the instructions that come next

_POPS = {"BINARY_OP": 2, "BINARY_SUBSCR": 2, "COMPARE_OP": 2, "LOAD_ATTR": 1, "LOAD_METHOD": 1, "GET_ITER": 1,
         "UNARY_NEGATIVE": 1, "UNARY_NOT": 1, "STORE_SUBSCR": 3}  # fmt: skip
_SKIPPED = {"CACHE", "NOP", "RESUME", "PRECALL", "EXTENDED_ARG"}


def fate_in_bytecode(code: CodeType, instruction: int) -> Fate | None:
    """The fate of the value that the instruction leaves, as far as straight-line code tells."""
    following = [i for i in dis.get_instructions(code) if i.offset > instruction and i.opname not in _SKIPPED]
    above = 0  # how many values lie on the stack above ours
    position: int | None = None
    for index, step in enumerate(following):
        name = step.opname
        if above == 0 and name.startswith(("STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF")):
            stored = step.argval[0] if isinstance(step.argval, tuple) else step.argval
            return Fate("used") if stored == "_" else Fate("stored", (_item(str(stored), position),))
        if above == 1 and name == "STORE_ATTR":
            return Fate("stored", (_item(str(step.argval), position),))
        if above == 2 and name == "STORE_SUBSCR" and position is None:
            key = following[index - 1].argval
            return Fate("stored", (key,)) if isinstance(key, str) else Fate("used")
        if above == 0 and name == "UNPACK_SEQUENCE" and position is None:
            return Fate("unpacked", _targets(following[index + 1 : index + 1 + int(step.argval)]))
        if above == 0 and name in ("RETURN_VALUE", "YIELD_VALUE"):
            return Fate("returned", position=position)
        if above == 0 and name == "POP_TOP":
            return Fate("dropped")
        if name in ("BUILD_TUPLE", "BUILD_LIST") and above < int(step.argval) and position is None:
            position, above = int(step.argval) - 1 - above, 0
            continue
        pops = _pops(step)
        if pops > above or step.opcode in dis.hasjrel or step.opcode in dis.hasjabs or name == "SWAP":
            return Fate("used")
        above += dis.stack_effect(step.opcode, step.arg, jump=False)
    return None


def _pops(step: dis.Instruction) -> int:
    if step.opname.startswith("CALL"):
        return int(step.arg or 0) + 2
    if step.opname.startswith("BUILD"):
        return int(step.arg or 0)
    return _POPS.get(step.opname, max(0, -dis.stack_effect(step.opcode, step.arg, jump=False)))


def _targets(steps: list[dis.Instruction]) -> tuple[str, ...]:
    names: list[str] = []
    for step in steps:
        if step.opname.startswith("STORE") and step.argval is not None:
            names += map(str, step.argval) if isinstance(step.argval, tuple) else [str(step.argval)]
    return tuple(names)


def filled_vector(path: str, line: int, span: Span | None) -> str | None:
    """The name of the tensor of which the statement at this place sets an entry: ``losses[k] = ...``."""
    statement = _statement(path, line, span)
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    held = targets[-1].value if isinstance(targets[-1], ast.Subscript) else None
    return _target(held) if isinstance(held, (ast.Name, ast.Attribute)) else None


def is_named(path: str, line: int, span: Span | None) -> bool:
    """Whether the value made at this place gets a name inside its statement: by ``:=``, or by the key of a dict."""
    node = None if span is None else node_at(path, line, span)
    parents = tree_of(path).parents
    while isinstance(parent := parents.get(node) if node is not None else None, ast.Attribute):
        node = _conversion(parent, parents)
    return isinstance(parent, (ast.NamedExpr, ast.Dict))


def sets_entry(path: str, line: int, span: Span | None) -> bool:
    """Whether the statement at this place is ``losses[k] = ...``: the value that it sets is that entry."""
    statement = _statement(path, line, span)
    return isinstance(statement, ast.Assign) and isinstance(statement.targets[-1], ast.Subscript)


_JOINING = {"stack", "cat", "concat", "concatenate", "hstack", "vstack"}


def joined_list(path: str, line: int, span: Span | None) -> str | None:
    """The name of the list whose items the call at this place makes one tensor of: ``torch.stack(losses)``."""
    call = node_at(path, line, span)
    if not isinstance(call, ast.Call) or getattr(call.func, "attr", getattr(call.func, "id", None)) not in _JOINING:
        return None
    given = [*call.args[:1], *(word.value for word in call.keywords if word.arg == "tensors")]
    items = given[0] if given else None
    if isinstance(items, (ast.ListComp, ast.GeneratorExp)) and len(items.generators) == 1:
        # One item for each of the list: `torch.cat([loss.view(1) for loss in losses])`.
        items = None if items.generators[0].ifs else items.generators[0].iter
    return _target(items) if isinstance(items, (ast.Name, ast.Attribute)) else None
