"""What the user calls a tensor: the variables of the frames around a backward() call."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from dominance.record.frames import variables_of
from dominance.record.tasks.graph import Edge
from dominance.record.tasks.installed import is_installed
from dominance.record.tasks.sources import GENERIC

_PACKAGE = str(Path(__file__).resolve().parents[2])
_OWN_ROOMS = tuple(os.path.join(_PACKAGE, room, "") for room in ("record", "optim", "cure"))
_TORCH = os.path.dirname(os.path.abspath(torch.__file__)) + os.sep
_LEFT_OUT = (_TORCH, *_OWN_ROOMS)
_MOST_ITEMS = 1000


def caller_frames() -> list[FrameType]:
    """The frames of the script around the current call, innermost first; torch's and our own are left out."""
    frames = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_code.co_filename.startswith(_LEFT_OUT):
            frames.append(frame)
        frame = frame.f_back
    return frames


def nearest_frames(most: int) -> list[FrameType]:
    """The innermost of them, at most so many; the one that runs a whole file, if it is met, is the last."""
    frames: list[FrameType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and len(frames) < most:
        code = frame.f_code
        if not code.co_filename.startswith(_LEFT_OUT):
            frames.append(frame)
            if code.co_name == "<module>":
                break
        frame = frame.f_back
    return frames


@dataclass
class Names:
    """Names of the live tensors around a backward() call, by the edge that their gradient flows along."""

    variables: dict[Edge, str] = field(default_factory=dict)
    outer: dict[Edge, list[str]] = field(default_factory=dict)
    """What the frames further out call what an inner one has a name for."""
    items: dict[Edge, tuple[int, str, bool]] = field(default_factory=dict)
    """Edge -> (id of the container, name of the item, whether the container is a sequence)."""
    vectors: dict[Edge, str] = field(default_factory=dict)
    tensors: dict[Edge, Tensor] = field(default_factory=dict)
    task_lists: list[tuple[str, ...]] = field(default_factory=list)
    """Lists of distinct strings whose variable says that they name tasks."""
    sizes: dict[int, int] = field(default_factory=dict)
    """Id of a container -> how many scalar losses it holds."""
    modules: list[torch.nn.Module] = field(default_factory=list)
    """Modules that the script holds by name."""
    called: dict[int, str] = field(default_factory=dict)
    """Id of a module that the script holds -> the variable."""
    words: set[str] = field(default_factory=set)
    """Strings that the script holds by name."""
    keyed: set[int] = field(default_factory=set)
    """Ids of the dicts that are said to hold losses by the tasks' names."""
    place: tuple[str, int] = ("", 0)
    """File and line of the script that called."""
    loss_scale: float = 1.0
    """Scale of a live GradScaler, 1 where there is none."""

    def is_scalar(self, edge: Edge) -> bool:
        """Whether the script holds a named tensor with one element at this edge."""
        return edge in self.variables or edge in self.items

    def is_known(self, edge: Edge) -> bool:
        return self.is_scalar(edge) or edge in self.vectors

    def value(self, edge: Edge) -> Tensor | None:
        """The live tensor at this edge, detached; None where the script holds none."""
        tensor = self.tensors.get(edge)
        return None if tensor is None else tensor.detach()

    def key_of(self, parameters: frozenset[int]) -> str | None:
        """The name, in the modules around, of the one that holds these parameters (their ids)."""
        for module in self.modules:
            for name, parameter in module.named_parameters():
                if id(parameter) in parameters:
                    parts = [part for part in name.split(".")[:-1] if not part.isdigit()]
                    if parts:
                        return parts[-1]
        return None

    def choose(self, edges: list[Edge]) -> list[tuple[str | None, bool]]:
        """A name for each edge, and whether it is only a position in a sequence.

        A container that holds several of the terms names them better than a loop variable that happens to hold one.
        """
        held: dict[int, int] = {}
        for edge in edges:
            if edge in self.items:
                container = self.items[edge][0]
                held[container] = held.get(container, 0) + 1
        chosen: list[tuple[str | None, bool]] = []
        for edge in edges:
            item = self.items.get(edge)
            telling = item is not None and (held[item[0]] > 1 or item[0] in self.keyed)
            if item is not None and (telling or edge not in self.variables):
                chosen.append((item[1], item[2]))
            elif edge in self.variables:
                chosen.append((self.variables[edge], False))
            else:
                chosen.append((self.vectors.get(edge), False))
        return chosen


def names_around(frames: list[FrameType]) -> Names:
    """Look through the variables of ``frames``, and one level into their dicts, lists, tuples and ``self``.

    What the script itself calls a tensor goes before what an installed package does, further in.
    """
    names = Names()
    if frames:
        names.place = (frames[0].f_code.co_filename, frames[0].f_lineno)
    for frame in sorted(frames, key=lambda frame: is_installed(frame.f_code.co_filename)):
        for name, value in variables_of(frame).items():
            _note(names, name, value)
            if name == "self":
                for attribute, inner in list(getattr(value, "__dict__", {}).items()):
                    _note(names, attribute, inner)
    return names


def _note(names: Names, name: str, value: Any) -> None:
    # type(), because isinstance() asks a lazy proxy for its class, which may wake it up.
    kind = type(value)
    if issubclass(kind, Tensor):
        _note_tensor(names, name, value)
    elif issubclass(kind, (dict, list, tuple)):
        _note_container(names, name, value)
    elif issubclass(kind, torch.nn.Module):
        names.modules.append(value)
        if name != "self" and not name.startswith("_"):
            names.called.setdefault(id(value), name)
    elif kind is str:
        names.words.add(value)
    elif kind is SimpleNamespace or any("__dataclass_fields__" in each.__dict__ for each in kind.__mro__):
        _note_fields(names, value)
    elif issubclass(kind, torch.amp.GradScaler):
        _note_scaler(names, value)


def live_edge(tensor: Tensor) -> Edge | None:
    """Where a tensor that the script holds is in a graph; None where it is in none."""
    if not tensor.requires_grad:
        return None
    try:
        node = tensor.grad_fn
        return None if node is None else (node, tensor.output_nr)
    except RuntimeError:
        # A view that was changed in place under no_grad has no usable grad_fn: it can be no term of this loss.
        return None


def _note_tensor(names: Names, name: str, tensor: Tensor) -> None:
    edge = live_edge(tensor)
    if edge is None or name == "_" or name.startswith("__"):
        return
    names.tensors.setdefault(edge, tensor)
    known = names.variables if tensor.numel() == 1 else names.vectors
    first = known.setdefault(edge, name)
    if first == name:
        return
    if tensor.numel() == 1:
        names.outer.setdefault(edge, []).append(name)
    # `loss` beside another name of the very same tensor says nothing that the other does not.
    if first.lower() in GENERIC and name.lower() not in GENERIC:
        known[edge] = name


def _note_container(
    names: Names, name: str, container: dict[Any, Any] | list[Any] | tuple[Any, ...], *, inner: bool = False
) -> None:
    # By the methods of dict, list and tuple themselves: those of a subclass of the script's may load or count things.
    base: Any = next(kind for kind in (dict, list, tuple) if isinstance(container, kind))
    if base.__len__(container) > _MOST_ITEMS or name.startswith("__"):
        return
    items = list(dict.items(container) if isinstance(container, dict) else enumerate(base.__iter__(container)))
    fields = type(container).__dict__.get("_fields") if base is tuple else None
    if base is not dict:
        words = tuple(value for _, value in items if type(value) is str)
        if "task" in name.lower() and len(words) == len(items) == len(set(words)) and words not in names.task_lists:
            names.task_lists.append(words)
    if base is dict and "loss" in name.lower():
        names.keyed.add(id(container))
    for key, value in items:
        if fields is not None:
            _note_item(names, container, str(fields[key]), value, in_order=False)
            continue
        label = str(key) if base is dict else f"{name}[{key}]"
        pair = list(tuple.__iter__(value)) if type(value) is tuple and tuple.__len__(value) == 2 else []
        if base is list and pair and type(pair[0]) is str:
            _note_item(names, container, pair[0], pair[1], in_order=False)
        elif not inner and base is dict and issubclass(type(value), dict):
            _note_container(names, label, value, inner=True)
        else:
            _note_item(names, container, label, value, in_order=base is not dict)


def _note_item(names: Names, container: Any, label: str, value: Any, *, in_order: bool) -> None:
    """One loss in a container, or in an object that stands for one."""
    if not issubclass(type(value), Tensor) or value.numel() != 1:
        return
    edge = live_edge(value)
    if edge is not None:
        names.tensors.setdefault(edge, value)
        names.sizes[id(container)] = names.sizes.get(id(container), 0) + 1
        names.items.setdefault(edge, (id(container), label, in_order))


def _note_fields(names: Names, value: Any) -> None:
    """The losses that a record (a dataclass, a namespace) holds."""
    try:
        held = object.__getattribute__(value, "__dict__")
    except AttributeError:
        # A record with slots.
        return
    if len(held) <= _MOST_ITEMS:
        for field_name, inner in list(held.items()):
            _note_item(names, value, field_name, inner, in_order=False)


def _note_scaler(names: Names, scaler: torch.amp.GradScaler) -> None:
    if scaler.is_enabled() and isinstance(scaler._scale, Tensor):
        names.loss_scale = float(scaler._scale)
