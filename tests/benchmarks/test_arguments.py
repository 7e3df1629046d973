"""Arguments as a person types them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from dominance.benchmarks.arguments import arguments, convert, defaults, describe, pairs, read
from dominance.errors import BadOption


class Thing:
    def __init__(
        self,
        size: int,
        rate: float = 0.5,
        *,
        kind: Literal["mean", "sum"] | Callable[[int], int] = "mean",
        weights: Mapping[str, float] | None = None,
        hook: Callable[[], None] | None = None,
        params: Any = None,
    ) -> None: ...


def test_what_can_be_typed() -> None:
    assert list(arguments(Thing, hidden=("rate",))) == ["size", "kind", "weights"]
    assert defaults(Thing)["rate"] == 0.5
    assert "size" not in defaults(Thing)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("3", int, 3),
        ("1e-3", float, 0.001),
        ("inf", float, float("inf")),
        ("Yes", bool, True),
        ("off", bool, False),
        ("none", int | None, None),
        ("3", int | None, 3),
        ("3", str | int, 3),
        ("x", str | int, "x"),
        ("none", str | None, None),
        ("a=b", str, "a=b"),
        ("data/x", Path, Path("data/x")),
        ("Sum", Literal["mean", "sum"], "sum"),
        ("2", Literal[1, 2], 2),
        ("a, b", tuple[str, ...], ("a", "b")),
        ("0.9,0.99", tuple[float, float], (0.9, 0.99)),
        ("1,2", list[int], [1, 2]),
        ("1,2", Sequence[int], (1, 2)),
        ("", tuple[int, ...], ()),
        ("a:1, b:0.5", Mapping[str, float], {"a": 1.0, "b": 0.5}),
        ("0.5", float | Mapping[str, float], 0.5),
        ("a:1", float | Mapping[str, float], {"a": 1.0}),
    ],
)
def test_conversion(text: str, kind: Any, value: object) -> None:
    found = convert(text, kind)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("3.5", int, "a whole number"),
        ("x", float, "a number"),
        ("maybe", bool, "true or false"),
        ("max", Literal["mean", "sum"], "mean or sum"),
        ("x", int | None, "a whole number or none"),
        ("1,2,3", tuple[float, float], "a list like 0.5,0.5"),
        ("a", Mapping[str, float], "a list like a:0.5,b:0.5"),
        ("0.5", int | Mapping[str, int], "a whole number or a list like a:1,b:1"),
    ],
)
def test_what_cannot_be_read(text: str, kind: Any, words: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whichever the conversion raises
        convert(text, kind)
    assert describe(kind) == words
    with pytest.raises(BadOption, match="--set size="):
        read({"size": text}, {"size": kind}, "--set", "thing")


def test_values_from_a_program_stay() -> None:
    weights = {"a": 1}
    assert read({"weights": weights}, arguments(Thing), "--set", "thing")["weights"] is weights


def test_mistakes() -> None:
    with pytest.raises(BadOption, match=r"thing has no sise; did you mean size[?] known are size, rate, kind, weights"):
        read({"sise": "3"}, arguments(Thing), "--set", "thing")
    with pytest.raises(BadOption, match="it has none"):
        read({"sise": "3"}, {}, "--set", "thing")
    with pytest.raises(BadOption, match="--set gives x_scale twice"):
        pairs(["x-scale=1", "x_scale=2"], "--set")
    with pytest.raises(BadOption, match="'=3' is no key=value"):
        pairs(["=3"], "--set")
