"""What the README tells people to type exists and works."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import torch
import typer.main

from dominance.benchmarks.train.plan import TrainOptions
from dominance.benchmarks.train.trainer import train
from dominance.config import RecordOptions, record_options
from dominance_cli.main import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def typed() -> list[str]:
    """Commands in console blocks, in indented blocks, and in backticks in the text."""
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "]
    lines += [line.strip() for line in README.splitlines() if line.startswith("    ")]
    lines += re.findall(r"`((?:dominance|make) [^`]*)`", README)
    return [line.split("  #")[0].strip() for line in lines if line.startswith(("dominance ", "make "))]


DOMINANCE = sorted({line for line in typed() if line.startswith("dominance ")})
MAKE = sorted({line for line in typed() if line.startswith("make ")})


@pytest.mark.parametrize("line", DOMINANCE)
def test_commands_parse(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    if not arguments:
        assert name in COMMANDS
        return
    shown = [part.strip("[]") for part in arguments if part != "[OPTIONS]"]
    context = COMMANDS[name].make_context(name, shown)
    assert all(value != "" for value in context.params.values())


def test_every_command_is_shown() -> None:
    assert {shlex.split(line)[1] for line in DOMINANCE} == set(COMMANDS)


@pytest.mark.parametrize("line", MAKE)
def test_make_targets_exist(line: str) -> None:
    assert re.search(rf"^{line.split()[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_options_in_the_text_exist() -> None:
    known = {name for command in COMMANDS.values() for parameter in command.params for name in parameter.opts}
    mentioned = set(re.findall(r"`(--[a-z-]+)", README))
    assert "--every" in mentioned
    assert mentioned <= known


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!https?:)([^)]+)\)", README))))
def test_links_lead_somewhere(target: str) -> None:
    path, _, heading = target.partition("#")
    assert (ROOT / path).exists()
    if heading:
        page = ROOT / path if path else ROOT / "README.md"
        headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}


def test_configuration_is_accepted(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    (tmp_path / "pyproject.toml").write_text(block)
    variables = dict(re.findall(r"`(DOMINANCE_[A-Z]+)=(\w+)`", README))
    assert variables == {"DOMINANCE_EVERY": "5"}
    options = record_options(environ=variables, folder=tmp_path)
    assert options.every == tomllib.loads(block)["tool"]["dominance"]["every"] == 5
    assert options.budget == 500_000_000


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for seed in range(3):  # what the block on studies reads
        _trained("equal-weight", seed, tmp_path / f"runs/joint-{seed}")
    _trained("stl", 0, tmp_path / "runs/alone")
    names: dict[str, Any] = {"price_loss": torch.ones(()), "stars_loss": torch.ones(())}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert "['price', 'stars']" in capsys.readouterr().out
    assert names["run"].sizes["step"] == 40
    assert names["run"]["metric"].sizes["event"] == 2
    assert names["owned"].sizes == {"layer": 1}
    assert names["conflict"].dims == ("layer",)
    assert set(names["table"].reset_index()["task"]) == {"price", "stars"}
    assert (tmp_path / "trunk.pdf").stat().st_size > 1000
    assert set(names["study"]) == {f"runs/joint-{seed}" for seed in range(3)}
    names["run"].close()


def _trained(method: str, seed: int, path: Path) -> None:
    """A training of a moment."""
    options = TrainOptions("toy-2d", method, seed=seed, epochs=6, settings={"steps": 5})
    train(options, path, record=RecordOptions(every=1))
