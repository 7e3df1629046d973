"""The table of what was tried: kinds that are tried alone leave the rows of the others."""

from __future__ import annotations

from faults.__main__ import BEGIN, END, Tried, with_rows


def test_rows_of_other_promises_stay() -> None:
    page = f"before\n{BEGIN}\n{END}\nafter\n"
    once = with_rows(page, [Tried("kills", 20, 1), Tried("polls", 10_000, 0, "quick")])
    again = with_rows(once, [Tried("kills", 200, 0)])
    assert "| kills | 200 | 0 |" in again
    assert "| polls | 10,000 | 0 | quick |" in again
    assert again.count("\n|") == 4
    assert again.startswith("before\n")
    assert again.endswith(f"{END}\nafter\n")
