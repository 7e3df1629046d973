"""Pages of cells: every row and column stands on one page, in order, and a page on a sheet of paper."""

from __future__ import annotations

import pytest

from dominance.plots import backends
from dominance.plots.cell_pages import colour_bar, heat, names_down, names_on_sides
from dominance.plots.sheets import ONE_COLUMN, PAGE, TWO_COLUMNS, Around

B = backends.get("none")
NOTE = Around(note="A note.")


@pytest.mark.parametrize("rows", [1, 7, 200])
@pytest.mark.parametrize("columns", [1, 12, 90])
def test_every_cell_is_on_one_page(rows: int, columns: int) -> None:
    pages = heat(B, [f"layer {i}" for i in range(rows)], [f"task {i}" for i in range(columns)], NOTE)
    cells = [(i, j) for page in pages for i in page.rows for j in page.columns]
    assert sorted(cells) == [(i, j) for i in range(rows) for j in range(columns)]
    for page in pages:
        assert len(page.row_names) == len(page.rows)
        assert page.figure.height <= PAGE
        assert page.figure.width in (ONE_COLUMN, TWO_COLUMNS)
        box = page.axes.box
        assert box.left + box.width <= page.figure.width
        assert box.width == pytest.approx(len(page.columns) * page.cell[0])
        assert box.height == pytest.approx(len(page.rows) * page.cell[1])


def test_long_names_stand_upright_where_cells_are_narrow() -> None:
    few, many = (heat(B, ["a"], ["a long name of a column"] * count, NOTE)[0] for count in (2, 30))
    assert not few.upright
    assert many.upright
    for page, turn in ((few, 0.0), (many, 90.0)):
        names_on_sides(B, page)
        down, across = page.axes.called("axis")
        assert (down["limits"], down["labels"]) == ((1, 0), ["a"])
        assert (across["rotation"], across["side"]) == (turn, "top")
        assert across["ticks"] == [j + 0.5 for j in range(len(page.columns))]


def test_bars_have_no_names_above_and_no_colour_bar() -> None:
    (page,) = heat(B, ["a", "b"], ["share"], NOTE, body=2.8, bar_space=0.0)
    assert page.bar is None
    assert page.column_names == []
    names_down(B, page.axes, page.row_names)
    (axis,) = page.axes.called("axis")
    assert (axis["which"], axis["limits"], axis["ticks"], axis["labels"]) == ("y", (1.5, -0.5), [0, 1], ["a", "b"])


def test_a_colour_bar_tells_where_its_values_are() -> None:
    (page,) = heat(B, ["a"], ["b"], NOTE)
    colour_bar(B, page.bar, ["#000000", "#ffffff"], -1.0, 3.0, [(-1.0, "low"), (0.0, "zero"), (3.0, "high")])
    (cells,) = page.bar.called("cells")
    shades = cells["values"][0]
    assert (shades[0], shades[-1]) == (-1.0, 3.0)
    across = page.bar.called("axis")[0]
    assert [tick / across["limits"][1] for tick in across["ticks"]] == [0, 0.25, 1]
    assert across["labels"] == ["low", "zero", "high"]
