"""Every text that ``dominance record`` can print, read from the source: what its page must hold."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

ROOT = Path(__file__).parents[1]
WHERE = ("dominance/record", "dominance/cure", "dominance/store/lock.py", "dominance/store/first_look.py")
COMMANDS = ("cli/record.py", "cli/recorded_script.py", "cli/probe.py")
SAYS = {"say", "_say", "_note", "note", "error", "_error", "remark"}
RAISES = {"CannotLook", "Lost", "Refused", "BadOption", "BadScript", "RunExists", "RecordingFailed", "CorruptRun"}
GATHERS = {"words", "lines", "said"}
ASSIGNED = {"spoiled", "message", "said", "word", "problem"}
ELSEWHERE = {"recorder.py", "lookahead.py", "checkpoints.py"}
"""Called from Python alone, never by the command."""
Known: TypeAlias = dict[str, list[ast.expr]]
SHORTEST = 12
"""Letters of a stem: what is shorter is a part of a text."""


def stems() -> dict[str, str]:
    """The longest piece without a value in it of each text -> the file that it stands in."""
    trees = {path: ast.parse(path.read_text("utf-8")) for path in _files()}
    constants = {name: [value] for tree in trees.values() for name, value in _assigned(tree) if name.isupper()}
    found: dict[str, str] = {}
    for path, tree in trees.items():
        known = dict(constants)
        for name, value in _assigned(tree):
            known[name] = [*known.get(name, ()), value]
        sentences = [value for name, value in _assigned(tree) if name.strip("_").isupper() and _words(value) > 3]
        for node in (*_said(tree), *sentences):
            for text in _texts(node, known):
                if len(text) >= SHORTEST and " " in text:
                    found.setdefault(text, str(path.relative_to(ROOT)))
    return found


def _files() -> Iterator[Path]:
    for name in (*WHERE, *COMMANDS):
        path = ROOT / name
        yield from (
            each for each in ([path] if path.is_file() else sorted(path.rglob("*.py"))) if each.name not in ELSEWHERE
        )


def _assigned(tree: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _words(node: ast.expr) -> int:
    return len(node.value.split()) if isinstance(node, ast.Constant) and isinstance(node.value, str) else 0


def _said(tree: ast.AST) -> Iterator[ast.expr]:
    """What is handed to a function that says it, or raised, or gathered to be said."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            gathers = name == "append" and getattr(node.func.value, "id", "") in GATHERS  # type: ignore[attr-defined]
            if name in SAYS | RAISES or gathers:
                yield from node.args[:1]
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if getattr(target, "attr", getattr(target, "id", "")) in ASSIGNED:
                yield node.value
            elif getattr(target, "id", "") in GATHERS:
                yield from getattr(node.value, "elts", []) or [getattr(node.value, "elt", node.value)]
        elif isinstance(node, ast.Return):
            for each in ast.walk(node):
                yield from each.elts if isinstance(each, ast.List) else []


def _texts(node: ast.expr, known: Known, depth: int = 0) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value.strip()
    elif isinstance(node, ast.JoinedStr):
        pieces = [str(each.value).strip(" :;,()") for each in node.values if isinstance(each, ast.Constant)]
        yield max(pieces, key=len, default="")
    elif isinstance(node, ast.IfExp | ast.NamedExpr | ast.BinOp):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                yield from _texts(child, known, depth)
    elif isinstance(node, ast.Name | ast.Attribute) and depth < 3:
        name = node.id if isinstance(node, ast.Name) else node.attr
        for value in known.get(name, ()):
            yield from _texts(value, known, depth + 1)
