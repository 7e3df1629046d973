"""What the verdict on a recorded script says to try is typed as it is printed, and helps the task that suffers."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest
from forks import Forks

from dominance_cli.main import main

SCRIPT = Path(__file__).parents[1] / "planted_script.py"
WEAK = "stars_loss"


def run(forks: Forks, folder: Path, *words: str) -> str:
    done = forks.python(*words, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def advised(forks: Forks, folder: Path, *options: str) -> str:
    """Records the script with default options, and gives what the summary says to try, on one line."""
    shutil.copy(SCRIPT, folder / "train.py")
    run(forks, folder, "-m", "dominance", "record", "-q", "-o", "run", "train.py", *options)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), pytest.raises(SystemExit) as left:
        main(["summary", str(folder / "run")])
    assert left.value.code == 0
    return re.sub(r"\s+", " ", said.getvalue())


def printed(forks: Forks, folder: Path, *options: str) -> dict[str, float]:
    """The R² of each task, which the script prints."""
    found: dict[str, float] = ast.literal_eval(run(forks, folder, "train.py", *options))
    return found


@pytest.mark.parametrize(
    ("cause", "methods"),
    [("scale", ["weights", "adatask"]), ("weight", ["weights", "adatask"]), ("noise", ["weights", "uw"])],
)
def test_the_command_runs_and_every_method_in_it_helps(
    forks: Forks, tmp_path: Path, cause: str, methods: list[str]
) -> None:
    said = advised(forks, tmp_path, "--cause", cause, "--steps", "400")
    command = re.search(r"`(dominance try --methods [^`]+)`", said)
    assert command is not None, said
    _, _, *rest = shlex.split(command[1])
    table = run(forks, tmp_path, "-m", "dominance", "try", "--seeds", "1", "-q", *rest)
    head, *lines = [re.split(r"\s{2,}", line) for line in table.split("\n\n")[0].splitlines()]
    column = next(i for i, title in enumerate(head) if title.startswith(f"{WEAK} r2"))
    scores = {line[0].partition(":")[0]: float(line[column]) for line in lines}
    assert list(scores) == ["as it is", *methods]
    assert all(scores[method] > scores["as it is"] for method in methods), scores


def test_a_rare_task_gets_better_when_it_takes_part_more_often_as_is_said(forks: Forks, tmp_path: Path) -> None:
    said = advised(forks, tmp_path, "--cause", "rare", "--steps", "400")
    assert "Let the others take part more often" in said
    assert "adatask" not in said
    rare, often = (
        printed(forks, tmp_path, "--cause", "rare", "--steps", "400", "--rarity", each)[WEAK] for each in ("20", "4")
    )
    assert often > rare


def test_tasks_in_conflict_get_better_with_copies_of_the_layers_that_are_named(forks: Forks, tmp_path: Path) -> None:
    said = advised(forks, tmp_path, "--cause", "conflict", "--steps", "400")
    layers = re.search(r"a copy each of ([\w., ]+?): branch the network there", said)
    assert layers is not None, said
    names = ",".join(re.split(r", | and ", layers[1]))
    before, after = (
        printed(forks, tmp_path, "--cause", "conflict", "--steps", "400", *more) for more in ([], ["--copies", names])
    )
    assert min(after.values()) > max(before.values()) + 0.5
