"""FSDP2: one run of the whole parameters, as of one process on the joined batches, and the training untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import record.sharded_training as training
from record.launched import Launcher
from record.ranked import assert_untouched

from dominance import au, open_run
from dominance.record.write.averages import NOT_TOGETHER

SCRIPT = training.__file__
RECORD = ["--every", "1", "--exact", "-o", "run"]
REFUSED = {"by_signs": "steps of OfSigns on pieces of the parameters, as of a sharded model, are not split"}
"""Forms of which nothing is recorded, and why."""


@pytest.fixture(scope="module")
def plain(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trainings of two processes as they are."""
    folder = tmp_path_factory.mktemp("plain")
    assert launcher.run(folder, [SCRIPT, *training.FORMS], size=2).codes == [0, 0]
    return folder


def joined(launcher: Launcher, folder: Path, form: str, size: int) -> Path:
    """The run of one process that has the batches of them all."""
    folder.mkdir()
    made = launcher.run(folder, [SCRIPT, form], record=RECORD, size=1, environment={"JOINED": str(size)})
    assert made.codes == [0]
    return folder / "run"


def assert_same_run(run: Path, other: Path, *, close: float) -> None:
    """Every number of the rows, of layers and of coordinates, is the same to rounding; so are the names."""
    with open_run(run) as one, open_run(other) as two:
        assert one.attrs["parameters"] == two.attrs["parameters"]
        for group in ("gradient", "update", "layer", "loss", "learning_rate"):
            here, there = one[group].to_dataset(), two[group].to_dataset()
            for name in (name for name in here.data_vars if here[name].dtype.kind == "f"):
                where = f"{group}/{name}"
                np.testing.assert_allclose(here[name], there[name], rtol=close, atol=close / 20, err_msg=where)
        assert float(one["closure"].max()) < 1e-5


def recorded_untouched(launcher: Launcher, folder: Path, form: str, plain: Path) -> list[str]:
    """What is said where two processes are recorded, whose training is as it is without."""
    made = launcher.run(folder, [SCRIPT, form], record=RECORD, size=2)
    assert made.codes == [0, 0]
    assert_untouched(plain / form, folder / form, 2)
    return made.said


@pytest.mark.parametrize("form", [form for form in training.FORMS if form not in REFUSED])
def test_a_sharded_model_is_recorded_as_one_process_on_all_batches_would_be(
    launcher: Launcher, tmp_path: Path, form: str, plain: Path
) -> None:
    said = recorded_untouched(launcher, tmp_path, form, plain)
    assert said[1:] == [f"dominance: {training.STEPS} steps recorded in run", "dominance report run"]
    low = training.FORMS[form].low is not None
    assert_same_run(tmp_path / "run", joined(launcher, tmp_path / "one", form, 2), close=2e-3 if low else 2e-5)


@pytest.mark.parametrize(("form", "size"), [(form, 4) for form in training.COPIED] + [("copied", 2)])
def test_copies_of_a_sharded_model_are_one(launcher: Launcher, tmp_path: Path, form: str, size: int) -> None:
    """HSDP: means are over all processes, rows of one copy; with 2 processes each has a whole copy."""
    for name in ("plain", "recorded"):
        (tmp_path / name).mkdir()
    assert launcher.run(tmp_path / "plain", [SCRIPT, form], size=size).codes == [0] * size
    made = launcher.run(tmp_path / "recorded", [SCRIPT, form], record=[*RECORD, "--averages"], size=size)
    assert made.codes == [0] * size
    assert made.said[1:] == [f"dominance: {training.STEPS} steps recorded in run", "dominance report run"]
    assert_untouched(tmp_path / "plain" / form, tmp_path / "recorded" / form, size)
    alone = joined(launcher, tmp_path / "one", form, size)
    assert_same_run(tmp_path / "recorded" / "run", alone, close=2e-5)
    with open_run(tmp_path / "recorded" / "run") as run:
        assert (run.attrs["ranks"], run.attrs["status"]) == (size, "complete")
        np.testing.assert_allclose(au(run, exact=True)["au"], au(run)["au"], rtol=1e-6)


@pytest.mark.parametrize("form", ["plain", "accumulated"])
def test_four_processes_of_which_some_have_nothing_of_a_head(launcher: Launcher, tmp_path: Path, form: str) -> None:
    for name in ("plain", "recorded"):
        (tmp_path / name).mkdir()
    assert launcher.run(tmp_path / "plain", [SCRIPT, form], size=4).codes == [0] * 4
    made = launcher.run(tmp_path / "recorded", [SCRIPT, form], record=RECORD, size=4)
    assert made.codes == [0] * 4
    assert_untouched(tmp_path / "plain" / form, tmp_path / "recorded" / form, 4)
    assert_same_run(tmp_path / "recorded" / "run", joined(launcher, tmp_path / "one", form, 4), close=2e-5)
    with open_run(tmp_path / "recorded" / "run") as run:
        assert (run.attrs["ranks"], run.attrs["status"]) == (4, "complete")


AVERAGES = [*RECORD, "--averages"]


@pytest.mark.parametrize(
    ("form", "size"), [("plain", 2), ("momentum", 2), ("accumulated", 2), ("root", 2), ("frozen", 2), ("plain", 4)]
)
def test_au_of_every_coordinate_is_that_of_one_process(
    launcher: Launcher, tmp_path: Path, form: str, size: int
) -> None:
    """The processes' pieces are put together: every shared parameter, whole, in its order."""
    made = launcher.run(tmp_path, [SCRIPT, form], record=AVERAGES, size=size)
    assert (made.codes, made.said[1:-1]) == ([0] * size, [f"dominance: {training.STEPS} steps recorded in run"])
    (tmp_path / "one").mkdir()
    alone = {"JOINED": str(size)}
    assert launcher.run(tmp_path / "one", [SCRIPT, form], record=AVERAGES, size=1, environment=alone).codes == [0]
    with open_run(tmp_path / "run") as run, open_run(tmp_path / "one" / "run") as other:
        found, truth = au(run, exact=True), au(other, exact=True)
        of_rows = au(run)
    assert found.attrs["steps_used"] == truth.attrs["steps_used"] == training.STEPS
    for name in ("parameter", "index"):
        np.testing.assert_array_equal(found[name], truth[name])
    np.testing.assert_allclose(found["au"], truth["au"], rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(found["au"], of_rows["au"], rtol=1e-6)  # so small a model keeps every coordinate
    assert found.sizes["coord"] == 4 * 9 + 9 + 9 * 8 + 8


def test_where_one_process_fails_it_is_said_that_there_are_no_averages(
    launcher: Launcher, tmp_path: Path, plain: Path
) -> None:
    made = launcher.run(tmp_path, [SCRIPT, "plain", "failing"], record=[*AVERAGES, "--probe", "noise"], size=2)
    assert made.codes[1] == 1
    assert "dominance: no noise probe will be made: no process has the whole of a sharded model" in made.said
    assert f"dominance: AU is known of the kept coordinates only: {NOT_TOGETHER}" in made.said
    assert f"dominance: {training.STEPS - 1} steps recorded in run" in made.said
    assert_untouched(plain / "plain", tmp_path / "plain", 2)


def test_the_last_step_is_put_together_before_the_processes_part(
    launcher: Launcher, tmp_path: Path, plain: Path
) -> None:
    """The first process waits for the second's end in the script, and would be waited for in the recording."""
    made = launcher.run(tmp_path, [SCRIPT, "plain", "waiting"], record=AVERAGES, size=2)
    assert (made.codes, made.said[1:-1]) == ([0, 0], [f"dominance: {training.STEPS} steps recorded in run"])
    assert_untouched(plain / "plain", tmp_path / "plain", 2)
    with open_run(tmp_path / "run") as run:
        np.testing.assert_allclose(au(run, exact=True)["au"], au(run)["au"], rtol=1e-6)


def test_a_process_that_tidies_up_after_an_error_waits_for_nobody(launcher: Launcher, tmp_path: Path) -> None:
    made = launcher.run(tmp_path, [SCRIPT, "plain", "raising"], record=RECORD, size=2)
    assert (made.codes, made.outputs[1]) == ([0, 1], "parted within 0 s\n")


@pytest.mark.parametrize("form", REFUSED)
def test_what_cannot_be_split_by_pieces_is_said_and_left_alone(
    launcher: Launcher, tmp_path: Path, form: str, plain: Path
) -> None:
    said = recorded_untouched(launcher, tmp_path, form, plain)
    assert said[-1] == f"dominance: nothing was recorded of {training.STEPS} steps that were taken: {REFUSED[form]}"
    assert not (tmp_path / "run").exists()
