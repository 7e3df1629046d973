"""Where losses are added up is read from the script's text, and a factor of each put there means what it says."""

from __future__ import annotations

import ast
import linecache
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from dominance.analyse.verdict.patch import _replaced
from dominance.record.tasks.sums import LossSum, loss_sum

SUMS = {
    "total = a + b": {"a": 8, "b": 12},
    "(losses['a'] + self.b * 2).backward()": {"a": 1, "b": 15},
    "ü = (0.5 * a + b / 3 + c) / 2": {"a": 6, "b": 16, "c": 24},
    "total = 2 * (a + (b + c))": {"a": 13, "b": 18, "c": 22},
    "total = (a +\n  b)": {"a": 9, "b": 15},
    "total = sum([a, 2 * b])": {"a": 13, "b": 16},
    "total = torch.stack((a, b)).sum() / 2": {"a": 21, "b": 24},
    "total = w * a + args.weight * b": {"a": 8, "b": 16},
    "total = a + b / self.scale + penalty": {"a": 8, "b": 12},
    "total = a + w / b": None,
    "total = a - b": None,
    "total = a + b ** 2": None,
    "total = a + f(b)": None,
    "total = a + b + a": None,
    "total = a": None,
    "total = a + 1 * b.a": None,
    "total = sum([a, b], start)": None,
    "total = torch.stack([a, b]).sum(0)": None,
    "total = torch.stack([a, b]).mean()": None,
}


def at_last(text: str) -> LossSum | None:
    """The sum of a script, by the place that autograd keeps of it: the outermost operation, or what a loop adds."""
    name = f"<sum {text}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    tree = ast.parse(text)
    every: list[Any] = [n for n in ast.walk(tree) if isinstance(n, (ast.AugAssign, ast.BinOp, ast.Call))]
    every = [n for n in every if not ast.unparse(n).endswith("backward()")]
    loops = [n for n in every if isinstance(n, ast.AugAssign)]
    first = [*loops, *every, tree.body[0].value][0]  # type: ignore[attr-defined]
    span = (first.lineno, first.end_lineno, first.col_offset, first.end_col_offset)
    return loss_sum(name, first.lineno, span, [task for task in "abc" if task in re.findall(r"\w+", text)])


@pytest.mark.parametrize("line", SUMS)
def test_where_the_summands_of_a_line_begin(line: str) -> None:
    found = at_last(line)
    assert (None if found is None or found.each is not None else found.tasks) == SUMS[line]
    if found is not None:
        assert found.text == line


@pytest.mark.parametrize("line", [line for line, wanted in SUMS.items() if wanted and "=" in line])
def test_a_term_has_the_weights_in_front_of_it(line: str) -> None:
    """The terms add up to the sum, and a factor of one where its summand begins multiplies that."""
    found = at_last(line)
    assert found is not None
    values: dict[str, Any] = {name: torch.tensor(3.0 * (i + 1)) for i, name in enumerate("abc")}
    values |= {"w": 3.0, "args": SimpleNamespace(weight=7.0), "self": SimpleNamespace(scale=4.0), "penalty": 0.0}
    target = line.partition(" ")[0]

    def total(text: str) -> float:
        names = {"torch": torch, **values}
        exec(text, names)
        return float(names[target])

    terms = {name: total(f"{target} = {ast.unparse(ast.fix_missing_locations(t))}") for name, t in found.terms.items()}
    assert sum(terms.values()) == pytest.approx(total(line))
    for name, at in found.tasks.items():
        assert total(_replaced(line, [(at, at, "5 * ")])) == pytest.approx(total(line) + 4 * terms[name])


OVER = {
    "total = sum(losses.values())": True,
    "total = torch.stack(list(self.losses.values())).sum()": True,
    "total = 0\nfor name, loss in losses.items():\n    total += loss": True,
    "total = 0.0\nfor name, loss in losses.items():\n    print(name)\n    total += weights[name] * loss / 2": True,
    "total = sum(w * loss for loss in losses.values())": False,
    "total = 1\nfor name, loss in losses.items():\n    total += loss": False,
    "total = 0\nfor name, loss in losses.items():\n    total += loss + 1": False,
    "total = 0\nfor name, loss in losses.items():\n    name = 'a'\n    total += loss": False,
    "total = 0\nfor name, loss in losses.items():\n    total -= loss": False,
    "total = 0\nfor name, loss in losses.items():\n    if name:\n        total += loss": False,
    "total = 0\nfor name, loss in zip('ab', losses):\n    total += loss": False,
    "total = a\nfor name, loss in losses.items():\n    total += loss": False,
}


@pytest.mark.parametrize("text", OVER)
def test_a_sum_over_a_dict_takes_a_factor_of_each_item(text: str) -> None:
    found = at_last(text)
    assert (found is not None) == OVER[text]
    if found is None:
        return
    assert found.each is not None
    start, end, before, behind = found.each
    changed = _replaced(found.text, [(start, end, f'{before}{{"a": 5}}{behind}')])
    losses = {"a": torch.tensor(1.0), "b": torch.tensor(10.0)}
    totals = []
    for each in (text, text.replace(found.text, changed)):
        names: dict[str, Any] = {"torch": torch, "losses": losses, "weights": {"a": 2.0, "b": 2.0}}
        exec(each, names | {"self": SimpleNamespace(losses=losses)}, names)
        totals.append(float(names["total"]))
    assert totals == [11.0, 15.0]
