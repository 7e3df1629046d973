"""What a script imports at its top, and where there an import of ours belongs."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from dominance.record.tasks.fates import tree_of
from dominance.record.tasks.sums import stores


def imports(path: str) -> dict[str, str]:
    """Name -> the full name of what it is imported as, at the top of the file."""
    found: dict[str, str] = {}
    for each in _body(path):
        if isinstance(each, ast.Import):
            for word in each.names:
                first = word.name.partition(".")[0]
                found[word.asname or first] = word.name if word.asname else first
        elif isinstance(each, ast.ImportFrom) and not each.level:
            found |= {word.asname or word.name: f"{each.module}.{word.name}" for word in each.names}
    return found


def dotted(node: ast.expr, imported: Mapping[str, str]) -> str:
    """The full name of what is called."""
    head, dot, rest = ast.unparse(node).partition(".")
    return f"{imported.get(head, '')}{dot}{rest}"


def _body(path: str) -> list[ast.stmt]:
    parents = tree_of(path).parents
    root = next((node for node in parents.values() if isinstance(node, ast.Module)), None)
    return [] if root is None else root.body


def import_place(path: str) -> int | None:
    """The line before which ``import dominance.optim`` belongs: among the imports of packages, by the alphabet."""
    body = _body(path)
    imports = [each for each in body if isinstance(each, (ast.Import, ast.ImportFrom)) and each.col_offset == 0]
    of_torch = [each for each in imports if _module(each).partition(".")[0] == "torch"]
    if not of_torch or any("dominance" in stores(each) for each in body):
        return None
    place = of_torch[0]
    for each in reversed(imports[: imports.index(place)]):
        if each.end_lineno != place.lineno - 1 or _module(each) <= "dominance.optim":
            break
        place = each
    return place.lineno


def _module(node: ast.Import | ast.ImportFrom) -> str:
    return node.names[0].name if isinstance(node, ast.Import) else node.module or ""
