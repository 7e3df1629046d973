"""The notebooks as pages, executed when the site is built: git holds none of their outputs."""

from __future__ import annotations

import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parent / "notebooks"
EXECUTED = HERE / "_notebooks"
MOST_SECONDS = 1800
"""For one cell, on a machine under heavy load."""

_LINK = re.compile(r"(\[[^\]]*\]\()(?!https?:|#)([^)#]+)")
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def page_of(notebook: Path) -> Path:
    """The page that a notebook becomes."""
    return EXECUTED / f"{notebook.stem}.md"


def execute(app: Sphinx) -> None:
    """Run every notebook, each in a kernel and a folder of its own, and write its page; those of before stay.

    Raises:
        CellExecutionError: a cell fails, and with it the build.
    """
    from sphinx.util import logging

    EXECUTED.mkdir(exist_ok=True)
    for notebook in sorted(NOTEBOOKS.glob("*.ipynb")):
        page = page_of(notebook)
        if not page.exists() or page.stat().st_mtime < notebook.stat().st_mtime:
            logging.getLogger(__name__).info("executing %s", notebook.name)
            page.write_text(text_of(_executed(notebook).cells), "utf-8")


def _executed(notebook: Path) -> Any:
    import nbformat
    from nbclient import NotebookClient

    found = nbformat.read(notebook, as_version=4)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as commands:
        # `!dominance` and `!python` are of this environment, which may have no script of that name; wide as a page.
        for name, arguments in {"dominance": " -m dominance", "python": ""}.items():
            script = Path(commands, name)
            script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)}{arguments} "$@"\n')
            script.chmod(0o755)
        path = f"{commands}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COLUMNS": "100"}
        client = NotebookClient(
            found,
            timeout=MOST_SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
            coalesce_streams=True,
        )
        client.execute(env=environment)
    return found


def text_of(cells: list[Any]) -> str:
    """Cells and their outputs as Markdown."""
    return "\n\n".join(part for cell in cells for part in _parts(cell)) + "\n"


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    if cell["cell_type"] == "markdown":
        yield _LINK.sub(_from_page, cell["source"])
    elif cell["cell_type"] == "code":
        plain = not re.search(r"(?m)^\s*[!%]", cell["source"])  # what is the shell's or IPython's is no Python
        yield _fenced("python" if plain else "text", cell["source"])
        yield from (shown for output in cell["outputs"] if (shown := _output(output)))


def _from_page(link: re.Match[str]) -> str:
    """A link of a notebook, as seen from its page: to the page of another one, or of docs, or a file beside them."""
    target = (NOTEBOOKS / link[2]).resolve()
    target = page_of(target) if target.suffix == ".ipynb" else target
    return link[1] + os.path.relpath(target, EXECUTED)


def _output(output: Mapping[str, Any]) -> str:
    """What a browser shows of it: the richest form that there is."""
    if output["output_type"] == "stream":
        return _fenced("text", _plain(output["text"]))
    data = output["data"]  # of an error there is none: it has ended the build
    if "text/html" in data:
        return _fenced("{raw} html", f'<div class="output">{data["text/html"]}</div>')
    if "image/png" in data:
        png = data["image/png"].replace("\n", "")
        return _fenced("{raw} html", f'<div class="output"><img alt="" src="data:image/png;base64,{png}"></div>')
    return _fenced("text", _plain(data["text/plain"]))


def _plain(text: str) -> str:
    """As it stands on a screen at the end: no colours, and of a line that was written over, the last."""
    lines = (line.rstrip("\r").rsplit("\r", 1)[-1] for line in _ESCAPE.sub("", text).split("\n"))
    return "\n".join(lines).strip("\n")


def _fenced(kind: str, text: str) -> str:
    if not text.strip():
        return ""
    longest = max((len(each) for each in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("builder-inited", execute)
    return {"parallel_read_safe": True}
