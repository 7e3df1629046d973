"""What the README and the pages of docs tell people to type exists and works; what the program says is on a page."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import said
import torch
import typer.main
from packaging.requirements import Requirement

import dominance
from dominance import optim
from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.config import RecordOptions, record_options
from dominance_cli.main import app, main

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if not {"_build", "_notebooks"} & set(path.parts)
}
README = PAGES["README.md"]
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
FIRST = ("docs/recording.md", "docs/python.md", "docs/methods.md", "docs/concepts/au.md")
"""Pages whose Python later ones go on from: they make the run that is read, and open it."""


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def typed(page: str) -> list[str]:
    """Commands in console blocks, in indented blocks, and in backticks in the text."""
    lines = [
        line.removeprefix("$ ") for block in blocks("console", page) for line in block.splitlines() if line[:2] == "$ "
    ]
    lines += [line.strip() for line in page.splitlines() if line.startswith("    ")]
    lines += re.findall(r"`((?:dominance|make) [^`]*)`", page)
    return [line.split("  #")[0].strip() for line in lines if line.startswith(("dominance ", "make "))]


def commands(name: str, pages: dict[str, str] = PAGES) -> list[str]:
    texts = (page for key, page in pages.items() if key != "docs/messages.md")  # what it quotes is printed, not typed
    return sorted({line for page in texts for line in typed(page) if line.startswith(f"{name} ")})


@pytest.mark.parametrize("line", commands("dominance"))
def test_commands_parse(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    if not arguments:
        assert name in {*COMMANDS, "--help"}
        return
    shown = [part.strip("[]") for part in arguments if part not in ("[OPTIONS]", "...")]
    context = COMMANDS[name].make_context(name, shown)
    assert all(value != "" for value in context.params.values())


def test_every_command_is_shown() -> None:
    assert {shlex.split(line)[1] for line in commands("dominance", {"README.md": README})} == set(COMMANDS)


@pytest.mark.parametrize("line", commands("make"))
def test_make_targets_exist(line: str) -> None:
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_options_in_the_text_exist() -> None:
    known = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    pages = [page for key, page in PAGES.items() if key not in ELSEWHERE]
    mentioned = {option for page in pages for option in re.findall(r"`(--[a-z-]+)", page)}
    assert "--every" in mentioned
    assert mentioned <= known | {"--help", "--name", *OF_EXAMPLES}  # the cell magic's


OF_EXAMPLES = (
    "--rare",
    "--noisy",
    "--apart",
    "--loud",
    "--mode",
    "--brevity",
    "--flat",
    "--sft",
    "--pixels",
    "--cells",
)
"""Options of the scripts in dominance.examples."""

ELSEWHERE = ("docs/trainers.md", "docs/cost.md", "docs/comparison.md")
"""Pages that speak of other programs' options."""


@pytest.mark.parametrize(
    ("page", "target"),
    [
        (page, target)
        for page, text in PAGES.items()
        for target in sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", re.sub(r"(?ms)^```.*?^```", "", text))))
    ],
)
def test_links_lead_somewhere(page: str, target: str) -> None:
    path, _, heading = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if heading:
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def test_every_page_is_in_a_table_of_contents() -> None:
    named = {
        str(Path(page).parent / f"{line}.md")
        for page, text in PAGES.items()
        for block in re.findall(r"^```{toctree}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        for line in block.split()
        if not line.startswith(":")
    }
    assert {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"} <= named


def test_the_readme_is_a_page() -> None:
    assert len(README.splitlines()) <= 120


def test_configuration_is_accepted(tmp_path: Path) -> None:
    page = PAGES["docs/recording.md"]
    (block,) = blocks("toml", page)
    (tmp_path / "pyproject.toml").write_text(block)
    variables = dict(re.findall(r"`(DOMINANCE_[A-Z]+)=(\w+)`", page))
    assert variables == {"DOMINANCE_EVERY": "5"}
    options = record_options(environ=variables, folder=tmp_path)
    assert options.every == tomllib.loads(block)["tool"]["dominance"]["every"] == 5
    assert options.budget == 500_000_000


READERS = ("summary", "info", "compare", "train --list", "figures list")
"""Commands that a test types; the others train for minutes, and have tests of their own."""


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for seed in range(3):  # what the blocks on studies read
        _trained("equal-weight", seed, tmp_path / f"runs/joint-{seed}")
    _trained("stl", 0, tmp_path / "runs/alone")
    names: dict[str, Any] = {"price_loss": torch.ones(()), "stars_loss": torch.ones(())}
    for page in dict.fromkeys((*FIRST, *PAGES)):
        for block in blocks("python", PAGES[page]):
            exec(compile(block, page, "exec"), names)
        if page == "docs/python.md":
            _as_it_says(names, capsys.readouterr().out)
    assert (tmp_path / "trunk.pdf").stat().st_size > 1000
    names["run"].close()
    for name, run in (("latest", "mine"), ("before", "joint-0"), ("after", "joint-1")):
        (tmp_path / f"runs/{name}").symlink_to(run)
    whole = [line for line in commands("dominance") if not re.search(r"\[|\b[A-Z]{3,}\b", line)]
    ready = [line for line in whole if line.removeprefix("dominance ").startswith(READERS) and len(line.split()) > 2]
    assert len(ready) >= 6
    for line in ready:
        with pytest.raises(SystemExit, match="0"):
            main(shlex.split(line)[1:])


def _as_it_says(names: dict[str, Any], printed: str) -> None:
    assert "['price', 'stars']" in printed
    assert names["run"].sizes["step"] == 40
    assert names["run"]["metric"].sizes["event"] == 2
    assert names["owned"].sizes == {"layer": 1}
    assert names["conflict"].dims == ("layer",)
    assert set(names["table"].reset_index()["task"]) == {"price", "stars"}
    assert set(names["study"]) == {f"runs/joint-{seed}" for seed in range(3)}


def _trained(method: str, seed: int, path: Path) -> None:
    """A training of a moment."""
    options = TrainOptions("toy-2d", method, seed=seed, epochs=6, settings={"steps": 5})
    train(options, path, record=RecordOptions(every=1))


def test_the_parts_of_a_step_sum_to_it_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    (loop,) = (block for block in blocks("python", PAGES["docs/recording.md"]) if "with Recorder" in block)
    exec(loop, names)
    for block in blocks("python", PAGES["docs/concepts/additive.md"]):
        exec(block, names)
    with names["run"] as run:
        assert float(abs(names["parts"] - run["update/total"]).max()) <= 1e-3 * float(abs(run["update/total"]).max())


@pytest.mark.parametrize("stem", said.stems())
def test_what_record_says_is_on_its_page(stem: str) -> None:
    page = " ".join(PAGES["docs/messages.md"].split())
    assert stem in page, f"docs/messages.md does not say what this means, and what to do: {stem}"


def test_the_reference_has_every_public_name() -> None:
    reference = "".join(page for name, page in PAGES.items() if name.startswith("docs/api/"))
    listed = set(re.findall(r"auto(?:class|function):: (\S+)", reference))
    rooms = {"benchmarks", "optim", "probes"}
    public = {f"dominance.{name}" for name in dominance.__all__ if name not in rooms | {"__version__"}}
    public |= {f"dominance.optim.{name}" for name in optim.__all__}
    assert public - listed == {"dominance.DominanceError"}  # with the other errors
    assert listed <= public


def test_the_site_builds(tmp_path: Path) -> None:
    if find_spec("sphinx") is None or find_spec("myst_parser") is None:
        pytest.skip("sphinx is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(ROOT / "docs"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_builds_the_site_is_pinned_within_what_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "docs/requirements.txt").read_text("utf-8"), re.MULTILINE))
    for line in project["optional-dependencies"]["docs"]:
        declared = Requirement(line)
        assert pins[declared.name] in declared.specifier


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {project['version']}\nlicense: {project['license']['text']}\n" in citation


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_what_the_page_says(shell: str) -> None:
    assert f"_DOMINANCE_COMPLETE=source_{shell} dominance" in PAGES["docs/install.md"]
    environment = os.environ | {"_DOMINANCE_COMPLETE": f"source_{shell}"}
    done = subprocess.run([sys.executable, "-m", "dominance"], env=environment, capture_output=True, text=True)
    assert "_DOMINANCE_COMPLETE=complete_" in done.stdout, done.stderr
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, capture_output=True, text=True)
        assert checked.returncode == 0, checked.stderr
