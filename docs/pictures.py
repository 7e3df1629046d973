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
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from dominance import Units

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
    *("plot_verdict", "plot_mixture", "plot_phases"),
)


ADAPTER = [Units("*.A", axis=1, name="A, input"), Units("*.B", axis=0, name="B, output")]
EXAMPLES: dict[str, dict[str, tuple[str, dict[str, Any]]]] = {
    "record --groups kind -m dominance.examples.texts --rare prose": {
        "groups_texts": ("plot_mixture", {}),
        "units_rows": ("plot_unit_shares", {"by": "row"}),
    },
    "record --groups target -m dominance.examples.long_tail": {"groups_digits": ("plot_gradient_norms", {})},
    "record -m dominance.examples.bandit --loud 10": {"groups_policy": ("plot_ownership", {})},
    "record -m dominance.examples.lora --apart inputs": {
        "examples_lora": ("plot_unit_shares", {"by": ADAPTER}),
    },
    "record -m dominance.examples.policy": {"examples_policy": ("plot_phases", {})},
    "record -m dominance.examples.detection --pixels": {"examples_detection": ("plot_ownership", {})},
    "train digits --method equal-weight --architecture mmoe:experts=4 --epochs 2 --set pairs=1000": {
        "units_experts": ("plot_unit_shares", {"by": "expert"}),
    },
}
"""Commands that record an example; and pictures of it, what draws them and of what."""


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
    names = [*PLOTS, *(name for pictures in EXAMPLES.values() for name in pictures)]
    if all((DRAWN / f"{name}.png").exists() for name in names) and (DRAWN / REPORT).exists():
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

    for line, pictures in EXAMPLES.items():
        command, *arguments = line.split()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "run")
            whole = [sys.executable, "-m", "dominance", command, "-q", "-o", path, *arguments]
            subprocess.run(whole, check=True, stdout=subprocess.DEVNULL)
            with dominance.open_run(path) as run:
                for name, (plot, options) in pictures.items():
                    getattr(dominance, plot)(run, **options).savefig(DRAWN / f"{name}.png", overwrite=True)


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
