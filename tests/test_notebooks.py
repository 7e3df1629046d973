"""The notebooks run from a clean kernel, from the first cell to the last, and hold no output in git.

Trainings are short here, which is all that a cell needs to run; ``-m slow`` runs the notebooks as they are.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
MOST_SECONDS = 900
"""For one cell, on a machine under heavy load; a quiet one needs less than two minutes for a whole notebook."""
MOST = {"epochs": 2, "pairs": 400, "seeds": 1, "steps": 40}
"""Of what trainings are given in a notebook that is run short."""
LONG = re.compile(
    r"""(?P<before>(?P<what>epochs|pairs|seeds)(=|\ |":\ )|"--(?P<option>steps)",\ type=int,\ default=)
        (?P<count>\d+)""",
    re.VERBOSE,
)


def shortened(source: str) -> str:
    """The same with no number above ``MOST``."""

    def least(found: re.Match[str]) -> str:
        return found["before"] + str(min(MOST[found["what"] or found["option"]], int(found["count"])))

    return LONG.sub(least, source)


WAYS = [
    pytest.param(path, short, marks=[pytest.mark.slow] if trains and not short else [], id=f"{path.stem}-{how}")
    for path in NOTEBOOKS
    for text in [path.read_text("utf-8").replace('\\"', '"')]
    for trains in [shortened(text) != text]
    for short, how in ([(True, "short"), (False, "whole")] if trains else [(False, "whole")])
]
"""Those that train for longer are run short, and as they are by ``-m slow``."""


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.filterwarnings("ignore")  # of the kernel's client, not ours
@pytest.mark.parametrize(("path", "short"), WAYS)
def test_a_notebook_runs(path: Path, short: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONWARNINGS", "error::FutureWarning,error::DeprecationWarning:dominance")
    monkeypatch.setenv("COLUMNS", "100")
    notebook = nbformat.read(path, as_version=4)
    if short:
        whole = [cell.source for cell in notebook.cells]
        for cell in notebook.cells:
            cell.source = shortened(cell.source)
        assert whole != [cell.source for cell in notebook.cells]
    client = NotebookClient(
        notebook, timeout=MOST_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # raises the error of a cell
    plots = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert any("image/png" in str(output["data"].get("text/html", "")) for output in plots), "shows no plot"
    said = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr" and "Warning" in output["text"]
    ]
    assert said == []


@pytest.fixture(scope="module")
def pages() -> ModuleType:
    """docs/notebooks.py, which makes pages of them when the site is built."""
    spec = importlib.util.spec_from_file_location("pages", Path(__file__).parents[1] / "docs/notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_has_cells_and_what_they_show(pages: ModuleType) -> None:
    new = nbformat.v4
    shown = [
        new.new_output("stream", text="\x1b[1mbold\x1b[0m\n10 %\r20 %\ndone\n"),
        new.new_output("execute_result", {"text/html": "<b>1</b>", "text/plain": "1"}),
        new.new_output("display_data", {"image/png": "aGk=\n", "text/plain": "a picture"}),
        new.new_output("execute_result", {"text/plain": "```"}),
    ]
    cells = [
        new.new_markdown_cell("# 1\n\n[two](2-your-own-loop.ipynb), [AU](../docs/concepts/au.md), [us](https://x.org)"),
        new.new_code_cell("x = 1", outputs=shown),
        new.new_code_cell("x = 1\n!ls"),
    ]
    assert pages.text_of(cells).split("\n\n") == [
        "# 1",
        "[two](2-your-own-loop.md), [AU](../concepts/au.md), [us](https://x.org)",
        "```python\nx = 1\n```",
        "```text\nbold\n20 %\ndone\n```",
        '```{raw} html\n<div class="output"><b>1</b></div>\n```',
        '```{raw} html\n<div class="output"><img alt="" src="data:image/png;base64,aGk="></div>\n```',
        "````text\n```\n````",
        "```text\nx = 1\n!ls\n```\n",
    ]


def test_links_of_notebooks_lead_to_pages(pages: ModuleType) -> None:
    """Every relative link of every notebook, as its page has it, to a file that is there or is made."""
    made = {pages.page_of(path) for path in NOTEBOOKS}
    for path in NOTEBOOKS:
        cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
        for found in pages._LINK.finditer(pages.text_of(cells)):
            target = Path(os.path.normpath(pages.EXECUTED / found[2]))
            assert target in made or target.exists(), f"{path.name}: {found[2]}"
