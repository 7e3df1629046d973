"""Options that are fields of dataclasses: typed as any others, and given as one argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from dominance_cli.grouped import grouped


@dataclass(frozen=True)
class Size:
    width: Annotated[int, typer.Option(metavar="N", help="Across.")] = 3
    names: Annotated[list[str] | None, typer.Option("--name", help="Repeatable.")] = None


@grouped
def paint(
    *,
    colour: Annotated[str, typer.Argument(help="Which.")] = "red",
    size: Size,
    twice: Annotated[bool, typer.Option("--twice")] = False,
) -> None:
    """Paint."""
    print(colour, size.width, size.names, twice)


def app() -> typer.Typer:
    made = typer.Typer(add_completion=False)
    made.command()(paint)
    return made


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "red 3 None False"),
        (["blue", "--twice", "--width", "7"], "blue 7 None True"),
        (["--name", "a", "--name", "b"], "red 3 ['a', 'b'] False"),
    ],
)
def test_a_group_holds_what_was_typed(words: list[str], said: str) -> None:
    assert CliRunner().invoke(app(), words).output == f"{said}\n"


def test_options_stand_in_the_order_of_the_command() -> None:
    said = CliRunner().invoke(app(), ["--help"]).output
    assert said.index("--width") < said.index("--name") < said.index("--twice")
    assert "[default: 3]" in said


def test_what_no_group_has_is_refused() -> None:
    assert CliRunner().invoke(app(), ["--height", "3"]).exit_code == 2
