"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

sys.path.insert(0, str(Path(__file__).parent))

from notebooks import page_of

project = "dominance"
copyright = "the authors of dominance"
version = release = version_of("dominance")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pictures", "notebooks"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["requirements.txt"]
html_theme = "furo"
html_title = "dominance"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = html_copy_source = False
html_math_renderer = "mathml"
highlight_language = "none"
nitpicky = False

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_use_rtype = False
napoleon_custom_sections = ["Source"]

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)#]+)[^)]*\)")
_HERE = Path(__file__).parent


def _name_files(app: Sphinx, page: str, source: list[str]) -> None:
    """A link to a notebook leads to its page; to a file of the repository that is no page here, it becomes its name."""

    def name(link: re.Match[str]) -> str:
        folder = (_HERE / page).parent
        target = (folder / link[2]).resolve()
        if target.suffix == ".ipynb":
            return f"[{link[1]}]({os.path.relpath(page_of(target), folder)})"
        return link[0] if _HERE in target.parents else f"{link[1]} (`{target.relative_to(_HERE.parent)}`)"

    source[0] = _LINK.sub(name, source[0])


def _docstring(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written to be read in a terminal: indented lines there are a formula, and |g| is a length."""
    plain, formula, example = list(lines), False, False
    lines.clear()
    for i, line in enumerate(plain):
        after_blank = not any(each.strip() for each in plain[max(i - 1, 0) : i])
        above = next((each for each in reversed(plain[:i]) if each.strip()), "")
        indented = line.startswith("    ")
        if indented and after_blank and not formula and above[:1].strip():
            lines += ["::", ""]
            formula = True
        formula = formula and (indented or not line.strip())
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        line = re.sub(r"^Raises \(.*\):$", "Raises:", line)
        lines.append(line if formula or example else line.replace("|", r"\|"))


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="equation">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    # MathML, which browsers draw by themselves: no script, and nothing from a network.
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("source-read", _name_files)
    app.connect("autodoc-process-docstring", _docstring, priority=400)
