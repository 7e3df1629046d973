"""What the sink says of the tasks, and how it lays a run out within its budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from dominance import open_run
from dominance.config import RecordOptions
from dominance.record.parameters import ParameterTable
from dominance.record.split.steppers import Steppers
from dominance.record.write.sampling import STEPS_IN_FIRST_HALF
from dominance.record.write.schedule import Schedule
from dominance.record.write.sink import Sink, note
from dominance.schema import Layout

torch.set_num_threads(1)
FIX = 'name them before backward(): dominance.observe({"task_a": loss_a, "task_b": loss_b})'


def sink(path: Path, resume: bool = False, **options: Any) -> Sink:
    return Sink(path, RecordOptions(**options), {"script": "train.py"}, overwrite=False, resume=resume)


@pytest.mark.parametrize(
    ("tasks", "weights", "residual", "separate", "line"),
    [
        (["a", "b"], {"a": 1.0, "b": 0.33333}, [], [], "2 tasks: a (weight 1), b (weight 0.333)"),
        (["a", "b"], {}, [], [], "2 tasks: a, b"),
        (["a", "b"], {"a": 1.0}, ["l2"], ["gan"], "2 tasks: a (weight 1), b; residual: l2; sharing no parameter: gan"),
        (["a"], {"a": 1.0}, [], [], f"found 1 task: a; dominance needs two or more; {FIX}"),
        ([], {}, ["l2"], [], f"found 0 tasks; residual: l2; dominance needs two or more; {FIX}"),
    ],
)
def test_what_is_said_of_the_tasks(
    tasks: list[str], weights: dict[str, float], residual: list[str], separate: list[str], line: str, tmp_path: Path
) -> None:
    assert sink(tmp_path).announce(tasks, weights, residual, separate) == [line]


def test_what_is_said_of_wanted_tasks(tmp_path: Path) -> None:
    assert sink(tmp_path, tasks=("b",)).announce(["a", "b"], {}, [], []) == ["2 tasks: a, b"]
    said = sink(tmp_path, tasks=("a", "c")).announce(["a", "b"], {}, [], [])
    assert said == [f"--tasks asks for a, c, found 2 tasks: a, b; {FIX}"]


def test_notes_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    note("2 tasks: a, b")
    assert capsys.readouterr() == ("", "dominance: 2 tasks: a, b\n")


class Program:
    """A trunk that two tasks reach and a head that one reaches, with an optimizer."""

    def __init__(self, width: int) -> None:
        self.net = nn.ModuleDict({"trunk": nn.Linear(width, width), "head": nn.Linear(width, 2)})
        self.table = ParameterTable()
        self.table.add_model(self.net)
        self.steppers = Steppers("additive", None)
        self.steppers.begin(SGD(self.net.parameters(), lr=0.1))

    def reach(self, *tasks: str) -> dict[Tensor, list[str]]:
        """Of a sum of these losses; the head is the last one's."""
        trunk = {p: list(tasks) for p in self.net["trunk"].parameters()}
        return trunk | {cast(Tensor, p): [tasks[-1]] for p in self.net["head"].parameters()}

    def lay_out(self, made: Sink, *tasks: str) -> None:
        reach = self.reach(*tasks)
        if not made.laid_out:
            made.lay_out(self.table, tasks, reach, self.steppers, Schedule(10, 2))
        made.take_in(tasks, reach)


def test_the_run_that_is_laid_out(tmp_path: Path) -> None:
    made, program = sink(tmp_path / "run"), Program(4)
    assert not made.laid_out
    assert made.spent == 0
    made.announce(["a", "b"], {"a": 1.0, "b": 0.5}, ["l2"], [])
    program.lay_out(made, "a", "b")
    assert made.laid_out
    assert made.writer is not None
    assert made.writer.bytes_written > 0
    made.append(made.row(3, -1))
    made.close(complete=True, steps_taken=4)
    run = open_run(tmp_path / "run")
    attrs = run.attrs
    assert (attrs["tasks"], attrs["layers"], attrs["script"]) == (["a", "b"], ["trunk", "head"], "train.py")
    assert (attrs["task_weights"], attrs["residual_terms"]) == ({"a": 1.0, "b": 0.5}, ["l2"])
    assert (attrs["schedule"], attrs["steps_taken"]) == ({"every": 10, "burst": 2}, 4)
    assert attrs["sampling"]["kept"] == attrs["sampling"]["of"] == 4 * 4 + 4 + 4 * 2 + 2
    assert [(p["name"], p["tasks"]) for p in attrs["parameters"]] == [
        ("trunk.weight", ["a", "b"]),
        ("trunk.bias", ["a", "b"]),
        ("head.weight", ["b"]),
        ("head.bias", ["b"]),
    ]
    assert run["step"].values.tolist() == [3]


def test_parameters_by_their_names(tmp_path: Path) -> None:
    made, program = sink(tmp_path / "run", params="trunk.*"), Program(4)
    program.lay_out(made, "a", "b")
    made.close(complete=True)
    assert [p["name"] for p in open_run(tmp_path / "run").attrs["parameters"]] == ["trunk.weight", "trunk.bias"]


def test_what_comes_later_is_taken_in(tmp_path: Path) -> None:
    """A new task, and a parameter that a second task reaches."""
    made, program = sink(tmp_path / "run"), Program(4)
    program.lay_out(made, "a", "b")
    made.append(made.row(0, -1))
    program.lay_out(made, "a", "c")
    made.append(made.row(1, -1))
    made.close(complete=True)
    run = open_run(tmp_path / "run")
    assert run.attrs["tasks"] == ["a", "b", "c"]
    assert [p["tasks"] for p in run.attrs["parameters"]] == [["a", "b", "c"]] * 2 + [["b", "c"]] * 2
    updates = run["update/update"].values
    assert np.isnan(updates[0, 2]).all()
    assert (updates[1] == 0).all()


@pytest.mark.parametrize("tasks", [("a", "b"), ("a", "b", "c", "d", "e")])
@pytest.mark.parametrize("attribution", ["additive", "both"])
def test_half_of_the_budget_lasts_for_as_many_steps_as_said(
    tasks: tuple[str, ...], attribution: str, tmp_path: Path
) -> None:
    """Bytes of a row, if nothing compresses."""
    budget = 40_000_000
    made, program = sink(tmp_path / "run", budget=budget, attribution=attribution), Program(200)
    program.lay_out(made, *tasks)
    made.close(complete=True)
    attrs = open_run(tmp_path / "run").attrs
    assert attrs["sampling"]["kept"] < attrs["sampling"]["of"]
    coords = np.zeros(attrs["sampling"]["kept"])
    layout = Layout(list(tasks), [], attrs["layers"], coords, coords, coords, attribution)
    row = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in layout.arrays())
    # As nearly as the shares of the parameters can be rounded; the head is small.
    assert 0.85 * budget / 2 < row * STEPS_IN_FIRST_HALF < 1.01 * budget / 2


def test_a_resumed_run_goes_on_after_its_last_step(tmp_path: Path) -> None:
    made, program = sink(tmp_path / "run"), Program(4)
    program.lay_out(made, "a", "b")
    for step in (0, 10):
        made.append(made.row(step, -1))
    made.close(complete=True)
    again = sink(tmp_path / "run", resume=True)
    assert again.first_step == 11
    program.lay_out(again, "a", "b")
    again.append(again.row(11, -1))
    again.close(complete=True)
    assert open_run(tmp_path / "run")["step"].values.tolist() == [0, 10, 11]
    assert sink(tmp_path / "missing", resume=True).first_step == 0


def test_the_columns_of_one_output_are_offered(tmp_path: Path) -> None:
    (line,) = sink(tmp_path / "run").announce(["loss"], {"loss": 1.0}, [], [], (3, None))
    assert line.endswith(", or the 3 columns of its output: dominance.observe(columns=(OUTPUT, [3 NAMES]))")
