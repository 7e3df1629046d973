"""Arguments of a class that a person types: ``key=value``, read as the constructor's annotations say."""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dominance.errors import BadOption

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def pairs(texts: Iterable[str], where: str) -> dict[str, str]:
    """The parts of ``key=value`` texts.

    Raises:
        BadOption: a text has no "=", or a key comes twice.

    >>> pairs(["width=200", "x=uniform"], "--set")
    {'width': '200', 'x': 'uniform'}
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key:
            raise BadOption(f"{where} {text!r} is no key=value", fix=f"write it like {where} width=200")
        if key in found:
            raise BadOption(f"{where} gives {key} twice", fix="give it once")
        found[key] = value.strip()
    return found


def arguments(call: Callable[..., Any], *, hidden: Iterable[str] = ()) -> dict[str, Any]:
    """Names and types of the arguments of a class or function that can be typed; ``hidden`` ones are left out."""
    parameters = inspect.signature(call, eval_str=True).parameters.values()
    return {
        p.name: p.annotation
        for p in parameters
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in hidden and _readable(p.annotation)
    }


def defaults(call: Callable[..., Any]) -> dict[str, Any]:
    """The default of each argument that has one."""
    parameters = inspect.signature(call).parameters.items()
    return {name: p.default for name, p in parameters if p.default is not p.empty}


def read(given: Mapping[str, Any], known: Mapping[str, Any], where: str, owner: str) -> dict[str, Any]:
    """The values with the types of ``known``. Only strings are converted: a program gives the value itself.

    Raises:
        BadOption: an argument that the owner does not have, or a text that is not of its type.
    """
    found = {}
    for key, value in given.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            fix = f"did you mean {close[0]}? " if close else ""
            fix += f"known are {', '.join(known)}" if known else "it has none"
            raise BadOption(f"{where}: {owner} has no {key}", fix=fix)
        try:
            found[key] = convert(value, known[key]) if isinstance(value, str) else value
        except ValueError:
            raise BadOption(
                f"{where} {key}={value}: {key} is {describe(known[key])}", fix="give such a value"
            ) from None
    return found


def convert(text: str, kind: Any) -> Any:
    """The value that a text means as this type.

    Raises:
        ValueError: none.

    >>> convert("0.9,0.99", tuple[float, ...]), convert("A:1,B:2", Mapping[str, float]), convert("none", int | None)
    ((0.9, 0.99), {'A': 1.0, 'B': 2.0}, None)
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _first(text, [part for part in parts if _readable(part)])
    if origin is typing.Literal:
        named = {str(value).lower(): value for value in parts}
        if text.lower() not in named:
            raise ValueError(text)
        return named[text.lower()]
    if origin in _LISTS:
        kinds = parts if parts and parts[-1] is not Ellipsis else parts[:1]
        items = [part.strip() for part in text.split(",") if part.strip()]
        if origin is tuple and len(parts) == len(kinds) and len(items) != len(kinds):
            raise ValueError(text)
        found = [convert(item, kinds[min(i, len(kinds) - 1)]) for i, item in enumerate(items)]
        return tuple(found) if origin is not list else found
    if origin in _MAPS:
        entries = [item.partition(":") for item in text.split(",") if item.strip()]
        if not all(colon for _, colon, _ in entries):
            raise ValueError(text)
        return {key.strip(): convert(value.strip(), parts[1]) for key, _, value in entries}
    if kind is bool:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise ValueError(text)
        return text.lower() in _TRUE
    if kind is type(None):
        if text.lower() != "none":
            raise ValueError(text)
        return None
    return kind(text)


def describe(kind: Any) -> str:
    """The type in words.

    >>> describe(float | None), describe(typing.Literal["mean", "sum"])
    ('a number or none', 'mean or sum')
    """
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(part) for part in parts if _readable(part)))
    if origin is typing.Literal:
        return " or ".join(map(str, parts))
    if origin in _LISTS:
        return f"a list like {_EXAMPLE.get(parts[0], 'a')},{_EXAMPLE.get(parts[0], 'b')}"
    if origin in _MAPS:
        return f"a list like a:{_EXAMPLE.get(parts[1], '1')},b:{_EXAMPLE.get(parts[1], '1')}"
    return _WORDS.get(kind, "a text")


_LISTS = (tuple, list, Sequence)
_MAPS = (dict, Mapping)
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", type(None): "none", Path: "a path"}
_EXAMPLE = {int: "1", float: "0.5"}


def _readable(kind: Any) -> bool:
    """Whether a text can be read as this type."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_readable(part) for part in parts if part is not type(None))
    if origin in (*_LISTS, *_MAPS):
        return all(_readable(part) for part in parts if part is not Ellipsis)
    return origin is typing.Literal or kind in (int, float, bool, str, Path, type(None))


def _first(text: str, kinds: Sequence[Any]) -> Any:
    """The text as the first of the types that it can be; text itself comes last."""
    for kind in sorted(kinds, key=lambda kind: kind is str):
        try:
            return convert(text, kind)
        except ValueError:
            continue
    raise ValueError(text)
