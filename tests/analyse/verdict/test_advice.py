"""What is advised can be typed: methods exist, lines run, commands parse."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import torch
import typer.main
from runs import planted_run

from dominance import optim
from dominance.analyse.verdict import advice
from dominance.analyse.verdict.causes import Cause
from dominance.analyse.verdict.evidence import TRIED
from dominance.analyse.verdict.remedies import against_conflict
from dominance_cli.main import app
from dominance_cli.trying import read_methods

CAUSES = [
    Cause("scale", 9.0, 1.0, {"gradient_ratio": 3.0, "weight_ratio": 1.0}),
    Cause("noise", 4.0, 1.0, {"noise_share": 0.9, "others": 0.1}),
    Cause("frequency", 9.0, 1.0, {"present": 1.0, "others": 0.1, "rows_ratio": 1.0}),
]
GROUPS: dict[str, dict[str, Any]] = {
    "Adam": {"lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.0},
    "AdamW": {"lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.1},
    "RMSprop": {"lr": 0.01, "weight_decay": 0.1},
    "Adagrad": {"lr": 0.01},
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "LBFGS": {"lr": 1},
}


def all_of(run: Any) -> list[str]:
    return [
        *advice.against_dominance(run, "a", CAUSES),
        *advice.for_unheard(run, "a", CAUSES),
        advice.balanced(run),
        *against_conflict(run, ["a", "b"], ["trunk"]),
        advice.alone(run),
    ]


@pytest.mark.parametrize("optimizer", GROUPS)
def test_the_lines_run(optimizer: str) -> None:
    run = planted_run(steps=2)
    run.attrs["optimizers"] = [{"class": optimizer, "groups": [GROUPS[optimizer]]}]
    code = [part for sentence in all_of(run) for part in re.findall(r"`([^`]+)`", sentence)]
    made = [line for line in code if line.startswith(("optimizer = ", "combiner = "))]
    assert made
    for line in made:
        names: dict[str, Any] = {"optim": optim, "model": torch.nn.Linear(2, 2)}
        exec(line, names)
        model, thing = names["model"], names.get("optimizer") or names["combiner"]
        out = model(torch.ones(3, 2))
        losses = {"a": out[:, 0].square().mean(), "b": out[:, 1].square().mean()}
        thing.backward(losses, *([] if "optimizer" in names else [model.parameters()]))
        assert model.weight.grad is not None or "optimizer" in names
    if optimizer == "AdamW":
        assert names_of(made) == {"AdaTaskAdam"}


def names_of(lines: list[str]) -> set[str]:
    return {name for line in lines for name in re.findall(r"optim\.(\w+)", line)}


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_the_commands_parse(optimizer: str) -> None:
    run = planted_run(steps=2)
    options = {
        "benchmark": "digits",
        "optimizer": optimizer,
        "lr": 0.01,
        "seed": 1,
        "settings": {"n": 3},
        "options": {},
    }
    run.attrs |= {"training": {**options, "method": "equal-weight", "tasks": ["a", "b"]}, "method": "equal-weight"}
    run.attrs["optimizers"] = [{"class": {"adam": "Adam", "sgd": "SGD"}[optimizer], "groups": [{"lr": 0.01}]}]
    lines = [part for sentence in all_of(run) for part in re.findall(r"`(dominance [^`]+)`", sentence)]
    assert len(lines) >= 2
    commands: Any = typer.main.get_command(app)
    for line in lines:
        _, name, *arguments = shlex.split(line)
        made = commands.commands[name].make_context(name, arguments)
        assert made.params["method"] in {"adatask", "cagrad", "stl"}
        assert made.params["seed"] == 1


def test_what_is_in_use_is_not_advised_again() -> None:
    run = planted_run(steps=2)
    run.attrs["optimizers"] = [{"class": "AdaTaskAdam", "groups": [{"lr": 0.01}]}]
    assert "AdaTask" not in advice.balanced(run)


@pytest.mark.parametrize(("optimizer", "like"), [("Adam", "adam"), ("SGD", "momentum")])
def test_no_method_is_advised_against_a_conflict_since_none_helped(optimizer: str, like: str) -> None:
    (said,) = against_conflict(script(optimizer), ["a", "b"], ["trunk.0", "trunk.2"])
    came = TRIED[like]["conflict"]
    assert said.startswith("Give a and b a copy each of trunk.0 and trunk.2: branch the network there.")
    assert f"in {came['copy'].trainings}. No method" in said
    assert f"MoCoGrad helped in {came['mocograd']}, CAGrad in {came['cagrad']}" in said
    assert "`" not in said


def script(optimizer: str = "Adam") -> Any:
    run = planted_run(steps=2)
    run.attrs |= {"recorded_by": "dominance record", "argv": ["train.py", "--name", "two words"]}
    run.attrs["optimizers"] = [{"class": optimizer, "groups": [GROUPS[optimizer]]}]
    return run


def test_of_a_recorded_script_each_task_alone_is_one_command() -> None:
    assert advice.alone(script()) == "`dominance try --alone train.py --name 'two words'`"


def of_kind(name: str) -> list[Cause]:
    return [cause for cause in CAUSES if cause.name == name]


@pytest.mark.parametrize(
    ("cause", "optimizer", "methods"),
    [
        ("scale", "Adam", "weights:price=0.333:rating=1,adatask"),
        ("scale", "SGD", "weights:price=0.577:rating=1.73,cagrad"),  # which steps as far as the gradient is long
        ("noise", "AdamW", "weights:price=0.5:rating=1,uw"),
        ("noise", "SGD", "weights:price=0.707:rating=1.41,cagrad"),
    ],
)
def test_a_script_is_tried_with_the_simplest_remedy_first(cause: str, optimizer: str, methods: str) -> None:
    run = script(optimizer)
    run.attrs["record_options"] = ["--tasks", "price,rating"]
    (said,) = advice.against_dominance(run, "price", of_kind(cause))
    assert f"`dominance try --methods {methods} --tasks price,rating train.py --name 'two words'`" in said
    came = TRIED["momentum" if optimizer == "SGD" else "adam"][cause]
    both = f"{came['weights'].trainings} and in {came[methods.rpartition(',')[2]]}"
    assert f". Where this cause was planted, these made the weaker task better in {both}. Beside" in said


def weighed(price: float, rating: float, *, constant: bool = True) -> Cause:
    numbers = {"gradient_ratio": 200.0, "weight_ratio": price / rating, "constant": float(constant)}
    return Cause("weight", 200.0**2, 1.0, numbers | {"weight of price": price, "weight of rating": rating})


@pytest.mark.parametrize(
    ("price", "rating", "factors", "said"),
    [
        (1, 0.002, "price=1:rating=500", "rating from 0.002 to 1"),
        (40, 1, "price=0.025:rating=1", "price from 40 to 1"),
        (0.125, 0.0005, "price=1:rating=250", "rating from 0.0005 to 0.125"),  # losses over micro-batches
    ],
)
def test_weights_of_ones_own_are_set_alike(price: float, rating: float, factors: str, said: str) -> None:
    for given in (
        advice.against_dominance(script(), "price", [weighed(price, rating)]),
        advice.for_unheard(script(), "rating", [weighed(price, rating)]),
    ):
        (line,) = given
        assert line.startswith(f"Your own weights set alike, {said} and AdaTask. Where this cause was planted")
        assert f"--methods weights:{factors},adatask train.py" in line
    by_hand = advice.against_dominance(planted_run(steps=2), "price", [weighed(price, rating)])
    assert by_hand[0] == f"Weigh the losses alike: {said}."


def test_weights_that_are_a_cause_beside_another_are_undone_and_the_rest_is_measured() -> None:
    (line,) = advice.against_dominance(script(), "price", [weighed(1, 0.002), *of_kind("scale")])
    assert line.startswith("A loss weight from what was measured")
    assert "weights:price=0.333:rating=500,adatask" in line


def test_weights_that_change_are_answered_by_what_was_measured() -> None:
    (line,) = advice.against_dominance(script(), "price", [weighed(1, 0.01, constant=False)])
    assert line.startswith("A loss weight from what was measured and AdaTask. Where this cause was planted")
    assert "weights:price=0.005:rating=1,adatask" in line


@pytest.mark.parametrize("quiet", [False, True])
def test_where_a_task_takes_part_seldom_it_is_to_take_part_more_often(quiet: bool) -> None:
    """Nothing that can be tried on the script as it is made up for it: that is said, with the numbers."""
    say = advice.for_unheard if quiet else advice.against_dominance
    (said,) = say(script(), "price", of_kind("frequency"))
    assert said.startswith(f"Let {'price' if quiet else 'the others'} take part more often")
    assert f"one step of 4 made it better in {TRIED['adam']['seldom']['often'].trainings}." in said
    assert f"a weight helped in {TRIED['adam']['seldom']['weights']}, AdaTask in" in said
    assert "dominance try" not in said
    both = say(script(), "price", [*of_kind("frequency"), *of_kind("scale")])
    assert both[1].startswith("Against the scale beside it: a loss weight from what was measured. Where this cause")
    assert "--methods weights:" in both[1]
    assert "adatask" not in both[1]


def test_rows_that_a_task_seldom_sees_are_made_up_for_by_a_weight() -> None:
    rows = [Cause("frequency", 100.0, 1.0, {"present": 1.0, "others": 1.0, "rows_ratio": 10.0})]
    (said,) = advice.against_dominance(script(), "price", rows)
    assert "--methods weights:price=0.1:rating=1,adatask" in said


def test_rows_seldom_seen_of_a_task_that_takes_part_seldom() -> None:
    both = [Cause("frequency", 100.0, 1.0, {"present": 1.0, "others": 0.1, "rows_ratio": 10.0})]
    _, said = advice.against_dominance(script(), "price", both)
    assert said.startswith(
        "Against the rows seldom seen beside it: a loss weight from what was measured, beside the run"
    )


@pytest.mark.parametrize(
    ("optimizer", "decay", "weights"),
    [("Adam", 0.0, "price=1:rating=3"), ("Adam", 0.1, "price=0.577:rating=1.73"), ("AdamW", 0.1, "price=1:rating=3")],
)
def test_a_smaller_weight_is_no_smaller_step(optimizer: str, decay: float, weights: str) -> None:
    """Weight decay that is a part of the gradient counts for more beside a smaller loss."""
    run = script(optimizer)
    run.attrs["optimizers"] = [{"class": optimizer, "groups": [{"lr": 0.1, "weight_decay": decay}]}]
    (said,) = advice.for_unheard(run, "rating", of_kind("scale"))
    assert f"weights:{weights}," in said


def test_a_task_that_is_hardly_heard_gets_more_weight() -> None:
    (said,) = advice.for_unheard(script(), "rating", of_kind("scale"))
    assert "weights:price=1:rating=3,adatask" in said


def test_what_is_said_of_a_script_parses() -> None:
    every = [
        *advice.against_dominance(script(), "price", of_kind("scale")),
        *advice.against_dominance(script(), "price", [weighed(1, 0.002)]),
        *advice.for_unheard(script(), "rating", of_kind("frequency")),
        advice.alone(script()),
    ]
    lines = [part for sentence in every for part in re.findall(r"`(dominance [^`]+)`", sentence)]
    assert len(lines) == 3
    commands: Any = typer.main.get_command(app)
    for line in lines:
        _, name, *arguments = shlex.split(line)
        made = commands.commands[name].make_context(name, arguments)
        assert made.params["target"] == "train.py"
        assert read_methods(made.params["methods"])


@pytest.mark.parametrize("optimizer", ["Adam", "SGD"])
def test_where_a_task_is_rare_no_optimizer_of_its_own_is_advised(optimizer: str) -> None:
    run = planted_run(steps=2)
    run.attrs["optimizers"] = [{"class": optimizer, "groups": [GROUPS[optimizer]]}]
    said = " ".join(advice.against_dominance(run, "a", of_kind("frequency")))
    assert "AdaTask" not in said
    assert "IMTL" not in said


def test_a_loop_with_a_recorder_is_not_a_script_to_record() -> None:
    run = planted_run(steps=2)
    run.attrs["argv"] = ["ipykernel_launcher.py", "-f", "kernel.json"]
    assert (
        advice.alone(run) == "your own loop with the loss of one task alone, a run for each, logging the same metrics"
    )


def test_what_was_typed_is_repeated_and_defaults_are_not() -> None:
    run = planted_run(steps=2)
    options = {"benchmark": "digits", "method": "uw", "optimizer": "adam", "seed": 1, "epochs": 3, "lr": 0.01}
    run.attrs["training"] = {**options, "tasks": ["a", "b"], "settings": {"n": 3}, "options": {"x": 1}}
    run.attrs["argv"] = ["dominance", "train", "digits", "--method", "uw", "--epochs=3", "--seed", "1", "-o", "here"]
    run.attrs["optimizers"] = [{"class": "Adam", "groups": [{"lr": 0.01}]}]
    assert "`dominance train digits --method adatask --seed 1 --epochs 3 --set n=3`" in advice.balanced(run)
    told = advice.alone(run)
    assert told == "`dominance train digits --method stl --seed 1 --epochs 3 --set n=3`"
    run.attrs["argv"] = ["dominance", "train", "--resume", "here"]
    assert "--optimizer adam --seed 1 --epochs 3 --lr 0.01 --tasks a,b" in advice.balanced(run)


def test_nothing_is_advised_by_a_command_that_did_not_help_in_every_training() -> None:
    """By SGD neither a weight nor a method made up for rows that are seldom seen."""
    rows = [Cause("frequency", 100.0, 1.0, {"present": 1.0, "others": 1.0, "rows_ratio": 10.0})]
    (said,) = advice.against_dominance(script("SGD"), "price", rows)
    came = TRIED["momentum"]["frequency"]
    assert said == (
        "Nothing that a command does: where this cause was planted, a loss weight from what was measured helped in"
        f" {came['weights']} and CAGrad in {came['cagrad']}."
    )


def test_of_a_run_by_a_method_another_one_is_advised_and_no_weight() -> None:
    run = script()
    run.attrs |= {"method": "cagrad", "method_options": ["c=0.2"]}
    (said,) = advice.against_dominance(run, "price", of_kind("scale"))
    command = "`dominance try --methods cagrad:c=0.2,adatask train.py --name 'two words'`"
    assert said == f"AdaTask in the place of cagrad:c=0.2, beside that and the script as it is: {command}"
    assert [choice.name for _, choice in read_methods("cagrad:c=0.2,adatask")] == ["cagrad", "adatask"]
    run.attrs["method_options"] = ["c=0.2,0.3"]
    (said,) = advice.against_dominance(run, "price", of_kind("scale"))
    assert "beside the script as it is: `dominance try --methods adatask train.py" in said
    run.attrs |= {"method": "adatask", "method_options": []}
    run.attrs["optimizers"] = [{"class": "AdaTaskAdam", "groups": [{"lr": 0.01}]}]
    (said,) = advice.against_dominance(run, "price", of_kind("scale"))
    assert said.startswith("IMTL-G in the place of adatask")
    run.attrs |= {"method": "equal-weight", "method_options": []}
    run.attrs["optimizers"] = [{"class": "Adam", "groups": [{"lr": 0.01}]}]
    (said,) = advice.against_dominance(run, "price", of_kind("scale"))
    assert "weights:price=0.333:rating=1,adatask" in said


def test_of_a_run_with_weights_these_are_in_the_one_that_is_advised() -> None:
    run = script()
    run.attrs |= {"method": "weights", "method_options": ["rating=4", "price=0.5"]}
    (said,) = advice.against_dominance(run, "price", of_kind("scale"))
    assert "--methods weights:price=0.167:rating=4,adatask" in said
