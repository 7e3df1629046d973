"""Commands with many options: those that belong together are the fields of a dataclass, and one argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, TypeVar, get_type_hints

R = TypeVar("R")


def grouped(command: Callable[..., R]) -> Callable[..., R]:
    """A command as typer wants it: each field of an argument that is a dataclass is an option of its own."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    shown: list[Parameter] = []
    for each in signature(command).parameters.values():
        kind = hints[each.name]
        if not is_dataclass(kind):
            shown.append(each.replace(kind=Parameter.KEYWORD_ONLY, annotation=kind))
            continue
        groups[each.name], of_field = kind, get_type_hints(kind, include_extras=True)
        for one in fields(kind):
            shown.append(
                Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=of_field[one.name])
            )

    @wraps(command)
    def typed(**given: Any) -> R:
        made = {name: kind(**{one.name: given.pop(one.name) for one in fields(kind)}) for name, kind in groups.items()}
        return command(**given, **made)

    whole = signature(command).replace(parameters=shown, return_annotation=hints.get("return"))
    vars(typed)["__signature__"] = whole
    typed.__annotations__ = {each.name: each.annotation for each in shown}
    return typed
