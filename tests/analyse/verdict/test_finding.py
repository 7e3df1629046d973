"""How a verdict reads."""

from __future__ import annotations

import math

import xarray as xr

from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.finding import Finding, Verdict

FOUND = Verdict(
    (
        Finding(
            "dominance",
            "a owns 97 % of the shared parameters, and this is a sentence that is too long for one line of a terminal.",
            tasks=("a",),
            where=("x", "y"),
            since=3,
            strength=0.97,
            probability=0.97,
            causes=(Cause("scale", 9.0, 0.99, {"gradient_ratio": 3.0}),),
            why="scale: <long>.",
            advice=("Try `optim.AdaTaskAdam(p)`.",),
        ),
        Finding("conflict", "a and b.", alarm=True),
    ),
    ("a note",),
    xr.Dataset(),
)


def test_text_is_wrapped_with_hanging_lines() -> None:
    text = FOUND.text(50)
    assert max(map(len, text.splitlines())) <= 50
    assert text.splitlines()[0].startswith("- a owns 97 %")
    assert text.splitlines()[1].startswith("  and") or text.splitlines()[1].startswith("  ")
    assert "  How sure: likely (probability 0.97)" in text
    assert "  Try: Try `optim.AdaTaskAdam(p)`." in text
    assert text.endswith("Note: a note")
    assert str(FOUND) == FOUND.text(80)


def test_a_command_stays_on_one_line_to_be_copied() -> None:
    command = "dominance try --methods weights:a=1:b=500,adatask train.py --name 'two  words'"
    finding = Finding(
        "dominance", "a owns all.", advice=(f"Weights, beside the run as it is: `{command}`. And so on.",)
    )
    text = Verdict((finding,), (), xr.Dataset()).text(40)
    lines = text.splitlines()
    assert [line for line in lines if command in line] == [f"    `{command}`."]
    assert max(len(line) for line in lines if command not in line) <= 40
    assert "\0" not in text


def test_table() -> None:
    table = FOUND.to_dataframe()
    assert table["kind"].tolist() == ["dominance", "conflict"]
    assert table.loc[0, "where"] == "x, y"
    assert table.loc[0, "causes"] == "scale"
    assert table["alarm"].tolist() == [False, True]


def test_plain_values() -> None:
    first, second = FOUND.to_dict()["findings"]
    assert first["causes"] == [{"name": "scale", "factor": 9.0, "probability": 0.99, "gradient_ratio": 3.0}]
    assert (first["certainty"], second["certainty"]) == ("likely", "")
    assert second["since"] is None
    assert math.isnan(second["probability"])
    assert FOUND.to_dict()["alarm"]


def test_notebook() -> None:
    html = FOUND._repr_html_()
    assert "<code>optim.AdaTaskAdam(p)</code>" in html
    assert "&lt;long&gt;" in html


def test_iteration() -> None:
    assert len(FOUND) == 2
    assert [finding.kind for finding in FOUND] == ["dominance", "conflict"]
    assert FOUND.of("conflict")[0].alarm
