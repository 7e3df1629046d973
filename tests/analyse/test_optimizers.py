from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from runs import make_run

from dominance.analyse.kernels.second_moment import MomentRule
from dominance.analyse.optimizers import accumulation
from dominance.errors import BadOption, NothingRecorded

ADAM = {"lr": 0.1, "betas": [0.8, 0.9], "eps": 1e-6, "weight_decay": 0.0, "amsgrad": False, "fused": None}


def of(*optimizers: dict[str, Any], optimizer: Any = None) -> Any:
    run = make_run(np.ones((1, 2, 1)))
    run.attrs["optimizers"] = [{"note": "", **each} for each in optimizers]
    return accumulation(run, optimizer)


def one(name: str, **options: Any) -> dict[str, Any]:
    return {"class": name, "groups": [options]}


def test_what_is_recorded() -> None:
    found = of(one("Adam", **ADAM))
    assert (found.name, found.family, found.own, found.coupled) == ("Adam", "adam", False, False)
    assert found.rule == MomentRule(1e-6, decay=0.9, corrected=True)
    assert of(one("Adam", **{**ADAM, "amsgrad": True})).rule.highest
    assert of(one("RMSprop", alpha=0.5, eps=1e-3, centered=True)).rule == MomentRule(1e-3, decay=0.5, centered=True)
    adagrad = one("Adagrad", eps=1e-3, initial_accumulator_value=0.1, lr_decay=0.2)
    assert of(adagrad).rule == MomentRule(1e-3, start=0.1, rate_decay=0.2)


@pytest.mark.parametrize(
    ("name", "options", "coupled"),
    [
        ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": False}, True),
        ("Adam", {"weight_decay": 0.1}, True),
        ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}, False),
        ("AdamW", {"weight_decay": 0.1}, False),
        ("RMSprop", {"weight_decay": 0.1}, True),
        ("Adagrad", {"weight_decay": 0}, False),
    ],
)
def test_weight_decay(name: str, options: dict[str, Any], coupled: bool) -> None:
    assert of(one(name, **options)).coupled == coupled


def test_every_family_of_dominance_optim() -> None:
    for name, family in (("AdaTaskAdam", "adam"), ("AdaTaskRMSprop", "rmsprop"), ("AdaTaskAdagrad", "adagrad")):
        found = of(one(name))
        assert (found.family, found.own) == (family, True)
    assert not of(one("Clippy")).own


def test_groups_and_optimizers_that_agree() -> None:
    groups = [{**ADAM, "lr": 0.1}, {**ADAM, "lr": 1e-3, "weight_decay": 0.1}]
    assert of({"class": "Adam", "groups": groups}).coupled
    assert of(one("Adam", **ADAM), one("Adam", **ADAM)).rule.decay == 0.9
    assert of(one("SGD", lr=1), one("Adam", **ADAM), optimizer=1).name == "Adam"


def test_as_if() -> None:
    assert of(one("SGD"), optimizer="RMSprop").rule == MomentRule(1e-8, decay=0.99)
    assert of(one("SGD"), optimizer="Adagrad").rule == MomentRule(1e-10)
    assert of(one("Adam", **ADAM), optimizer={"class": "Adam", "betas": (0.0, 0.5)}).rule.decay == 0.5


@pytest.mark.parametrize(
    ("optimizers", "optimizer", "error", "message"),
    [
        (
            [one("SGD")],
            None,
            NothingRecorded,
            'SGD has one learning rate for all.*nothing to compare.*optimizer="Adam"',
        ),
        ([one("Adamax")], None, NothingRecorded, "Adamax is not known to be of the Adagrad, RMSprop or Adam family"),
        ([one("MyOwn")], None, NothingRecorded, "MyOwn is not known"),
        ([], None, NothingRecorded, "does not say which optimizer"),
        (
            [one("Adam"), one("Adagrad")],
            None,
            NothingRecorded,
            r"several optimizers \(0: Adam, 1: Adagrad\); .*optimizer=0",
        ),
        ([one("Adam")], 3, BadOption, "optimizer=3: the run has 1"),
        ([one("Adam")], "SGD", NothingRecorded, "one learning rate"),
        ([one("Adam")], {"beta": 1}, NothingRecorded, "the optimizer is not known"),
        (
            [one("Adam")],
            {"class": "Adam", "beta": 1},
            BadOption,
            "'beta' is no option of Adam here; there are eps, betas",
        ),
        (
            [{"class": "Adam", "groups": [ADAM, {**ADAM, "eps": 1.0}]}],
            None,
            NothingRecorded,
            r'parameter groups of Adam accumulate.*differently.*\{"class": "Adam", \.\.\.\}',
        ),
    ],
)
def test_what_is_not_known(optimizers: Any, optimizer: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        of(*optimizers, optimizer=optimizer)
