"""``record --columns``: each column of what a module of the script puts out is a task."""

from __future__ import annotations

import difflib
import re
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from dominance.config import parse_columns
from dominance.record.fail_safe import harmless
from dominance.record.parameters import modules_by_path
from dominance.record.script_variables import script_variables
from dominance.record.tasks.columns import MOST_COLUMNS
from dominance.record.tasks.graph import edge_of, walk
from dominance.record.tasks.naming import caller_frames
from dominance.record.tasks.shares import by_column, told

_MOST_HELD = 8
"""Outputs that wait for a backward(), of one module: their graphs stay alive so long."""


# torch warns whoever calls a compiled model of hooks on all modules: these are ours, and do nothing there.
_UNWARNED: Any = (
    "ignore",
    re.compile("Using `torch.compile\\(module\\)` when there are global hooks"),
    Warning,
    None,
    0,
)


@dataclass
class Columns:
    """One ``--columns``: the module whose output it is about, and what its columns are called.

    Attributes:
        path: of the module, as in ``named_modules()``; or what the script calls it, or its model, before that.
        names: of the columns; empty for numbers behind the path.
        modules: those that have been seen to be of that path.
        problem: why its last output could not be taken.
        taken: whether one could.
    """

    path: str
    names: tuple[str, ...] = ()
    modules: WeakSet[nn.Module] = field(default_factory=WeakSet)
    problem: str | None = None
    taken: bool = False

    def of(self, output: Any) -> dict[str, Tensor]:
        """The output under the name of each of its columns; what it lacks is kept as ``problem``."""
        if not isinstance(output, Tensor) or output.dim() == 0:
            self.problem = f"what it puts out is no tensor but a {type(output).__name__}: name a module inside it"
            return {}
        count = output.shape[-1]
        if self.names and len(self.names) != count:
            self.problem = f"{len(self.names)} names for the {count} columns of its output"
            return {}
        if not 1 < count <= MOST_COLUMNS:
            self.problem = f"its output has {count:,} columns"
            return {}
        self.taken = True
        return told(output, by_column(self.names or [f"{self.path}.{number}" for number in range(count)]))


class Outputs:
    """Holds the outputs of the modules that were asked for, from each forward to the backward() that they lead to.

    The hooks are of all modules, not of the ones that are asked for: a hook on a module is copied and saved with it.
    A module that is compiled as a part of something larger is not seen; within a compiled function the hooks do
    nothing, so that it is compiled as without us.

    Args:
        asked: as ``--columns`` takes them.
        fail: told of an error of ours; the script goes on.
    """

    def __init__(self, asked: Sequence[str], fail: Callable[[BaseException], None]) -> None:
        self.asked = [Columns(*parse_columns(text)) for text in asked]
        self.failure: str | None = None
        self._tell = fail
        self._held: deque[tuple[Tensor, dict[str, Tensor]]] = deque(maxlen=_MOST_HELD * max(len(self.asked), 1))
        self._seen: WeakSet[nn.Module] = WeakSet()
        self._paths: dict[str, None] = {}
        self._hooks: list[RemovableHandle] = []

    def start(self) -> None:
        """Look at every forward from now on, where something is asked for."""
        if self.asked:
            # Not filterwarnings: it makes Python forget which warnings the script has been shown.
            warnings.filters.insert(0, _UNWARNED)  # type: ignore[attr-defined]
            self._hooks = [
                register_module_forward_pre_hook(self._before),
                register_module_forward_hook(self._after),
            ]

    def stop(self) -> None:
        """Take the hooks away, and let go of all outputs."""
        for hook in self._hooks:
            hook.remove()
        if _UNWARNED in warnings.filters:
            warnings.filters.remove(_UNWARNED)  # type: ignore[attr-defined]
        self._hooks.clear()
        self._held.clear()

    def clear(self) -> None:
        """A step was taken: what was put out before leads to no backward() any more."""
        self._held.clear()

    def fail(self, error: BaseException) -> None:
        """Look no more."""
        self.failure = str(error)
        self._tell(error)

    def _before(self, module: nn.Module, args: Any) -> None:
        if not torch.compiler.is_compiling() and module not in self._seen:
            self._look(module)

    @harmless
    def _look(self, module: nn.Module) -> None:
        self._seen.update(module.modules())
        for path, inner in self._named(module):
            self._paths[path] = None
            for each in self.asked:
                if each.path == path:
                    each.modules.add(inner)

    def _named(self, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        """Modules by the paths that a person may write: in the model that is called, or behind the script's name of
        that, or in a model that the script calls by parts."""
        yield from modules_by_path(module)
        for name, other in script_variables(caller_frames()).items():
            if not isinstance(other, nn.Module):
                continue
            parts = list(modules_by_path(other))  # a wrapper and what it wraps have one path
            if any(part is module for _, part in parts):
                for path, inner in parts:
                    yield path, inner
                    yield f"{name}.{path}" if path else name, inner

    def _after(self, module: nn.Module, args: Any, output: Any) -> None:
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            self._take(module, output)

    @harmless
    def _take(self, module: nn.Module, output: Any) -> None:
        for each in self.asked:
            unfit = module not in each.modules or (isinstance(output, Tensor) and not output.requires_grad)
            if not unfit and (named := each.of(output)):
                self._held.append((output, named))

    def before(self, roots: Sequence[torch.autograd.graph.Node]) -> dict[str, Tensor]:
        """The outputs that lead to these losses, under keys of no meaning; they are let go of here."""
        if not self._held:
            return {}
        nodes = set(walk(roots))
        reached = [(tensor, named) for tensor, named in self._held if edge_of(tensor)[0] in nodes]
        for pair in reached:
            self._held.remove(pair)
        return {f"{number} {name}": at for number, (_, named) in enumerate(reached) for name, at in named.items()}

    def missing(self) -> list[str]:
        """What was asked for and has not been found, in words."""
        said = []
        for each in self.asked:
            if each.taken and each.problem is None:
                continue
            why = each.problem
            if why is None and each.modules:
                why = "no forward of it outside compiled code was seen"
            if why is None:
                close = difflib.get_close_matches(each.path, [path for path in self._paths if path], n=3)
                why = (
                    f"no such module was called; did you mean {' or '.join(close)}?"
                    if close
                    else (f"no such module was called; there are {', '.join([p for p in self._paths if p][:20])}")
                )
            said.append(f"--columns {each.path}: {why}")
        return said
