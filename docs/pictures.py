"""Pictures for the pages, and a report to explore: made when the site is built, of the loop in docs/recording.md."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

HERE = Path(__file__).parent
DRAWN = HERE / "_pictures"
REPORT = "example-report.html"
PLOTS = (
    *("plot_rau_buckets", "plot_effective_tasks", "plot_lr_dominance", "plot_gcd", "plot_alignment", "plot_overview"),
    *(
        "plot_ownership",
        "plot_conflict_layers",
        "plot_gradient_norms",
        "plot_noise_scale",
        "plot_geometry",
        "plot_losses",
    ),
    *("plot_verdict", "plot_mixture"),
)


EXAMPLES = {
    "groups_texts": ("plot_mixture", "--groups kind -m dominance.examples.texts --rare prose"),
    "groups_digits": ("plot_gradient_norms", "--groups target -m dominance.examples.long_tail"),
    "groups_policy": ("plot_ownership", "-m dominance.examples.bandit --loud 10"),
}
"""Pictures of examples, what draws them, and how they are recorded."""


class Picture(SphinxDirective):
    """``{picture} plot_gcd``, with what is to be seen on it below."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        said = " ".join(self.content)
        image = nodes.image(uri=f"/_pictures/{self.arguments[0]}.png", alt=said)
        return [nodes.figure("", image, nodes.caption(said, "", *self.parse_inline(said)[0]))]


class Explore(SphinxDirective):
    """``{explore}``: the report for a browser, as it is, with what is to be done in it below."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        said = " ".join(self.content)
        up = "../" * self.env.docname.count("/")
        frame = f'<iframe class="report" src="{up}{REPORT}" title="{said}" loading="lazy"></iframe>'
        whole = nodes.reference("", "In a window of its own", refuri=f"{up}{REPORT}")
        return [nodes.raw("", frame, format="html"), nodes.paragraph("", "", *self.parse_inline(said)[0], whole)]


def draw(app: Sphinx) -> None:
    """Train for a few seconds, and draw; what was drawn before stays."""
    if all((DRAWN / f"{name}.png").exists() for name in (*PLOTS, *EXAMPLES)) and (DRAWN / REPORT).exists():
        return
    import matplotlib as mpl
    import torch

    import dominance
    from dominance.reports.write import write_report

    mpl.use("agg")
    torch.manual_seed(0)
    page = (HERE / "recording.md").read_text("utf-8")
    (loop,) = (block for block in re.findall(r"(?ms)^```python\n(.*?)^```", page) if "with Recorder" in block)
    DRAWN.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        exec(loop.replace("range(2)", "range(20)").replace("10 * x", "0.5 * x"), {})
        run = dominance.open_run(os.path.join(folder, "runs/mine"))
        for name in PLOTS:
            getattr(dominance, name)(run).savefig(DRAWN / f"{name}.png", overwrite=True)
        (page,) = write_report(run, "report", format="html")
        shutil.copy(page, DRAWN / REPORT)
        run.close()
    draw_examples()


def draw_examples() -> None:
    """Record the examples, each in a process of its own, and draw."""
    import dominance

    for name, (plot, options) in EXAMPLES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "run")
            subprocess.run(
                [sys.executable, "-m", "dominance", "record", "-q", "-o", path, *options.split()], check=True
            )
            with dominance.open_run(path) as run:
                getattr(dominance, plot)(run).savefig(DRAWN / f"{name}.png", overwrite=True)


def put(app: Sphinx, error: Exception | None) -> None:
    """Lay the report beside the pages."""
    if error is None:
        shutil.copy(DRAWN / REPORT, Path(app.outdir) / REPORT)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("picture", Picture)
    app.add_directive("explore", Explore)
    app.connect("builder-inited", draw)
    app.connect("build-finished", put)
    return {"parallel_read_safe": True}
