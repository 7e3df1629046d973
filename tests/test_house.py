"""Who may import whom: data flows one way, from a training run to its report, and every room keeps to its bank.

Imports are read from the source, so those inside functions and under TYPE_CHECKING count as well.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

BASE = {
    "dominance",
    "schema",
    "errors",
    "config",
    "deltas",
    "train_command",
    "visible",
    "streams",
    "words",
    "unattributed",
    "decay",
}
"""``dominance`` is the package itself, with its version; its lazy public names are "names"."""

PAGE = 60
"""Lines."""

MAY_IMPORT = {
    "schema": {"errors"},
    "errors": set(),
    "config": {"schema", "errors"},
    "train_command": set(),
    "visible": set(),
    "streams": {"visible"},
    "words": set(),
    "unattributed": set(),
    "decay": set(),
    "deltas": {"errors"},
    "store": BASE,
    "record": BASE | {"store", "optim"},
    "probes": {"record"},
    "integrations": BASE | {"store", "record"},
    "analyse": BASE | {"store"},
    "sinks": BASE | {"store", "analyse"},
    "plots": BASE | {"store", "analyse"},
    "reports": BASE | {"store", "analyse", "plots"},
    "papers": BASE | {"store", "analyse", "plots", "jobs"},
    "jobs": BASE | {"store"},
    "notebook": BASE | {"store", "record", "analyse", "plots", "reports"},
    "cli": BASE
    | {"names", "store", "record", "analyse", "plots", "reports", "papers", "benchmarks", "cure", "sinks", "jobs"},
    "cure": BASE | {"record", "optim", "benchmarks"},
    "optim": {"errors"},
    "benchmarks": BASE | {"store", "record", "optim"},
    "examples": {"dominance", "names"},
    "__main__": {"cli"},
}
"""Rooms of dominance that a room may import from, besides itself."""

CONTRACT = {"benchmark", "arguments", "setting_checks"}
SEEN_BY_ALL = {
    "code_values",
    "compare",
    "evaluation",
    "fail_safe",
    "frames",
    "group",
    "launch",
    "live_objects",
    "parameters",
    "patches",
    "sharded_models",
    "script_variables",
}
"""Of record: files that each of its rooms may import, and that import no room of it."""
STEP = {
    *(
        "at_backward",
        "at_grad",
        "at_manual_step",
        "at_unrecorded_step",
        "at_step",
        "manual_steps",
        "evaluated",
        "successive_models",
        "end_of_step",
        "gradient_by_difference",
        "held_losses",
        "light",
        "metrics",
        "optimizer_listener",
    ),
    *(
        "pass_over_ranks",
        "recorder",
        "recording",
        "replaced_parameters",
        "unrecorded_losses",
        "unrecorded_steps",
        "messages",
        "step",
        "step_recorder",
    ),
}
"""Of record: the life of a training step, from the hook that sees it to the row that is kept. Uses every room."""
WITHIN = {
    "record": {
        **dict.fromkeys(SEEN_BY_ALL, SEEN_BY_ALL),
        "tasks": SEEN_BY_ALL,
        "guest": SEEN_BY_ALL | {"tasks"},
        "rules": SEEN_BY_ALL | {"guest"},
        "split": SEEN_BY_ALL | {"guest", "tasks", "rules"},
        "ranks": SEEN_BY_ALL | {"guest", "tasks", "split", "recording"},
        "write": SEEN_BY_ALL | {"rules", "split", "ranks"},
        "probes": SEEN_BY_ALL | {"guest", "tasks", "rules", "split"},
        **{file: SEEN_BY_ALL | STEP | {"guest", "tasks", "rules", "split", "ranks", "write"} for file in STEP},
        "script": SEEN_BY_ALL | STEP | {"tasks", "write", "probes"},
    },
    "optim": {
        "engine": set(),
        "solvers": {"engine"},
        "combiners": {"engine", "solvers"},
        "optimizers": {"engine", "solvers", "combiners"},
    },
    "benchmarks": {
        "benchmark": set(),
        "arguments": set(),
        "setting_checks": set(),
        "data": CONTRACT,
        "metrics": CONTRACT,
        "models": CONTRACT,
        "problems": CONTRACT | {"data", "metrics", "models"},
        "train": CONTRACT | {"problems", "data", "models"},
    },
}
"""Of a room with rooms of its own, what each of these may import from the others."""

ONLY_IN = {
    "torch": {"integrations", "record", "optim", "benchmarks", "cure", "examples"},
    "matplotlib": {"plots", "reports", "papers"},
    "seaborn": {"plots", "reports", "papers"},
    "typer": {"cli"},
    "click": {"cli"},
    "rich": {"cli"},
    "IPython": {"notebook"},
}
"""Packages that only these rooms may import."""

SAME_THING = {"DominanceCallback"}
"""Classes of one name that are one thing: of each trainer, what its users call the callback."""

HEAVY = {"torch", "numpy", "pandas", "xarray", "zarr", "matplotlib", "seaborn"}
"""What `dominance --help` must not wait for: the command line imports them inside its commands, if at all."""


def rooms(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Room, dotted module name and path of every source file; the package's own __init__ is left out."""
    for package, name in (("dominance", "dominance"), ("cli", "dominance_cli")):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root / package).with_suffix("").parts
            if package == "dominance" and parts == ("__init__",):
                continue
            yield "cli" if package == "cli" else parts[0], ".".join((name, *parts)), path


def imports(tree: ast.AST, module: str) -> Iterator[tuple[str, int]]:
    """Dotted names that are imported anywhere in the tree, with their line; also ``import_module("name")``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield source, node.lineno
            yield from ((f"{source}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value, node.lineno


def room_of(name: str, known: set[str]) -> str | None:
    """The room that a dotted name lies in; None for other packages, "names" for the lazy public names of dominance."""
    package, _, rest = name.partition(".")
    if package == "dominance_cli":
        return "cli"
    if package != "dominance":
        return None
    first = rest.split(".")[0]
    if first in known:
        return first
    return "dominance" if first in ("", "__version__") else "names"


def at_import(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported: no function bodies, nothing under TYPE_CHECKING."""

    class Top(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if "TYPE_CHECKING" in ast.unparse(node.test) else self.generic_visit(node)

    return ast.fix_missing_locations(Top().visit(tree))


def trespasses(root: Path) -> list[str]:
    """Every import that the house forbids, as "file:line: what"."""
    found = []
    files = list(rooms(root))
    known = {room for room, _, _ in files} | set(MAY_IMPORT)
    for room, module, path in files:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(root)
        if room not in MAY_IMPORT:
            found.append(f"{where}:1: no rule says what the room {room} may import")
            continue
        for name, line in imports(tree, module):
            other = room_of(name, known)
            if other is not None and other != room and other not in MAY_IMPORT[room]:
                found.append(f"{where}:{line}: {room} imports {name}")
            if (inside := _trespass_within(room, module, name)) is not None:
                found.append(f"{where}:{line}: {inside} imports {name}")
            if room not in ONLY_IN.get(name.split(".")[0], {room}):
                found.append(f"{where}:{line}: {room} imports {name}")
        if room == "cli":
            for name, line in imports(at_import(tree), module):
                if name.split(".")[0] in HEAVY or room_of(name, known) not in (None, "cli", *BASE):
                    found.append(f"{where}:{line}: {name} is imported before a command is chosen")
    return found


def _trespass_within(room: str, module: str, name: str) -> str | None:
    """The room inside ``room`` that may not import this name; None: it may, or the name is of elsewhere."""
    rules = WITHIN.get(room, {})
    (own, *_), (other, *_) = (each.removeprefix(f"dominance.{room}.").split(".") for each in (module, name))
    if other not in rules or own == other:
        return None
    if own not in rules:
        return f"{room}.{own}, for which there is no rule,"
    return None if other in rules[own] else f"{room}.{own}"


def circles(root: Path) -> list[str]:
    """Modules that import each other, directly or through others, as "one <-> other <-> third"."""
    modules = {module: path for _, module, path in rooms(root)}
    below = {
        module: {name for name, _ in imports(ast.parse(path.read_text(encoding="utf-8")), module)} & modules.keys()
        for module, path in modules.items()
    }
    reached = {module: _reached(below, module) for module in below}
    together = {tuple(sorted(other for other in reached[module] if module in reached[other])) for module in reached}
    return sorted(" <-> ".join(each) for each in together if each)


def _reached(below: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [*below[start]]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += below[module]
    return found


def test_every_import_goes_down_the_river() -> None:
    assert trespasses(ROOT) == []


def test_no_modules_import_each_other() -> None:
    assert circles(ROOT) == []


def test_a_class_name_has_one_meaning() -> None:
    homes: dict[str, list[str]] = {}
    for _, module, path in rooms(ROOT):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: found for name, found in homes.items() if len(found) > 1 and name not in SAME_THING} == {}


def test_no_function_is_longer_than_a_page() -> None:
    """Its statements, that is, and not what it says of itself."""
    long = []
    for _, module, path in rooms(ROOT):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                told = ast.get_docstring(node, clean=False) is not None
                body = node.body[told:]
                if body and (body[-1].end_lineno or 0) - body[0].lineno >= PAGE:
                    long.append(f"{module}.{node.name}")
    assert long == []


def test_the_rooms_are_there() -> None:
    assert {"schema", "store", "record", "analyse", "plots", "reports", "papers", "cli"} <= {
        room for room, _, _ in rooms(ROOT)
    }


def test_every_room_is_installed() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "dominance").rglob("*.py")}
    assert sorted(said) == sorted({*folders, "dominance_cli"})


@pytest.mark.parametrize(
    ("file", "source", "line"),
    [
        ("dominance/analyse/bad.py", "import torch\n", 1),
        ("dominance/analyse/bad.py", "def late():\n    from torch.nn import functional\n", 2),
        ("dominance/store/bad.py", "if TYPE_CHECKING:\n    from torch import Tensor\n", 2),
        ("dominance/store/bad.py", "from dominance.record.recorder import Recorder\n", 1),
        ("dominance/store/bad.py", "from ..record import recorder\n", 1),
        ("dominance/store/bad.py", "from .. import record\n", 1),
        ("dominance/store/bad.py", "from dominance import analyse\n", 1),
        ("dominance/record/bad.py", "import importlib\n\nimportlib.import_module('dominance.analyse')\n", 3),
        ("dominance/record/deep/bad.py", "from ...plots import gcd\n", 1),
        ("dominance/plots/bad.py", "from dominance.reports.write import report\n", 1),
        ("dominance/reports/bad.py", "import dominance_cli.main\n", 1),
        ("dominance/reports/bad.py", "from dominance.papers.table import Table\n", 1),
        ("dominance/analyse/bad.py", "import matplotlib.pyplot as plt\n", 1),
        ("dominance/reports/bad.py", "from rich.console import Console\n", 1),
        ("dominance/schema.py", "from dominance.config import record_options\n", 1),
        ("dominance/optim/bad.py", "from dominance.schema import SCHEMA_VERSION\n", 1),
        ("dominance/examples/bad.py", "import dominance.errors\n", 1),
        ("dominance/examples/bad.py", "from dominance.record.recorder import Recorder\n", 1),
        ("dominance/analyse/bad.py", "from dominance import Recorder\n", 1),
        ("cli/bad.py", "from dominance import open_run\n", 1),
        ("dominance/attic/bad.py", "", 1),
        ("cli/bad.py", "import numpy as np\n", 1),
        ("cli/bad.py", "from dominance.record.recorder import Recorder\n", 1),
        ("dominance/benchmarks/data/bad.py", "from dominance.benchmarks.problems.digits import Digits\n", 1),
        ("dominance/benchmarks/models/bad.py", "from dominance.benchmarks import train\n", 1),
        ("dominance/record/tasks/bad.py", "from dominance.record.split.fed import Fed\n", 1),
        ("dominance/record/guest/bad.py", "from dominance.record import recorder\n", 1),
        ("dominance/optim/engine/bad.py", "from dominance.optim.solvers.simplex import min_norm\n", 1),
        ("dominance/benchmarks/attic.py", "from dominance.benchmarks.data.splits import split_rows\n", 1),
    ],
)
def test_a_trespass_is_found(file: str, source: str, line: int, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    found = trespasses(tmp_path)
    assert found
    assert all(text.startswith(f"{file}:{line}: ") for text in found)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("dominance/record/good.py", "import torch\nfrom dominance.store.writer import RunWriter\n"),
        ("dominance/record/rules/good.py", "from ..rules.base import Rule\nfrom ... import __version__\n"),
        ("dominance/benchmarks/train/good.py", "from dominance.benchmarks.problems.registry import benchmark\n"),
        ("dominance/plots/good.py", "import seaborn\nfrom dominance.analyse import updates\n"),
        ("dominance/__init__.py", "from dominance.plots.gcd import plot_gcd\n"),
        ("cli/good.py", "import typer\n\n\ndef command():\n    import numpy\n    from dominance import open_run\n"),
        ("cli/good.py", "if TYPE_CHECKING:\n    from dominance.record.script.session import Session\n"),
    ],
)
def test_what_is_allowed_passes(file: str, source: str, tmp_path: Path) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(source)
    assert trespasses(tmp_path) == []


@pytest.mark.parametrize(
    "source",
    [
        "from dominance.optim.one import thing\n",
        "def late():\n    from dominance.optim import one\n",
        "if TYPE_CHECKING:\n    from dominance.optim.one import Thing\n",
        "import dominance.optim.between\n",
    ],
)
def test_a_circle_is_found(source: str, tmp_path: Path) -> None:
    room = tmp_path / "dominance" / "optim"
    room.mkdir(parents=True)
    (room / "one.py").write_text("from dominance.optim.other import Other\n")
    (room / "between.py").write_text("from dominance.optim.one import thing\n")
    (room / "other.py").write_text(source)
    (found,) = circles(tmp_path)
    assert found.replace("dominance.optim.between <-> ", "") == "dominance.optim.one <-> dominance.optim.other"
